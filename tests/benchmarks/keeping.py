"""The cost of keeping an event before it is sent: the same call with a store on disk, and where there can be none."""

from __future__ import annotations

import os
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.figures import Spread, Table, shown
from tests.benchmarks.lab import find, say
from tests.benchmarks.measure import Failed, run
from tests.benchmarks.whole_process import SEND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.lab import Lab

NOWHERE = str(Path(os.devnull) / "logsh")
"""A state directory that can't be made: events are held in memory."""

_SYNCS = "fsync,fdatasync,sync_file_range,msync"


def table(lab: Lab, runs: int) -> Table:
    """``send`` with and without a store, in turns, and how often each asks for the disk."""
    kept = lab.machine("https")
    unkept = {**lab.machine("https"), "LOGSH_STATE_DIR": NOWHERE}
    pairs = []
    for number in range(runs + 1):  # the first of them only warms up
        say(f"store: {number} of {runs}")
        pairs.append(tuple(run((lab.logsh, *SEND), env) for env in (kept, unkept)))
    without = [pair[1].wall_ms for pair in pairs[1:]]
    rows = []
    for name, place, env in (("on disk", 0, kept), ("in memory", 1, unkept)):
        samples = [pair[place] for pair in pairs[1:]]
        walls = [sample.wall_ms for sample in samples]
        cpu = statistics.median(sample.cpu_ms for sample in samples)
        rows.append((name, str(Spread.of(walls)), shown(cpu), str(Spread.of_ratios(walls, without)), _syncs(lab, env)))
    header = ("send, with its store", "wall ms", "CPU ms", "/ in memory", "syncs")
    return Table("What keeping an event costs", header, rows, f"{runs} runs in turns.")


def _syncs(lab: Lab, env: Mapping[str, str]) -> str:
    """Count how often one ``send`` waits for the disk; empty without a strace that works."""
    log = lab.directory / "strace.log"
    try:
        run((find("strace") or "strace", "-f", "-o", log, "-e", f"trace={_SYNCS}", lab.logsh, *SEND), env)
    except (Failed, OSError):
        say("note: strace is not installed, or may not trace here, so syncs are not counted")
        return ""
    return str(len(re.findall(rf"\b(?:{_SYNCS.replace(',', '|')})\(", log.read_text(errors="replace"))))
