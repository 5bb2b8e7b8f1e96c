"""Everything at once: many processes, a service that fails in every way it can, and SIGKILL at random moments.

Each test prints its seed; ``CHAOS_SEED`` repeats one, as far as processes let themselves be repeated.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Clock
from logsh_cli.outbox import LEASE_S
from tests.support import answers as says
from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.inprocess import call_main
from tests.support.processes import kill_what_is_left, processes_with, wait_until_none_is_left
from tests.support.sending import kept_rows, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.answers import Answer
    from tests.support.server import Server

HANDS = 4
"""So many start processes, one after the other each."""

TASKS = {"send": 20, "send -b": 10, "batch": 6}
LINES_A_BATCH = 15
EVENTS = 20 + 10 + 6 * LINES_A_BATCH

ONE_SECOND = {"Retry-After": "1"}
HARMLESS: tuple[tuple[Answer, int], ...] = (
    (says.ok(201), 40),
    (says.ok(200), 10),
    (says.slow(0.2), 6),
    (says.drop(), 6),
    (says.error(503), 6),
    (says.error(500), 2),
    (says.error(503, headers=ONE_SECOND), 2),
    (says.error(429, "rate_limit_exceeded"), 2),
    (says.error(429, "rate_limit_exceeded", headers=ONE_SECOND), 3),
    (says.error(402, "payment_required"), 1),
)
"""Answers, and how often they come. None of them takes an event without saying so."""

LOST: tuple[tuple[Answer, int], ...] = ((says.accept_then_drop(), 8), (says.cut_off_headers(), 3))
"""The service has the event, and the client does not learn it."""


def new_seed() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or int.from_bytes(os.urandom(3)))
    print(f"CHAOS_SEED={seed}")
    return seed


class Chaos:
    """The processes of one test, what they were told to do, and what they said they did."""

    def __init__(self, service: Server, state: Path, dice: random.Random, *, deadly: bool) -> None:
        self.service = service
        self.state = state
        self.dice = dice
        self.deadly = deadly
        # A deadline that passes in mid-answer is a lost answer too.
        self.env = environment(settings_for(service, LOGSH_DEADLINE="2" if deadly else "30"))
        self.given: set[str] = set()
        self.accepted: set[str] = set()
        self.codes: Counter[int] = Counter()
        self.said: list[str] = []
        self.over = threading.Event()
        tasks = [kind for kind, count in TASKS.items() for _ in range(count)]
        dice.shuffle(tasks)
        self._tasks = iter([(number, kind, self._death()) for number, kind in enumerate(tasks)])
        self._lock = threading.Lock()

    def _death(self) -> float | None:
        """After how many seconds a process is to be killed; an attempt takes a tenth of one."""
        return self.dice.uniform(0.02, 0.5) if self.deadly and self.dice.random() < 0.35 else None

    def run(self) -> None:
        """Do everything, with as many processes at once as there are hands."""
        hands = [threading.Thread(target=self._work, daemon=True) for _ in range(HANDS)]
        hinderer = threading.Thread(target=self._hinder, daemon=True)
        for thread in (*hands, hinderer):
            thread.start()
        for hand in hands:
            hand.join(2.5 * PATIENCE_S)  # it has many processes to wait for, each of which has a bound of its own
            assert not hand.is_alive(), "a process does not end"
        self.over.set()
        hinderer.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                task = next(self._tasks, None)
            if task is None:
                return
            self._do(*task)

    def _do(self, number: int, kind: str, death: float | None) -> None:
        names = [f"{number}.{line}" for line in range(LINES_A_BATCH)] if kind == "batch" else [str(number)]
        self.given.update(names)
        if kind == "batch":
            lines = "".join(f'{{"event":"{name}","description":"d"}}\n' for name in names)
            code, out, err = self._process(["batch", "--json"], lines.encode(), death)
        else:
            args = ["send", "-e", names[0], "-d", "d", "--json", *(["-b"] if kind == "send -b" else [])]
            code, out, err = self._process(args, b"", death)
        with self._lock:
            self.codes[code] += 1
            self.said.append(err)
            if self._were_accepted(code, out, len(names)):
                self.accepted.update(names)

    def _process(self, args: list[str], stdin: bytes, death: float | None) -> tuple[int, str, str]:
        pipe = subprocess.PIPE
        with subprocess.Popen([str(LOGSH), *args], env=self.env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            if death is not None:
                killing = threading.Timer(death, process.kill)
                killing.start()
            out, err = process.communicate(stdin, timeout=PATIENCE_S)
            if death is not None:
                killing.cancel()
        return process.returncode, out.decode(), err.decode()

    @staticmethod
    def _were_accepted(code: int, out: str, count: int) -> bool:
        """Whether a process said so, by its exit code or, before it was killed, by its result."""
        if code in (0, 75):
            return True
        if code == -signal.SIGKILL and out.endswith("\n"):
            result = json.loads(out)
            return result.get("accepted") == count or result.get("status") in ("delivered", "stored", "queued")
        return False

    def _hinder(self) -> None:
        """Take the service away now and then, and kill a courier, in a deadly test."""
        dice = random.Random(self.dice.random())
        while not self.over.wait(dice.uniform(0.1, 0.4)) and self.deadly:
            if dice.random() < 0.5:
                self.service.stop()
                self.over.wait(dice.uniform(0.1, 0.6))
                self.service.start()
            else:
                couriers = [pid for pid, argv in processes_with(self.state).items() if "courier" in argv]
                if couriers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(dice.choice(couriers), signal.SIGKILL)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


def mischief(dice: random.Random, answers: tuple[tuple[Answer, int], ...], count: int) -> list[Answer]:
    return dice.choices([answer for answer, _ in answers], [weight for _, weight in answers], k=count)


def check_words(chaos: Chaos) -> None:
    """Nobody met a lock, a fault of ours or a damaged store on the way."""
    for said in chaos.said:
        for word in ("locked", "Traceback", "fault in logsh", "damaged", "malformed"):
            assert word not in said, said


def test_whatever_happens_an_accepted_event_arrives(service: Server, tmp_path: Path) -> None:
    dice = random.Random(new_seed())
    service.script(*mischief(dice, (*HARMLESS, *LOST), 2 * EVENTS))
    chaos = Chaos(service, tmp_path / "state", dice, deadly=True)
    chaos.run()
    kill_what_is_left(tmp_path / "state")
    wait_until_none_is_left(tmp_path / "state")
    service.forget_script()
    # A minute later, when the leases of the dead have ended.
    later = Clock(time=lambda: time.time() + LEASE_S + 1, boot=lambda: None)
    done = call_main("outbox", "flush", "--json", env=settings_for(service), clock=later)
    assert done.code == 0, done.stdout + done.stderr
    assert kept_rows(tmp_path) == []
    assert set(chaos.codes) <= {0, 75, -signal.SIGKILL}, chaos.codes
    check_words(chaos)
    arrived = Counter(body["event"] for body in service.events)
    assert chaos.accepted - set(arrived) == set(), "lost"
    assert set(arrived) <= chaos.given
    assert chaos.codes[-signal.SIGKILL] > 2, "there was chaos"
    assert len(chaos.accepted) > EVENTS / 4
    print(f"{chaos.codes=} accepted={len(chaos.accepted)} arrived={len(arrived)} in {arrived.total()} requests")


def test_without_kills_and_lost_answers_every_event_arrives_exactly_once(service: Server, tmp_path: Path) -> None:
    dice = random.Random(new_seed())
    service.script(*mischief(dice, HARMLESS, 2 * EVENTS))
    chaos = Chaos(service, tmp_path / "state", dice, deadly=False)
    chaos.run()
    service.forget_script()
    done = call_main("outbox", "flush", "--json", env=settings_for(service))
    assert done.code == 0, done.stdout + done.stderr
    wait_until_none_is_left(tmp_path / "state")
    assert kept_rows(tmp_path) == []
    assert set(chaos.codes) <= {0, 75}, chaos.codes
    check_words(chaos)
    arrived = Counter(body["event"] for body in service.events)
    assert chaos.accepted == chaos.given
    assert len(chaos.given) == EVENTS
    assert arrived == Counter(chaos.given)
