"""``logsh run`` under a real cron: its environment, its pipes, and what it mails."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import LOGSH, environment
from tests.support.documents import recipe
from tests.support.namespace import seeing
from tests.support.processes import wait_until
from tests.support.sending import KEY

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(sys.platform != "linux", reason="Debian's cron"),
]

MINUTE_S = 60
SLACK_S = 60
CRON = "/usr/sbin/cron"


class Cron:
    """Debian's cron with one user's crontab and a mailer that keeps what it gets, in a private view of the machine.

    The daemon's directories are replaced for it alone: the machine's own crontabs don't run, and a cron of its own that
    may be running is not disturbed.
    """

    def __init__(self, place: Path, crontab: str) -> None:
        self.mail = place / "mail"
        spool, system, run, sbin = (place / name for name in ("spool", "cron.d", "run", "sbin"))
        for directory in (self.mail, spool, system, run, sbin):
            directory.mkdir(parents=True)
        shutil.copy2(CRON, sbin / "cron")
        mailer = sbin / "sendmail"
        mailer.write_text(f"#!/bin/sh\ncat > {self.mail}/$$.part && mv {self.mail}/$$.part {self.mail}/$$.mail\n")
        mailer.chmod(0o755)
        (place / "crontab").write_text("")
        user = pwd.getpwuid(os.getuid()).pw_name
        (spool / user).write_text(crontab)
        (spool / user).chmod(0o600)
        views = {
            "/var/spool/cron/crontabs": spool,
            "/etc/cron.d": system,
            "/etc/crontab": place / "crontab",
            "/run": run,
            "/usr/sbin": sbin,
        }
        # Nothing of this test's environment may reach the jobs: what they have is cron's own.
        bare = {name: None for name in os.environ if name != "PATH"}
        self.process = subprocess.Popen(
            seeing(views, [CRON, "-f"]), env=environment(bare), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def jobs(self) -> list[str]:
        """Its children, each of which runs one line and mails what that printed."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return children.read_text().split() if children.exists() else []

    def mails(self) -> dict[str, str]:
        """The bodies by the command that the subject names."""
        found = {}
        for path in self.mail.glob("*.mail"):
            head, body = path.read_text().split("\n\n", 1)
            command = re.search(r"^Subject: Cron <\S+> (.+(?:\n .+)*)$", head, re.MULTILINE)
            assert command, head
            found[command[1]] = body
        return found

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.long
@pytest.mark.timeout(MINUTE_S + 2 * SLACK_S)
@pytest.mark.skipif(not Path(CRON).exists(), reason="cron is not installed")
def test_crons_own_environment_pipes_and_mail(service: Server, tmp_path: Path) -> None:
    """The recipe's lines and some that go wrong, all in one minute: a second one would only cost a second minute."""
    home, bin_ = tmp_path / "home", tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "logsh").symlink_to(LOGSH)
    no_directories = {"LOGSH_CONFIG_DIR": None, "LOGSH_STATE_DIR": None}
    for profile, url in (("default", service.url), ("broken", "http://127.0.0.1:1")):
        subprocess.run(
            [str(LOGSH), "login", "--key-stdin", "-q", "--no-verify", "--profile", profile, "--api-url", url],
            env=environment(no_directories),
            input=KEY.encode(),
            check=True,
        )
    backup = program(bin_ / "backup.sh", "sleep 1")
    program(
        bin_ / "tell",
        "env | sort > $HOME/environment; readlink /proc/$$/fd/0 /proc/$$/fd/1 > $HOME/streams; tty; exit 0",
    )
    program(bin_ / "fail", "echo 'the job says'; echo 'this, too' >&2; exit 3")
    program(bin_ / "left", "sleep 300 & exit 0")

    settings = [line for line in recipe("cron").lines if re.match(r"\w+=", line)]
    backup_line, flush_line = (line for line in recipe("cron").lines if re.match(r"[\d*]", line))
    lines = [
        f"HOME={home}",
        "LOGSH_DEADLINE=30",
        *(line.replace("/home/me/.local/bin", str(bin_)) for line in settings),
        backup_line.replace("/usr/local/bin/backup.sh", str(backup)),
        flush_line,
        f"0 0 * * *  logsh run -e tell -- {bin_}/tell >/dev/null",
        f"0 0 * * *  logsh run -e fail --tail 100 -- {bin_}/fail",
        f"0 0 * * *  {bin_}/fail bare",
        "0 0 * * *  logsh run --profile broken --deadline 5 -e unsent -- true",
        f"0 0 * * *  logsh run -e left --tail 10 -- {bin_}/left",
        "0 0 * * *  logsh send -q -b -e sent -d 'from cron'",
        # A percent sign must be escaped in a crontab, whoever runs the command.
        "0 0 * * *  logsh run -e größe -- sh -c 'test 50\\% = 50\\%'",
    ]
    crontab = "\n".join(re.sub(r"^(?:[\d*/]+\s+){5}", "* * * * * ", line) for line in lines) + "\n"

    cron = Cron(tmp_path / "cron", crontab)
    try:
        wait_until(lambda: len(service.events) >= 6 or cron.process.poll() is not None, "the jobs", MINUTE_S + SLACK_S)
        assert cron.process.poll() is None, "cron has ended"
        wait_until(lambda: not cron.jobs(), "cron to have mailed what there was")
        mails = {command.split(" -- ")[0]: body for command, body in cron.mails().items()}
    finally:
        cron.stop()
        for pid in processes_of(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    events = {event["event"]: event for event in service.events}
    assert set(events) == {"backup.nightly", "tell", "fail", "left", "sent", "größe"}
    assert {event["workspace"] for event in events.values()} == {"servers"}
    assert {name: event["metadata"]["exit_code"] for name, event in events.items() if name != "sent"} == {
        **dict.fromkeys(("backup.nightly", "tell", "left", "größe"), 0),
        "fail": 3,
    }
    nightly = events["backup.nightly"]
    assert nightly["metadata"]["status"] == "succeeded"
    assert 1 <= nightly["metadata"]["duration_s"] < SLACK_S
    assert nightly["description"].startswith("succeeded in ")
    assert events["fail"]["metadata"]["output"] in (
        "the job says\nthis, too",
        "this, too\nthe job says",  # two pipes have no common order
    )
    # Mail: the job's own output, the same with logsh or without; one line where a report failed; else nothing.
    assert set(mails) == {
        "logsh run -e fail --tail 100",
        f"{bin_}/fail bare",
        "logsh run --profile broken --deadline 5 -e unsent",
    }
    assert sorted(mails["logsh run -e fail --tail 100"].splitlines()) == sorted(mails[f"{bin_}/fail bare"].splitlines())
    (line,) = mails["logsh run --profile broken --deadline 5 -e unsent"].splitlines()
    assert re.fullmatch(r"logsh: not delivered, kept as #\d+: .*refused.*", line)
    # That it was cron's environment: no locale, no terminal, a pipe for output.
    seen = dict(entry.split("=", 1) for entry in (home / "environment").read_text().splitlines())
    assert set(seen) == {"HOME", "LOGNAME", "LOGSH_DEADLINE", "LOGSH_WORKSPACE", "PATH", "PWD", "SHELL"}


def processes_of(home: Path) -> list[int]:
    """Return what is left behind by the jobs, which have this HOME."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]
