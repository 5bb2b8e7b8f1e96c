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

import pytest
import yaml

from tests.support.command import PATIENCE_S, environment
from tests.support.documents import RECIPES, ROOT, blocks, recipe
from tests.support.machine import Machine
from tests.support.sending import KEY, settings_for
from tests.support.server import Server, gated

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix", reason="the recipes are for POSIX systems"),
]

CRON_PATH = "/home/me/.local/bin"
SHOP = {"LOGSH_WORKSPACE": "shop"}

EXECUTED = {
    *("one-liner", "cron", "systemd", "systemd failure unit", "github", "gitlab", "jenkins", "make", "trap", "docker"),
    *("nothing gets lost", "flush timer", "assert", "completion"),
}
"""The recipes that a test below executes; cron's is also run by a real cron, in ``test_cron``."""


@pytest.fixture
def machine(tmp_path: Path, service: Server) -> Machine:
    settings = settings_for(service)
    del settings["LOGSH_WORKSPACE"]
    return Machine(tmp_path, settings)


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
    ):
        assert (home / path).read_bytes() == (ROOT / "completions" / name).read_bytes()


def test_crons_lines_work_in_crons_environment(machine: Machine, service: Server) -> None:
    settings = dict(line.split("=", 1) for line in recipe("cron").lines if re.match(r"\w+=", line))
    commands = [re.split(r"\s+", line, maxsplit=5)[5] for line in recipe("cron").lines if re.match(r"[\d*]", line)]
    assert len(commands) == 2
    backup = machine.program("/usr/local/bin/backup.sh", "echo saved; exit 4")
    settings["PATH"] = settings["PATH"].replace(CRON_PATH, str(machine.bin))
    # What crontab(5) promises, and nothing else; the key is where `logsh login` puts it.
    login(machine, service)
    env = {"HOME": os.environ["HOME"], "LOGNAME": "me", "SHELL": "/bin/sh", **settings}
    done = [
        subprocess.run(
            ["/bin/sh", "-c", command.replace("/usr/local/bin/backup.sh", str(backup))],
            env=env,
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )
        for command in commands
    ]
    assert [(each.returncode, each.stdout, each.stderr) for each in done] == [(4, b"saved\n", b""), (0, b"", b"")]
    (event,) = service.events
    assert (event["workspace"], event["event"], event["notify"]) == ("servers", "backup.nightly", True)
    assert event["metadata"]["exit_code"] == 4


def login(machine: Machine, service: Server) -> None:
    """Keep the key in the user's own configuration, where a program with a HOME finds it."""
    command = ["logsh", "login", "--key-stdin", "-q", "--api-url", service.url]
    env = {**machine.env, "LOGSH_API_KEY": None, "LOGSH_API_URL": None, "LOGSH_CONFIG_DIR": None}
    subprocess.run(command, env=environment(env), input=KEY.encode(), check=True)


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
                (self.directory / name).write_text(self.here(body))

    def here(self, text: str) -> str:
        text = text.replace("/usr/local/bin/logsh", str(self.machine.bin / "logsh"))
        text = text.replace("/usr/local/bin/backup.sh", str(self.machine.work / "usr/local/bin/backup.sh"))
        text = text.replace("/etc/logsh/api-key", str(self.credentials / "logsh-api-key"))
        return text.replace("/var/lib/logsh", str(self.machine.state))

    def verify(self) -> str:
        """What systemd has to say against them."""
        if shutil.which("systemd-analyze") is None:
            return ""
        # A template is verified as an instance of it.
        units = [str(path).replace("@.", "@x.") for path in self.directory.iterdir()]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if str(self.directory) in line)

    def start(self, name: str, **specifiers: str) -> subprocess.CompletedProcess[str]:
        """What systemd does with ``ExecStart`` of a system service: hardly any environment, no HOME, no shell."""
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


def test_the_systemd_units_are_right_and_report_the_job_and_any_failure(machine: Machine, service: Server) -> None:
    machine.program("/usr/local/bin/backup.sh", "echo saving; exit 3")
    units = Units(machine, "systemd", "systemd failure unit")
    assert sorted(path.name for path in units.directory.iterdir()) == ["backup.service", "logsh-failure@.service"]
    assert units.verify() == ""
    done = units.start("backup.service")
    assert (done.returncode, done.stdout, done.stderr) == (3, "saving\n", "")
    failure = units.start("logsh-failure@.service", i="backup.service", H="web-1")
    assert failure.returncode == 0, failure.stderr
    job, failed = service.events
    assert (job["workspace"], job["event"], job["metadata"]["exit_code"]) == ("servers", "backup.nightly", 3)
    assert (failed["event"], failed["description"]) == ("unit.failed", "backup.service failed on web-1")
    assert (failed["icon"], failed["notify"]) == ("❌", True)
    assert machine.state.is_dir()


def test_the_flush_timer_is_right_and_flushes(machine: Machine, service: Server) -> None:
    units = Units(machine, "flush timer")
    assert sorted(path.name for path in units.directory.iterdir()) == ["logsh-flush.service", "logsh-flush.timer"]
    assert units.verify() == ""
    kept = machine.run(
        "logsh",
        "send",
        "-e",
        "x",
        "-d",
        "y",
        env={**SHOP, "LOGSH_DEADLINE": "0.3", "LOGSH_API_URL": "http://127.0.0.1:1"},
    )
    assert kept.returncode == 75
    (command,) = re.findall(r"^ExecStart=(.+)$", (units.directory / "logsh-flush.service").read_text(), re.MULTILINE)
    done = machine.run(*shlex.split(command))
    assert (done.returncode, done.stdout) == (0, "")
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
@pytest.mark.parametrize("status", [0, 7])
def test_the_make_target_reports_itself_and_fails_as_before(machine: Machine, service: Server, status: int) -> None:
    machine.program("scripts/release.sh", f"exit {status}")
    (machine.work / "Makefile").write_text(recipe("make").text)
    (machine.work / "Bare").write_text("release:\n\t./scripts/release.sh\n")
    bare = machine.run("make", "-f", "Bare", "release")
    done = machine.run("make", "release", env=SHOP)
    assert done.returncode == bare.returncode
    assert service.events[0]["metadata"]["exit_code"] == status


@pytest.mark.parametrize("status", [0, 4])
def test_the_trap_tells_how_the_script_ended(machine: Machine, service: Server, status: int) -> None:
    machine.program("import-users.sh", f"exit {status}")
    machine.program("script", "").write_text(recipe("trap").text)
    done = machine.run("./script", env=SHOP)
    assert (done.returncode, done.stderr) == (status, "")
    (event,) = service.wait_for_events(1)
    assert (event["event"], event["description"]) == ("import.done", f"import ended with {status}")
    assert event["metadata"] == {"exit_code": status}
    machine.wait_for_couriers()


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
            env=environment({**machine.env, **SHOP}),
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
@pytest.mark.parametrize(("status", "reported"), [(0, 0), (3, 1)], ids=["stops well", "fails"])
def test_the_docker_entry_point_hands_signals_on_and_the_status_back(
    machine: Machine, service: Server, as_first_process: bool, status: int, reported: int
) -> None:
    container = Container(machine, GRACEFUL.format(status=status), as_first_process=as_first_process)
    os.kill(container.first, signal.SIGTERM)  # what `docker stop` does
    assert container.end() == (status, b"")
    assert [event["event"] for event in service.events] == ["worker"] * reported


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
