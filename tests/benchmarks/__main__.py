"""``python -m tests.benchmarks``: measure and print the tables; ``--write-docs`` puts them into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks import keeping, many, peers, whole_process
from tests.benchmarks.figures import with_figures
from tests.benchmarks.lab import ROOT, Lab, open_lab, say
from tests.benchmarks.measure import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.figures import Table

STARTUP = "startup"
SECTIONS = ("whole-process", "store", "throughput", "growth")
PAGE = ROOT / "docs" / "benchmarks.md"


class Plan(NamedTuple):
    """The amount of everything that is done."""

    programs: int | None = None
    events: int = 2000
    lines: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    backlog: tuple[int, ...] = (1_000, 10_000, 100_000)


TINY = Plan(programs=4, events=20, lines=(10, 100), backlog=(10, 20))
"""Just enough to see that everything works."""


def measured(lab: Lab, section: str, plan: Plan, *, runs: int, install_peers: bool) -> Iterator[Table]:
    """Yield the tables of a section; ``startup`` is the part of ``whole-process`` that has targets."""
    long_runs = max(1, runs // 4)  # of what takes seconds each time
    if section in (STARTUP, "whole-process"):
        calls = whole_process.promised(lab)[: plan.programs]
        if section != STARTUP:
            calls += whole_process.unpromised(lab)
        calls += [peers.smallest_script(lab, "https"), *peers.others(lab, install=install_peers)]
        yield whole_process.table(calls, whole_process.measure(lab, calls, runs))
    elif section == "store":
        yield keeping.table(lab, runs)
    elif section == "throughput":
        yield many.batch_table(lab, plan.events, long_runs)
    else:
        yield many.lines_table(lab, plan.lines)
        yield many.backlog_table(lab, plan.backlog)


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; 1 when something could not be measured."""
    given = _parser().parse_args(argv)
    if given.write_docs and (given.only or given.tiny):
        _parser().error("--write-docs needs all sections, in full")
    texts = [_machine(given.runs)]
    print(texts[0], flush=True)
    try:
        with open_lab(given.venv) as lab:
            for section in given.only or SECTIONS:
                plan = TINY if given.tiny else Plan()
                for table in measured(lab, section, plan, runs=given.runs, install_peers=given.peers):
                    texts.append(str(table))
                    print(f"\n{table}", flush=True)
    except Failed as error:
        say(f"{error}")
        return 1
    if given.write_docs:
        PAGE.write_text(with_figures(PAGE.read_text(), "\n\n".join(texts)))
        say(f"written: {PAGE}")
    return 0


def _machine(runs: int) -> str:
    return (
        f"{runs} rounds of `python -m tests.benchmarks` on {os.cpu_count()} processors, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start. "
        "Ratios carry over to other machines, milliseconds do not."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What a call of logsh costs.")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="rounds of everything that is quick")
    parser.add_argument("--only", action="append", choices=[STARTUP, *SECTIONS], help="this section; may be repeated")
    parser.add_argument("--venv", type=Path, help="logsh's environment; made there if it is not, else used as it is")
    parser.add_argument("--peers", action="store_true", help="install HTTPie and Apprise, to compare with them as well")
    parser.add_argument("--tiny", action="store_true", help="a handful of events, to see that it works")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
