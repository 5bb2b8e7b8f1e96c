"""The one road of every event: store, send, acknowledge.

Foreground, background, ``run``, ``batch`` and ``outbox flush`` all walk it through ``Courier``; they differ only in who
walks, when, and with what budget. The clock, the sleep and the jitter are values.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from logsh_cli.delivery import retry
from logsh_cli.errors import EventRefused, ExitCode, LogshError, NotDelivered, NotKept, Unreachable
from logsh_cli.http.wire import encode_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from logsh_cli.clock import Budget, Clock
    from logsh_cli.http.wire import Answer
    from logsh_cli.outbox import Owner, Store
    from logsh_cli.output.result import ResultStatus

LATE_AFTER_S = 60.0
"""An event delivered later than this carries ``occurred_at``: the service dates events on arrival."""

FRESH_LEASE_S = 5.0
"""A lease younger than this is not renewed before an attempt."""

SURE_LEASE_S = 50.0
"""A lease younger than this has not ended, whether or not the store can say so."""

RENEW_EVERY_S = 20.0


class AttemptFacts(TypedDict):
    """What the store keeps of the last attempt."""

    attempts: int
    error_name: str
    error_message: str
    http_status: int | None


class Poster(Protocol):
    """What delivery needs of a client."""

    def post(self, body: bytes, budget: Budget) -> Answer:
        """Send one body; raise ``NotDelivered`` when there is no answer."""


class Delivery(NamedTuple):
    """What came of the attempts for one event. ``fault`` is ``None`` when the service has it.

    ``lost`` means that another process holds the event now: it is neither ours to send nor to acknowledge.
    """

    attempts: int
    http_status: int | None = None
    fault: retry.Fault | None = None
    lost: bool = False


def random_fraction() -> float:
    """A number in [0, 1), for jitter; ``random`` would cost an import."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def new_lease() -> str:
    """A token that tells this walk from every other one, also from one of a recycled process id."""
    return f"{os.getpid()}-{os.urandom(6).hex()}"


def dated(body: bytes, accepted_at: float, now: float) -> bytes:
    """The body to send now: with ``occurred_at`` (ISO 8601, UTC) in its metadata when it is late, unless it has one."""
    if now - accepted_at <= LATE_AFTER_S:
        return body
    event = json.loads(body)
    metadata = event.setdefault("metadata", {})
    if not isinstance(metadata, dict) or "occurred_at" in metadata:
        return body
    metadata["occurred_at"] = datetime.fromtimestamp(accepted_at, UTC).isoformat(timespec="seconds")
    return encode_body(event)


class SharedPause(Protocol):
    """A pause that the service asked of one walker, and that all of them keep."""

    def wait(self, budget: Budget) -> retry.Fault | None:
        """Wait until it is over; the reason for it instead, when that would be after the budget's end."""

    def pause(self, seconds: float, because: retry.Fault) -> None:
        """Hold everyone back."""


def attempt(
    body: bytes,
    client: Poster,
    budget: Budget,
    clock: Clock,
    *,
    still_ours: Callable[[], bool] = lambda: True,
    jitter: Callable[[], float] = random_fraction,
    hold: SharedPause | None = None,
) -> Delivery:
    """Try until the service has it, says no, or the rules or the budget say stop.

    ``still_ours`` is asked before every attempt; when it says no, nothing is sent. With a ``hold``, a limit that names
    its pause stops everyone for that long and counts as no attempt; the budget still bounds it.
    """
    attempts = 0
    alike: dict[object, int] = {}
    while True:
        if hold is not None and (held_by := hold.wait(budget)) is not None:
            return Delivery(attempts, held_by.http_status, held_by)
        if not still_ours():
            return Delivery(attempts, lost=True)
        status, fault = _post_once(body, client, budget, clock)
        if fault is None:
            return Delivery(attempts + 1, status)
        if hold is not None and fault.wait_s and status == retry.LIMIT_STATUS:
            hold.pause(fault.wait_s, fault)
            continue
        attempts += 1
        # An unanswered request is worth one more attempt, however many refused connections came before it.
        kind = (type(fault.error), fault.retries)
        alike[kind] = alike.get(kind, 0) + 1
        pause = retry.pause_before_next(fault, attempts, alike[kind], budget.remaining(), jitter())
        if pause is None:
            return Delivery(attempts, status, fault)
        clock.sleep(pause)


def _post_once(body: bytes, client: Poster, budget: Budget, clock: Clock) -> tuple[int | None, retry.Fault | None]:
    try:
        if budget.remaining() <= 0:
            raise Unreachable("the deadline passed before a connection was made", hint="raise it with --deadline")
        answer = client.post(body, budget)
    except LogshError as error:
        return None, retry.fault_of_error(error)
    return answer.status, retry.fault_of_answer(answer, clock.time())


