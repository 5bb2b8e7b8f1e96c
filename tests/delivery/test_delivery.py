"""The one road: what is stored is sent, and what came of it is in the store afterwards."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from logsh_cli import errors
from logsh_cli.clock import Budget, Clock
from logsh_cli.delivery.retry import Failure
from logsh_cli.delivery.road import LATE_AFTER_S, Accepted, Road, Tried, dated, failed, random_fraction, result_of
from logsh_cli.errors import (
    BadConfig,
    EventRefused,
    InternalError,
    KeyRefused,
    LogshError,
    NotDelivered,
    NotKept,
    ServiceUnavailable,
    TermSignal,
    Unanswered,
    UnexpectedAnswer,
)
from logsh_cli.files import file_lock
from logsh_cli.http.client import Client
from logsh_cli.outbox import LEASE_S, MemoryOutbox, Outbox, Owner
from logsh_cli.outbox.file import FILE_NAME, LEDGER_NAME
from tests.support import answers as says
from tests.support.answers import COLUMNS
from tests.support.sending import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logsh_cli.http.wire import Answer
    from logsh_cli.output.result import Result
    from tests.support.answers import Column
    from tests.support.server import Server

BODY = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'
OWNER = Owner("default", "0" * 16)
ACCEPTED_AT = 1_772_366_400.0  # 2026-03-01T12:00:00Z


class Time:
    """A clock that jumps when somebody sleeps."""

    def __init__(self) -> None:
        self.now = ACCEPTED_AT
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
def client(service: Server) -> Iterator[Client]:
    made = Client(service.url, KEY, env={})
    yield made
    made.close()


@pytest.fixture
def outbox(tmp_path: Path, time: Time) -> Iterator[Outbox]:
    store = Outbox.open(tmp_path / "outbox", now=lambda: time.now)
    yield store
    store.close()


@pytest.fixture
def road(outbox: Outbox, client: Client, time: Time) -> Road:
    return Road(outbox, OWNER, lambda: client, time.clock, jitter=lambda: 1.0)


def tried(road: Road, time: Time, seconds: float = 10) -> Tried:
    """The attempts for one event that was accepted just now."""
    return road.send(road.accept(BODY), road.connect, time.budget(seconds))


# Attempts


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_the_first_success_ends_the_attempts(service: Server, road: Road, time: Time, column: Column) -> None:
    service.default = column.accepted
    assert tried(road, time) == Tried("delivered", 1, int(column.accepted.name[3:6]))
    assert time.naps == []


def test_attempts_are_five_at_most_with_doubling_pauses(service: Server, road: Road, time: Time) -> None:
    service.default = says.error(503)
    ended = tried(road, time, 60)
    assert (ended.end, ended.attempts, ended.http_status, len(service.requests)) == ("failed", 5, 503, 5)
    assert time.naps == [0.5, 1.0, 2.0, 4.0]


def test_attempts_end_before_a_pause_would_outlast_the_budget(service: Server, road: Road, time: Time) -> None:
    service.default = says.error(503)
    assert (tried(road, time, 3).attempts, time.naps) == (3, [0.5, 1.0])


def test_nothing_is_sent_once_the_budget_is_spent(service: Server, road: Road, time: Time) -> None:
    ended = tried(road, time, 0)
    assert ended.attempts == 1
    assert isinstance(ended.failure and ended.failure.error, NotDelivered)
    assert service.requests == []


def test_an_unanswered_request_is_sent_once_more_whatever_came_before(service: Server, road: Road, time: Time) -> None:
    service.script(says.error(503), says.drop(), says.error(503), says.drop())
    ended = tried(road, time, 60)
    assert ended.attempts == 4
    assert isinstance(ended.failure and ended.failure.error, Unanswered)


@pytest.mark.parametrize(
    "answer",
    [says.error(401, "unauthorized"), says.error(400, "bad_request"), says.html404(), says.redirect("/", 301)],
    ids=repr,
)
def test_what_waiting_will_not_change_is_sent_once(
    service: Server, road: Road, time: Time, answer: says.Answer
) -> None:
    service.default = answer
    assert tried(road, time, 60).attempts == 1
    assert len(service.requests) == 1


def test_who_has_lost_the_event_between_two_attempts_sends_no_more(
    service: Server, road: Road, outbox: Outbox, time: Time
) -> None:
    accepted = road.accept(BODY)
    # While it waits for the next attempt the machine sleeps, and another process takes over.
    service.default = says.error(503, headers={"Retry-After": "61"})

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        outbox.take(OWNER, lease="another", limit=1)

    road.clock = road.clock._replace(sleep=sleep)
    ended = road.send(accepted, road.connect, time.budget(200))
    assert (ended.end, ended.attempts) == ("lost", 1)
    assert len(service.requests) == 1


def test_jitter_is_a_fraction() -> None:
    drawn = {random_fraction() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= fraction < 1 for fraction in drawn)


# Late events


def test_an_event_that_is_late_says_when_it_happened() -> None:
    assert dated(BODY, ACCEPTED_AT, ACCEPTED_AT + LATE_AFTER_S) is BODY
    late = json.loads(dated(BODY, ACCEPTED_AT, ACCEPTED_AT + LATE_AFTER_S + 1))
    assert late == {**json.loads(BODY), "metadata": {"occurred_at": "2026-03-01T12:00:00+00:00"}}


@pytest.mark.parametrize(
    "body",
    [b'{"metadata":{"occurred_at":"mine"}}', b'{"metadata":"of another kind"}'],
    ids=["its own date", "no object"],
)
def test_a_late_event_keeps_what_it_has(body: bytes) -> None:
    assert dated(body, ACCEPTED_AT, ACCEPTED_AT + 3600) is body


def test_what_is_sent_is_settled_before_the_first_attempt(service: Server, road: Road, time: Time) -> None:
    accepted = road.accept(b'{"metadata":{"a":1}}')
    time.now += LATE_AFTER_S / 2
    service.script(says.error(503, headers={"Retry-After": "40"}))
    road.send(accepted, road.connect, time.budget(60))
    assert [request.json["metadata"] for request in service.requests] == [{"a": 1}, {"a": 1}]


# Store and acknowledgement


def delivered(road: Road, outbox: Outbox, time: Time, seconds: float = 10) -> Result:
    """What comes of an event that is stored before anything is sent."""
    accepted = road.accept(BODY)
    assert [row.state for row in outbox.rows()] == ["leased"]
    return road.deliver(accepted, time.budget(seconds))


def test_what_is_delivered_leaves_the_store(road: Road, outbox: Outbox, time: Time) -> None:
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code, result.http_status, result.error) == ("delivered", 0, 201, None)
    assert list(outbox.rows()) == []


def test_what_was_refused_is_set_apart_with_its_reason(service: Server, road: Road, outbox: Outbox, time: Time) -> None:
    service.default = says.error(400, "bad_request", "Too loud.")
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("rejected", 65)
    (row,) = outbox.rows()
    assert (row.id, row.state, row.attempts, row.http_status, row.error_name) == (
        *(result.id, "rejected", 1, 400, "refused"),
    )
    assert result.error is not None
    assert "Too loud." in result.error.message
    assert row.error_message == result.error.message


def test_what_could_not_be_delivered_waits_as_long_as_the_service_asked(
    service: Server, road: Road, outbox: Outbox, time: Time
) -> None:
    service.default = says.error(429, "rate_limit_exceeded", "Slow.", {"Retry-After": "600"})
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("queued", 75)
    (row,) = outbox.rows()
    assert (row.state, row.not_before) == ("pending", time.now + 600 * 1.25)


@pytest.mark.parametrize(("attempts", "waits"), [(0, False), (1, True)])
def test_an_event_that_was_not_sent_does_not_wait_for_what_others_met(
    road: Road, outbox: Outbox, attempts: int, waits: bool
) -> None:
    met = Failure(ServiceUnavailable("Something went wrong."), 500)
    road.acknowledge([(road.accept(BODY), failed(attempts, met))])
    (row,) = outbox.rows()
    assert (row.attempts, row.not_before > 0, row.error_name) == (attempts, waits, "unavailable")


def test_a_key_that_the_service_repeats_does_not_get_into_the_store(
    service: Server, road: Road, outbox: Outbox, time: Time
) -> None:
    long = "x" * 470  # so that a cut at 500 characters falls into the key
    service.default = says.error(401, KEY, f"{long} Bearer {KEY}", details={"key": KEY})
    result = delivered(road, outbox, time)
    (row,) = outbox.rows()
    assert row.error_message is not None
    assert KEY[:8] not in row.error_message
    assert KEY[:8] not in repr(result)


class Interrupted(Client):
    """A client that a signal interrupts."""

    def __init__(self, stop: KeyboardInterrupt) -> None:
        self.stop = stop

    def post(self, _body: bytes, _budget: Budget) -> Answer:
        raise self.stop


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (TermSignal(), 143)], ids=["INT", "TERM"])
def test_a_signal_gives_the_event_back_at_once_with_its_try_and_why(
    road: Road, outbox: Outbox, time: Time, stop: KeyboardInterrupt, code: int
) -> None:
    road.connect = lambda: Interrupted(stop)
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("queued", code)
    (row,) = outbox.rows()
    assert (row.state, row.attempts, row.not_before) == ("pending", 1, 0)
    assert row.error_name in ("interrupted", "terminated")


def test_a_fault_of_our_own_gives_the_event_back(road: Road, outbox: Outbox, time: Time) -> None:
    def connect() -> Client:
        raise ZeroDivisionError

    road.connect = connect
    with pytest.raises(ZeroDivisionError):
        delivered(road, outbox, time)
    assert [row.state for row in outbox.rows()] == ["pending"]


def test_a_client_that_can_not_be_made_leaves_the_event_kept(road: Road, outbox: Outbox, time: Time) -> None:
    def connect() -> Client:
        raise BadConfig("no such file")

    road.connect = connect
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("queued", 78)
    assert [row.state for row in outbox.rows()] == ["pending"]


def test_an_event_that_another_process_took_over_is_left_to_it(
    service: Server, road: Road, outbox: Outbox, time: Time
) -> None:
    accepted = road.accept(BODY)
    time.now += 2 * LEASE_S
    assert [row.id for row in outbox.take(OWNER, lease="another", limit=1)] == [accepted.id]
    result = road.deliver(accepted, time.budget())
    assert (result.status, result.exit_code) == ("queued", 75)
    assert service.requests == []
    assert [row.state for row in outbox.rows()] == ["leased"]


def test_an_event_for_a_courier_is_anybodys(road: Road, outbox: Outbox) -> None:
    accepted = road.accept(BODY, for_a_courier=True)
    assert [row.id for row in outbox.take(OWNER, lease="another", limit=1)] == [accepted.id]


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_without_a_store_the_event_gets_its_chance_and_no_promise(
    service: Server, client: Client, outbox: Outbox, time: Time, where: str
) -> None:
    memory = MemoryOutbox(now=lambda: time.now, because="the disk is full")
    outbox.close()  # from here on, every word to it fails
    road = Road(memory if where == "memory" else outbox, OWNER, lambda: client, time.clock)
    accepted = road.accept(BODY)
    assert accepted.id is None
    assert accepted.unkept_because
    service.default = says.error(500, headers={"Retry-After": "60"})
    result = road.deliver(accepted, time.budget())
    assert (result.status, result.exit_code, result.id) == ("failed", 69, None)
    assert isinstance(result.error, NotKept)
    assert result.error.message.endswith(f"and it could not be kept: {accepted.unkept_because}")
    service.default = says.ok()
    assert road.deliver(accepted, time.budget()).status == "delivered"
    memory.close()


@contextmanager
def nothing_can_be_written(directory: Path) -> Iterator[None]:
    """Another process keeps the store's lock, and that of the file kept for acknowledgements."""
    with (
        closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as db,
        file_lock(directory / LEDGER_NAME),
    ):
        db.execute("BEGIN IMMEDIATE")
        yield


