"""The plan lapses, so that the service refuses every event with a 400 about it, and is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.machine import Machine, lines
from tests.support import answers as says

if TYPE_CHECKING:
    import random

    from tests.benchmarks.campaigns.toll import Toll

SIZE = 3_000
LAPSED = "Your current plan does not allow you to create events. Please upgrade your plan."


def campaign(dice: random.Random, size: int) -> Toll:
    """Send ``size`` events while the plan has lapsed, flush now and then, renew it, flush."""
    names = [f"e{i}" for i in range(size)]
    with Machine() as machine:
        machine.server.default = says.error(400, "bad_request", LAPSED)
        while names:
            some, names = names[: size // 5 or 1], names[size // 5 or 1 :]
            assert machine.run("batch", stdin=lines(some)).code == 75
            if dice.random() < 0.5:
                assert machine.run("outbox", "flush").code == 75
        machine.server.default = says.ok()
        assert machine.run("outbox", "flush").code == 0
        return machine.toll([f"e{i}" for i in range(size)], "the plan lapsed, and was renewed")
