from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import logsh_cli
from completions.manpage import page
from completions.tree import Command, read_tree
from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.help import ENVIRONMENT
from logsh_cli.parser import build_app

PAGE = Path(__file__).parents[2] / "completions" / "logsh.1"
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS"]
SECTIONS += ["ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"]

INTERNAL = {"LOGSH_API_KEY_STAGING"}
"""Names that only serve as examples."""


@pytest.fixture(scope="session")
def tree() -> Command:
    return read_tree(build_app())


@pytest.fixture(scope="session")
def text() -> str:
    """The page as a reader sees it, on lines of any length."""
    plain = PAGE.read_text("ascii")
    plain = re.sub(r'(?m)^\.\\".*\n', "", plain)
    plain = re.sub(r"\\f[BIRP]", "", plain)
    plain = re.sub(r"(?m)^\.(?:PP|TP|nf|fi|R[SE].*)\n", "", plain)
    for escape, character in {r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\&": ""}.items():
        plain = plain.replace(escape, character)
    return plain.replace(r"\e", "\\")


@pytest.mark.parametrize(
    "check",
    [
        ("mandoc", "-T", "lint", "-W", "warning"),
        ("groff", "-man", "-ww", "-z"),
        ("groff", "-man", "-ww", "-z", "-T", "utf8"),
        ("groff", "-man", "-ww", "-z", "-T", "ascii"),
    ],
    ids=" ".join,
)
def test_the_page_renders_without_a_warning(check: tuple[str, ...]) -> None:
    if shutil.which(check[0]) is None:
        pytest.skip(f"{check[0]} is not installed")

    done = subprocess.run([*check, str(PAGE)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_shows_the_page() -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")

    shown = subprocess.run(["man", "-l", str(PAGE)], capture_output=True, text=True, check=True).stdout

    assert "logsh - send events to Logsh" in " ".join(re.sub(".\b", "", shown).split())


def test_the_page_has_the_sections_that_readers_know(text: str) -> None:
    assert re.findall(r"(?m)^\.SH (.*)$", text) == SECTIONS


def test_every_option_and_argument_is_there_in_the_words_of_the_help(tree: Command, text: str) -> None:
    for command in tree.walk():
        after = text.rsplit(f".SS {' '.join(command.path)}\n", maxsplit=1)[-1] if command is not tree else text
        part = re.split(r"(?m)^\.S[SH]", after)[0] if command is not tree else text
        for _, rows in command.sections:
            for names, words in rows:
                # What all have in common is said once.
                place = text if names.endswith("--help") else part
                assert f"\n{names}\n{words.replace('`', '')}\n" in place, command.path


def test_every_command_is_there_with_its_usage_and_its_whole_help(tree: Command, text: str) -> None:
    flat = " ".join(text.split())

    for command in tree.walk():
        said = command.text.replace("\b", "").replace("`", "")
        assert " ".join(said.split()) in flat or command is tree
        assert command.commands or " ".join(command.usage.split()) in flat


def test_every_exit_code_is_there_with_its_meaning(text: str) -> None:
    for code, meaning in EXIT_CODE_MEANINGS.items():
        assert f"\n{int(code)}\n{meaning}\n" in text


def test_every_variable_that_logsh_reads_is_there() -> None:
    sources = [path.read_text() for path in Path(logsh_cli.__file__).parent.rglob("*.py")]
    names = {name for source in sources for name in re.findall(r"\bLOGSH_[A-Z_]*[A-Z]\b", source)}

    assert names - INTERNAL == {name for name in ENVIRONMENT if name.startswith("LOGSH_")}


def test_the_page_is_the_same_at_each_build(tree: Command) -> None:
    assert page(tree) == page(read_tree(build_app()))
