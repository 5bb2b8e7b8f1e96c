"""Processes are stopped (Ctrl-Z) with the store's locks in their hands, while others accept and acknowledge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import ROOT, Toll, count, said_by, work

if TYPE_CHECKING:
    import random

SIZE = 20
HOLDER = """
import fcntl, os, signal, sqlite3, sys, time
directory, kind = sys.argv[1:]
db = sqlite3.connect(f"{directory}/outbox.db", isolation_level=None)
if kind == "transaction":
    db.execute("BEGIN IMMEDIATE")
elif kind == "reader":
    db.execute("BEGIN"); db.execute("SELECT count(*) FROM events").fetchone()
else:
    lock = open(f"{directory}/{kind}", "a"); fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
os._exit(0)
"""
KINDS = ("transaction", "reader", "outbox.lock", "outbox.ledger", "flush.lock")


def campaign(dice: random.Random, size: int) -> Toll:
    """Work beside ``size`` stopped holders, one after the other; each wait must end by itself."""
    said: list[str] = []
    longest = 0.0
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "state"
        said += said_by(work(directory, rounds=2))
        for number in range(size):
            command = [sys.executable, "-c", HOLDER, str(directory), dice.choice(KINDS)]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
            ) as holder:
                assert holder.stdout is not None
                holder.stdout.readline()
                started = time.monotonic()
                said += said_by(work(directory, first=10 + 10 * number, rounds=2, patience_s=0.3))
                longest = max(longest, time.monotonic() - started)
                holder.send_signal(signal.SIGCONT)
        toll = count(directory, said)
    return toll._replace(note=f"{size} holders; two rounds took at most {longest:.1f} s with a patience of 0.3 s")
