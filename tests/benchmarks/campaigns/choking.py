"""The service answers 500 to some events, which are ahead of good ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.machine import Machine
from tests.support import answers as says

if TYPE_CHECKING:
    import random

    from tests.benchmarks.campaigns.toll import Toll
    from tests.support.answers import Wire

SIZE = 200
BAD = 8


def campaign(dice: random.Random, size: int) -> Toll:
    """Flush once what is kept: ``size`` good events behind eight bad ones, of which some were tried before."""
    with Machine() as machine:

        def play(wire: Wire) -> None:
            bad = machine.server.requests[-1].json["event"].startswith("bad")
            (says.error(500) if bad else says.ok()).play(wire)

        machine.server.default = says.Answer("chokes on bad ones", play, accepts=True)
        bad, good = [f"bad{i}" for i in range(BAD)], [f"e{i}" for i in range(size)]
        machine.keep(bad)
        if dice.random() < 0.5:
            machine.run("outbox", "flush", "--deadline", "1")
        machine.keep(good)
        machine.server.requests.clear()
        done = machine.run("outbox", "flush", "--jobs", "1", "--deadline", "1", "--json")
        machine.server.events[:] = [body for body in machine.server.events if body["event"].startswith("e")]
        return machine.toll(bad + good, f"{done.json['delivered']} of {size} good ones delivered by one flush")
