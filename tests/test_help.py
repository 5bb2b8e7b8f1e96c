"""The text of ``--help`` and ``logsh help`` is true, fits, and reads the same everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from completions.tree import read_tree
from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.help import ENVIRONMENT, RESULT_FIELDS, TOPICS
from logsh_cli.help.layout import ALL, ARGUMENTS, SHORT_LIST
from logsh_cli.options import ADVANCED
from logsh_cli.outbox.rows import State
from logsh_cli.output import Result, to_json
from logsh_cli.parser import GROUPS, build_app
from tests.support.command import LOGSH
from tests.support.inprocess import call_main
from tests.support.pty_session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sending import Logsh

    HelpOf = Callable[..., str]

TREE = read_tree(build_app())
EVERY = {" ".join(command.path): command for command in TREE.walk()}
EVERYDAY = ("send", "run", "batch", "outbox", "login")
TALLEST = 40

OWN_WORDS = {"--adopt", "--deadline", "--event", "--desc", "--description", "--workspace", "--json", "--dry-run"}
"""Options that mean something else from command to command."""


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> HelpOf:
    """The help of a command at a width."""

    def show(*args: str, columns: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        done = call_main(*args)
        assert done.code == 0
        return done.stdout + capsys.readouterr().out

    return show


def test_help_is_a_process_of_its_own_too_and_plain_characters(logsh: Logsh) -> None:
    for option in ("--help", "-h"):
        done = logsh("send", option, env={"COLUMNS": "80", "LC_ALL": "C"})
        assert (done.code, done.stderr) == (0, "")
        assert done.stdout.startswith("Usage: logsh send ")
        assert done.raw_stdout.isascii()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_help_of_every_command_fits_the_terminal_and_is_never_wider_than_100(help_of: HelpOf, columns: int) -> None:
    for name, command in EVERY.items():
        shown = help_of(*name.split()[1:], "--help", columns=columns)
        assert shown.startswith(f"Usage: {name} "), name
        assert shown.isascii(), name
        verbatim = {line.strip() for line in command.text.splitlines()}  # examples are copied, not wrapped
        prose = [line for line in shown.splitlines() if columns >= 80 or line.strip() not in verbatim]
        assert max(map(len, prose)) <= min(columns, 100), name


def test_the_help_of_an_everyday_command_fits_one_screen(help_of: HelpOf) -> None:
    tall = {name: len(help_of(name, "--help").splitlines()) for name in EVERYDAY}
    assert {name: lines for name, lines in tall.items() if lines > TALLEST} == {}


def test_rarely_used_options_are_named_last_and_explained_by_the_whole_help(help_of: HelpOf) -> None:
    for name, command in EVERY.items():
        for heading, rows in command.sections:
            if heading == ADVANCED:
                assert command.sections[-1][0] == ADVANCED, name
                brief, whole = help_of(*name.split()[1:], "--help"), help_of("help", *name.split()[1:])
                assert f"see `{name.replace('logsh', 'logsh help', 1)}`" in " ".join(brief.split())
                for names, sentence in rows:
                    words = sentence.split(".")[0]
                    assert names.split()[0] in brief, name
                    assert words not in " ".join(brief.split()), name
                    assert words in " ".join(whole.split()), name


def test_every_command_has_an_example_that_calls_it_or_names_commands_that_have_one() -> None:
    for name, command in EVERY.items():
        examples = [block for block in command.text.split("\n\n") if block.startswith("\b")]
        assert examples or command.commands, name
        assert not examples or any(name in block for block in examples), name


def test_a_long_list_of_options_stands_under_headings_and_a_short_one_does_not() -> None:
    for name, command in EVERY.items():
        sections = {heading: rows for heading, rows in command.sections if heading != ARGUMENTS}
        if sum(map(len, sections.values())) <= SHORT_LIST and ADVANCED not in sections:
            assert list(sections) == [ALL], name
        else:
            assert len(sections) > 2, name
        last = [rows for heading, rows in sections.items() if heading != ADVANCED][-1]
        assert last[-1][0] == "-h, --help", name


def test_every_sentence_starts_in_the_same_column(help_of: HelpOf) -> None:
    lines = help_of("send", "--help").splitlines()
    starts = {
        line.index(words) for line in lines for words in ("What hap", "Print the r", "Show this") if words in line
    }
    assert len(starts) == 1


def test_an_option_has_the_same_words_wherever_it_appears() -> None:
    words: dict[str, set[str]] = {}
    for command in TREE.walk():
        for option in command.options:
            words.setdefault(option.names[-1], set()).add(option.words)
    assert {name for name, said in words.items() if len(said) > 1} <= OWN_WORDS


def test_commands_are_listed_in_the_groups_of_the_table_and_hidden_ones_are_not(help_of: HelpOf) -> None:
    shown = help_of("--help")
    for heading, names in GROUPS.items():
        listed = shown.split(f"\n{heading}:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed] == list(names)
    assert "courier" not in shown
    assert not any("courier" in name for name in EVERY)


def test_the_first_example_needs_no_account(help_of: HelpOf) -> None:
    assert re.findall(r"^    (logsh .*)", help_of("--help"), re.MULTILINE)[0].startswith("logsh sandbox -- ")


def test_a_range_is_said_in_words(help_of: HelpOf) -> None:
    assert "[default: 4; 1 to 64]" in " ".join(help_of("help", "batch").split())


def test_every_sentence_ends_with_a_full_stop() -> None:
    def sentence(words: str) -> str:
        return words.split("  [", maxsplit=1)[0]

    rows = [row for command in TREE.walk() for _, rows in command.sections for row in rows]
    summaries = [command.summary for command in TREE.walk()]
    assert not [text for text in (*(sentence(words) for _, words in rows), *summaries) if not text.endswith(".")]


# logsh help


def test_help_shows_what_the_option_shows_for_commands_without_rare_options(help_of: HelpOf) -> None:
    for name, command in EVERY.items():
        if all(heading != ADVANCED for heading, _ in command.sections):
            words = name.split()[1:]
            assert help_of("help", *words).rstrip() == help_of(*words, "--help").rstrip(), name


def test_the_topics_come_from_the_tables() -> None:
    codes = call_main("help", "exit-codes").stdout
    for code, meaning in EXIT_CODE_MEANINGS.items():
        assert re.search(rf"^  {int(code)} +{re.escape(meaning[:30])}", codes, re.MULTILINE)
    named = call_main("help", "environment").stdout
    assert all(f"  {name}" in named for name in ENVIRONMENT)
    fields = call_main("help", "json").stdout
    assert set(to_json(Result("dry_run", request={}))) == set(RESULT_FIELDS)
    assert all(f"  {name} " in fields for name in RESULT_FIELDS)
    assert all(re.search(rf"\b{state}\b", fields) for state in get_args(State))
    for topic in TOPICS:
        assert max(map(len, call_main("help", topic).stdout.splitlines())) <= 80


@pytest.mark.parametrize("words", [("nonsense",), ("outbox", "nonsense"), ("send", "more")], ids=" ".join)
def test_help_on_what_there_is_not_is_wrong_usage(words: tuple[str, ...]) -> None:
    done = call_main("help", *words)
    assert (done.code, done.stdout) == (2, "")
    assert words[-1] in done.stderr


# On a terminal


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_help_is_coloured_on_a_terminal_that_wants_it(env: dict[str, str], coloured: bool) -> None:
    with Session([str(LOGSH), "send", "--help"], env={"TERM": "xterm", **env}) as session:
        shown = session.rest().decode()
        assert session.wait() == 0
    assert ("\x1b[1mEvent:\x1b[0m" in shown) is coloured
    assert ("\x1b[36m-e, --event NAME\x1b[0m" in shown) is coloured
    assert coloured or "\x1b[" not in shown


def test_the_help_that_stands_for_a_command_that_is_missing_is_coloured_where_it_is_shown() -> None:
    with Session(["sh", "-c", f"{LOGSH} 2>/dev/null; {LOGSH} outbox >/dev/null"], env={"TERM": "xterm"}) as session:
        shown = session.rest().decode()
        assert session.wait() == 2
    assert shown.startswith("\x1b[1mUsage:\x1b[0m logsh outbox")
    done = call_main("outbox", env={"TERM": "xterm"})
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: logsh outbox")


def test_force_color_colours_help_in_a_pipe_too(logsh: Logsh) -> None:
    assert "\x1b[1mEvent:" in logsh("send", "--help", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in logsh("send", "--help").stdout
