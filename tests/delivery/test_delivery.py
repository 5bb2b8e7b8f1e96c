"""The one road: what is stored is sent, and what came of it is in the store afterwards."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from logsh_cli import errors
from logsh_cli.delivery.retry import Failure
from logsh_cli.delivery.road import (
    LATE_AFTER_S,
    SURE_LEASE_S,
    Accepted,
    Road,
    Tried,
    dated,
    failed,
    random_fraction,
    result_of,
)
from logsh_cli.errors import LogshError, TermSignal
from logsh_cli.http.client import Client
from logsh_cli.outbox import LEASE_S, MemoryOutbox, Outbox, Owner
from tests.support import answers as says
from tests.support.answers import COLUMNS
from tests.support.kept import nothing_can_be_written
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from logsh_cli.clock import Budget
    from logsh_cli.http.wire import Answer
    from logsh_cli.output import Result
    from tests.support.answers import Column
    from tests.support.clock import Time
    from tests.support.server import Server

BODY = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'
OWNER = Owner("default", "0" * 16)


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


def test_attempts_are_five_at_most_with_doubling_pauses_within_the_budget(
    service: Server, road: Road, time: Time
) -> None:
    service.default = says.error(503)
    ended = tried(road, time, 60)
    assert (ended.end, ended.attempts, ended.http_status, len(service.requests)) == ("failed", 5, 503, 5)
    assert time.naps == [0.5, 1.0, 2.0, 4.0]
    time.naps.clear()
    assert (tried(road, time, 3).attempts, time.naps) == (3, [0.5, 1.0])
    service.requests.clear()
    spent = tried(road, time, 0)
    assert isinstance(spent.failure and spent.failure.error, errors.NotDelivered)
    assert (spent.attempts, service.requests) == (1, [])


def test_a_machine_that_sleeps_past_the_deadline_still_tells_what_the_last_attempt_met(
    service: Server, road: Road, time: Time
) -> None:
    service.default = says.error(503)
    road.clock = time.clock._replace(sleep=lambda seconds: time.sleep(seconds + 60))
    ended = tried(road, time, 10)
    assert (ended.end, ended.attempts, ended.http_status, len(service.requests)) == ("failed", 1, 503, 1)


def test_an_unanswered_request_is_sent_once_more_whatever_came_before(service: Server, road: Road, time: Time) -> None:
    service.script(says.error(503), says.drop(), says.error(503), says.drop())
    ended = tried(road, time, 60)
    assert ended.attempts == 4
    assert isinstance(ended.failure and ended.failure.error, errors.Unanswered)


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


def test_who_watches_is_told_of_a_wait_from_the_second_second_on(
    service: Server, outbox: Outbox, client: Client, time: Time
) -> None:
    said: list[str] = []
    road = Road(outbox, OWNER, lambda: client, time.clock, show=said.append, jitter=lambda: 1.0)
    service.script(says.error(503), says.error(503))
    assert tried(road, time).end == "delivered"
    assert (time.naps, len(said)) == ([0.5, 0.5, 0.5], 1)
    assert said[0].startswith("trying again in 0 s: the service is not available")


def test_jitter_is_a_fraction() -> None:
    drawn = {random_fraction() for _ in range(100)}
    assert len(drawn) > 90
    assert 0 <= min(drawn) < 0.5 < max(drawn) < 1


# Late events


def test_an_event_that_is_late_says_when_it_happened_unless_it_does_so_itself(time: Time) -> None:
    at = time.now
    assert dated(BODY, at, at + LATE_AFTER_S) is BODY
    late = json.loads(dated(BODY, at, at + LATE_AFTER_S + 1))
    assert late == {**json.loads(BODY), "metadata": {"occurred_at": "2026-03-01T12:00:00+00:00"}}
    for body in (b'{"metadata":{"occurred_at":"mine"}}', b'{"metadata":"of another kind"}'):
        assert dated(body, at, at + 3600) is body


def test_what_is_sent_is_settled_before_the_first_attempt(service: Server, road: Road, time: Time) -> None:
    accepted = road.accept(b'{"metadata":{"a":1}}')
    time.now += LATE_AFTER_S / 2
    service.script(says.error(503, headers={"Retry-After": "40"}))
    road.send(accepted, road.connect, time.budget(60))
    assert [request.json["metadata"] for request in service.requests] == [{"a": 1}, {"a": 1}]


# Store and acknowledgement


def delivered(road: Road, outbox: Outbox, time: Time, seconds: float = 10) -> Result:
    """Accept and deliver an event, which is stored before anything is sent."""
    accepted = road.accept(BODY)
    assert [row.state for row in outbox.rows()] == ["leased"]
    return road.deliver(accepted, time.budget(seconds))


def test_what_was_refused_is_set_apart_with_its_reason(service: Server, road: Road, outbox: Outbox, time: Time) -> None:
    service.default = says.error(400, "bad_request", "Too loud.")
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("rejected", 65)
    (row,) = outbox.rows()
    assert (row.id, row.state, row.attempts, row.http_status) == (result.id, "rejected", 1, 400)
    assert result.error is not None
    assert "Too loud." in result.error.message
    assert (row.error_name, row.error_message) == ("refused", result.error.message)


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
    met = Failure(errors.ServiceUnavailable("Something went wrong."), 500)
    road.acknowledge([(road.accept(BODY), failed(attempts, met))])
    (row,) = outbox.rows()
    assert (row.attempts, row.not_before > 0, row.error_name) == (attempts, waits, "unavailable")


class Failing(Client):
    """A client that something happens to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def post(self, _body: bytes, _budget: Budget) -> Answer:
        raise self.error


