"""A machine that lets a process have no more threads: all is done at once, and nothing is lost."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.campaigns.no_threads import STACK, without_threads
from tests.support import answers as says
from tests.support.command import LOGSH, Completed, environment
from tests.support.kept import arrived, keep
from tests.support.sending import EVENT, kept_rows, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or resource.getrlimit(resource.RLIMIT_STACK)[1] not in (resource.RLIM_INFINITY, STACK),
    reason="the limit that a thread's stack is made by can't be raised",
)


def run(*command: str, stdin: bytes = b"", service: Server) -> Completed:
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        env=environment(settings_for(service)),
        preexec_fn=without_threads,
        check=False,
        timeout=60,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


def logsh(*args: str, stdin: bytes = b"", service: Server) -> Completed:
    return run(str(LOGSH), *args, stdin=stdin, service=service)


def test_there_is_no_thread_to_be_had(service: Server) -> None:
    done = run(sys.executable, "-c", "import threading; threading.Thread(target=print).start()", service=service)
    assert "can't start new thread" in done.stderr


def test_a_send_is_stored_and_delivered(service: Server, tmp_path: Path) -> None:
    done = logsh("send", *EVENT, "--deadline", "60", service=service)
    assert (done.code, done.stderr) == (0, "")
    assert arrived(service) == ["deploy.done"]
    service.stop()
    assert logsh("send", *EVENT, "--deadline", "1", service=service).code == 75
    assert len(kept_rows(tmp_path)) == 1


def test_a_batch_and_a_flush_do_one_after_another(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "a", "b")
    lines = b"".join(b'{"event":"e%d","description":"d"}\n' % number for number in range(5))
    done = logsh("batch", "--json", stdin=lines, service=service)
    assert (done.code, done.json["delivered"]) == (0, 5), done.stderr
    service.script(says.error(403, "validation_error", "No."))
    done = logsh("outbox", "flush", "--json", service=service)
    assert done.code == 0, done.stderr
    assert [row.state for row in kept_rows(tmp_path)] in ([], ["rejected"])


def test_a_job_is_reported_start_and_end(service: Server) -> None:
    done = logsh("run", "--start", "--", "sh", "-c", "exit 3", service=service)
    assert done.code == 3
    assert "sh" in arrived(service)
