"""What it costs to keep an event before it is sent: the same call with a store on disk, and where there can be none."""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.figures import Spread, Table, shown
from tests.benchmarks.lab import find, say
from tests.benchmarks.measure import Failed, run
from tests.benchmarks.whole_process import SEND, WARM_UPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.lab import Lab
    from tests.benchmarks.measure import Sample

NOWHERE = str(Path(os.devnull) / "logsh")
"""A state directory that can't be made: events are held in memory."""

_SYNC = re.compile(r"\b(fsync|fdatasync|sync_file_range|msync)\(")


def table(lab: Lab, runs: int) -> Table:
    """``send`` with and without a store, in turns, and how often each asks for the disk."""
    with_store = lab.machine("https")
    without = {**lab.machine("https"), "LOGSH_STATE_DIR": NOWHERE}
    for env in (with_store, without) * WARM_UPS:
        run((lab.logsh, *SEND), env)
    kept: list[Sample] = []
    unkept: list[Sample] = []
    disk: list[float] = []
    for number in range(runs):
        say(f"store: {number + 1} of {runs}")
        pair = [(kept, with_store), (unkept, without)]
        for samples, env in reversed(pair) if number % 2 else pair:
            samples.append(run((lab.logsh, *SEND), env))
        disk.append(_one_sync_ms(lab.directory / "sync"))
    rows = []
    for name, samples, env in (("on disk", kept, with_store), ("in memory", unkept, without)):
        walls, cpus = [s.wall_ms for s in samples], [s.cpu_ms for s in samples]
        ratio = Spread.of_ratios(walls, [s.wall_ms for s in unkept])
        count = syncs(lab, env)
        shown_count = "" if count is None else str(count)
        rows.append((name, str(Spread.of(walls)), shown(statistics.median(cpus)), str(ratio), shown_count))
    note = f"{runs} runs in turns. One `fdatasync` of 4 kB takes {Spread.of(disk)} ms on this disk."
    header = ("send, with its store", "wall ms", "CPU ms", "/ in memory", "syncs")
    return Table("What keeping an event costs", header, rows, note)


def syncs(lab: Lab, env: Mapping[str, str]) -> int | None:
    """How often one ``send`` waits for the disk, by strace; ``None`` without a strace that works."""
    strace = find("strace")
    if strace is None:
        say("note: strace is not installed, so syncs are not counted")
        return None
    log = lab.directory / "strace.log"
    argv = (strace, "-f", "-o", log, "-e", "trace=fsync,fdatasync,sync_file_range,msync", lab.logsh, *SEND)
    try:
        run(argv, env)
    except Failed:
        say("note: strace may not trace here, so syncs are not counted")
        return None
    return len(_SYNC.findall(log.read_text(errors="replace")))


def _one_sync_ms(path: Path) -> float:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, bytes(4096))
        start = time.perf_counter()
        (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)
        return (time.perf_counter() - start) * 1e3
    finally:
        os.close(descriptor)
