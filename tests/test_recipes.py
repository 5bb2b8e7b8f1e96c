"""The recipes do what they say: each is taken from ``docs/recipes.md`` and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.command import PATIENCE_S, environment
from tests.support.documents import RECIPES, ROOT, blocks, recipe
from tests.support.sending import KEY
from tests.support.server import Server, gated

if TYPE_CHECKING:
    from tests.support.machine import Machine

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix", reason="the recipes are for POSIX systems"),
]

SHOP = {"LOGSH_WORKSPACE": "shop"}

EXECUTED = {
    *("one-liner", "cron", "systemd", "systemd failure unit", "journal", "github", "github action", "gitlab"),
    *("jenkins", "make", "trap", "git hook", "ansible", "docker", "docker health", "kubernetes"),
    *("nothing gets lost", "flush timer", "assert", "completion"),
}
"""The recipes that a test below executes, and cron's, which a real cron does in ``test_cron``."""


def test_every_block_is_a_recipe_that_a_test_executes() -> None:
    assert sorted(each.marker or "" for each in blocks(RECIPES)) == sorted(f"recipe: {name}" for name in EXECUTED)
    assert RECIPES.read_text(encoding="utf-8").count("```") == 2 * len(EXECUTED)


def test_the_one_liners_send_what_they_say(machine: Machine, service: Server) -> None:
    (machine.work / "users.csv").write_text("1\n2\n3\n")
    done = machine.script(recipe("one-liner").text, env=SHOP)
    assert done.returncode == 0, done.stderr
    events = {event["event"]: event for event in service.wait_for_events(3)}
    signup = events["user.signup"]
    assert (signup["description"], signup["icon"], signup["notify"]) == ("Ada joined", "🎉", True)
    assert signup["metadata"] == {"plan": "pro", "seats": 3}
    assert events["import.done"]["description"] == "3 users imported"
    assert "%" in events["disk.usage"]["description"]
    machine.wait_for_couriers()


def test_nothing_gets_lost(machine: Machine) -> None:
    done = machine.script(recipe("nothing gets lost").text, env={"LOGSH_API_KEY": None, "LOGSH_API_URL": None})
    assert done.returncode == 0, done.stderr
    listed, flushed, received = done.stdout.splitlines()
    assert "order.paid" in listed
    assert flushed.startswith("1 delivered")
    assert "order.paid  42 EUR" in received
    assert "not delivered, kept as #1" in done.stderr


@pytest.mark.parametrize(
    ("nightly", "status"),
    [("logsh run -e backup.nightly -- true", 0), ("logsh run -e another -- true", 1), ("true", 1)],
    ids=["sent", "something else sent", "nothing sent"],
)
def test_a_script_can_be_asserted_on(machine: Machine, nightly: str, status: int) -> None:
    machine.program("nightly.sh", nightly)
    assert machine.script(recipe("assert").text).returncode == status


def test_completion_scripts_go_where_the_shells_look(machine: Machine) -> None:
    done = machine.script(recipe("completion").text)
    assert done.returncode == 0, done.stderr
    home = Path(os.environ["HOME"])
    for name, path in (
        ("logsh.bash", ".local/share/bash-completion/completions/logsh"),
        ("_logsh", ".zfunc/_logsh"),
        ("logsh.fish", ".config/fish/completions/logsh.fish"),
        ("logsh.1", ".local/share/man/man1/logsh.1"),
    ):
        assert (home / path).read_bytes() == (ROOT / "completions" / name).read_bytes()


LINTED = {
    **dict.fromkeys(
        ("one-liner", "journal", "trap", "git hook", "assert", "completion", "nothing gets lost"),
        ("shellcheck", "--shell=sh"),
    ),
    **dict.fromkeys(("docker", "docker health"), ("hadolint",)),
    "gitlab": ("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci"),
    "github action": ("check-jsonschema", "--builtin-schema", "vendor.github-workflows"),
    "kubernetes": ("kubernetes-validate", "--strict"),
    "ansible": ("ansible-playbook", "--syntax-check"),
}
"""The verdict of each kind of file's own tool; systemd's is asked in the tests of the units."""


