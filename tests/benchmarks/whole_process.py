"""Whole processes: what a cold call of each command costs, beside the smallest httpx script and other means.

Every round runs each program directly beside the script, which of the two goes first changing from round to round: a
machine that is busy for a while, or slows down, moves both.
"""

from __future__ import annotations

import statistics
import tomllib
from typing import TYPE_CHECKING, TypeAlias

from tests.benchmarks.figures import Spread, Table, judged, shown
from tests.benchmarks.lab import ROOT, Lab, install, say
from tests.benchmarks.measure import Failed, Sample, run
from tests.benchmarks.peers import SCRIPT, STARTED, Program, smallest_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.lab import Trust

Pairs: TypeAlias = "Mapping[str, list[tuple[Sample, Sample]]]"
"""For each program what its runs gave, and the script's beside them."""

SEND = ("send", "-e", "deploy.done", "-d", "v1.2.3 is live", "-i", ":rocket:", "-m", "version=1.2.3")
JOB = "import os, time; time.sleep(0.5); os.write(1, str(time.perf_counter_ns()).encode()); os._exit(0)"
"""A job that says when it ends; it lasts as long as anything needs that is done meanwhile."""


def promised(lab: Lab) -> list[Program]:
    """The rows with a target, with certificates found in each way."""
    calls = [call for trust in lab.trusts() for call in _promised(lab, trust)]
    slow = lab.machine("slow")
    return [*calls, Program("logsh send --background, slow service", (lab.logsh, *SEND, "-b"), slow, 0.45)]


def _promised(lab: Lab, trust: Trust) -> list[Program]:
    def call(name: str, words: tuple[str, ...], target: float) -> Program:
        env = lab.machine("https", trust)
        return Program(f"logsh {name} ({trust})", (lab.logsh, *words), env, target, trust=trust)

    job = (str(lab.python), "-I", "-S", "-c", JOB)
    return [
        call("send", SEND, 0.95),
        call("send --background", (*SEND, "-b"), 0.45),
        call("run, until the job starts", ("run", "--", "echo", STARTED), 0.4)._replace(part="until output"),
        call("run, after the job", ("run", "--", *job), 0.25)._replace(part="after output"),
    ]


def unpromised(lab: Lab) -> list[Program]:
    """The rest of what people call and wait for."""
    https = lab.machine("https")
    local = [("--version",), ("--help",), ("outbox", "list")]
    return [
        Program("logsh send, on a terminal", (lab.logsh, *SEND), https, on_terminal=True),
        Program("logsh send, http", (lab.logsh, *SEND), lab.machine("http"), port="http"),
        *(Program(f"logsh {' '.join(words)}", (lab.logsh, *words), https, events=0) for words in local),
        _help_with_the_oldest_typer(lab),
    ]


def _help_with_the_oldest_typer(lab: Lab) -> Program:
    """Help is what Typer's version tells on most; every other environment has the newest that is allowed."""
    needs: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    oldest = next(need.replace(">=", "==") for need in needs if need.startswith("typer>="))
    venv = lab.directory / "oldest"
    install(venv, ROOT, oldest)
    return Program(f"logsh --help, {oldest}", (venv / "bin" / "logsh", "--help"), lab.environment(), events=0)


def measure(lab: Lab, programs: Sequence[Program], runs: int) -> Pairs:
    """So many rounds of everything, after a warm-up that also checks that each program does what it is there for."""
    scripts = {program.name: smallest_script(lab, program.port, program.trust) for program in programs}
    for program in programs:
        _check(lab, program)
        _check(lab, scripts[program.name])
    pairs: dict[str, list[tuple[Sample, Sample]]] = {program.name: [] for program in programs}
    for number in range(runs):
        say(f"round {number + 1} of {runs}")
        for program in programs:
            both = [program, scripts[program.name]]
            samples = [_run(one) for one in (reversed(both) if number % 2 else both)]
            own, script = reversed(samples) if number % 2 else samples
            pairs[program.name].append((own, script))
    return pairs


def table(programs: Sequence[Program], pairs: Pairs) -> Table:
    """Milliseconds of each, and how many times as long as the script it takes."""
    header = ["", "wall ms", "CPU ms", f"/ {SCRIPT}", "CPU / script", "target"]
    note = (
        f"Medians, in brackets the quartiles. The {SCRIPT} is `python -c 'import httpx; httpx.post(...)'`, in the same "
        "environment, making the same request to the same server, with certificates found in the same way: in a bundle "
        "(the system's and one authority more), or by their hash in a folder. The others send over HTTPS as well, with "
        "the bundle."
    )
    return Table("Whole process", header, [_row(program, pairs[program.name]) for program in programs], note)


def _row(program: Program, pairs: Sequence[tuple[Sample, Sample]]) -> list[str]:
    times = [program.measured_ms(own) for own, _ in pairs]
    ratio = Spread.of_ratios(times, [script.wall_ms for _, script in pairs])
    cpu = [own.cpu_ms for own, _ in pairs]
    cpu_ratio = Spread.of_ratios(cpu, [script.cpu_ms for _, script in pairs])
    # What is used until a job starts can't be told apart from what is used afterwards.
    of_cpu = (shown(statistics.median(cpu)), shown(cpu_ratio.middle)) if program.part == "whole" else ("", "")
    target = "" if program.target is None else judged("≤", program.target, met=round(ratio.middle, 2) <= program.target)
    return [program.name, shown(statistics.median(times)), of_cpu[0], str(ratio), of_cpu[1], target]


def _run(program: Program) -> Sample:
    return run(program.argv, program.env, on_terminal=program.on_terminal)


def _check(lab: Lab, program: Program) -> None:
    before = lab.events_received()
    _run(program)
    if (arrived := lab.events_received() - before) != program.events:
        raise Failed(f"{program.name} should have sent {program.events} event(s), and sent {arrived}")
