"""``action.yml``: its steps as GitHub runs them, their scripts by bash and their inputs by the environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.command import PATIENCE_S, environment
from tests.support.sending import KEY

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix" or shutil.which("bash") is None, reason="the action's steps are for bash"),
]

ACTION = Path(__file__).parents[1] / "action.yml"
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
GIVEN = {"api-key": KEY, "workspace": "ci", "event": "deploy.done"}


def action() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return parsed


class Runner:
    """One use of the action on a machine of GitHub's."""

    def __init__(self, tmp_path: Path, service: Server) -> None:
        self.temp = tmp_path / "runner temp"
        self.temp.mkdir()
        self.work = tmp_path / "checkout"
        self.work.mkdir()
        self._service = service

    def use(self, inputs: dict[str, str], **env: str) -> subprocess.CompletedProcess[str]:
        """Run the step that does the work. What the installing step leaves is this installation."""
        bin_ = self.temp / "logsh-venv" / "bin"
        if not bin_.exists():
            bin_.parent.mkdir()
            bin_.symlink_to(Path(sys.executable).parent)
        return self._step(action()["runs"]["steps"][-1], inputs, env)

    def _step(
        self, step: dict[str, Any], inputs: dict[str, str], env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        declared = action()["inputs"]
        assert set(inputs) <= set(declared)
        values = {f"inputs.{name}": inputs.get(name, spec.get("default", "")) for name, spec in declared.items()}
        values |= {"runner.temp": str(self.temp), "github.action_path": str(ACTION.parent)}
        assert not _EXPRESSION.search(step["run"]), "an expression in a script is a place to inject shell"
        own = {name: _EXPRESSION.sub(lambda found: values[found[1]], text) for name, text in step["env"].items()}
        github = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": "abc"}
        github |= {"RUNNER_TEMP": str(self.temp), "LOGSH_API_URL": self._service.url, "LOGSH_DEADLINE": "2"}
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        return subprocess.run(
            [step["shell"], "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=environment({"LOGSH_STATE_DIR": None, **github, **own, **env}),
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def runner(tmp_path: Path, service: Server) -> Runner:
    return Runner(tmp_path, service)


def test_the_file_is_an_action_whose_inputs_are_all_described_and_used() -> None:
    parsed = action()
    assert {"name", "description", "inputs", "runs"} <= set(parsed)
    assert parsed["runs"]["using"] == "composite"
    text = json.dumps(parsed["runs"])
    for name, spec in parsed["inputs"].items():
        assert spec["description"].endswith(".")
        assert f"inputs.{name} " in text
        assert isinstance(spec.get("default", ""), str), "GitHub passes text"
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(parsed["inputs"])
    for step in parsed["runs"]["steps"]:
        assert step["shell"] == "bash"


def test_the_installing_step_installs_the_code_of_this_very_tag(tmp_path: Path) -> None:
    """Its commands, with a ``python3`` that only writes down what it was told."""
    step = action()["runs"]["steps"][0]
    tools = tmp_path / "tools"
    tools.mkdir()
    recorder = '#!/bin/bash\nprintf "%s\\n" "$*" >> "$RUNNER_TEMP/calls"\n'
    recorder += 'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
    (tools / "python3").write_text(recorder)
    (tools / "python3").chmod(0o755)
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path / "temp"), "ACTION_PATH": "/action v1"}
    (tmp_path / "temp").mkdir()
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=environment(env), check=True)
    making, installing = (tmp_path / "temp" / "calls").read_text().splitlines()
    assert making == f"-m venv {tmp_path}/temp/logsh-venv"
    assert installing.startswith("-m pip install ")
    assert installing.endswith(" /action v1")


def test_it_sends_an_event(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "description": "v1 is live", "icon": ":rocket:", "notify": "true"})
    assert (done.returncode, done.stderr) == (0, "")
    (event,) = service.events
    assert (event["workspace"], event["event"], event["description"]) == ("ci", "deploy.done", "v1 is live")
    assert (event["icon"], event["notify"], event["metadata"]["ci_repository"]) == ("🚀", True, "o/r")


