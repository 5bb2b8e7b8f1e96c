"""HUP, INT, QUIT and TERM, once or twice, at any moment of a ``batch`` or a ``flush``."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.machine import Machine, ended, lines
from tests.support import answers as says

if TYPE_CHECKING:
    import random

    from tests.benchmarks.campaigns.toll import Toll

SIZE = 60
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
EVENTS = 200


def campaign(dice: random.Random, size: int) -> Toll:
    """Interrupt ``size`` commands; in the end what is kept is delivered. One signal lets end what is under way."""
    accepted: list[str] = []
    with Machine() as machine:
        machine.server.default = says.slow(0.002)
        for number in range(size):
            names = [f"e{number}.{i}" for i in range(EVENTS)]
            is_batch = number % 3 != 2
            command = ("batch", "--json") if is_batch else ("outbox", "flush", "--json")
            before = len(machine.server.requests)
            process = machine.start(*command, stdin=lines(names) if is_batch else b"")
            while process.poll() is None and len(machine.server.requests) == before:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.1))
            if process.poll() is None:
                process.send_signal(dice.choice(SIGNALS))
            done = ended(process)
            if is_batch and done.stdout:  # a courier's request may have been the one seen: it was hit while it started
                accepted += names[: done.json["accepted"]]
        assert machine.run("outbox", "flush").code == 0
        return machine.toll(accepted, f"{size} commands interrupted")
