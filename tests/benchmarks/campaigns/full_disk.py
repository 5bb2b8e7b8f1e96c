"""The disk is full from the nth write on, for every n; what has its size already can still be written over."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import Toll, count, said_by, work

if TYPE_CHECKING:
    import random

SIZE = 200
ROUNDS = 6


def campaign(dice: random.Random, size: int) -> Toll:
    """Fill the disk before ``size`` of the writes, drawn by the dice; half of them into a store that is there."""
    total = Toll()
    with tempfile.TemporaryDirectory() as place:
        begun = Path(place) / "begun"
        said_by(work(begun, first=1_000, rounds=3))
        writes = _writes(Path(place) / "log", Path(place) / "all")
        points = sorted(dice.sample(range(1, writes + 1), min(size, writes)))
        for number, point in enumerate(points):
            directory = Path(place) / str(point)
            if number % 2:
                shutil.copytree(begun, directory)
            fault = f"-einject=pwrite64:error=ENOSPC:when={point}+"
            trace = ["strace", "-f", "-o", "/dev/null", "-etrace=pwrite64", fault]
            total += count(directory, said_by([*trace, *work(directory, rounds=ROUNDS, patience_s=1)]))
    return total._replace(note=f"{len(points)} of {writes} writes")


def _writes(log: Path, directory: Path) -> int:
    said_by(["strace", "-f", "-o", str(log), "-etrace=pwrite64", *work(directory, rounds=ROUNDS)])
    return log.read_text().count("pwrite64(")
