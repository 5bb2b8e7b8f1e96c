"""TERM at any moment to a job under ``logsh run``: to logsh, to the group, to each process in turn, from the job.

Accepted: signals sent. Delivered: those that the job has had. Lost: those that it never had; doubled: had twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import Toll
from tests.support.command import LOGSH, PATIENCE_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SIZE = 500
A_JOB = 50
"""Signals that one job gets, one after the other: two that wait at once are one to the kernel."""

JOB = """
trap 'echo 15 >> log' TERM
: > log; : > up
while :; do
    sleep 0.01
    if test -e kill; then rm kill; kill -TERM 0; fi
    if test -e helper; then rm helper; (kill -TERM 1); fi
done
"""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


def campaign(dice: random.Random, size: int) -> Toll:
    """Send ``size`` signals in each of five ways."""
    ways: list[tuple[Callable[[int, Path], object], tuple[str, ...]]] = [
        (lambda pid, _: os.kill(pid, signal.SIGTERM), ()),
        (lambda pid, _: os.killpg(pid, signal.SIGTERM), ()),
        (lambda pid, _: _one_by_one(pid, dice), ()),
        (lambda _, place: (place / "kill").touch(), ()),
        (lambda _, place: (place / "helper").touch(), NAMESPACE),
    ]
    total = Toll()
    for send, prefix in ways:
        for first in range(0, size, A_JOB):
            total += _one_job(dice, min(A_JOB, size - first), send, prefix)
    return total._replace(note=f"{size} signals in each of {len(ways)} ways")


def _one_job(dice: random.Random, signals: int, send: Callable[[int, Path], object], prefix: tuple[str, ...]) -> Toll:
    with tempfile.TemporaryDirectory(prefix="logsh-") as directory:
        place = Path(directory)
        env = {**os.environ, "LOGSH_API_KEY": "", "LOGSH_STATE_DIR": directory, "LOGSH_CONFIG_DIR": directory}
        command = [*prefix, str(LOGSH), "run", "--on-missing-key", "skip", "-w", "w", "--", "sh", "-c", JOB]
        process = subprocess.Popen(command, cwd=place, env=env, start_new_session=True, stderr=subprocess.DEVNULL)
        log = place / "log"
        _wait((place / "up").exists)
        had = lost = doubled = 0
        for _ in range(signals):
            time.sleep(dice.uniform(0, 0.02))
            send(process.pid, place)
            if not _wait(lambda: _count(log) > had, 5):  # noqa: B023 - called at once
                lost += 1
            time.sleep(0.06)  # what is handed on once more comes within the grace, and a look
            doubled += max(0, _count(log) - had - 1)
            had = _count(log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        return Toll(accepted=signals, delivered=signals - lost, lost=lost, doubled=doubled)


def _one_by_one(group: int, dice: random.Random) -> None:
    """As systemd does it: every process of the group, in any order, a moment between them."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,comm="], capture_output=True, check=True, text=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]  # a name may have spaces in it
    pids = [int(pid) for pid, pgid, name in rows if int(pgid) == group and name != "sleep"]
    dice.shuffle(pids)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        time.sleep(dice.uniform(0, 0.002))


def _count(log: Path) -> int:
    return log.read_text().count("15") if log.exists() else 0


def _wait(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True
