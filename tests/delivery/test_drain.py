"""Many events at once: paces, pauses, leases, and an eye on a service that is not there."""

from __future__ import annotations

import itertools
import queue
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli import errors
from logsh_cli.clock import Clock
from logsh_cli.delivery.drain import FIRST_COOLDOWN_S, PROBES_AT_ONCE, SEVERITY, Breaker, Drain, Pace, Totals
from logsh_cli.delivery.retry import MAX_ATTEMPTS, Failure
from logsh_cli.delivery.road import RENEW_EVERY_S, Accepted, Road, Tried, failed, new_lease, result_of
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import EventRefused, ExitCode, LogshError, ServiceUnavailable, Unreachable
from logsh_cli.outbox import LEASE_S, Counts, MemoryOutbox, Outbox, Owner
from tests.support import answers as says
from tests.support.kept import nothing_can_be_written
from tests.support.processes import wait_until
from tests.support.sending import LATER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logsh_cli.http.client import Client
    from tests.support.clients import Connect
    from tests.support.clock import Time
    from tests.support.server import Server

ME = Owner("default", "a" * 16)
DOWN = Failure(Unreachable("no route"))
LIMIT = Failure(ServiceUnavailable("slow down"), 429, 4, 1.0)
ONE_SECOND = says.error(429, "rate_limit_exceeded", "Slow down.", {"Retry-After": "1"})
CHOKED = Failure(ServiceUnavailable("Something went wrong."), 500, 4)
SENT = Tried("delivered", 1, 201)
BODY = b'{"workspace":"shop","event":"e","description":"d"}'


def bodies(count: int) -> list[bytes]:
    return [b'{"workspace":"shop","event":"%d","description":"d"}' % number for number in range(count)]


def feed(drain: Drain, contents: list[bytes]) -> list[int]:
    """Accept events under the drain's lease, and hand them in."""
    group = drain.road.accept_all(contents)
    for accepted in group:
        drain.feed(accepted)
    return [accepted.id or 0 for accepted in group]


def settle(drain: Drain) -> None:
    """Wait until everything fed has ended."""
    for _ in drain.settled():
        pass


@contextmanager
def draining(store: Outbox, server: Server, connect: Callable[..., Client], **options: Any) -> Iterator[Drain]:
    """A drain to that server, by ``Clock()`` unless one is given, stopped at the end whatever is under way."""
    stopping = threading.Event()
    clock = options.pop("clock", Clock())._replace(sleep=options.pop("sleep", stopping.wait))
    road = Road(store, ME, lambda: connect(server.url), clock, stopping=stopping)
    drain = Drain(road, **{"jobs": 4, "deadline_s": 10, **options})
    try:
        yield drain
    finally:
        stopping.set()
        settle(drain)


# A pace, and a pause that the service asked for


def test_a_pace_is_kept_over_all_workers(service: Server, connect: Connect, outbox: Outbox, time: Time) -> None:
    naps: list[float] = []
    with draining(outbox, service, connect, sleep=naps.append, rate=100) as drain:
        feed(drain, bodies(21))
        settle(drain)
        assert drain.totals.counts == {"delivered": 21}
    assert max(naps) > 1 / 100, "each turn is a hundredth later than the one before, whoever has it"
    pace = Pace(time.clock, threading.Event(), 40)
    began = time.now
    for _ in range(21):
        pace.wait_turn()
    assert time.now - began == pytest.approx(20 / 40, abs=1e-3)
    time.naps.clear()
    Pace(time.clock, threading.Event()).wait_turn()
    assert time.naps == [], "without a rate nobody waits"


def test_a_pause_holds_until_it_is_over_unless_the_budget_ends_before(time: Time) -> None:
    pace = Pace(time.clock, threading.Event())
    assert pace.wait(time.budget()) is None
    pace.pause(3, LIMIT)
    pace.pause(1, LIMIT)  # a shorter one does not end the longer
    assert pace.wait(time.budget(3)) is LIMIT
    assert time.naps == []
    for _ in range(2):
        assert pace.wait(time.budget(3.1)) is None
        assert time.naps == [3]


