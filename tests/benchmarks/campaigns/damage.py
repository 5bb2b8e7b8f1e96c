"""Bits flip, ends are cut off, noise is written over the store's file, its log, the log's index and the ledger."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import Toll, count, said_by, work

if TYPE_CHECKING:
    import random

SIZE = 800
FILES = ("outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.ledger")


def campaign(dice: random.Random, size: int) -> Toll:
    """Damage a store ``size`` times, in one place each time."""
    total = Toll()
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        said = said_by(work(whole, rounds=50))
        for _ in range(size):
            directory = Path(place) / "damaged"
            shutil.copytree(whole, directory)
            file = directory / dice.choice(FILES)
            content = bytearray(file.read_bytes())
            at, kind = dice.randrange(len(content)), dice.random()
            if kind < 0.4:
                content[at] ^= 1 << dice.randrange(8)
            elif kind < 0.8:
                del content[at:]
            else:
                length = min(dice.randrange(1, 10_000), len(content) - at)
                content[at : at + length] = dice.randbytes(length)
            file.write_bytes(content)
            total += count(directory, said)
            shutil.rmtree(directory)
    return total._replace(note=f"{size} damaged stores; doubled: the acknowledgement was in what was damaged")
