"""The wall clock steps by up to an hour either way, and the machine sleeps, while two walkers share a store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from logsh_cli.clock import BootTime
from logsh_cli.outbox import LEASE_S, Outbox, Owner
from tests.benchmarks.campaigns.toll import Toll

if TYPE_CHECKING:
    import random

SIZE = 300
ME = Owner("default", "a" * 16)


def campaign(dice: random.Random, size: int) -> Toll:
    """Send each of ``size`` events for a while under a lease; another walker looks in after each step of the clock."""
    wall, up = 1_700_000_000.0, 1_000.0
    sent = doubled = 0
    with tempfile.TemporaryDirectory() as place:
        stores = [Outbox.open(Path(place), now=lambda: wall, boot=lambda: BootTime("this", up)) for _ in range(2)]
        for number in range(size):
            holder, other = stores if dice.random() < 0.5 else stores[::-1]
            (row_id,) = holder.add(ME, [b'{"event":"e%d"}' % number], lease="holder")
            for _ in range(3):
                passed = dice.uniform(0, LEASE_S / 2)
                wall, up = wall + passed + dice.choice((-3600.0, 0.0, 3600.0)), up + passed
                doubled += len(other.take(ME, lease="other", limit=1, ignore_wait=True))
                assert holder.renew([row_id], "holder") == {row_id}
            sent += 1
            holder.delivered([row_id], "holder")
            if dice.random() < 0.1:  # a suspend: nobody runs, and every lease ends
                wall, up = wall + 3600, up + 3600
        kept = stores[0].counts().pending
    return Toll(
        accepted=size, delivered=sent, kept=kept, lost=size - sent - kept, doubled=doubled, note=f"{3 * size} steps"
    )
