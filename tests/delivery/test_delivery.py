"""The one road: what is stored is sent, and what came of it is in the store afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Budget, Clock
from logsh_cli.delivery.deliver import LATE_AFTER_S, Courier, Delivery, attempt, dated, random_fraction, verdict
from logsh_cli.delivery.retry import Fault
from logsh_cli.errors import (
    BadConfig,
    EventRefused,
    InternalError,
    KeyRefused,
    NotDelivered,
    NotKept,
    ServiceUnavailable,
    TermSignal,
    Unanswered,
    UnexpectedAnswer,
)
from logsh_cli.http.client import Client
from logsh_cli.outbox import MemoryOutbox, Outbox, Owner
from tests.support import answers as says
from tests.support.answers import COLUMNS
from tests.support.sending import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logsh_cli.http.wire import Answer
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


def full_jitter() -> float:
    return 1.0


# Attempts


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_the_first_success_ends_the_attempts(service: Server, client: Client, time: Time, column: Column) -> None:
    service.default = column.accepted
    delivery = attempt(BODY, client, time.budget(), time.clock)
    assert delivery == Delivery(1, int(column.accepted.name[3:6]))
    assert time.naps == []


def test_attempts_are_five_at_most_with_doubling_pauses(service: Server, client: Client, time: Time) -> None:
    service.default = says.error(503)
    delivery = attempt(BODY, client, time.budget(60), time.clock, jitter=full_jitter)
    assert (delivery.attempts, delivery.http_status, len(service.requests)) == (5, 503, 5)
    assert time.naps == [0.5, 1.0, 2.0, 4.0]


def test_attempts_end_before_a_pause_would_outlast_the_budget(service: Server, client: Client, time: Time) -> None:
    service.default = says.error(503)
    delivery = attempt(BODY, client, time.budget(3), time.clock, jitter=full_jitter)
    assert (delivery.attempts, time.naps) == (3, [0.5, 1.0])


def test_nothing_is_sent_once_the_budget_is_spent(service: Server, client: Client, time: Time) -> None:
    delivery = attempt(BODY, client, time.budget(0), time.clock)
    assert delivery.attempts == 1
    assert isinstance(delivery.fault and delivery.fault.error, NotDelivered)
    assert service.requests == []


def test_an_unanswered_request_is_sent_once_more_whatever_came_before(
    service: Server, client: Client, time: Time
) -> None:
    service.script(says.error(503), says.drop(), says.error(503), says.drop())
    delivery = attempt(BODY, client, time.budget(60), time.clock)
    assert delivery.attempts == 4
    assert isinstance(delivery.fault and delivery.fault.error, Unanswered)


@pytest.mark.parametrize(
    "answer",
    [says.error(401, "unauthorized"), says.error(400, "bad_request"), says.html404(), says.redirect("/", 301)],
    ids=repr,
)
def test_what_waiting_will_not_change_is_sent_once(
    service: Server, client: Client, time: Time, answer: says.Answer
) -> None:
    service.default = answer
    assert attempt(BODY, client, time.budget(60), time.clock).attempts == 1
    assert len(service.requests) == 1


def test_who_has_lost_the_event_sends_nothing(service: Server, client: Client, time: Time) -> None:
    answers = iter([True, False])
    service.default = says.error(503)
    delivery = attempt(BODY, client, time.budget(60), time.clock, still_ours=lambda: next(answers))
    assert delivery == Delivery(1, lost=True)
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


def test_metadata_is_added_to(service: Server, client: Client, time: Time, outbox: Outbox) -> None:
    courier = Courier(outbox, OWNER, lambda: client, time.clock)
    (event_id,) = courier.accept([b'{"metadata":{"a":1}}'])
    time.now += LATE_AFTER_S / 2
    service.script(says.error(503, headers={"Retry-After": "40"}))
    courier.try_to_send(event_id, b'{"metadata":{"a":1}}', ACCEPTED_AT, client, time.budget(60), leased_at=time.now)
    # What is sent is settled before the first attempt, so that every attempt sends the same.
    assert [request.json["metadata"] for request in service.requests] == [{"a": 1}, {"a": 1}]


# Store and acknowledgement


def carried(outbox: Outbox, client: Client, time: Time, budget_s: float = 10) -> tuple[int, Delivery]:
    courier = Courier(outbox, OWNER, lambda: client, time.clock)
    (event_id,) = courier.accept([BODY])
    assert [row.state for row in outbox.rows()] == ["leased"]  # stored before anything is sent
    return event_id, courier.carry(event_id, BODY, ACCEPTED_AT, time.budget(budget_s))


def test_what_is_delivered_leaves_the_store(outbox: Outbox, client: Client, time: Time) -> None:
    _, delivery = carried(outbox, client, time)
    assert verdict(delivery) == ("delivered", 0, None)
    assert list(outbox.rows()) == []


def test_what_was_refused_is_set_apart_with_its_reason(
    service: Server, outbox: Outbox, client: Client, time: Time
) -> None:
    service.default = says.error(400, "bad_request", "Too loud.")
    event_id, delivery = carried(outbox, client, time)
    status, code, error = verdict(delivery)
    assert (status, code) == ("rejected", 65)
    (row,) = outbox.rows()
    assert (row.id, row.state, row.attempts, row.http_status, row.error_name) == (
        event_id,
        "rejected",
        1,
        400,
        "refused",
    )
    assert error is not None
    assert "Too loud." in error.message
    assert row.error_message == error.message


def test_what_could_not_be_delivered_waits_as_long_as_the_service_asked(
    service: Server, outbox: Outbox, client: Client, time: Time
) -> None:
    service.default = says.error(429, "rate_limit_exceeded", "Slow.", {"Retry-After": "600"})
    _, delivery = carried(outbox, client, time)
    assert verdict(delivery)[:2] == ("queued", 75)
    (row,) = outbox.rows()
    assert (row.state, row.not_before) == ("pending", time.now + 600)


def test_a_key_that_the_service_repeats_does_not_get_into_the_store(
    service: Server, outbox: Outbox, client: Client, time: Time
) -> None:
    long = "x" * 470  # so that a cut at 500 characters falls into the key
    service.default = says.error(401, KEY, f"{long} Bearer {KEY}", details={"key": KEY})
    _, delivery = carried(outbox, client, time)
    (row,) = outbox.rows()
    assert row.error_message is not None
    assert KEY[:8] not in row.error_message
    assert KEY[:8] not in repr(delivery)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), TermSignal()], ids=["INT", "TERM"])
def test_a_signal_gives_the_event_back_at_once(outbox: Outbox, time: Time, stop: KeyboardInterrupt) -> None:
    class Interrupted:
        def post(self, _body: bytes, _budget: Budget) -> Answer:
            raise stop

    courier = Courier(outbox, OWNER, Interrupted, time.clock)
    (event_id,) = courier.accept([BODY])
    with pytest.raises(KeyboardInterrupt) as caught:
        courier.carry(event_id, BODY, ACCEPTED_AT, time.budget())
    assert caught.value is stop
    assert [row.state for row in outbox.rows()] == ["pending"]


def test_a_client_that_can_not_be_made_leaves_the_event_kept(outbox: Outbox, time: Time) -> None:
    def connect() -> Client:
        raise BadConfig("no such file")

    courier = Courier(outbox, OWNER, connect, time.clock)
    (event_id,) = courier.accept([BODY])
    delivery = courier.carry(event_id, BODY, ACCEPTED_AT, time.budget())
    assert verdict(delivery)[:2] == ("queued", 78)
    assert [row.state for row in outbox.rows()] == ["pending"]


def test_an_event_that_another_process_took_over_is_left_to_it(
    service: Server, outbox: Outbox, client: Client, time: Time
) -> None:
    courier = Courier(outbox, OWNER, lambda: client, time.clock)
    (event_id,) = courier.accept([BODY])
    time.now += 120  # the lease has run out
    assert [row.id for row in outbox.take(OWNER, lease="another", limit=1)] == [event_id]
    delivery = courier.carry(event_id, BODY, ACCEPTED_AT, time.budget())
    assert delivery.lost
    assert verdict(delivery)[:2] == ("queued", 75)
    assert service.requests == []
    assert [row.state for row in outbox.rows()] == ["leased"]


def test_without_a_store_the_event_gets_its_chance_and_no_promise(service: Server, client: Client, time: Time) -> None:
    memory = MemoryOutbox(now=lambda: time.now, because="the disk is full")
    courier = Courier(memory, OWNER, lambda: client, time.clock)
    (event_id,) = courier.accept([BODY])
    service.default = says.error(500, headers={"Retry-After": "60"})
    delivery = courier.carry(event_id, BODY, ACCEPTED_AT, time.budget())
    status, code, error = verdict(delivery, unkept_because=memory.unkept_because)
    assert (status, code) == ("failed", 69)
    assert isinstance(error, NotKept)
    assert error.message.endswith("and it could not be kept: the disk is full")
    memory.close()


# Verdicts


@pytest.mark.parametrize(
    ("error", "kept", "unkept"),
    [
        (EventRefused("x"), ("rejected", 65), ("rejected", 65)),
        (ServiceUnavailable("x"), ("queued", 75), ("failed", 69)),
        (KeyRefused("x"), ("queued", 77), ("failed", 69)),
        (UnexpectedAnswer("x"), ("queued", 78), ("failed", 69)),
        (InternalError("x"), ("queued", 70), ("failed", 69)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_keeps_its_exit_code_where_the_event_is_kept(
    error: EventRefused, kept: tuple[str, int], unkept: tuple[str, int]
) -> None:
    delivery = Delivery(1, None, Fault(error))
    assert verdict(delivery)[:2] == kept
    assert verdict(delivery, unkept_because="no disk")[:2] == unkept
