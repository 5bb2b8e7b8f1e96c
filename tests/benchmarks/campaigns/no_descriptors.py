"""A process may have only so many open files, for each number that lets it start."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import Toll, count, said_by, work

if TYPE_CHECKING:
    import random

SIZE = 20
LIMIT = """
import resource
from logsh_cli.outbox import pages
from hashlib import blake2b
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
"""


def campaign(_dice: random.Random, size: int) -> Toll:
    """Work with 3, 4, 5 … descriptors, in a store that is there and in one that is not."""
    total = Toll()
    with tempfile.TemporaryDirectory() as place:
        for limit in range(3, 3 + size):
            directory = Path(place) / str(limit)
            said = said_by(work(directory, rounds=1)) if limit % 2 else []
            said += said_by(work(directory, first=10, rounds=2, patience_s=0.3, before=LIMIT.format(limit=limit)))
            total += count(directory, said)
    return total._replace(note=f"{size} limits")
