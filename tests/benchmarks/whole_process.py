"""Whole processes: what a cold call of each command costs, beside the same done by other means.

Every round runs all programs once, each of logsh's directly beside the httpx script, which of the two goes first
changing from round to round. Ratios are those of runs side by side, so that a machine that is busy for a while, or
slows down, moves both.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.benchmarks import peers
from tests.benchmarks.figures import Spread, Table, judged, shown
from tests.benchmarks.lab import Lab, find, say
from tests.benchmarks.measure import Failed, Sample, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.lab import Trust
    from tests.benchmarks.measure import Stdio
    from tests.benchmarks.peers import Peer

SEND = ("send", "-e", "deploy.done", "-d", "v1.2.3 is live", "-i", ":rocket:", "-m", "version=1.2.3")
STARTED = "started"
JOB = "import os, time; time.sleep(0.5); os.write(1, str(time.perf_counter_ns()).encode()); os._exit(0)"
"""A job that says when it ends; it lasts as long as anything needs that is done meanwhile."""

WARM_UPS = 1


class Subject(NamedTuple):
    """A call of logsh to measure, the script to hold against it, and its target as a ratio to that, if it has one.

    ``part`` is what counts: the whole, the time ``until output``, or the time ``after output``, a clock's reading.
    """

    label: str
    arguments: tuple[str | Path, ...]
    env: Mapping[str, str]
    script: Peer
    target: float | None = None
    stdio: Stdio = "pipe"
    part: Literal["whole", "until output", "after output"] = "whole"
    events: int = 1

    def measured_ms(self, sample: Sample) -> float:
        """The milliseconds of the part that counts."""
        if self.part == "after output":
            return (sample.end_ns - int(sample.output)) / 1e6
        return sample.first_ms if self.part == "until output" else sample.wall_ms


class Round(NamedTuple):
    """What one round gave: for each subject its own sample and that of the script beside it, and the peers'."""

    subjects: dict[str, tuple[Sample, Sample]]
    peers: dict[str, Sample]


def subjects(lab: Lab) -> list[Subject]:
    """Everything that people call and wait for."""
    secure, plain = peers.smallest_script(lab, "https"), peers.smallest_script(lab, "http")
    https = lab.machine("https")
    promised = [subject for trust in lab.trusts() for subject in _promised(lab, trust)]
    return [
        *promised,
        Subject("send --background, slow service", (*SEND, "-b"), lab.machine("slow"), secure, target=0.45),
        Subject("send, on a terminal", SEND, lab.machine("https"), secure, stdio="terminal"),
        Subject("send, http", SEND, lab.machine("http"), plain),
        Subject("--version", ("--version",), https, secure, events=0),
        Subject("--help", ("--help",), https, secure, events=0),
        Subject("outbox list", ("outbox", "list"), https, secure, events=0),
    ]


def _promised(lab: Lab, trust: Trust) -> list[Subject]:
    """What has a target, with certificates found in one way."""
    script = peers.smallest_script(lab, "https", trust)
    job = (lab.python, "-I", "-S", "-c", JOB)

    def subject(label: str, arguments: tuple[str | Path, ...], target: float) -> Subject:
        return Subject(f"{label} ({trust})", arguments, lab.machine("https", trust), script, target)

    return [
        subject("send", SEND, 0.95),
        subject("send --background", (*SEND, "-b"), 0.45),
        subject("run, until the job starts", ("run", "--", "echo", STARTED), 0.4)._replace(part="until output"),
        subject("run, after the job", ("run", "--", *job), 0.25)._replace(part="after output"),
    ]


def measure(lab: Lab, chosen: Sequence[Subject], others: Sequence[Peer], runs: int) -> list[Round]:
    """So many rounds of everything, after warm-ups that also check that each program does what it is there for."""
    for _ in range(WARM_UPS):
        for subject in chosen:
            _check(lab, subject.label, (lab.logsh, *subject.arguments), subject.env, subject.events)
            _check(lab, subject.script.name, subject.script.argv, subject.script.env, 1)
        for peer in others:
            _check(lab, peer.name, peer.argv, peer.env, int(peer.posts))
    rounds = []
    for number in range(runs):
        say(f"round {number + 1} of {runs}")
        pairs = {subject.label: _side_by_side(lab, subject, swap=bool(number % 2)) for subject in chosen}
        rounds.append(Round(pairs, {peer.name: run(peer.argv, peer.env) for peer in others}))
    return rounds


