"""Many events: what a batch and a flush get through in a second, and what that depends on."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from typing import TYPE_CHECKING

from tests.benchmarks import peers
from tests.benchmarks.figures import Spread, Table, shown
from tests.benchmarks.lab import KEY, find, say
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
"""How many times as many events a second as curl four at a time `batch` is to send."""

JOBS = (1, 2, 4, 8, 16, 32)


def write_events(path: Path, count: int) -> Path:
    """A file of so many lines, each an event as it might be."""
    with path.open("w") as file:
        for number in range(count):
            metadata = {"number": number, "plan": "pro", "region": "eu"}
            event = {**peers.EVENT, "description": f"event number {number} of many", "metadata": metadata}
            file.write(json.dumps(event) + "\n")
    return path


def fill(lab: Lab, env: Mapping[str, str], count: int) -> None:
    """Put so many events into an outbox, as if they had not been delivered."""
    done = subprocess.run(
        [lab.python, "-c", _FILL, str(count), KEY], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"the outbox could not be filled:\n{done.stderr}")


def copy_state(source: Mapping[str, str], target: Mapping[str, str]) -> None:
    """Give one machine another one's outbox."""
    shutil.rmtree(target["LOGSH_STATE_DIR"], ignore_errors=True)
    shutil.copytree(source["LOGSH_STATE_DIR"], target["LOGSH_STATE_DIR"])


def batch_table(lab: Lab, count: int, runs: int) -> Table:
    """``batch`` and ``outbox flush`` beside curl under xargs, in turns."""
    events = write_events(lab.directory / "events.jsonl", count)
    few = write_events(lab.directory / "few.jsonl", max(count // CURL_EVERY, 1))
    curl, xargs = find("curl"), find("xargs")
    rows = []
    for port in ("http", "https"):
        env, kept = lab.machine(port), lab.machine(port)
        fill(lab, kept, min(KEPT, count))
        flushed = lab.machine(port)
        batch, flush, curls = [], [], []
        for number in range(runs):
            say(f"throughput, {port}: {number + 1} of {runs}")
            copy_state(kept, flushed)
            batch.append(sending(lab, count, (lab.logsh, "batch", events), env))
            flush.append(sending(lab, min(KEPT, count), (lab.logsh, "outbox", "flush"), flushed))
            if curl and xargs:
                argv = (xargs, "-P4", "-n1", "-d", "\n", "-a", few, *peers.curl_argv(lab, port, curl))
                curls.append(sending(lab, max(count // CURL_EVERY, 1), argv, lab.environment()))
        rates = [rate for rate, _ in curls]
        rows.append(_rate_row(f"batch, {port}", batch, rates))
        rows.append(_rate_row(f"outbox flush, {min(KEPT, count):,} kept, {port}", flush, rates))
        if curls:
            rows.append(_rate_row(f"xargs -P4 curl, {port}", curls, rates))
    header = ("", "events/s", "CPU ms/event", "peak MB", "/ xargs -P4 curl", "target")
    note = (
        f"{runs} runs in turns; {count:,} lines, curl {max(count // CURL_EVERY, 1):,}. Whole processes, starting "
        "included; the server, on the same machine, takes its share of the processors."
    )
    return Table("Throughput on loopback", header, rows, note)


def jobs_table(lab: Lab, count: int) -> Table:
    """How ``batch`` fares as its workers grow in number."""
    events = write_events(lab.directory / "events.jsonl", count)
    env = lab.machine("http")
    rows = []
    for jobs in JOBS:
        say(f"batch --jobs {jobs}")
        rate, sample = sending(lab, count, (lab.logsh, "batch", events, "--jobs", str(jobs)), env)
        rows.append((str(jobs), shown(rate), shown(sample.cpu_ms / count), shown(sample.peak_mb)))
    header = ("--jobs", "events/s", "CPU ms/event", "peak MB")
    return Table("batch, by its number of workers", header, rows, f"{count:,} lines, http, one run each.")


def sending(lab: Lab, count: int, argv: Sequence[str | Path], env: Mapping[str, str]) -> tuple[float, LongSample]:
    """Events a second over the whole process. Raises ``Failed`` unless exactly ``count`` arrived."""
    before = lab.events_received()
    sample = run_long(argv, env, lab.python)
    if (arrived := lab.events_received() - before) != count:
        raise Failed(f"{' '.join(map(str, argv))[:200]}: {count} events sent, {arrived} arrived")
    return count / sample.wall_ms * 1e3, sample


def _rate_row(name: str, runs: Sequence[tuple[float, LongSample]], curls: Sequence[float]) -> tuple[str, ...]:
    rates = [rate for rate, _ in runs]
    cpu = statistics.median(sample.cpu_ms / (rate * sample.wall_ms / 1e3) for rate, sample in runs)
    peak = max(sample.peak_mb for _, sample in runs)
    ratio = Spread.of_ratios(rates, curls).middle if curls else None
    target = "" if ratio is None or not name.startswith("batch") else _judged(ratio)
    return (name, str(Spread.of(rates)), shown(cpu), shown(peak), "" if ratio is None else shown(ratio), target)


def _judged(ratio: float) -> str:
    return f"≥ {TARGET}" if ratio >= TARGET else f"≥ {TARGET}, missed"


_FILL = """
import json, os, sys
from logsh_cli.outbox import Outbox, Owner
from logsh_cli.config import state_dir
count, key = int(sys.argv[1]), sys.argv[2]
store = Outbox.open(state_dir(os.environ))
owner = Owner("default", store.fingerprint(key))
body = {"workspace": "benchmarks", "event": "backup.nightly", "metadata": {"status": "failed", "exit_code": 2}}
for start in range(0, count, 1000):
    numbers = range(start, min(start + 1000, count))
    store.add(owner, [json.dumps({**body, "description": f"number {n} of many"}).encode() for n in numbers])
store.close()
"""
"""Through logsh's own store, one chunk a transaction, as ``batch`` does it; for the Python that has logsh."""