def test_an_acknowledgement_that_can_not_be_written_is_tried_again_with_the_next(
    client: Client, tmp_path: Path, time: Time
) -> None:
    outbox = Outbox.open(tmp_path / "outbox", now=lambda: time.now, patience_s=0.01)
    road = Road(outbox, OWNER, lambda: client, time.clock)
    first, second = road.accept(BODY), road.accept(BODY)
    with nothing_can_be_written(tmp_path / "outbox"):
        assert road.deliver(first, time.budget()).status == "delivered"
        assert road.unacknowledged == [first.id]
        assert (road.last_words() or "").endswith(f"they may go out a second time: #{first.id}")
    assert len(list(outbox.rows())) == 2
    assert road.deliver(second, time.budget()).status == "delivered"
    assert list(outbox.rows()) == []
    assert road.last_words() is None
    outbox.close()


# What is told


@pytest.mark.parametrize(
    ("error", "kept", "unkept"),
    [
        (EventRefused("x"), ("rejected", 65), ("rejected", 65)),
        (ServiceUnavailable("x"), ("queued", 75), ("failed", 69)),
        (KeyRefused("x"), ("queued", 77), ("failed", 69)),
        (UnexpectedAnswer("x"), ("queued", 78), ("failed", 69)),
        (InternalError("x"), ("queued", 70), ("failed", 69)),
        (errors.Interrupted("x"), ("queued", 130), ("failed", 130)),
        (errors.Terminated("x"), ("queued", 143), ("failed", 143)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_keeps_its_exit_code_where_the_event_is_kept(
    error: LogshError, kept: tuple[str, int], unkept: tuple[str, int]
) -> None:
    ended = failed(1, Failure(error))
    stored, unstored = Accepted(1, BODY, 0, 0), Accepted(None, BODY, 0, 0, unkept_because="no disk")
    assert (result_of(stored, ended).status, result_of(stored, ended).exit_code) == kept
    assert (result_of(unstored, ended).status, result_of(unstored, ended).exit_code) == unkept