class Courier:
    """Carries events of one owner from the store to the service and tells the store what came of it."""

    def __init__(self, store: Store, owner: Owner, connect: Callable[[], Poster], clock: Clock) -> None:
        self.store = store
        self.owner = owner
        self.clock = clock
        self.lease = new_lease()
        self._connect = connect

    def accept(self, bodies: Sequence[bytes], *, leased: bool = True) -> list[int]:
        """Store events, ours to deliver or anyone's: from here on they are never lost. Raises ``NotKept``."""
        return self.store.add(self.owner, bodies, lease=self.lease if leased else None)

    def carry(self, event_id: int, body: bytes, accepted_at: float, budget: Budget) -> Delivery:
        """Send one event that was accepted a moment ago, and acknowledge it.

        A signal puts it back for the next delivery.
        """
        try:
            delivery = self._connect_and_send(event_id, body, accepted_at, budget)
        except BaseException:
            with suppress(NotKept):  # its lease ends by itself
                self.store.release([event_id], self.lease)
            raise
        if delivery.fault is None and not delivery.lost:
            self.forget([event_id])
        else:
            self.acknowledge(event_id, delivery)
        return delivery

    def _connect_and_send(self, event_id: int, body: bytes, accepted_at: float, budget: Budget) -> Delivery:
        try:
            client = self._connect()
        except LogshError as error:
            return Delivery(0, fault=retry.fault_of_error(error))
        return self.try_to_send(event_id, body, accepted_at, client, budget, leased_at=accepted_at)

    def try_to_send(
        self,
        event_id: int,
        body: bytes,
        accepted_at: float,
        client: Poster,
        budget: Budget,
        *,
        leased_at: float,
        hold: SharedPause | None = None,
    ) -> Delivery:
        """All attempts for one leased event, without telling the store; any thread may do this."""
        with self._kept_alive(event_id, budget):
            return attempt(
                dated(body, accepted_at, self.clock.time()),
                client,
                budget,
                self.clock,
                still_ours=lambda: self._holds(event_id, leased_at),
                hold=hold,
            )

    @contextmanager
    def _kept_alive(self, event_id: int, budget: Budget) -> Iterator[None]:
        """Renew the lease now and then while an attempt may outlast it: a long deadline, a slow service."""
        if budget.remaining() < SURE_LEASE_S:
            yield
            return
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEW_EVERY_S):
                with suppress(NotKept):
                    self.store.renew([event_id], self.lease)

        threading.Thread(target=renew, daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _holds(self, event_id: int, leased_at: float) -> bool:
        # A lease a moment old needs no write to prove it. Wall time, since it is what leases are counted in.
        age = abs(self.clock.time() - leased_at)
        if age < FRESH_LEASE_S:
            return True
        try:
            return event_id in self.store.renew([event_id], self.lease)
        except NotKept:
            # A disk that has filled up must not keep us from delivering what nobody else may take yet.
            return age < SURE_LEASE_S

    def forget(self, event_ids: Sequence[int]) -> None:
        """The service has these."""
        # A store that fails now still has the events: at worst they are sent a second time, which beats calling a
        # delivered event undelivered.
        with suppress(NotKept):
            self.store.delivered(event_ids, self.lease)

    def acknowledge(self, event_id: int, delivery: Delivery, attempts_before: int = 0) -> None:
        """The service does not have this one: shelve what it refused, keep anything else for later."""
        if delivery.lost or delivery.fault is None:
            return
        error = delivery.fault.error
        attempts = attempts_before + delivery.attempts
        facts: AttemptFacts = {
            "attempts": attempts,
            "error_name": error.name,
            "error_message": error.message,
            "http_status": delivery.http_status,
        }
        # The row is on disk whatever happens here; a lease that can't be given back ends by itself.
        with suppress(NotKept):
            if isinstance(error, EventRefused):
                self.store.rejected(event_id, self.lease, **facts)
            else:
                wait = retry.stored_wait(delivery.fault, attempts)
                self.store.failed(event_id, self.lease, **facts, not_before=self.clock.time() + wait if wait else 0.0)


def verdict(delivery: Delivery, *, unkept_because: str | None = None) -> tuple[ResultStatus, int, LogshError | None]:
    """Status, exit code and error of a delivery; ``unkept_because`` says why there is no store, if there is none."""
    if delivery.lost:
        return "queued", ExitCode.KEPT, NotDelivered("another process has taken over its delivery")
    if delivery.fault is None:
        return "delivered", ExitCode.OK, None
    error = delivery.fault.error
    if isinstance(error, EventRefused):
        return "rejected", error.exit_code, error
    if unkept_because is not None:
        lost = NotKept(f"{error.message}; and it could not be kept: {unkept_because}", hint=error.hint)
        return "failed", lost.exit_code, lost
    return "queued", error.exit_code, error