@pytest.mark.parametrize(("notify", "pushed"), [("true", True), ("false", False)])
def test_it_wraps_a_command_whose_status_is_the_steps(
    runner: Runner, service: Server, notify: str, pushed: bool
) -> None:
    script = "echo one\nfalse | cat\necho 'never reached'"
    done = runner.use({**GIVEN, "run": script, "notify": notify})
    assert (done.returncode, done.stdout, done.stderr) == (1, "one\n", "")
    (event,) = service.events
    assert event["metadata"]["status"] == "failed"
    assert event["metadata"]["ci_repository"] == "o/r"
    assert event.get("notify", False) is pushed


def test_a_command_runs_where_the_step_is_and_with_what_it_is_given(runner: Runner) -> None:
    (runner.work / "here").write_text("")
    done = runner.use({**GIVEN, "run": 'ls; echo "$MINE"; exit 9'}, MINE="a  b")
    assert (done.returncode, done.stdout) == (9, "here\na  b\n")


def test_more_options_may_stand_on_one_line_or_on_several(runner: Runner, service: Server) -> None:
    runner.use({**GIVEN, "description": "x", "args": "-m a=1  --meta=b=2"})
    runner.use({**GIVEN, "description": "x", "args": "-m a=1\n--meta=b=2\n"})
    runner.use({**GIVEN, "run": "exit 4", "args": "--on failure\n--success-codes 4"})
    assert [{"a", "b"} <= set(event["metadata"]) for event in service.events] == [True, True]


NASTY = [
    '"; touch pwned; "',
    "'; touch pwned; '",
    "$(touch pwned)",
    "`touch pwned`",
    "${PATH}",
    "a\ntouch pwned",
    "& touch pwned",
    "--version",
    "-h",
    "*",
    "\\",
]


@pytest.mark.parametrize("text", NASTY)
def test_no_input_can_become_shell_or_an_option(runner: Runner, service: Server, text: str) -> None:
    done = runner.use({**GIVEN, "event": text, "description": text, "workspace": "w" + text})
    assert (done.returncode, done.stderr) == (0, "")
    (event,) = service.events
    assert (event["event"], event["description"], event["workspace"]) == (text, text, "w" + text)
    wrapped = runner.use({**GIVEN, "event": text, "run": "exit 3"})
    assert wrapped.returncode == 3
    assert service.events[1]["event"] == text
    assert list(runner.work.iterdir()) == []


def test_more_options_are_never_shell(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "description": "x", "args": "-m a=$(touch${IFS}pwned) -m b=`id` -m c=* -m d=\"'"})
    assert (done.returncode, done.stderr) == (0, "")
    values = {name: value for name, value in service.events[0]["metadata"].items() if len(name) == 1}
    assert values == {"a": "$(touch${IFS}pwned)", "b": "`id`", "c": "*", "d": "\"'"}
    assert list(runner.work.iterdir()) == []


@pytest.mark.parametrize(
    ("inputs", "status"), [({"description": "x"}, 0), ({"run": "exit 0"}, 0), ({"run": "exit 5"}, 5)]
)
def test_without_a_key_the_step_is_what_it_would_be_without_us(
    runner: Runner, service: Server, inputs: dict[str, str], status: int
) -> None:
    done = runner.use({"workspace": "ci", "event": "x", **inputs})
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert "no API key" in done.stderr
    assert "::warning" not in done.stderr
    assert service.requests == []


@pytest.mark.parametrize(("inputs", "status"), [({"description": "x"}, 0), ({"run": "exit 5"}, 5)])
def test_a_service_that_is_down_is_one_warning_and_never_the_steps_failure(
    runner: Runner, service: Server, inputs: dict[str, str], status: int
) -> None:
    service.stop()
    done = runner.use({**GIVEN, **inputs})
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert done.stderr.startswith("::warning title=logsh::not delivered, kept as #1: ")


def test_an_event_that_breaks_a_rule_fails_the_step(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "description": ""})
    assert done.returncode == 2
    assert "--desc" in done.stderr
    assert service.requests == []


def test_the_key_is_in_no_output_and_no_argument(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "run": "ps -A -o args= | grep -F [l]ogsh_canary; true"})
    assert KEY not in done.stdout + done.stderr
    assert len(service.events) == 1