@pytest.mark.parametrize("name", LINTED)
def test_a_recipe_is_right_by_the_tool_of_its_kind(machine: Machine, name: str) -> None:
    program, *options = LINTED[name]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    file = machine.work / ("recipe.yaml" if recipe(name).language == "yaml" else "recipe")
    file.write_text(recipe(name).text)
    done = machine.run(program, *options, str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_the_workflows_are_right_by_actionlint(machine: Machine) -> None:
    directory = machine.work / ".github" / "workflows"
    directory.mkdir(parents=True)
    for name in ("github", "github action"):
        text = recipe(name).text
        (directory / f"{name}.yaml").write_text(text if text.startswith("on:") else f"on: push\n{text}")
    done = machine.run("actionlint", *map(str, directory.iterdir()))
    assert done.returncode == 0, done.stdout + done.stderr


class Units:
    """The unit files of a recipe with the paths of this machine in them."""

    def __init__(self, machine: Machine, *recipes: str) -> None:
        self.directory = machine.work / "units"
        self.directory.mkdir()
        self.credentials = machine.work / "credentials"
        self.credentials.mkdir()
        (self.credentials / "logsh-api-key").write_text(f"{KEY}\n")
        self.machine = machine
        for text in (recipe(name).text for name in recipes):
            for name, body in re.findall(r"# /etc/systemd/system/(\S+)\n(.*?)(?=\n# /etc|\Z)", text, re.DOTALL):
                (self.directory / name).parent.mkdir(exist_ok=True)
                (self.directory / name).write_text(self.here(body))

    def here(self, text: str) -> str:
        text = text.replace("/usr/local/bin/logsh", str(self.machine.bin / "logsh"))
        text = text.replace("/usr/local/bin/backup.sh", str(self.machine.work / "usr/local/bin/backup.sh"))
        text = text.replace("/etc/logsh/api-key", str(self.credentials / "logsh-api-key"))
        return text.replace("/var/lib/logsh", str(self.machine.state))

    def verify(self) -> str:
        """Return systemd's objections to them."""
        if shutil.which("systemd-analyze") is None:
            return ""
        # A template is verified as an instance of it.
        units = [str(path).replace("@.", "@x.") for path in self.directory.iterdir() if path.is_file()]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if str(self.directory) in line)

    def start(self, name: str, **specifiers: str) -> subprocess.CompletedProcess[str]:
        """Run ``ExecStart`` as systemd does for a system service: hardly any environment, no HOME, no shell."""
        text = (self.directory / name).read_text()
        env = dict(re.findall(r"^Environment=(\w+)=(\S+)$", text, re.MULTILINE))
        if "LoadCredential=logsh-api-key:" in text:
            env["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
        words = [re.sub(r"%(\w)", lambda found: specifiers[found[1]], word) for word in shlex.split(command)]
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "LOGSH_API_URL": self.machine.env["LOGSH_API_URL"] or "",
            **env,
        }
        return subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_a_systemd_job_reports_itself(machine: Machine, service: Server) -> None:
    machine.program("/usr/local/bin/backup.sh", "echo saving; exit 3")
    units = Units(machine, "systemd")
    assert units.verify() == ""
    done = units.start("backup.service")
    assert (done.returncode, done.stdout, done.stderr) == (3, "saving\n", "")
    (job,) = service.events
    assert (job["workspace"], job["event"], job["metadata"]["exit_code"]) == ("servers", "backup.nightly", 3)
    assert job["notify"] is True
    assert machine.state.is_dir()


