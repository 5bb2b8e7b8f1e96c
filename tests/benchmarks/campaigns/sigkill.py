"""Processes are killed at any moment while they accept and acknowledge, three at once on one store."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.campaigns.toll import PATIENCE_S, ROOT, Toll, count, work

if TYPE_CHECKING:
    import random

SIZE = 150
ROUNDS = 40


def campaign(dice: random.Random, size: int) -> Toll:
    """Kill ``size`` processes; an acknowledgement that was under way may be lost with each."""
    said: list[str] = []
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "state"
        for start in range(0, size, 3):
            commands = [work(directory, first=(start + i) * ROUNDS, rounds=ROUNDS) for i in range(3)]
            victims = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for command in commands]
            pipes = [victim.stdout for victim in victims if victim.stdout is not None]
            said += [pipe.readline() for pipe in pipes]
            for victim in victims:
                time.sleep(dice.uniform(0.0, 0.1))
                victim.kill()
            said += [line for pipe in pipes for line in pipe if line.endswith("\n")]
            for victim in victims:
                victim.communicate(timeout=PATIENCE_S)
        toll = count(directory, [line.strip() for line in said])
    return toll._replace(note=f"{size} processes killed")