def sent(store: Outbox, client: Client, time: Time, seconds: float = 10) -> Tried:
    """The attempts of a drain's worker for one event."""
    road = Road(store, ME, lambda: client, time.clock, jitter=lambda: 0.0)
    return road.send(road.accept(BODY), lambda: client, time.budget(seconds), Pace(time.clock, road.stopping))


def test_limits_that_name_their_pause_count_as_no_attempt_and_are_given_up_with_the_budget(
    service: Server, client: Client, time: Time, outbox: Outbox
) -> None:
    service.script(*[ONE_SECOND] * 7)
    assert sent(outbox, client, time) == Tried("delivered", 1, 201)
    assert time.naps == [1] * 7
    service.requests.clear()
    service.default = ONE_SECOND
    ended = sent(outbox, client, time, 5)
    assert (ended.end, ended.attempts, ended.http_status) == ("failed", 0, 429)
    assert isinstance(ended.failure and ended.failure.error, ServiceUnavailable)
    assert len(service.requests) == 5


def test_a_limit_pauses_all_workers(service: Server, connect: Connect, outbox: Outbox) -> None:
    gate = threading.Event()
    service.script(says.gated(gate), says.gated(gate), ONE_SECOND)
    with draining(outbox, service, connect, jobs=3) as drain:
        feed(drain, bodies(9))
        service.wait_for(3)
        threading.Event().wait(0.3)  # from its answer to its pause, the worker has a few lines to go
        gate.set()  # now the others are free for their next, and must wait all the same
        settle(drain)
        assert drain.totals.counts == {"delivered": 9}
    asked, *later = service.requests[2:]
    assert len(later) == 7
    assert min(request.at for request in later) >= asked.at + 1.0


# A service that is not there


def failing(breaker: Breaker, times: int, failure: Failure = DOWN, *, probe: bool = False) -> None:
    for _ in range(times):
        breaker.record(failed(1, failure), probe=probe)


def assumed(breaker: Breaker, times: int) -> list[Failure | None]:
    return [breaker.ask()[1] for _ in range(times)]


def test_after_failures_in_a_row_nobody_tries_until_one_finds_it_back(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=3)
    failing(breaker, 2)
    assert breaker.ask() == (MAX_ATTEMPTS, None)
    failing(breaker, 1)
    assert assumed(breaker, 5) == [DOWN] * 5
    time.now += FIRST_COOLDOWN_S
    assert [breaker.ask() for _ in range(3)] == [(1, None), (0, DOWN), (0, DOWN)], "one goes ahead, as a probe"
    failing(breaker, 3)
    assert assumed(breaker, 1) == [DOWN], "what was under way before has no say"
    breaker.record(Tried("lost", 0, failure=DOWN), probe=True)
    assert breaker.ask() == (1, None), "a probe that was not sent leaves its place to the next"
    breaker.record(SENT, probe=True)
    assert assumed(breaker, 3) == [None] * 3
    failing(breaker, 2)
    assert assumed(breaker, 1) == [None]


def test_a_sign_of_life_between_failures_starts_the_count_anew(time: Time) -> None:
    for good in (SENT, failed(1, Failure(EventRefused("bad icon"), 403))):
        breaker = Breaker(time.clock, threshold=2)
        for _ in range(3):
            failing(breaker, 1)
            breaker.record(good, probe=False)
        failing(breaker, 1)
        assert assumed(breaker, 1) == [None]


def test_each_probe_that_fails_doubles_the_wait_up_to_a_minute(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=1)
    failing(breaker, 1)
    waits = []
    for _ in range(6):
        start = time.now
        while breaker.ask()[1] is not None:
            time.now += 1
        waits.append(time.now - start)
        failing(breaker, 1, probe=True)
    assert waits == [5, 10, 20, 40, 60, 60]


def test_what_every_event_would_meet_stops_all_at_once_and_so_does_a_server_that_asks_for_time(time: Time) -> None:
    hopeless = (errors.KeyRefused("no such key"), errors.UnexpectedAnswer("404"), errors.BadConfig("?"))
    for threshold, failure in (*((4, Failure(error)) for error in hopeless), (1, CHOKED._replace(wait_s=600.0))):
        breaker = Breaker(time.clock, threshold)
        failing(breaker, 1, failure)
        assert assumed(breaker, 3) == [failure] * 3