def test_any_other_unit_has_its_failures_reported_by_one_of_its_own(machine: Machine, service: Server) -> None:
    units = Units(machine, "systemd failure unit")
    (units.directory / "web.service").write_text("[Service]\nExecStart=/bin/false\n")
    assert units.verify() == ""
    assert "OnFailure=logsh-failure@%n.service" in (units.directory / "web.service.d" / "logsh.conf").read_text()
    assert "OnFailure" not in recipe("systemd").text, "each failure would push twice"
    failure = units.start("logsh-failure@.service", i="web.service", H="web-1")
    assert failure.returncode == 0, failure.stderr
    (failed,) = service.events
    assert (failed["event"], failed["description"]) == ("unit.failed", "web.service failed on web-1")
    assert (failed["icon"], failed["notify"]) == ("❌", True)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_journal_is_sent_as_it_is_written(machine: Machine, service: Server) -> None:
    entries = [
        {"MESSAGE": "disk failing", "_SYSTEMD_UNIT": "smartd.service"},
        {"MESSAGE": [100, 255], "_SYSTEMD_UNIT": "odd.service"},
        {"MESSAGE": "x" * 400},
    ]
    lines = "\n".join(json.dumps(entry) for entry in entries)
    journalctl = machine.program("journalctl", f"cat <<'E'\n{lines}\nE")
    (machine.bin / "journalctl").symlink_to(journalctl)
    done = machine.script(recipe("journal").text)
    assert done.returncode == 0, done.stderr
    events = {event["metadata"]["unit"]: event for event in service.events}
    assert events["smartd.service"]["description"] == "disk failing"
    assert events["odd.service"]["description"] == "[100,255]"
    assert len(events["none"]["description"]) == 150
    assert {event["workspace"] for event in service.events} == {"servers"}


def test_the_flush_timer_is_right_silent_during_an_outage_and_flushes_after_it(
    machine: Machine, service: Server
) -> None:
    units = Units(machine, "flush timer")
    assert sorted(path.name for path in units.directory.iterdir()) == ["logsh-flush.service", "logsh-flush.timer"]
    assert units.verify() == ""
    outage = {**SHOP, "LOGSH_DEADLINE": "0.3", "LOGSH_API_URL": "http://127.0.0.1:1"}
    assert machine.run("logsh", "send", "-e", "x", "-d", "y", env=outage).returncode == 75
    (command,) = re.findall(r"^ExecStart=(.+)$", (units.directory / "logsh-flush.service").read_text(), re.MULTILINE)
    assert command.removeprefix("/").partition("logsh ")[2] == recipe("cron").lines[-1].partition("logsh ")[2]
    during = machine.run(*shlex.split(command), env=outage)
    assert (during.returncode, during.stdout, during.stderr) == (0, "", ""), "cron would mail it each time"
    after = machine.run(*shlex.split(command))
    assert (after.returncode, after.stdout, after.stderr) == (0, "", "")
    assert [event["event"] for event in service.events] == ["x"]


