"""SIGKILL, which nobody can prepare for, at every step between an event's acceptance and its end.

A real process is killed as it enters one system call after the other: each write to the store, each sync, each step of
the request. Whatever it had accepted by then must be delivered by the next flush.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Clock
from logsh_cli.outbox import LEASE_S
from tests.support.command import LOGSH, environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import kill_what_is_left, processes_with, wait_until, wait_until_none_is_left
from tests.support.sending import EVENT, Logsh, kept_rows, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

Point = tuple[str, int]
"""The how-manieth of which system call."""

STEPS = ("pwrite64", "fdatasync", "fsync", "connect", "sendto", "recvfrom", "flock")
"""System calls, in strace's words, that change the store, sync it, or are part of a request."""

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$", re.MULTILINE)
_SYNCED = re.compile(r"sync(\(\d+| resumed>)\) += 0")
"""A sync to its end; strace may tell of it in two parts, when another thread does something meanwhile."""
_SHARED_MEMORY = '"\\0", 1, '
"""The arguments of writes that only make room in the index of SQLite's log; there are eight at each opening."""


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


def flush_once_leases_have_ended(service: Server) -> None:
    """Flush as it is done a minute later: by then the leases of the dead have ended."""
    later = Clock(time=lambda: time.time() + LEASE_S + 1, boot=lambda: None)
    done = call_main("outbox", "flush", env=settings_for(service), clock=later)
    assert (done.code, done.stderr) == (0, "")


class Traced:
    """Runs commands under strace, on this test's state directory."""

    def __init__(self, service: Server, tmp_path: Path) -> None:
        self.service = service
        self.log = tmp_path / "strace.log"

    def run(self, *args: str, kill_at: Point | None = None) -> int:
        """The exit code as strace repeats it: negative for a signal."""
        kill = ["-einject={}:signal=SIGKILL:when={}".format(*kill_at)] if kill_at else []
        trace = ["strace", "-f", "-o", str(self.log), f"-etrace={','.join(STEPS)}", *kill]
        env = environment(settings_for(self.service))
        command = [*trace, str(LOGSH), *args]
        return subprocess.run(command, env=env, capture_output=True, timeout=120, check=False).returncode

    def points(self) -> list[Point]:
        """Every step of the last run, in its order, counted as strace does: for each thread."""
        seen: Counter[tuple[str, str]] = Counter()
        points = []
        for thread, call, arguments in _CALL.findall(self.log.read_text()):
            seen[thread, call] += 1
            if not arguments.partition(", ")[2].startswith(_SHARED_MEMORY):
                points.append((call, seen[thread, call]))
        return list(dict.fromkeys(points))

    def syncs(self) -> int:
        """Return how many times the last run waited for the disk to the end; that is what acceptance means."""
        return len(_SYNCED.findall(self.log.read_text()))


@pytest.fixture
def traced(service: Server, tmp_path: Path) -> Traced:
    if shutil.which("strace") is None:
        pytest.skip("strace stops a process at a step")
    keep(tmp_path, "first")  # so that the store is there
    call_main("outbox", "drop", "--all", "--yes")
    traced = Traced(service, tmp_path)
    if traced.run("outbox", "list") != 0:
        pytest.skip("tracing is not permitted here")
    return traced


def test_killed_at_any_step_what_was_accepted_arrives(service: Server, traced: Traced, tmp_path: Path) -> None:
    assert traced.run("send", *EVENT) == 0
    points, syncs = traced.points(), traced.syncs()
    assert {"pwrite64", "fdatasync", "connect", "sendto", "recvfrom"} <= {call for call, _ in points}
    accepted_at = 0
    for point in points:
        service.events.clear()
        assert traced.run("send", *EVENT, kill_at=point) == -signal.SIGKILL, point
        accepted = traced.syncs() >= syncs
        accepted_at += accepted
        flush_once_leases_have_ended(service)
        assert kept_rows(tmp_path) == [], point
        assert not accepted or arrived(service), point
        assert len(arrived(service)) <= 2, point
    assert 0 < accepted_at < len(points), "there were steps before the acceptance and after it"
    assert not list((tmp_path / "state").glob("*.corrupt-*"))


def test_a_delivery_killed_at_any_step_loses_nothing(service: Server, traced: Traced, tmp_path: Path) -> None:
    keep(tmp_path, "a", "b")
    assert traced.run("courier") == 0
    points = traced.points()
    assert {"pwrite64", "connect", "sendto", "recvfrom"} <= {call for call, _ in points}
    for point in points:
        keep(tmp_path, "a", "b")
        service.events.clear()
        # Two workers may share the steps in another way this time, so that the last ones are not reached.
        if traced.run("courier", kill_at=point) == 0:
            assert arrived(service) == ["a", "b"]
        flush_once_leases_have_ended(service)
        assert kept_rows(tmp_path) == [], point
        assert set(arrived(service)) == {"a", "b"}, point
        assert max(Counter(arrived(service)).values()) <= 2, point
    assert not list((tmp_path / "state").glob("*.corrupt-*"))


def test_the_next_courier_takes_over_when_one_was_killed(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    service.stop()
    env = settings_for(service, LOGSH_DEADLINE="0.3")
    assert logsh("send", "-b", "-e", "first", "-d", "d", env=env).code == 0
    wait_until(lambda: all(row.state == "pending" and row.attempts for row in kept_rows(tmp_path)), "it was tried")
    assert len(processes_with(tmp_path / "state")) == 1
    kill_what_is_left(tmp_path / "state")
    wait_until_none_is_left(tmp_path / "state")
    service.start()
    assert logsh("send", "-b", "-e", "second", "-d", "d", env=env).code == 0
    service.wait_for_events(2)
    wait_until_none_is_left(tmp_path / "state")
    assert arrived(service) == ["first", "second"]