def table(chosen: Sequence[Subject], others: Sequence[Peer], rounds: Sequence[Round]) -> Table:
    """Milliseconds of each, and how many times as long as the others it takes."""
    header = [
        "",
        "wall ms",
        "CPU ms",
        f"/ {peers.SCRIPT}",
        "CPU / script",
        "target",
        *(f"/ {peer.name}" for peer in others),
    ]
    rows = [_subject_row(subject, others, rounds) for subject in chosen]
    rows.append(_script_row(chosen[0], others, rounds))
    rows.extend(_peer_row(peer, chosen[0], others, rounds) for peer in others)
    note = (
        f"{len(rounds)} rounds; medians, in brackets the quartiles. The {peers.SCRIPT} is `python -c 'import httpx; "
        "httpx.post(...)'`, in the same environment, making the same request to the same server, with certificates "
        "found in the same way: in a bundle (the system's and one authority more), or by their hash in a folder. "
        f"{peers.HTTPIE}, {peers.APPRISE} and {peers.CURL} send over HTTPS as well, with the bundle."
    )
    return Table("Whole process", header, rows, note)


def notes(chosen: Sequence[Subject], rounds: Sequence[Round], others: Mapping[str, float]) -> list[str]:
    """What does not fit into the table."""
    lines = [f"`{name}`: {shown(milliseconds)} ms." for name, milliseconds in others.items()]
    for subject in chosen:
        left = [round_.subjects[subject.label][0].left_cpu_ms for round_ in rounds]
        if any(left):
            lines.append(
                f"`{subject.label}`: the process that it leaves behind to deliver takes "
                f"{shown(statistics.median(left))} ms of CPU."
            )
    return lines


def env_starts_a_job(lab: Lab, runs: int) -> dict[str, float]:
    """How long `env` takes until a job starts, for comparison with `run`."""
    env = find("env")
    if env is None:
        return {}
    samples = [run((env, "echo", STARTED), lab.environment()) for _ in range(runs)]
    return {"env, until the job starts": statistics.median(sample.first_ms for sample in samples)}


def _side_by_side(lab: Lab, subject: Subject, *, swap: bool) -> tuple[Sample, Sample]:
    def own() -> Sample:
        return run((lab.logsh, *subject.arguments), subject.env, subject.stdio)

    def beside() -> Sample:
        return run(subject.script.argv, subject.script.env, subject.stdio)

    if swap:
        script = beside()
        return own(), script
    return own(), beside()


def _check(lab: Lab, name: str, argv: Sequence[str | Path], env: Mapping[str, str], events: int) -> None:
    before = lab.events_received()
    run(argv, env)
    if (arrived := lab.events_received() - before) != events:
        raise Failed(f"{name} should have sent {events} event(s), and sent {arrived}")


def _subject_row(subject: Subject, others: Sequence[Peer], rounds: Sequence[Round]) -> list[str]:
    own = [round_.subjects[subject.label][0] for round_ in rounds]
    script = [round_.subjects[subject.label][1] for round_ in rounds]
    times = [subject.measured_ms(sample) for sample in own]
    ratio = Spread.of_ratios(times, [sample.wall_ms for sample in script])
    # What `run` uses until the job starts can't be told apart from what it uses afterwards.
    cpu = [sample.cpu_ms for sample in own] if subject.part == "whole" else []
    return [
        f"logsh {subject.label}",
        shown(statistics.median(times)),
        shown(statistics.median(cpu)) if cpu else "",
        str(ratio),
        shown(Spread.of_ratios(cpu, [sample.cpu_ms for sample in script]).middle) if cpu else "",
        "" if subject.target is None else judged(ratio.middle, subject.target),
        *_against(times, others, rounds),
    ]


def _script_row(subject: Subject, others: Sequence[Peer], rounds: Sequence[Round]) -> list[str]:
    samples = [round_.subjects[subject.label][1] for round_ in rounds]
    times = [sample.wall_ms for sample in samples]
    cpu = statistics.median(sample.cpu_ms for sample in samples)
    return [peers.SCRIPT, shown(statistics.median(times)), shown(cpu), "1", "1", "", *_against(times, others, rounds)]


def _peer_row(peer: Peer, subject: Subject, others: Sequence[Peer], rounds: Sequence[Round]) -> list[str]:
    own = [round_.peers[peer.name] for round_ in rounds]
    script = [round_.subjects[subject.label][1] for round_ in rounds]
    times, cpu = [sample.wall_ms for sample in own], [sample.cpu_ms for sample in own]
    return [
        peer.name,
        shown(statistics.median(times)),
        shown(statistics.median(cpu)),
        str(Spread.of_ratios(times, [sample.wall_ms for sample in script])),
        shown(Spread.of_ratios(cpu, [sample.cpu_ms for sample in script]).middle),
        "",
        *_against(times, others, rounds),
    ]


def _against(times: Sequence[float], others: Sequence[Peer], rounds: Sequence[Round]) -> list[str]:
    ratios = (Spread.of_ratios(times, [round_.peers[peer.name].wall_ms for round_ in rounds]) for peer in others)
    return [shown(ratio.middle) for ratio in ratios]