def test_after_errors_that_may_be_the_events_own_another_event_is_the_probe_at_once(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=2)
    failing(breaker, 2, CHOKED)
    for _ in range(PROBES_AT_ONCE):
        assert breaker.ask() == (1, None)
        failing(breaker, 1, CHOKED, probe=True)
    assert assumed(breaker, 3) == [CHOKED] * 3, "so many are no longer put down to the events"
    time.now += 60
    assert breaker.ask() == (1, None)


def test_the_others_wait_for_what_such_a_probe_finds() -> None:
    breaker = Breaker(Clock(), threshold=1)
    failing(breaker, 1, CHOKED)
    assert breaker.ask() == (1, None)
    answers: queue.SimpleQueue[tuple[int, Failure | None]] = queue.SimpleQueue()
    waiting = threading.Thread(target=lambda: answers.put(breaker.ask()))
    waiting.start()
    with pytest.raises(queue.Empty):
        answers.get(timeout=0.1)
    breaker.record(SENT, probe=True)
    assert answers.get(timeout=30) == (MAX_ATTEMPTS, None)
    waiting.join()


# Several things at once


def test_every_exit_code_has_its_severity_and_the_worst_decides() -> None:
    assert sorted(SEVERITY) == sorted(ExitCode)
    for worse, better in itertools.combinations((code for code in SEVERITY if code), 2):
        for order in ((worse, better), (better, worse)):
            totals = Totals()
            for code in order:
                error = LogshError(code.name)
                error.exit_code = code
                totals.note(error)
            assert totals.worst() == (worse, totals.errors[worse])
    documented = [130, 78, 77, 69, 65, 75]
    assert [code for code in SEVERITY if code in documented] == documented
    assert SEVERITY.index(ExitCode.FAULT) < SEVERITY.index(ExitCode.CONFIG), "a fault of ours hides behind nothing"


def test_nothing_bad_is_exit_code_0_and_the_first_error_of_a_kind_is_shown() -> None:
    totals = Totals()
    assert totals.worst() == (0, None)
    first = Unreachable("first")
    for error in (first, Unreachable("second")):
        totals.add(result_of(Accepted(1, BODY, 0, 0), failed(1, Failure(error))))
    assert totals.worst() == (ExitCode.KEPT, first)
    assert totals.counts == {"queued": 2}


# The drain as a whole


def test_each_event_ends_where_it_belongs(service: Server, connect: Connect, outbox: Outbox) -> None:
    service.script(says.ok(), says.error(403, "validation_error", "bad icon"), says.error(402, "payment_required"))
    with draining(outbox, service, connect, jobs=1) as drain:
        sent, refused, kept = feed(drain, bodies(3))
        settle(drain)
    assert drain.totals.counts == {"delivered": 1, "rejected": 1, "queued": 1}
    assert drain.totals.worst()[0] == 65
    assert drain.in_vain == {kept}
    assert outbox.get(sent) is None
    assert {row.id: (row.state, row.http_status, row.attempts) for row in outbox.rows()} == {
        refused: ("rejected", 403, 1),
        kept: ("pending", 402, 1),
    }


