"""What more input costs: time should grow with it, memory should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.figures import Table, shown
from tests.benchmarks.lab import say
from tests.benchmarks.measure import run_long
from tests.benchmarks.throughput import copy_state, fill, sending, write_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.lab import Lab


def lines_table(lab: Lab, sizes: Sequence[int]) -> Table:
    """``batch --dry-run`` over files of growing length."""
    env = lab.machine("http")
    rows = []
    for size in sizes:
        say(f"batch --dry-run, {size:,} lines")
        events = write_events(lab.directory / "growing.jsonl", size)
        sample = run_long((lab.logsh, "batch", "--dry-run", events), env, lab.python)
        per_line = sample.wall_ms / size * 1e3
        rows.append((f"{size:,}", shown(sample.wall_ms / 1e3), shown(per_line), shown(sample.peak_mb)))
        events.unlink()
    return Table("batch --dry-run", ("lines", "s", "µs/line", "peak MB"), rows, "One run each.")


def backlog_table(lab: Lab, sizes: Sequence[int]) -> Table:
    """The outbox's commands with ever more events waiting."""
    rows = []
    for size in sizes:
        say(f"outbox, {size:,} waiting")
        full, used = lab.machine("http"), lab.machine("http")
        fill(lab, full, size)
        shown_all = run_long((lab.logsh, "outbox", "list"), full, lab.python)
        copy_state(full, used)
        dropped = run_long((lab.logsh, "outbox", "drop", "--all"), used, lab.python)
        copy_state(full, used)
        rate, flushed = sending(lab, size, (lab.logsh, "outbox", "flush"), used)
        rows.append(
            (
                f"{size:,}",
                shown(shown_all.wall_ms / 1e3),
                shown(shown_all.peak_mb),
                shown(dropped.wall_ms / 1e3),
                shown(flushed.wall_ms / 1e3),
                shown(rate),
                shown(flushed.peak_mb),
            )
        )
    header = ("waiting", "list s", "peak MB", "drop --all s", "flush s", "events/s", "peak MB")
    return Table("The outbox, by what waits in it", header, rows, "http; whole processes, one run each.")
