"""A process may start no thread: each would get a stack larger than the memory that the process may have."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.machine import Machine, lines

if TYPE_CHECKING:
    import random

    from tests.benchmarks.campaigns.toll import Toll

SIZE = 20
STACK, MEMORY = 64 << 30, 16 << 30


def without_threads() -> None:
    """Set the limits, between fork and exec."""
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def campaign(dice: random.Random, size: int) -> Toll:
    """Run ``size`` sends, batches and flushes, with the service there or away."""
    accepted: list[str] = []
    with Machine() as machine:
        for number in range(size):
            away = dice.random() < 0.3
            if away:
                machine.server.stop()
            names = [f"e{number}.{i}" for i in range(10)]
            deadline = "0.5" if away else "60"
            for name, command, stdin in (
                (names[:1], ("send", "-e", names[0], "-d", "d", "--deadline", deadline), b""),
                (names[1:], ("batch", "--deadline", deadline), lines(names[1:])),
            ):
                done = machine.run(*command, stdin=stdin, preexec_fn=without_threads)
                assert done.code == 75 * away, done.stderr
                accepted += name
            if away:
                machine.server.start()
            assert machine.run("outbox", "flush", preexec_fn=without_threads).code == 0
        return machine.toll(accepted, f"{3 * size} commands without threads")