@pytest.mark.parametrize("jobs", [1, 3])
def test_never_more_requests_are_under_way_than_jobs(
    service: Server, connect: Connect, outbox: Outbox, jobs: int
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    with draining(outbox, service, connect, jobs=jobs) as drain:
        feed(drain, bodies(12))
        service.wait_for(jobs)
        drain.poll(0.2)
        assert len(service.requests) == jobs
        gate.set()
        settle(drain)
    assert len(service.events) == 12
    # A machine that stalls for seconds may cost a connection: an idle one is not used again after three.
    assert jobs <= service.connections <= 6, "each worker keeps a connection of its own"


def test_events_that_wait_for_a_worker_stay_ours(service: Server, connect: Connect, outbox: Outbox, time: Time) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    with draining(outbox, service, connect, jobs=1, clock=Clock(time=lambda: time.now)) as drain:
        feed(drain, bodies(3))
        service.wait_for(1)
        for _ in range(10):
            time.now += RENEW_EVERY_S
            drain.poll()
            assert outbox.take(ME, lease=new_lease(), limit=9) == []
        gate.set()
        settle(drain)
        assert drain.totals.counts == {"delivered": 3}
    assert outbox.counts() == Counts(0, 0, 0)


@pytest.mark.parametrize("kept", [True, False], ids=["a store", "no store"])
def test_told_to_stop_it_ends_what_is_under_way_and_gives_the_rest_back(
    service: Server, connect: Connect, outbox: Outbox, *, kept: bool
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    with draining(outbox if kept else MemoryOutbox(because="disk full"), service, connect, jobs=2) as drain:
        ids = feed(drain, bodies(10))
        service.wait_for(2)
        drain.road.stopping.set()
        gate.set()
        settle(drain)
        assert drain.totals.counts == {"delivered": 2, "queued" if kept else "failed": 8}
    left = [(row.id, row.state, row.attempts) for row in outbox.rows()]
    assert left == [(event_id, "pending", 0) for event_id in ids[2:] if kept]


def test_told_to_stop_it_waits_for_no_next_attempt(service: Server, connect: Connect, outbox: Outbox) -> None:
    service.default = says.error(503, headers=LATER)
    with draining(outbox, service, connect, jobs=2, deadline_s=7200) as drain:
        feed(drain, bodies(2))
        service.wait_for(2)
        drain.road.stopping.set()
        settle(drain)
        assert drain.totals.counts == {"queued": 2}
    assert outbox.counts() == Counts(2, 0, 0)


def test_a_drain_that_is_closed_leaves_no_thread(service: Server, connect: Connect, outbox: Outbox) -> None:
    before = set(threading.enumerate())
    with draining(outbox, service, connect) as drain:
        feed(drain, bodies(8))
        settle(drain)
        workers = {thread for thread in threading.enumerate() if "(_work)" in thread.name} - before
        assert workers
        drain.close()
        wait_until(lambda: not any(worker.is_alive() for worker in workers), "the workers end")
        feed(drain, bodies(1))
        settle(drain)
        assert drain.totals.counts == {"delivered": 9}, "it can be fed again"


def test_a_fault_of_our_own_surfaces_after_what_was_done_is_acknowledged(
    service: Server, connect: Connect, outbox: Outbox
) -> None:
    made = 0

    def faulty(url: str) -> Client:
        nonlocal made
        made += 1
        if made > 1:
            raise ZeroDivisionError
        return connect(url)

    gate = threading.Event()
    service.default = says.gated(gate)
    with draining(outbox, service, faulty, jobs=2) as drain:
        feed(drain, bodies(2))
        wait_until(lambda: made == 2, "the second worker asks for a client while the first one waits")
        gate.set()
        wait_until(lambda: drain._done.qsize() == 2, "both end")  # noqa: SLF001 - so that one poll meets both
        with pytest.raises(ZeroDivisionError):
            settle(drain)
    assert len(service.events) == 1
    assert outbox.counts().pending == 1


@pytest.mark.parametrize(("age", "status"), [(30, "delivered"), (LEASE_S, "queued")])
def test_a_store_that_fails_keeps_no_event_from_its_attempt_while_its_lease_lasts(
    service: Server, connect: Connect, outbox: Outbox, tmp_path: Path, age: float, status: str
) -> None:
    with draining(outbox, service, connect, jobs=1) as drain:
        accepted = drain.road.accept(BODY)
        with nothing_can_be_written(tmp_path / "outbox"):
            drain.feed(accepted._replace(leased_at=accepted.leased_at - age))
            settle(drain)
        assert drain.totals.counts == {status: 1}
    assert len(service.events) == (status == "delivered")


@pytest.mark.parametrize(
    ("name", "error"),
    [("INT", KeyboardInterrupt), ("QUIT", KeyboardInterrupt), ("TERM", errors.TermSignal), ("HUP", errors.TermSignal)],
)
def test_the_first_signal_asks_and_the_second_insists(name: str, error: type[KeyboardInterrupt]) -> None:
    signum = signal.Signals[f"SIG{name}"]
    before = signal.getsignal(signum)
    with StopRequest() as stop:
        assert not stop
        signal.raise_signal(signum)
        assert stop
        assert stop.event.is_set()
        assert type(stop.error()) is error
        with pytest.raises(error):
            signal.raise_signal(signum)
    assert signal.getsignal(signum) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)
