"""Everything at once: many processes, a service that fails in every way it can, and SIGKILL at random moments.

It prints its seed; ``CHAOS_SEED`` repeats one, as far as processes let themselves be repeated.
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
from concurrent.futures import ThreadPoolExecutor
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

    from tests.support.server import Server

TASKS = ["send"] * 20 + ["send -b"] * 10 + ["batch"] * 6
LINES_A_BATCH = 15
EVENTS = 20 + 10 + 6 * LINES_A_BATCH

ONE_SECOND = {"Retry-After": "1"}
HARMLESS = {
    says.ok(201): 40,
    says.ok(200): 10,
    says.slow(0.2): 6,
    says.drop(): 6,
    says.error(503): 6,
    says.error(500): 2,
    says.error(503, headers=ONE_SECOND): 2,
    says.error(429, "rate_limit_exceeded"): 2,
    says.error(429, "rate_limit_exceeded", headers=ONE_SECOND): 3,
    says.error(402, "payment_required"): 1,
}
"""Answers, and how often they come. None of them takes an event without saying so."""

LOST = {says.accept_then_drop(): 8, says.cut_off_headers(): 3}
"""The service has the event, and the client does not learn it."""


class Chaos:
    """The orders of one test's processes, and their reports."""

    def __init__(self, service: Server, state: Path, dice: random.Random, *, deadly: bool) -> None:
        self.service, self.state, self.dice, self.deadly = service, state, dice, deadly
        # A deadline that passes in mid-answer is a lost answer too.
        self.env = environment(settings_for(service, LOGSH_DEADLINE="2" if deadly else "30"))
        self.given: set[str] = set()
        self.accepted: set[str] = set()
        self.codes: Counter[int] = Counter()
        self.said: list[str] = []

    def run(self) -> None:
        """Do everything, four at a time; in a deadly test, take the service away now and then, and kill couriers."""
        over = threading.Event()
        hinderer = threading.Thread(target=self._hinder, args=(over, random.Random(self.dice.random())), daemon=True)
        if self.deadly:
            hinderer.start()
        with ThreadPoolExecutor(4) as hands:
            for code, out, err, names in hands.map(self._do, range(EVENTS), self.dice.sample(TASKS, len(TASKS))):
                self.codes[code] += 1
                self.said.append(err)
                self.given.update(names)
                if was_accepted(code, out, len(names)):
                    self.accepted.update(names)
        over.set()
        if self.deadly:
            hinderer.join()

    def _do(self, number: int, kind: str) -> tuple[int, str, str, list[str]]:
        """Run one command; in a deadly test every third is killed. An attempt takes a tenth of a second."""
        names = [f"{number}.{line}" for line in range(LINES_A_BATCH if kind == "batch" else 1)]
        args = ["batch"] if kind == "batch" else [*kind.split(), "-e", names[0], "-d", "d"]
        lines = "".join(f'{{"event":"{name}","description":"d"}}\n' for name in names)
        out = subprocess.PIPE
        with subprocess.Popen(
            [str(LOGSH), *args, "--json"], env=self.env, stdin=out, stdout=out, stderr=out
        ) as process:
            killing = threading.Timer(self.dice.uniform(0.02, 0.5), process.kill)
            if self.deadly and self.dice.random() < 0.35:
                killing.start()
            said, err = process.communicate(lines.encode() * (kind == "batch"), timeout=PATIENCE_S)
            killing.cancel()
        return process.returncode, said.decode(), err.decode(), names

    def _hinder(self, over: threading.Event, dice: random.Random) -> None:
        while not over.wait(dice.uniform(0.1, 0.4)):
            couriers = [pid for pid, argv in processes_with(self.state).items() if "courier" in argv]
            if dice.random() < 0.5:
                self.service.stop()
                over.wait(dice.uniform(0.1, 0.6))
                self.service.start()
            elif couriers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(dice.choice(couriers), signal.SIGKILL)


def was_accepted(code: int, out: str, count: int) -> bool:
    """Tell whether a process said so, by its exit code or, before it was killed, by its result."""
    result = json.loads(out) if out.endswith("\n") else {}
    said = result.get("accepted") == count or result.get("status") in ("delivered", "stored", "queued")
    return code in (0, 75) or (code == -signal.SIGKILL and said)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


@pytest.mark.parametrize("deadly", [True, False], ids=["kills and lost answers", "nothing of the kind"])
def test_whatever_happens_an_accepted_event_arrives_and_only_once_without_kills_and_lost_answers(
    service: Server, tmp_path: Path, *, deadly: bool
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or int.from_bytes(os.urandom(3)))
    print(f"CHAOS_SEED={seed}")
    dice = random.Random(seed)
    answers = {**HARMLESS, **LOST} if deadly else HARMLESS
    service.script(*dice.choices(list(answers), list(answers.values()), k=2 * EVENTS))
    chaos = Chaos(service, tmp_path / "state", dice, deadly=deadly)
    chaos.run()
    if deadly:
        kill_what_is_left(tmp_path / "state")
        wait_until_none_is_left(tmp_path / "state")
    service.forget_script()
    # A minute later, when the leases of the dead have ended.
    later = Clock(time=lambda: time.time() + (LEASE_S + 1) * deadly, boot=lambda: None)
    done = call_main("outbox", "flush", "--json", env=settings_for(service), clock=later)
    assert done.code == 0, done.stdout + done.stderr
    wait_until_none_is_left(tmp_path / "state")
    assert kept_rows(tmp_path) == []
    assert set(chaos.codes) <= {0, 75, *[-signal.SIGKILL] * deadly}, chaos.codes
    for said in chaos.said:  # nobody met a lock, a fault of ours or a damaged store on the way
        for word in ("locked", "Traceback", "fault in logsh", "damaged", "malformed"):
            assert word not in said, said
    arrived = Counter(body["event"] for body in service.events)
    assert chaos.accepted <= set(arrived) <= chaos.given, "lost"
    assert len(chaos.given) == EVENTS
    if deadly:
        assert chaos.codes[-signal.SIGKILL] > 2, "there was chaos"
        assert len(chaos.accepted) > EVENTS / 4
    else:
        assert arrived == Counter(chaos.accepted) == Counter(chaos.given)
