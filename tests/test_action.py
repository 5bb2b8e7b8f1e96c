"""``action.yml``: its steps as GitHub runs them, their scripts by bash and their inputs by the environment."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support.command import PATIENCE_S, environment
from tests.support.processes import wait_until_none_is_left
from tests.support.sending import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix" or shutil.which("bash") is None, reason="the action's steps are for bash"),
]

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
PINNED = ROOT / ".github" / "action" / "requirements.txt"
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
INSTALLING_S = 4 * PATIENCE_S
GIVEN = {"api-key": KEY, "workspace": "ci", "event": "deploy.done"}


@functools.cache
def action() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return parsed


class Runner:
    """One use of the action on a machine of GitHub's: a folder for its temporary files, and the checkout."""

    def __init__(self, tmp_path: Path, service: Server) -> None:
        self.temp = tmp_path / "runner temp"
        self.temp.mkdir()
        self.work = tmp_path / "checkout"
        self.work.mkdir()
        self.outputs: dict[str, dict[str, str]] = {}
        self._service = service

    def use(self, inputs: dict[str, str], **env: str) -> subprocess.CompletedProcess[str]:
        """Run the step that does the work, as if the one before had installed what runs these tests."""
        self.outputs.setdefault("install", {"program": sys.executable})
        return self.step("use", inputs, env)

    def step(
        self, name: str, inputs: Mapping[str, str], env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one step to its end."""
        with self.start(name, inputs, env or {}) as process:
            stdout, stderr = process.communicate(timeout=INSTALLING_S if name == "install" else PATIENCE_S)
        lines = (self.temp / name).read_text().splitlines()
        self.outputs[name] = dict(line.split("=", 1) for line in lines)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, name: str, inputs: Mapping[str, str], env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start one step."""
        (step,) = (each for each in action()["runs"]["steps"] if each.get("id") == name)
        declared = action()["inputs"]
        assert set(inputs) <= set(declared)
        values = {f"inputs.{name}": inputs.get(name, spec.get("default", "")) for name, spec in declared.items()}
        values |= {"runner.temp": str(self.temp), "github.action_path": str(ROOT)}
        for done, outputs in self.outputs.items():
            values |= {f"steps.{done}.outputs.{output}": value for output, value in outputs.items()}
        assert not _EXPRESSION.search(step["run"]), "an expression in a script is a place to inject shell"
        own = {
            name: _EXPRESSION.sub(lambda found: values.get(found[1], ""), text) for name, text in step["env"].items()
        }
        github = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": "abc"}
        github |= {"RUNNER_TEMP": str(self.temp), "GITHUB_OUTPUT": str(self.temp / name)}
        github |= {"LOGSH_API_URL": self._service.url, "LOGSH_DEADLINE": "30"}
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        (self.temp / name).touch()
        return subprocess.Popen(
            [step["shell"], "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=environment({"LOGSH_STATE_DIR": None, **github, **own, **env}),
            cwd=self.work,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def runner(tmp_path: Path, service: Server) -> Runner:
    return Runner(tmp_path, service)


# --- what it consists of --------------------------------------------------------------------------------------------


def test_the_file_is_an_action_whose_inputs_are_all_described_and_used() -> None:
    parsed = action()
    assert {"name", "description", "inputs", "outputs", "runs"} <= set(parsed)
    assert parsed["runs"]["using"] == "composite"
    text = json.dumps(parsed["runs"])
    for name, spec in parsed["inputs"].items():
        assert spec["description"].endswith("."), name
        assert isinstance(spec.get("default", ""), str), "GitHub passes text"
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(parsed["inputs"])
    for step in parsed["runs"]["steps"]:
        assert step.get("shell") == "bash" or re.search(r"@[0-9a-f]{40}$", step["uses"]), "a tag can be moved"


def test_every_python_of_its_scripts_is_isolated_from_the_checkout() -> None:
    for step in action()["runs"]["steps"]:
        for line in step.get("run", "").splitlines():
            for option in re.findall(r'(?:^ *|exec |\$\()"\$(?:python|PYTHON|program|PROGRAM)" (\S+)', line):
                assert option == "-I", line


def test_every_dependency_is_pinned_with_its_hashes_to_a_version_that_is_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(
        re.findall(r"(?m)^(\S+)==(\S+)(?: ; [^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}", PINNED.read_text("utf-8"))
    )
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(pinned.get(needed.name, "0")), f"run `.ci/pin`: {needed}"


# --- installing -----------------------------------------------------------------------------------------------------

HOSTILE = ("pip", "venv", "logging", "json", "httpx", "typer", "logsh_cli", "sitecustomize")
"""Modules that a pull request brings along; each leaves a file where it runs."""


def plant_modules(directory: Path) -> None:
    for name in HOSTILE:
        package = directory / name
        package.mkdir()
        for file in ("__init__.py", "__main__.py"):
            (package / file).write_text(f"open({str(directory / 'pwned')!r}, 'a').write('{name} ')\n")


def skip_without_index(installed: subprocess.CompletedProcess[str]) -> None:
    if re.search(r"NewConnectionError|No matching distribution found|Read timed out", installed.stderr):
        pytest.skip(f"pip can't reach a package index: {installed.stderr.strip().splitlines()[-1]}")


@pytest.mark.long
@pytest.mark.timeout(2 * INSTALLING_S)
def test_it_installs_itself_beside_modules_of_a_pull_request_and_runs_none_of_them(
    runner: Runner, service: Server, tmp_path: Path
) -> None:
    plant_modules(runner.work)
    env = {"PYTHONPATH": str(runner.work), "PIP_CONFIG_FILE": os.environ.get("PIP_CONFIG_FILE", "")}
    env = {name: value for name, value in env.items() if value}

    assert runner.step("python", GIVEN, env).returncode == 0
    assert re.fullmatch(r"3\.\d+\.\d+\S*-[0-9a-f]{16}", runner.outputs["python"]["key"])
    installed = runner.step("install", GIVEN, env)
    skip_without_index(installed)
    assert (installed.returncode, installed.stdout, installed.stderr) == (0, "", "")
    down = {**env, "LOGSH_API_URL": "http://127.0.0.1:1", "LOGSH_DEADLINE": "0.5"}
    kept = runner.step("use", {**GIVEN, "description": "v0 is live"}, down)
    sent = runner.step("use", {**GIVEN, "description": "v1 is live"}, env)
    wrapped = runner.step("use", {**GIVEN, "run": "exit 3"}, env)

    assert (kept.returncode, sent.returncode, sent.stderr, wrapped.returncode) == (0, 0, "", 3)
    # What was kept comes from a process that the delivery started: that one is isolated, too.
    assert len(service.wait_for_events(3)) == 3
    wait_until_none_is_left(runner.temp / "logsh-state")
    assert not (runner.work / "pwned").exists(), (runner.work / "pwned").read_text()

    # As on Windows: a Python whose environments, here the one that was just made, keep their programs in Scripts.
    made = tmp_path / "made"
    (runner.temp / "logsh-venv").rename(made)
    (made / "bin").rename(made / "Scripts")
    (made / "Scripts" / "python").rename(made / "Scripts" / "python.exe")
    maker = tmp_path / "python"
    maker.write_text(f'#!/bin/sh\nmv {made} "$4"\n')
    maker.chmod(0o755)
    runner.outputs["python"] = {"program": str(maker)}
    assert runner.step("install", GIVEN, env).stdout == ""
    assert runner.outputs["install"]["program"].endswith("/Scripts/python.exe")
    assert runner.step("use", {**GIVEN, "run": "exit 3"}).returncode == 3


@pytest.mark.long
@pytest.mark.timeout(2 * INSTALLING_S)
def test_an_archive_that_is_not_the_pinned_one_is_not_installed_and_the_command_runs(
    runner: Runner, service: Server, tmp_path: Path
) -> None:
    action_path = tmp_path / "action"
    (action_path / ".github" / "action").mkdir(parents=True)
    pinned = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", PINNED.read_text())
    (action_path / ".github" / "action" / "requirements.txt").write_text(pinned)
    runner.outputs["python"] = {"program": sys.executable}

    installed = runner.step("install", GIVEN, {"ACTION_PATH": str(action_path)})
    assert (installed.returncode, runner.outputs["install"]) == (0, {})
    assert installed.stdout == "::warning title=logsh::nothing will be sent: logsh could not be installed\n"
    done = runner.step("use", {**GIVEN, "run": "echo built; env | grep -c INPUT_ || true; exit 4"})
    assert (done.returncode, done.stdout, done.stderr) == (4, "built\n0\n", "")
    assert runner.outputs["use"] == {"status": "unavailable"}
    assert runner.step("use", {**GIVEN, "description": "v1 is live"}).returncode == 0
    assert service.requests == []


def test_a_python_that_is_too_old_is_one_warning_and_the_command_runs(runner: Runner, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", "python"):
        (tools / name).write_text(f"#!/bin/sh\nexec {sys.executable} -c 'raise SystemExit(1)'\n")
        (tools / name).chmod(0o755)

    found = runner.step("python", GIVEN, {"PATH": f"{tools}:/usr/bin:/bin"})
    done = runner.step("use", {**GIVEN, "run": "exit 4"})

    assert (found.returncode, found.stdout.count("\n"), runner.outputs["python"]) == (0, 1, {})
    assert found.stdout.startswith("::warning title=logsh::nothing will be sent: no Python 3.11 or later")
    assert done.returncode == 4


# --- using ----------------------------------------------------------------------------------------------------------


def test_it_sends_an_event(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "description": "v1 is live", "icon": ":rocket:", "notify": "true"})
    assert (done.returncode, done.stderr) == (0, "")
    (event,) = service.events
    assert (event["workspace"], event["event"], event["description"]) == ("ci", "deploy.done", "v1 is live")
    assert (event["icon"], event["notify"], event["metadata"]["ci_repository"]) == ("🚀", True, "o/r")
    assert runner.outputs["use"] == {"status": "delivered", "exit-code": "0"}


def test_it_wraps_a_command_whose_status_is_the_steps(runner: Runner, service: Server) -> None:
    run = {**GIVEN, "run": "echo one\nfalse | cat\necho 'never reached'"}
    done = runner.use(run)
    assert (done.returncode, done.stdout, done.stderr) == (1, "one\n", "")
    assert runner.outputs["use"] == {"status": "failed", "exit-code": "1"}
    runner.use({**run, "notify": "true"})
    quiet, pushed = service.events
    assert (quiet["metadata"]["status"], quiet["metadata"]["ci_repository"]) == ("failed", "o/r")
    assert (quiet.get("notify", False), pushed["notify"]) == (False, True)


def test_a_command_runs_where_the_step_is_and_with_what_it_is_given(runner: Runner) -> None:
    (runner.work / "here").write_text("")
    done = runner.use({**GIVEN, "run": 'ls; echo "$MINE"; env | grep -c ^INPUT_ || true; exit 9'}, MINE="a  b")
    assert (done.returncode, done.stdout) == (9, "here\na  b\n0\n")


def test_a_signal_of_the_runner_reaches_the_command(runner: Runner, service: Server) -> None:
    runner.outputs["install"] = {"program": sys.executable}
    script = "trap 'echo stopping; exit 6' TERM; echo ready; while :; do sleep 0.1; done"
    with runner.start("use", {**GIVEN, "run": script}, {}) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopping\n"
        assert process.wait(PATIENCE_S) == 6
    assert service.events[0]["metadata"]["exit_code"] == 6


def test_each_option_has_its_effect(runner: Runner, service: Server) -> None:
    run = {**GIVEN, "run": "echo the last words; exit 4", "metadata": "team=web\nbuild:=7\n"}
    told = {"tail": "5", "notify-on": "always", "start": "true", "description": "nightly", "icon": ":fire:"}
    runner.use({**run, **told})
    start, end = service.wait_for_events(2)
    assert (start["metadata"]["status"], end["metadata"]["team"], end["metadata"]["build"]) == ("started", "web", 7)
    assert (end["metadata"]["output"], end["notify"], end["icon"]) == ("words", True, "🔥")
    assert end["description"].startswith("nightly: failed with exit code 4")
    runner.use({**run, "on": "failure", "success-codes": "0,4"})
    assert len(service.events) == 2
    quiet = {**GIVEN, "run": "echo noise", "quiet-job": "true", "longer-than": "1m"}
    assert (runner.use(quiet).stdout, len(service.events)) == ("", 2)
    timed_out = runner.use({**run, "run": "sleep 60", "timeout": "1s"})
    assert timed_out.returncode
    assert service.events[-1]["metadata"]["status"] == "timed_out"
    again = {**run, "on": "change", "state-directory": str(runner.work / "state")}
    assert [runner.use(again).returncode for _ in range(2)] == [4, 4]
    assert len(service.events) == 4, "the second failure is no change"


def test_what_is_given_by_the_jobs_environment_need_not_be_an_input(runner: Runner, service: Server) -> None:
    done = runner.use({"event": "x", "description": "y"}, LOGSH_API_KEY=KEY, LOGSH_WORKSPACE="of the job")
    assert (done.returncode, service.events[0]["workspace"]) == (0, "of the job")


NASTY = [
    '"',
    "'",
    "$(touch pwned)",
    "`touch pwned`",
    "${PATH}",
    "\ntouch pwned\n",
    "; touch pwned;",
    "& touch pwned",
    "\\",
]


@pytest.mark.parametrize("text", ["".join(NASTY), "--version", "-h", "*"], ids=["nasty", "--version", "-h", "*"])
def test_no_input_can_become_shell_or_an_option(runner: Runner, service: Server, text: str) -> None:
    workspace = text[-35:].strip()
    done = runner.use({**GIVEN, "event": text, "description": text, "workspace": workspace})
    assert (done.returncode, done.stderr) == (0, "")
    assert runner.use({**GIVEN, "event": text, "run": "exit 3"}).returncode == 3
    sent, wrapped = service.events
    assert (sent["event"], sent["description"], sent["workspace"]) == (text, text, workspace)
    assert wrapped["event"] == text
    assert list(runner.work.iterdir()) == []


def test_more_options_stand_on_one_line_or_on_several_and_are_never_shell(runner: Runner, service: Server) -> None:
    done = runner.use(
        {**GIVEN, "description": "x", "args": "-m a=$(touch${IFS}pwned)  -m b=`id`\n--meta=c=* -m d=\"'\n"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    values = {name: value for name, value in service.events[0]["metadata"].items() if len(name) == 1}
    assert values == {"a": "$(touch${IFS}pwned)", "b": "`id`", "c": "*", "d": "\"'"}
    assert list(runner.work.iterdir()) == []
    runner.use({**GIVEN, "run": "exit 4", "args": "--on failure\n--success-codes 4"})
    assert len(service.events) == 1


@pytest.mark.parametrize(
    ("inputs", "status", "told"), [({"description": "x"}, 0, "skipped"), ({"run": "exit 5"}, 5, "failed")]
)
def test_without_a_key_the_step_is_what_it_would_be_without_us(
    runner: Runner, service: Server, inputs: dict[str, str], status: int, told: str
) -> None:
    done = runner.use({"workspace": "ci", "event": "x", **inputs})
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert "no API key" in done.stderr
    assert "::warning" not in done.stderr
    assert service.requests == []
    assert runner.outputs["use"] == {"status": told, "exit-code": str(status)}


@pytest.mark.parametrize(
    ("inputs", "status", "told"), [({"description": "x"}, 0, "queued"), ({"run": "exit 5"}, 5, "failed")]
)
def test_a_service_that_is_down_is_one_warning_and_never_the_steps_failure(
    runner: Runner, service: Server, inputs: dict[str, str], status: int, told: str
) -> None:
    service.stop()
    done = runner.use({**GIVEN, **inputs, "deadline": "1"})
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert done.stderr.startswith("::warning title=logsh::not delivered, kept as #1: ")
    assert runner.outputs["use"]["status"] == told


def test_an_event_that_breaks_a_rule_fails_the_step(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "description": ""})
    assert done.returncode == 2
    assert "--desc" in done.stderr
    assert service.requests == []
    assert runner.outputs["use"] == {"status": "failed", "exit-code": "2"}


def test_the_key_is_in_no_output_and_no_argument(runner: Runner, service: Server) -> None:
    done = runner.use({**GIVEN, "run": "ps -A -o args= | grep -F [l]ogsh_canary; true"})
    assert KEY not in done.stdout + done.stderr
    assert len(service.events) == 1
