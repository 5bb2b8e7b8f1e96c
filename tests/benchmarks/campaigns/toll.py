"""The toll of a campaign, and how it is counted: a worker that tells its promises, and a look at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.outbox import LEASE_S, Outbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120

WORKER = """
import json, os, sys, time
from pathlib import Path
from logsh_cli.errors import NotKept
from logsh_cli.outbox import Outbox, Owner

directory, first, events = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
say = lambda sign, names: os.write(1, "".join(f"{sign}{name}\\n" for name in names).encode())
body = lambda name: json.dumps({"event": name, "description": "d" * 150, "metadata": {"n": "x" * 200}}).encode()

def work(outbox, me, number):
    "Accept three events, deliver one, fail one, refuse one of ten; say what was promised."
    names = [f"e{number}.{i}" for i in range(3)]
    try:
        ids = outbox.add(me, [body(name) for name in names], lease=f"l{number}")
    except NotKept:
        say("!", names)
        return
    say("+", names)
    say("~", names[:1])
    try:
        outbox.delivered(ids[:1], f"l{number}")
        say("-", names[:1])
    except NotKept:
        say("?", names[:1])
    facts = dict(attempts=1, error_name="x", error_message="y", http_status=503)
    try:
        if number % 10 == 9:
            outbox.rejected(ids[1], f"l{number}", **facts)
        else:
            outbox.failed(ids[1], f"l{number}", **facts, not_before=time.time() + 60)
    except NotKept:
        pass

def main():
    for number in range(first, first + events):
        try:
            outbox = Outbox.open(directory, patience_s=PATIENCE)
            me = Owner("default", outbox.fingerprint("key"))
        except NotKept:
            say("!", [f"e{number}.{i}" for i in range(3)])
            continue
        work(outbox, me, number)
"""
"""Says ``+`` for accepted, ``~`` for delivered, ``-`` once that is noted, ``?`` for told that it can't be noted, ``!``
for told that it is not kept. A store is opened for each round, as commands do, and never closed."""


class Toll(NamedTuple):
    """Numbers of events; ``doubled`` ones were delivered and would be sent again without having been told of."""

    accepted: int = 0
    delivered: int = 0
    kept: int = 0
    told: int = 0
    lost: int = 0
    doubled: int = 0
    note: str = ""

    def __add__(self, other: object) -> Toll:
        assert isinstance(other, Toll)
        sums = {name: getattr(self, name) + getattr(other, name) for name in self._fields[:6]}
        return Toll(**sums, note=self.note or other.note)

    def __str__(self) -> str:
        counts = (f"{value} {name}" for name, value in zip(self._fields, self[:6], strict=False))
        words = [count.replace(" lost", " lost without a word") for count in counts]
        return ", ".join(words) + (f"; {self.note}" if self.note else "")


def work(directory: Path, *, first: int = 0, rounds: int, patience_s: float = 60, before: str = "") -> list[str]:
    """Return the command that runs the worker; ``before`` is code that runs in it first."""
    script = WORKER.replace("PATIENCE", str(patience_s)) + before + "\nmain()\nos._exit(0)\n"
    return [sys.executable, "-c", script, str(directory), str(first), str(rounds)]


def said_by(command: Sequence[str], **options: object) -> list[str]:
    """Run it to its end, however that comes, and return what it said."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False, text=True, **options
    )  # type: ignore[call-overload]
    return str(done.stdout).splitlines()


def count(directory: Path, said: Iterable[str]) -> Toll:
    """Look at what is left in a store, and compare it with what was said about it."""
    words: dict[str, set[str]] = {sign: set() for sign in "+~-?!"}
    for line in said:
        words[line[0]].add(line[1:])
    outbox = Outbox.open(directory, now=lambda: time.time() + LEASE_S + 1)
    rows = list(outbox.rows())
    with contextlib.suppress(Exception):
        outbox.renew([], "settles what was noted as delivered")
        rows = list(outbox.rows())
    kept = {json.loads(row.body)["event"] for row in rows if row.state != "damaged"}
    speaks = bool(outbox.notices or outbox.set_aside() or any(row.state == "damaged" for row in rows))
    outbox.close()
    missing = words["+"] - words["~"] - kept
    return Toll(
        accepted=len(words["+"]),
        delivered=len(words["~"]),
        kept=len(kept & words["+"]),
        told=len(words["!"]) + (len(missing) if speaks else 0),
        lost=0 if speaks else len(missing),
        doubled=len(words["-"] & kept),
    )
