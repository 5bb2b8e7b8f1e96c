"""Many events at once: paces, pauses, leases, and an eye on a service that is not there."""

from __future__ import annotations

import itertools
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Budget, Clock
from logsh_cli.delivery.drain import (
    FIRST_COOLDOWN_S,
    LONGEST_COOLDOWN_S,
    PROBES_AT_ONCE,
    SEVERITY,
    Breaker,
    Drain,
    Pace,
    Totals,
)
from logsh_cli.delivery.retry import MAX_ATTEMPTS, Failure
from logsh_cli.delivery.road import RENEW_EVERY_S, Accepted, Road, Tried, failed, new_lease, result_of
from logsh_cli.errors import (
    BadConfig,
    EventRefused,
    ExitCode,
    KeyRefused,
    LogshError,
    ServiceUnavailable,
    UnexpectedAnswer,
    Unreachable,
)
from logsh_cli.http.client import Client
from logsh_cli.outbox import LEASE_S, Counts, MemoryOutbox, Outbox, Owner
from tests.support import answers as says
from tests.support.clients import closing_clients
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logsh_cli.http.wire import Answer
    from tests.support.clients import Connect
    from tests.support.server import Server

ME = Owner("default", "a" * 16)
DOWN = Failure(Unreachable("no route"))
LIMIT = Failure(ServiceUnavailable("slow down"), 429, 4, 1.0)
ONE_SECOND = says.error(429, "rate_limit_exceeded", "Slow down.", {"Retry-After": "1"})
SENT = Tried("delivered", 1, 201)
BODY = b'{"workspace":"shop","event":"e","description":"d"}'


