"""The README does what it says: its commands are taken from it and run, its tables come from the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.parser import COMMANDS
from tests.support.command import environment
from tests.support.documents import README, ROOT, block, blocks, table
from tests.support.machine import Machine
from tests.support.pty_session import Session
from tests.support.sending import KEY, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix", reason="the commands are for a POSIX shell"),
]


@pytest.fixture
def machine(tmp_path: Path, service: Server) -> Machine:
    settings = settings_for(service)
    del settings["LOGSH_WORKSPACE"]
    return Machine(tmp_path, settings)


def test_every_shell_block_is_executed_or_is_what_runs_this() -> None:
    text = README.read_text(encoding="utf-8")
    shells = [each for each in blocks() if each.language == "sh"]
    assert text.count("```sh\n") == len(shells)
    unmarked = [each for each in shells if each.marker is None]
    assert [each.lines[1] for each in unmarked] == [INSTALL.splitlines()[0]], "marked, or the installation"


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    text = README.read_text(encoding="utf-8").split("<!-- exit codes -->\n", 1)[1].split("\n\n", 1)[0]
    plain = [[cell.replace("`", "") for cell in row] for row in table(text)]
    assert plain == [[str(int(code)), meaning] for code, meaning in EXIT_CODE_MEANINGS.items()]


def test_the_table_of_commands_names_each_of_them() -> None:
    text = README.read_text(encoding="utf-8").split("## Commands\n\n", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r"`logsh (\w+)", "".join(row[0] for row in table(text)))
    assert named == list(COMMANDS)


def test_the_json_result_that_is_shown_has_the_keys_of_a_real_one(machine: Machine) -> None:
    (shown,) = (json.loads(each.text) for each in blocks() if each.language == "json")
    body = shown["event"]
    command = ["send", "-e", body["event"], "-d", body["description"], "-w", body["workspace"], "--json"]
    real = json.loads(machine.run("logsh", *command).stdout)
    changing = ("id", "elapsed_ms")
    assert list(real) == list(shown)
    assert {**real, **dict.fromkeys(changing)} == {**shown, **dict.fromkeys(changing)}


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_the_main_command_works_from_a_fresh_copy_with_an_empty_home(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
    else:
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".*_cache", "__pycache__"))
    (command,) = block("main command").lines
    env = {"LOGSH_CONFIG_DIR": None, "LOGSH_STATE_DIR": None, "PIP_NO_CACHE_DIR": None, "PYTHONPATH": None}
    done = subprocess.run(
        ["sh", "-c", command], cwd=copy, env=environment(env), capture_output=True, text=True, check=False, timeout=500
    )
    if done.returncode and re.search(
        r"NewConnectionError|No matching distribution found for|Read timed out", done.stderr
    ):
        pytest.skip(f"pip can't reach a package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    # As shown below the command, but for times and numbers.
    shown = next(each.text for each in blocks() if not each.language)
    told = [re.sub(r"\d+ ms|\d\d:\d\d:\d\d|HTTP 20\d", "N", line) for line in shown.splitlines()]
    assert [re.sub(r"\d+ ms|\d\d:\d\d:\d\d|HTTP 20\d", "N", line) for line in done.stdout.splitlines()] == told


INSTALL = """\
logsh login                 # asks for the API key, checks it, stores it (0600)
logsh config set workspace my-product
logsh doctor                # is everything in place?
"""


def test_after_the_installation_three_lines_set_it_up(machine: Machine, service: Server) -> None:
    installing, *lines = next(each for each in blocks() if each.language == "sh" and each.marker is None).lines
    assert installing.startswith("pipx install logsh-cli ")
    assert "\n".join(lines) + "\n" == INSTALL
    env = {**machine.env, "LOGSH_API_KEY": None}
    with Session(["sh", "-eu", "-c", "\n".join(lines)], env=env, cwd=machine.work) as session:
        session.shows(b"API key: ")
        session.type(KEY.encode() + b"\n")
        shown = session.rest()
        assert session.wait() == 0, shown
    assert KEY.encode() not in shown
    assert machine.run("logsh", "send", "-e", "x", "-d", "y", env={"LOGSH_API_KEY": None}).returncode == 0
    assert service.events[-1]["workspace"] == "my-product"