def test_the_github_workflow_reports_failures_and_deployments(machine: Machine, service: Server) -> None:
    (machine.work / "Makefile").write_text("test:\n\t@echo one test failed; exit 1\n")
    (job,) = yaml.safe_load(recipe("github").text)["jobs"].values()
    env = {name: str(value).replace("${{ secrets.LOGSH_API_KEY }}", KEY) for name, value in job["env"].items()}
    env |= {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": "abc"}
    checkout, installing, tests, deployed = job["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert installing["run"] == "pipx install logsh-cli"
    done = [machine.script(step["run"], "bash", env=env) for step in (tests, deployed)]
    assert [each.returncode for each in done] == [2, 0]
    failed, sent = service.events
    assert (failed["event"], failed["workspace"], failed["metadata"]["exit_code"]) == ("tests", "ci", 2)
    assert "one test failed" in failed["metadata"]["output"]
    assert (sent["event"], sent["description"]) == ("deploy.done", "deployed")
    assert failed["metadata"]["ci_repository"] == sent["metadata"]["ci_repository"] == "o/r"
    # A pull request from a fork has no secrets.
    for step, status in ((tests, 2), (deployed, 0)):
        forked = machine.script(step["run"], "bash", env={**env, "LOGSH_API_KEY": ""})
        assert forked.returncode == status
        assert "no API key" in forked.stderr
    assert len(service.events) == 2


def test_the_action_is_used_with_inputs_that_it_has_and_the_state_is_kept_of_failed_jobs_too() -> None:
    (job,) = yaml.safe_load(recipe("github action").text)["jobs"].values()
    _, restored, used, saved = job["steps"]
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    assert used["uses"].startswith("OWNER/logsh-cli@")
    assert set(used["with"]) <= set(inputs)
    assert restored["with"]["key"] == saved["with"]["key"]
    assert restored["with"]["path"] == saved["with"]["path"] == "${{ runner.temp }}/logsh-state"
    assert saved["if"] == "always()"


def test_the_gitlab_job_reports_the_deployment(machine: Machine, service: Server) -> None:
    machine.program("deploy.sh", "echo deploying; exit 0")
    (job,) = yaml.safe_load(recipe("gitlab").text).values()
    env = {**job["variables"], "GITLAB_CI": "true", "CI_PROJECT_PATH": "o/r", "LOGSH_API_KEY": KEY}
    installing, *lines = job["script"]
    assert installing == "pip install -q logsh-cli"
    done = [machine.script(line, "bash", env=env) for line in lines]
    assert [(each.returncode, each.stdout, each.stderr) for each in done] == [(0, "deploying\n", "")]
    (event,) = service.events
    assert (event["workspace"], event["event"]) == ("ci", "deploy.production")
    assert event["metadata"]["ci_provider"] == "GitLab CI"


def test_the_jenkins_step_reports_the_build(machine: Machine, service: Server) -> None:
    (machine.work / "Makefile").write_text("all:\n\t@echo built\n")
    (variable,) = re.findall(r"variable: '(\w+)'", recipe("jenkins").text)
    (step,) = re.findall(r"sh '(.+)'", recipe("jenkins").text)
    env = {"LOGSH_API_KEY": None, variable: KEY, "JENKINS_URL": "https://ci/", "JOB_NAME": "nightly"}
    done = machine.script(step, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "built\n", "")
    (event,) = service.events
    assert (event["workspace"], event["event"]) == ("ci", "nightly.build")
    assert event["metadata"]["ci_provider"] == "Jenkins"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_make_target_reports_itself_and_fails_as_before(machine: Machine, service: Server) -> None:
    machine.program("scripts/release.sh", "exit 7")
    (machine.work / "Makefile").write_text(recipe("make").text)
    (machine.work / "Bare").write_text("release:\n\t./scripts/release.sh\n")
    bare = machine.run("make", "-f", "Bare", "release")
    done = machine.run("make", "release", env=SHOP)
    assert done.returncode == bare.returncode
    assert service.events[0]["metadata"]["exit_code"] == 7


def test_the_trap_tells_how_the_script_ended(machine: Machine, service: Server) -> None:
    machine.program("import-users.sh", "exit 4")
    machine.program("script", "").write_text(recipe("trap").text)
    done = machine.run("./script", env=SHOP)
    assert (done.returncode, done.stderr) == (4, "")
    (event,) = service.wait_for_events(1)
    assert (event["event"], event["description"]) == ("import.done", "import ended with 4")
    assert event["metadata"] == {"exit_code": 4}
    machine.wait_for_couriers()


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_trap_tells_of_a_signal_in_any_shell(machine: Machine, service: Server, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    machine.program("import-users.sh", "echo importing; exec sleep 60")
    (machine.work / "script").write_text(recipe("trap").text)
    command = [shell, "script"]
    env = environment({**machine.env, **SHOP})
    with subprocess.Popen(
        command, env=env, cwd=machine.work, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"importing\n"
        os.killpg(process.pid, signal.SIGTERM)  # what systemd and `timeout` do
        assert process.wait(PATIENCE_S) == 143
    (event,) = service.wait_for_events(1)
    assert event["metadata"] == {"exit_code": 143}
    machine.wait_for_couriers()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_git_hook_sends_each_push_and_no_deletion(machine: Machine, service: Server) -> None:
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q", "--bare", "server.git"], ["clone", "-q", "server.git", "mine"]):
        assert machine.run(*git, *command).returncode == 0
    machine.program("server.git/hooks/post-receive", "").write_text(recipe("git hook").text)
    for command in (
        ["commit", "-q", "--allow-empty", "-m", "A better index"],
        ["push", "-q", "origin", "HEAD:refs/heads/topic"],
        ["push", "-q", "origin", ":topic"],
    ):
        done = machine.run(*git, "-C", "mine", *command, env=SHOP)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (event,) = service.wait_for_events(1)
    assert (event["event"], event["description"]) == ("git.push", "A better index")
    assert event["metadata"]["ref"] == "refs/heads/topic"
    machine.wait_for_couriers()


@pytest.mark.skipif(shutil.which("ansible-playbook") is None, reason="Ansible is not installed")
def test_ansible_sends_one_event_for_all_hosts(machine: Machine, service: Server) -> None:
    (machine.work / "play.yaml").write_text(recipe("ansible").text)
    (machine.work / "hosts").write_text("[web]\nweb-1\nweb-2\n")
    command = ["ansible-playbook", "-i", "hosts", "-e", "version=v2", "play.yaml"]
    done = machine.run(*command, env={**SHOP, "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = service.events
    assert event["description"] == "2 servers run v2"


def test_the_health_check_reports_changes_alone(machine: Machine, service: Server) -> None:
    (line,) = re.findall(r"^HEALTHCHECK CMD (\[.*\])$", recipe("docker health").text, re.MULTILINE)
    healthy = machine.program("healthy.sh", "test ! -e broken")
    (machine.bin / "healthy.sh").symlink_to(healthy)
    codes = []
    for broken in (False, False, True, True, False):
        (machine.work / "broken").touch() if broken else (machine.work / "broken").unlink(missing_ok=True)
        codes.append(machine.run(*json.loads(line), env=SHOP).returncode)
    assert codes == [0, 0, 1, 1, 0]
    assert [event["metadata"]["status"] for event in service.events] == ["failed", "succeeded"]
    assert [event.get("notify", False) for event in service.events] == [True, True]


def test_the_cron_job_of_kubernetes_reports_itself(machine: Machine, service: Server) -> None:
    machine.program("report.sh", "echo done; exit 2")
    pod = yaml.safe_load(recipe("kubernetes").text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    done = machine.run(*container["command"], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (2, "done\n", "")
    (event,) = service.events
    assert (event["workspace"], event["event"]) == ("servers", "report.nightly")
    (key,) = (each for each in container["env"] if "valueFrom" in each)
    assert key["name"] == "LOGSH_API_KEY"


class Container:
    """The recipe's ENTRYPOINT and CMD with another worker, as the first process of a container or as any process."""

    def __init__(self, machine: Machine, worker: str, *, as_first_process: bool) -> None:
        entry, command = (
            json.loads(found)
            for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", recipe("docker").text, re.MULTILINE)
        )
        (machine.bin / "python").symlink_to(Path(sys.executable).resolve())
        (machine.work / "worker.py").write_text(worker)
        first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if as_first_process else []
        if first and subprocess.run([*first, "true"], capture_output=True, check=False).returncode:
            pytest.skip("a process namespace needs root, and a kernel that allows it")
        self.process = subprocess.Popen(
            [*first, *entry, *command],
            env=environment({**machine.env, **SHOP, "LOGSH_DEADLINE": "30"}),  # not the second that a stop leaves
            cwd=machine.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"
        self.first = int(children(self.process.pid)[0]) if first else self.process.pid

    def end(self) -> tuple[int, bytes]:
        try:
            return self.process.wait(PATIENCE_S), self.process.communicate()[1]
        finally:
            self.process.kill()
            self.process.communicate()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


GRACEFUL = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({status}))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
@pytest.mark.parametrize("as_first_process", [False, True], ids=["as any process", "as process 1"])
def test_the_docker_entry_point_hands_signals_on_and_the_status_back(
    machine: Machine, service: Server, as_first_process: bool
) -> None:
    status = 3 if as_first_process else 0
    container = Container(machine, GRACEFUL.format(status=status), as_first_process=as_first_process)
    os.kill(container.first, signal.SIGTERM)  # what `docker stop` does
    assert container.end() == (status, b"")
    assert [event["event"] for event in service.events] == ["worker"] * bool(status)


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
def test_a_container_that_is_told_to_stop_while_it_reports_stops(machine: Machine, service: Server) -> None:
    held = threading.Event()
    service.default = gated(held)
    worker = "print('ready', flush=True)\nraise SystemExit(5)\n"
    container = Container(machine, worker, as_first_process=True)
    service.wait_for(1)
    os.kill(container.first, signal.SIGTERM)
    code, stderr = container.end()
    held.set()
    assert code == 5
    assert stderr.count(b"\n") == 1