def test_a_signal_gives_the_event_back_at_once_with_its_try_and_why(road: Road, outbox: Outbox, time: Time) -> None:
    road.connect = lambda: Failing(TermSignal())
    result = delivered(road, outbox, time)
    assert (result.status, result.exit_code) == ("queued", 143)
    (row,) = outbox.rows()
    assert (row.state, row.attempts, row.not_before, row.error_name) == ("pending", 1, 0, "terminated")


def test_a_fault_of_our_own_gives_the_event_back(road: Road, outbox: Outbox, time: Time) -> None:
    road.connect = lambda: Failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        delivered(road, outbox, time)
    assert [row.state for row in outbox.rows()] == ["pending"]


def test_a_client_that_can_not_be_made_leaves_the_event_kept(road: Road, outbox: Outbox, time: Time) -> None:
    def connect() -> Client:
        raise errors.BadConfig("no such file")

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


def test_the_lease_is_renewed_while_one_attempt_outlasts_it(
    service: Server, road: Road, outbox: Outbox, time: Time
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    accepted = road.accept(BODY)
    delivery = threading.Thread(
        target=road.deliver, args=(accepted, time.budget(SURE_LEASE_S * 10)), kwargs={"renew_every_s": 0.01}
    )
    delivery.start()
    service.wait_for(1)
    time.now += 2 * LEASE_S
    wait_until(lambda: [row.state for row in outbox.rows()] == ["leased"], "it is leased anew")
    gate.set()
    delivery.join()
    assert (len(service.events), list(outbox.rows())) == (1, [])


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_without_a_store_the_event_gets_its_chance_and_no_promise(
    service: Server, client: Client, outbox: Outbox, tmp_path: Path, time: Time, where: str
) -> None:
    store = outbox if where == "disk" else MemoryOutbox(now=lambda: time.now, because="the disk is full")
    road = Road(store, OWNER, lambda: client, time.clock)
    with nothing_can_be_written(tmp_path / "outbox"):
        accepted = road.accept(BODY)
        assert accepted.id is None
        assert accepted.unkept_because
        service.script(says.error(500, headers={"Retry-After": "60"}))
        result = road.deliver(accepted, time.budget())
    assert (result.status, result.exit_code, result.id) == ("failed", 69, None)
    assert isinstance(result.error, errors.NotKept)
    assert result.error.message.endswith(f"and it could not be kept: {accepted.unkept_because}")
    assert road.deliver(accepted, time.budget()).status == "delivered"
    store.close()


def test_an_acknowledgement_that_can_not_be_written_is_tried_again_with_the_next(
    road: Road, outbox: Outbox, tmp_path: Path, time: Time
) -> None:
    first, second = road.accept(BODY), road.accept(BODY)
    with nothing_can_be_written(tmp_path / "outbox"):
        assert road.deliver(first, time.budget()).status == "delivered"
        assert road.unacknowledged == [first.id]
        assert (road.last_words() or "").endswith(f"they may go out a second time: #{first.id}")
    assert len(list(outbox.rows())) == 2
    assert road.deliver(second, time.budget()).status == "delivered"
    assert list(outbox.rows()) == []
    assert road.last_words() is None


# What is told


@pytest.mark.parametrize(
    ("error", "kept", "unkept"),
    [
        (errors.EventRefused("x"), ("rejected", 65), ("rejected", 65)),
        (errors.ServiceUnavailable("x"), ("queued", 75), ("failed", 69)),
        (errors.KeyRefused("x"), ("queued", 77), ("failed", 69)),
        (errors.UnexpectedAnswer("x"), ("queued", 78), ("failed", 69)),
        (errors.InternalError("x"), ("queued", 70), ("failed", 69)),
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