class Time:
    """A clock that jumps when somebody sleeps, or when told to."""

    def __init__(self) -> None:
        self.now = 1_772_366_400.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now, self.sleep)

    def budget(self, seconds: float = 10) -> Budget:
        return Budget(seconds, lambda: self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def connect() -> Iterator[Connect]:
    with closing_clients() as made:
        yield made


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    store = Outbox.open(tmp_path / "outbox")
    yield store
    store.close()


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
def draining(
    store: Outbox,
    server: Server,
    connect: Connect,
    *,
    jobs: int = 4,
    clock: Clock | None = None,
    rate: float | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[Drain]:
    """A drain to that server, stopped at the end whatever is still under way."""
    stopping = stopping or threading.Event()
    clock = (clock or Clock())._replace(sleep=stopping.wait)
    road = Road(store, ME, lambda: connect(server.url), clock, stopping=stopping)
    drain = Drain(road, jobs=jobs, deadline_s=10, rate=rate)
    try:
        yield drain
    finally:
        stopping.set()
        settle(drain)


# A pace


def test_a_pace_is_kept_over_all_workers(service: Server, connect: Connect, outbox: Outbox, time: Time) -> None:
    naps: list[float] = []
    pause = threading.Event()

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        pause.wait(seconds)

    drain = Drain(Road(outbox, ME, lambda: connect(service.url), Clock(sleep=sleep)), jobs=4, deadline_s=10, rate=100)
    feed(drain, bodies(21))
    settle(drain)
    assert drain.totals.counts == {"delivered": 21}
    assert max(naps) > 1 / 100, "each turn is a hundredth later than the one before, whoever has it"
    pace = Pace(time.clock, threading.Event(), 40)
    began = time.now
    for _ in range(21):
        pace.wait_turn()
    assert time.now - began == pytest.approx(20 / 40, abs=1e-3)


def test_without_a_pace_nobody_waits(time: Time) -> None:
    Pace(time.clock, threading.Event()).wait_turn()
    assert time.naps == []


def test_a_stop_ends_the_wait_for_ones_turn() -> None:
    stopping = threading.Event()
    pace = Pace(Clock(sleep=stopping.wait), stopping, 1 / 3600)
    pace.wait_turn()
    stopping.set()
    pace.wait_turn()  # an hour otherwise


# A pause that the service asked for


def test_a_pause_holds_until_it_is_over(time: Time) -> None:
    hold = Pace(time.clock, threading.Event())
    assert hold.wait(time.budget()) is None
    hold.pause(3, LIMIT)
    hold.pause(1, LIMIT)  # a shorter one does not end the longer
    assert hold.wait(time.budget()) is None
    assert time.naps == [3]
    assert hold.wait(time.budget()) is None
    assert time.naps == [3]


def test_a_pause_beyond_the_budget_is_not_waited_for(time: Time) -> None:
    hold = Pace(time.clock, threading.Event())
    hold.pause(10, LIMIT)
    assert hold.wait(time.budget(10)) is LIMIT
    assert time.naps == []


def sent(store: Outbox, client: Client, time: Time, seconds: float = 10) -> Tried:
    """The attempts of a drain's worker for one event."""
    road = Road(store, ME, lambda: client, time.clock, jitter=lambda: 0.0)
    return road.send(road.accept(BODY), lambda: client, time.budget(seconds), Pace(time.clock, road.stopping))


def test_limits_that_name_their_pause_count_as_no_attempt(
    service: Server, connect: Connect, time: Time, outbox: Outbox
) -> None:
    service.script(*[ONE_SECOND] * 7)
    assert sent(outbox, connect(service.url), time) == Tried("delivered", 1, 201)
    assert time.naps == [1] * 7


def test_limits_without_end_are_given_up_with_the_budget(
    service: Server, connect: Connect, time: Time, outbox: Outbox
) -> None:
    service.default = ONE_SECOND
    ended = sent(outbox, connect(service.url), time, 5)
    assert (ended.end, ended.attempts, ended.http_status) == ("failed", 0, 429)
    assert isinstance(ended.failure and ended.failure.error, ServiceUnavailable)
    assert len(service.requests) == 5


class Noticing(Client):
    """A client that tells when an answer of that status has come."""

    def __init__(self, client: Client, status: int, noticed: threading.Event) -> None:
        self.client, self.status, self.noticed = client, status, noticed

    def post(self, body: bytes, budget: Budget) -> Answer:
        answer = self.client.post(body, budget)
        if answer.status == self.status:
            self.noticed.set()
        return answer


def test_a_limit_pauses_all_workers(service: Server, connect: Connect, outbox: Outbox) -> None:
    gate, limited = threading.Event(), threading.Event()
    service.script(says.gated(gate), says.gated(gate), ONE_SECOND)

    def noticing() -> Noticing:
        return Noticing(connect(service.url), 429, limited)

    drain = Drain(Road(outbox, ME, noticing, Clock()), jobs=3, deadline_s=10)
    feed(drain, bodies(9))
    assert limited.wait(30)
    threading.Event().wait(0.1)  # from its answer to its pause, the worker has a few lines to go
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
    breaker.record(SENT, probe=True)
    assert assumed(breaker, 3) == [None] * 3
    failing(breaker, 2)
    assert assumed(breaker, 1) == [None]


def test_a_probe_that_was_not_sent_leaves_its_place_to_the_next(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=1)
    failing(breaker, 1)
    time.now += FIRST_COOLDOWN_S
    assert breaker.ask() == (1, None)
    breaker.record(Tried("lost", 0, failure=DOWN), probe=True)
    assert breaker.ask() == (1, None)


@pytest.mark.parametrize("good", [SENT, failed(1, Failure(EventRefused("bad icon"), 403))], ids=["sent", "refused"])
def test_a_sign_of_life_between_failures_starts_the_count_anew(time: Time, good: Tried) -> None:
    breaker = Breaker(time.clock, threshold=2)
    for _ in range(10):
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
    assert LONGEST_COOLDOWN_S == 60


@pytest.mark.parametrize("error", [KeyRefused("no such key"), UnexpectedAnswer("404"), BadConfig("?")], ids=repr)
def test_what_every_event_would_meet_stops_all_at_once(time: Time, error: LogshError) -> None:
    breaker = Breaker(time.clock, threshold=4)
    failure = Failure(error)
    failing(breaker, 1, failure)
    assert assumed(breaker, 1) == [failure]


CHOKED = Failure(ServiceUnavailable("Something went wrong."), 500, 4)


def test_after_errors_that_may_be_the_events_own_another_event_is_the_probe_at_once(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=2)
    failing(breaker, 2, CHOKED)
    for _ in range(PROBES_AT_ONCE):
        assert breaker.ask() == (1, None)
        failing(breaker, 1, CHOKED, probe=True)
    assert assumed(breaker, 3) == [CHOKED] * 3, "so many are no longer put down to the events"
    time.now += LONGEST_COOLDOWN_S
    assert breaker.ask() == (1, None)


def test_a_server_that_asks_for_time_is_not_probed_before(time: Time) -> None:
    breaker = Breaker(time.clock, threshold=1)
    asked = CHOKED._replace(wait_s=600.0)
    failing(breaker, 1, asked)
    assert assumed(breaker, 3) == [asked] * 3


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


def error_of(code: ExitCode) -> LogshError:
    error = LogshError(str(code))
    error.exit_code = code
    return error


def test_every_exit_code_has_its_severity_and_the_worst_decides() -> None:
    assert sorted(SEVERITY) == sorted(ExitCode)
    errors = {code: error_of(code) for code in ExitCode if code}
    for order in ([*errors], [*reversed(errors)]):
        for worse, better in itertools.combinations((code for code in SEVERITY if code), 2):
            totals = Totals()
            for code in order:
                if code in (worse, better):
                    totals.note(errors[code])
            assert totals.worst() == (worse, errors[worse])
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
    assert service.connections == jobs, "each worker keeps a connection of its own"


def test_an_event_whose_lease_was_lost_is_not_sent(
    service: Server, connect: Connect, tmp_path: Path, time: Time
) -> None:
    outbox = Outbox.open(tmp_path / "outbox", now=lambda: time.now)
    with draining(outbox, service, connect, clock=time.clock) as drain:
        accepted = drain.road.accept(BODY)
        time.now += LEASE_S + 1
        (taken,) = outbox.take(ME, lease=new_lease(), limit=1)
        drain.feed(accepted)
        settle(drain)
        assert drain.totals.counts == {"queued": 1}
        assert drain.totals.worst()[0] == 75
    assert taken.id == accepted.id
    assert service.requests == []
    assert outbox.counts() == Counts(1, 1, 0)
    outbox.close()


def test_events_that_wait_for_a_worker_stay_ours(service: Server, connect: Connect, tmp_path: Path, time: Time) -> None:
    outbox = Outbox.open(tmp_path / "outbox", now=lambda: time.now)
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
    outbox.close()


def test_told_to_stop_it_ends_what_is_under_way_and_gives_the_rest_back(
    service: Server, connect: Connect, outbox: Outbox
) -> None:
    gate, stopping = threading.Event(), threading.Event()
    service.default = says.gated(gate)
    with draining(outbox, service, connect, jobs=2, stopping=stopping) as drain:
        ids = feed(drain, bodies(10))
        service.wait_for(2)
        stopping.set()
        gate.set()
        settle(drain)
        assert drain.totals.counts == {"delivered": 2, "queued": 8}
    assert [(row.id, row.state, row.attempts) for row in outbox.rows()] == [(i, "pending", 0) for i in ids[2:]]


def test_told_to_stop_it_waits_for_no_next_attempt(service: Server, connect: Connect, outbox: Outbox) -> None:
    an_hour = {"Retry-After": "3600"}
    service.default = says.error(503, headers=an_hour)
    stopping = threading.Event()
    clock = Clock(sleep=stopping.wait)
    drain = Drain(Road(outbox, ME, lambda: connect(service.url), clock, stopping=stopping), jobs=2, deadline_s=7200)
    feed(drain, bodies(2))
    service.wait_for(2)
    stopping.set()
    settle(drain)
    assert drain.totals.counts == {"queued": 2}
    assert outbox.counts() == Counts(2, 0, 0)


def test_without_a_store_what_was_not_sent_when_stopped_is_lost(service: Server, connect: Connect) -> None:
    gate, stopping = threading.Event(), threading.Event()
    service.default = says.gated(gate)
    with draining(MemoryOutbox(because="disk full"), service, connect, jobs=1, stopping=stopping) as drain:
        feed(drain, bodies(3))
        service.wait_for(1)
        stopping.set()
        gate.set()
        settle(drain)
        assert drain.totals.counts == {"delivered": 1, "failed": 2}


def test_a_drain_that_is_closed_leaves_no_thread(service: Server, connect: Connect, outbox: Outbox) -> None:
    before = set(threading.enumerate())
    with draining(outbox, service, connect, jobs=4) as drain:
        feed(drain, bodies(8))
        settle(drain)
        workers = {thread for thread in threading.enumerate() if "(_work)" in thread.name} - before
        assert workers
        drain.close()
        wait_until(lambda: not any(worker.is_alive() for worker in workers), "the workers end")
        feed(drain, bodies(1))
        settle(drain)
        assert drain.totals.counts == {"delivered": 9}, "it can be fed again"


def test_a_client_that_can_not_be_made_leaves_everything_kept(outbox: Outbox) -> None:
    def connect() -> Client:
        raise BadConfig("the certificate file is gone")

    drain = Drain(Road(outbox, ME, connect, Clock()), jobs=2, deadline_s=1)
    feed(drain, bodies(3))
    settle(drain)
    assert drain.totals.counts == {"queued": 3}
    assert drain.totals.worst()[0] == 78
    assert outbox.counts() == Counts(3, 0, 0)


def test_a_fault_of_our_own_surfaces_after_what_was_done_is_acknowledged(
    service: Server, connect: Connect, outbox: Outbox
) -> None:
    made = 0

    def faulty() -> Client:
        nonlocal made
        made += 1
        if made > 1:
            raise ZeroDivisionError
        return connect(service.url)

    gate = threading.Event()
    service.default = says.gated(gate)
    drain = Drain(Road(outbox, ME, faulty, Clock()), jobs=2, deadline_s=5)
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
    service: Server, connect: Connect, outbox: Outbox, age: float, status: str
) -> None:
    drain = Drain(Road(outbox, ME, lambda: connect(service.url), Clock()), jobs=1, deadline_s=5)
    accepted = drain.road.accept(BODY)
    outbox.close()  # from here on, every word to it fails
    drain.feed(accepted._replace(leased_at=accepted.leased_at - age))
    settle(drain)
    assert drain.totals.counts == {status: 1}
    assert len(service.events) == (status == "delivered")
