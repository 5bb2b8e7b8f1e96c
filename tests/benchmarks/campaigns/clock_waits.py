"""The wall clock steps by up to an hour either way while kept events wait for their next try."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from logsh_cli.outbox import Outbox, Owner
from tests.benchmarks.campaigns.toll import Toll

if TYPE_CHECKING:
    import random

SIZE = 300
ME = Owner("default", "a" * 16)
HOUR = 3600.0


def campaign(dice: random.Random, size: int) -> Toll:
    """Have ``size`` events wait for up to an hour each; none may wait longer than that and the step together."""
    wall = 1_700_000_000.0
    late = 0
    with tempfile.TemporaryDirectory() as place:
        store = Outbox.open(Path(place), now=lambda: wall)
        for number in range(size):
            (row_id,) = store.add(ME, [b'{"event":"e%d"}' % number], lease="l")
            wait = dice.uniform(1, HOUR)
            facts = {"attempts": 1, "error_name": "x", "error_message": "y", "http_status": 503}
            store.failed(row_id, "l", **facts, not_before=wall + wait)  # type: ignore[arg-type]
            step = dice.choice((-HOUR, 0.0, HOUR))
            wall += step
            passed = 0.0
            while not store.take(ME, lease="l", limit=1):
                wall, passed = wall + 60, passed + 60
            late += passed > wait + max(0.0, -step) + 60
            store.delivered([row_id], "l")
        kept = store.counts().pending
        store.close()
    return Toll(size, size - kept, lost=kept, note=f"{size} steps, {late} waits longer than the wait and the step")
