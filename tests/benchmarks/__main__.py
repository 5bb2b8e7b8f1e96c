"""``python -m tests.benchmarks``: measure and print the tables; ``--write-docs`` puts them into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks import growth, keeping, peers, throughput, whole_process
from tests.benchmarks.figures import with_figures
from tests.benchmarks.lab import ROOT, Lab, open_lab, say
from tests.benchmarks.measure import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STARTUP = "startup"


class Plan(NamedTuple):
    """How much of everything is done."""

    runs: int
    install_peers: bool
    programs: int | None = None
    events: int = 2000
    lines: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    backlog: tuple[int, ...] = (1_000, 10_000, 100_000)

    def tiny(self) -> Plan:
        """Just enough to see that everything works."""
        return self._replace(programs=4, events=20, lines=(10, 100), backlog=(10, 20))

    @property
    def long_runs(self) -> int:
        """For what takes seconds each time."""
        return max(1, self.runs // 4)


def startup(lab: Lab, plan: Plan) -> Iterator[str]:
    """What has a target, for a quick answer."""
    others = peers.others(lab, "https", install=plan.install_peers)
    chosen = [one for one in whole_process.subjects(lab) if one.target is not None][: plan.programs]
    rounds = whole_process.measure(lab, chosen, others, plan.runs)
    yield str(whole_process.table(chosen, others, rounds))


def whole(lab: Lab, plan: Plan) -> Iterator[str]:
    """Every command that somebody waits for."""
    others = peers.others(lab, "https", install=plan.install_peers)
    chosen = whole_process.subjects(lab)
    rounds = whole_process.measure(lab, chosen, others, plan.runs)
    yield str(whole_process.table(chosen, others, rounds))
    extra = whole_process.env_starts_a_job(lab, plan.runs)
    yield "\n".join(f"- {line}" for line in whole_process.notes(chosen, rounds, extra))


def many(lab: Lab, plan: Plan) -> Iterator[str]:
    """Batches and flushes."""
    yield str(throughput.batch_table(lab, plan.events, plan.long_runs))
    yield str(throughput.jobs_table(lab, plan.events))


def growing(lab: Lab, plan: Plan) -> Iterator[str]:
    """Ever more input."""
    yield str(growth.lines_table(lab, plan.lines))
    yield str(growth.backlog_table(lab, plan.backlog))


def store(lab: Lab, plan: Plan) -> Iterator[str]:
    """Keeping events."""
    yield str(keeping.table(lab, plan.runs))


SECTIONS: dict[str, Callable[[Lab, Plan], Iterator[str]]] = {
    "whole-process": whole,
    "store": store,
    "throughput": many,
    "growth": growing,
}


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; 1 when something could not be measured."""
    given = _parser().parse_args(argv)
    if given.write_docs and (given.only or given.tiny):
        _parser().error("--write-docs needs all sections, in full")
    plan = Plan(given.runs, given.peers)
    sections = {STARTUP: startup, **SECTIONS}
    chosen = [sections[name] for name in given.only or SECTIONS]
    texts = [_machine()]
    print(texts[0], flush=True)
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        say("note: the machine is busy; ratios still mean something, milliseconds and rates do not")
    try:
        with open_lab(given.venv) as lab:
            for section in chosen:
                for text in section(lab, plan.tiny() if given.tiny else plan):
                    texts.append(text)
                    print(f"\n{text}", flush=True)
    except Failed as error:
        say(f"{error}")
        return 1
    if given.write_docs:
        page = ROOT / "docs" / "benchmarks.md"
        page.write_text(with_figures(page.read_text(), "\n\n".join(texts)))
        say(f"written: {page}")
    return 0


def _machine() -> str:
    return (
        f"Measured with `python -m tests.benchmarks` on {os.cpu_count()} processors, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start. "
        "Ratios carry over to other machines, milliseconds do not."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What a call of logsh costs.")
    parser.add_argument("--runs", type=_positive, default=20, metavar="N", help="rounds of everything that is quick")
    parser.add_argument("--only", action="append", choices=[STARTUP, *SECTIONS], help="this section; may be repeated")
    parser.add_argument("--venv", type=Path, help="logsh's environment; made there if it is not, else used as it is")
    parser.add_argument("--peers", action="store_true", help="install HTTPie and Apprise, to compare with them as well")
    parser.add_argument("--tiny", action="store_true", help="a handful of events, to see that it works")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
