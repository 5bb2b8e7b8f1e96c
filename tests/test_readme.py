"""The README does what it says: its commands are taken from it and run, its tables come from the code."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli.errors import ExitCode
from logsh_cli.parser import COMMANDS
from tests.support import answers as says
from tests.support.documents import README, ROOT, block, blocks, recipe, table
from tests.support.pty_session import Session
from tests.support.sending import KEY
from tests.test_layers import HOUSE, MODULES, PACKAGE

if TYPE_CHECKING:
    from tests.support.machine import Machine
    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix", reason="the commands are for a POSIX shell"),
]


RUN = {"install", "main command", "test command"}
"""Below, by ``tests/packaging/test_installers.py``, and to run these tests."""

SHOP = {"LOGSH_WORKSPACE": "shop"}
GONE = {"LOGSH_API_URL": "http://127.0.0.1:1", "LOGSH_DEADLINE": "0.3"}


def test_every_block_is_run_or_is_part_of_a_recipe_which_another_test_runs() -> None:
    assert README.read_text(encoding="utf-8").count("```") == 2 * len(blocks())
    for each in blocks():
        if each.marker and each.marker.startswith("from recipe: "):
            whole = {line.strip() for line in recipe(each.marker.removeprefix("from recipe: ")).lines}
            assert {line.strip() for line in each.lines} <= whole, each.marker
        elif each.language:
            assert each.marker in RUN, each.text


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_contributing_draws_the_house_as_it_is() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = text.split("## The house\n")[1].split("```")[1]
    names = [name.strip() for line in drawn.splitlines() for name in line.split("  ")[0].split(",") if name.strip()]
    assert [name.removesuffix("/").removesuffix(".py") for name in names] == HOUSE[:-1]
    assert {room.parts[0].removesuffix(".py") for room in MODULES} == set(HOUSE)
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", text):
        assert any(any(place.glob(path)) for place in (ROOT, PACKAGE, *PACKAGE.iterdir()) if place.is_dir()), path


def test_the_table_of_commands_names_each_of_them() -> None:
    text = README.read_text(encoding="utf-8").split("| command | does |", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r"`logsh (\w+)", "".join(row[0] for row in table(f"| command | does |{text}")))
    assert named == list(COMMANDS)


FAILURES: dict[int, tuple[list[str], dict[str, Any]]] = {
    1: (["sandbox", "--expect", "event=backup.nightly", "--", "true"], {}),
    2: (["send", "-e", "a", "-d", "x" * 151], {}),
    65: (["send", "-e", "a", "-d", "b"], {"answer": says.error(400, "bad_request", "No.")}),
    69: (["send", "-e", "a", "-d", "b"], {**GONE, "LOGSH_STATE_DIR": "/dev/null/x"}),
    75: (["send", "-e", "a", "-d", "b"], GONE),
    77: (["send", "-e", "a", "-d", "b"], {"LOGSH_API_KEY": "another"}),
    78: (["send", "-e", "a", "-d", "b"], {"LOGSH_API_KEY": ""}),
}
"""A command line for each exit code that takes no signal and no fault of ours, and what must be so for it."""


def test_the_table_of_failures_shows_messages_that_are_printed(machine: Machine, service: Server) -> None:
    text = README.read_text(encoding="utf-8").split("<!-- failures -->\n", 1)[1].split("\n\n", 1)[0]
    rows = {int(row[0]): row[1] for row in table(text)}
    assert set(rows) == {int(code) for code in ExitCode} - {0}
    for code, (command, settings) in FAILURES.items():
        env = {name: value for name, value in settings.items() if isinstance(value, str)}
        if answer := settings.get("answer"):
            service.script(answer)
        done = machine.run("logsh", *command, env={**SHOP, **env})
        shown = re.sub(r"#\d+", "#N", rows[code].strip("`"))
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert shown in re.sub(r"#\d+", "#N", done.stderr), code


# --- commands -------------------------------------------------------------------------------------------------------


def test_after_the_installation_two_lines_set_it_up(machine: Machine, service: Server) -> None:
    installing, *lines = block("install").lines
    assert installing.startswith("pipx install logsh-cli ")
    env = {**machine.env, "LOGSH_API_KEY": None}
    with Session(["sh", "-eu", "-c", "\n".join(lines)], env=env, cwd=machine.work) as session:
        session.shows(b"API key: ")
        session.type(KEY.encode() + b"\n")
        shown = session.rest()
        assert session.wait() == 0, shown
    assert KEY.encode() not in shown
    assert machine.run("logsh", "send", "-e", "x", "-d", "y", env={"LOGSH_API_KEY": None}).returncode == 0
    assert service.events[-1]["workspace"] == "my-product"
