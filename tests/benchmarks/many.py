"""Many events: what a batch and a flush get through in a second, and what more input costs them: time, not memory."""

from __future__ import annotations

import json
import shutil
import statistics
from typing import TYPE_CHECKING

from tests.benchmarks import peers
from tests.benchmarks.figures import Spread, Table, judged, shown
from tests.benchmarks.lab import KEY, execute, find, say
from tests.benchmarks.measure import Failed, run_long

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.lab import Lab
    from tests.benchmarks.measure import LongSample

CURL_EVERY = 10
"""curl is so much slower that it gets a tenth of the events; what counts is events a second."""

KEPT = 1000
TARGET = 7
"""The target of `batch`: events a second, as a multiple of curl's, four at a time."""


def batch_table(lab: Lab, count: int, runs: int) -> Table:
    """``batch`` and ``outbox flush`` beside curl under xargs, in turns."""
    events = _write_events(lab, count)
    few = _write_events(lab, max(count // CURL_EVERY, 1))
    kept = min(KEPT, count)
    curl, xargs = find("curl"), find("xargs")
    rows = []
    for port in ("http", "https"):
        env, full, flushed = lab.machine(port), lab.machine(port), lab.machine(port)
        _fill(lab, full, kept)
        batch, flush, curls = [], [], []
        for number in range(runs):
            say(f"throughput, {port}: {number + 1} of {runs}")
            _copy_state(full, flushed)
            batch.append(_sending(lab, count, (lab.logsh, "batch", events), env))
            flush.append(_sending(lab, kept, (lab.logsh, "outbox", "flush"), flushed))
            if curl and xargs:
                argv = (xargs, "-P4", "-n1", "-d", "\n", "-a", few, *peers.curl_argv(lab, port, curl))
                curls.append(_sending(lab, max(count // CURL_EVERY, 1), argv, lab.environment()))
        rows.append(_rate_row(f"batch, {port}", batch, curls, has_target=True))
        rows.append(_rate_row(f"outbox flush, {kept:,} kept, {port}", flush, curls))
        if curls:
            rows.append(_rate_row(f"xargs -P4 curl, {port}", curls, curls))
    header = ("", "events/s", "CPU ms/event", "peak MB", "/ xargs -P4 curl", "target")
    note = (
        f"{runs} runs in turns; {count:,} lines, curl {max(count // CURL_EVERY, 1):,}. Whole processes, starting "
        "included; the server, on the same machine, takes its share of the processors."
    )
    return Table("Throughput on loopback", header, rows, note)


def lines_table(lab: Lab, sizes: Sequence[int]) -> Table:
    """``batch --dry-run`` over files of growing length."""
    env = lab.machine("http")
    rows = []
    for size in sizes:
        say(f"batch --dry-run, {size:,} lines")
        sample = run_long((lab.logsh, "batch", "--dry-run", _write_events(lab, size)), env, lab.python)
        seconds = sample.wall_ms / 1e3
        rows.append((f"{size:,}", shown(seconds), shown(seconds / size * 1e6), shown(sample.peak_mb)))
    return Table("batch --dry-run", ("lines", "s", "µs/line", "peak MB"), rows, "One run each.")


def backlog_table(lab: Lab, sizes: Sequence[int]) -> Table:
    """The outbox's commands with ever more events waiting."""
    rows = []
    for size in sizes:
        say(f"outbox, {size:,} waiting")
        full, used = lab.machine("http"), lab.machine("http")
        _fill(lab, full, size)
        listed = run_long((lab.logsh, "outbox", "list"), full, lab.python)
        _copy_state(full, used)
        dropped = run_long((lab.logsh, "outbox", "drop", "--all", "--yes"), used, lab.python)
        _copy_state(full, used)
        rate, flushed = _sending(lab, size, (lab.logsh, "outbox", "flush"), used)
        times = (listed.wall_ms / 1e3, listed.peak_mb, dropped.wall_ms / 1e3, flushed.wall_ms / 1e3)
        rows.append((f"{size:,}", *map(shown, (*times, rate, flushed.peak_mb))))
    header = ("waiting", "list s", "peak MB", "drop --all s", "flush s", "events/s", "peak MB")
    return Table("The outbox, by what waits in it", header, rows, "http; whole processes, one run each.")


def _write_events(lab: Lab, count: int) -> Path:
    """A file of so many lines, each an event as it might be."""
    path = lab.directory / f"{count}.jsonl"
    with path.open("w") as file:
        for number in range(count):
            metadata = {"number": number, "plan": "pro", "region": "eu"}
            event = {**peers.EVENT, "description": f"event number {number} of many", "metadata": metadata}
            file.write(json.dumps(event) + "\n")
    return path


def _fill(lab: Lab, env: Mapping[str, str], count: int) -> None:
    """Put so many events into an outbox, as if they had not been delivered."""
    execute(lab.python, "-c", _FILL, env["LOGSH_STATE_DIR"], str(count), KEY)


def _copy_state(source: Mapping[str, str], target: Mapping[str, str]) -> None:
    """Give one machine another one's outbox."""
    shutil.rmtree(target["LOGSH_STATE_DIR"], ignore_errors=True)
    shutil.copytree(source["LOGSH_STATE_DIR"], target["LOGSH_STATE_DIR"])


def _sending(lab: Lab, count: int, argv: Sequence[str | Path], env: Mapping[str, str]) -> tuple[float, LongSample]:
    """Events a second over the whole process. Raises ``Failed`` unless exactly ``count`` arrived."""
    before = lab.events_received()
    sample = run_long(argv, env, lab.python)
    if (arrived := lab.events_received() - before) != count:
        raise Failed(f"{' '.join(map(str, argv))[:200]}: {count} events sent, {arrived} arrived")
    return count / sample.wall_ms * 1e3, sample


_Rates = list[tuple[float, "LongSample"]]


def _rate_row(name: str, runs: _Rates, curls: _Rates, *, has_target: bool = False) -> tuple[str, ...]:
    rates = [rate for rate, _ in runs]
    cpu = statistics.median(sample.cpu_ms / (rate * sample.wall_ms / 1e3) for rate, sample in runs)
    peak = max(sample.peak_mb for _, sample in runs)
    ratio, target = "", ""
    if curls:
        middle = Spread.of_ratios(rates, [rate for rate, _ in curls]).middle
        ratio, target = shown(middle), judged("≥", TARGET, met=middle >= TARGET) if has_target else ""
    return (name, str(Spread.of(rates)), shown(cpu), shown(peak), ratio, target)


_FILL = """
import json, sys
from pathlib import Path
from logsh_cli.outbox import Outbox, Owner
directory, count, key = sys.argv[1:]
store = Outbox.open(Path(directory))
owner = Owner("default", store.fingerprint(key))
body = {"workspace": "benchmarks", "event": "backup.nightly", "metadata": {"status": "failed", "exit_code": 2}}
for start in range(0, int(count), 1000):
    numbers = range(start, min(start + 1000, int(count)))
    store.add(owner, [json.dumps({**body, "description": f"number {n} of many"}).encode() for n in numbers])
store.close()
"""
"""Through logsh's own store, one chunk a transaction, as ``batch`` does it; for the Python that has logsh."""
