"""The road of every event: ``accept`` puts it on disk, ``deliver`` sends it and tells the store how that ended."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from logsh_cli import Record, errors
from logsh_cli.clock import Budget
from logsh_cli.delivery import retry
from logsh_cli.errors import ExitCode, LogshError, NotKept
from logsh_cli.http.wire import encode_body
from logsh_cli.output import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from logsh_cli.clock import Clock
    from logsh_cli.delivery.drain import Pace
    from logsh_cli.http.client import Client
    from logsh_cli.outbox import Outbox, Owner
    from logsh_cli.outbox.rows import AttemptFacts
    from logsh_cli.output import ResultStatus

LATE_AFTER_S = 60.0
"""An event delivered later than this carries ``occurred_at``: the service dates events on arrival."""

FRESH_LEASE_S, SURE_LEASE_S = 5.0, 50.0
"""A lease younger than the first needs no write to prove that it is ours; one younger than the second has not ended,
whether or not the store can say so."""

RENEW_EVERY_S = 15.0
SILENT_S = 1.0  # nobody is told of waits before this
LAST_PATIENCE_S = 2.0  # for acknowledgements that could not be written, before the process ends

FORGIVABLE = frozenset({ExitCode.REFUSED, ExitCode.NOT_KEPT, ExitCode.KEPT, ExitCode.KEY_REFUSED})
"""Failures that ``--best-effort`` makes a warning; not usage and configuration, for those never heal by themselves."""

_TAKEN_OVER = retry.Failure(errors.NotDelivered("another process has taken over its delivery"))


class Accepted(Record):
    """An event that is on its way. ``id`` is ``None`` when it could not be stored; ``unkept_because`` says why.

    ``accepted_at`` and ``leased_at`` are epoch seconds; ``attempts_before`` were made by earlier deliveries,
    and ``unanswered_before`` of them by the last one, if it ended without an answer.
    """

    id: int | None
    body: bytes
    accepted_at: float
    leased_at: float
    attempts_before: int = 0
    unanswered_before: int = 0
    unkept_because: str | None = None


class Tried(Record):
    """The end of the attempts for one event.

    ``failed`` has its failure. ``lost``: another process holds the event now, so it is neither ours to send nor to
    acknowledge. ``untried``: a stop came before the first attempt.
    """

    end: Literal["delivered", "failed", "lost", "untried"]
    attempts: int
    http_status: int | None = None
    failure: retry.Failure | None = None


def failed(attempts: int, failure: retry.Failure) -> Tried:
    """Return the end of attempts of which the last failed like this, or would have."""
    return Tried("failed", attempts, failure.http_status, failure)


def random_fraction() -> float:
    """Return a number in [0, 1), for jitter; ``random`` would cost an import."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def new_lease() -> str:
    """Return a token that tells this walk from every other one, also from one of a recycled process id."""
    return f"{os.getpid()}-{os.urandom(6).hex()}"


def dated(body: bytes, accepted_at: float, now: float) -> bytes:
    """Return the body to send now: a late one has ``occurred_at`` (ISO 8601, UTC) in its metadata."""
    if now - accepted_at <= LATE_AFTER_S:
        return body
    event = json.loads(body)
    metadata = event.setdefault("metadata", {})
    if not isinstance(metadata, dict) or "occurred_at" in metadata:
        return body
    metadata["occurred_at"] = datetime.fromtimestamp(accepted_at, UTC).isoformat(timespec="seconds")
    return encode_body(event)


class Road:
    """The road of one owner's events, under one lease; any thread may ``send``.

    Once ``stopping`` is set nothing new is begun, and a sleep of the clock ends. ``show`` tells a person who watches,
    from the second second on, what is waited for. ``jitter`` gives numbers in [0, 1).
    """

    def __init__(
        self,
        store: Outbox,
        owner: Owner,
        connect: Callable[[], Client],
        clock: Clock,
        *,
        stopping: threading.Event | None = None,
        show: Callable[[str], None] | None = None,
        jitter: Callable[[], float] = random_fraction,
    ) -> None:
        self.store = store
        self.owner = owner
        self.connect = connect
        self.clock = clock
        self.stopping = stopping or threading.Event()
        self.lease = new_lease()
        self.unacknowledged: list[int] = []
        """Delivered events that the store could not be told of yet."""
        self._show = show
        self._jitter = jitter

    def accept(self, body: bytes, *, for_a_courier: bool = False) -> Accepted:
        """Store an event, ours to deliver or a courier's; one that can't be stored still gets its chance."""
        try:
            return self.accept_all([body], leased=not for_a_courier)[0]
        except NotKept as error:
            now = self.clock.time()
            return Accepted(None, body, now, now, unkept_because=error.message)

    def accept_all(self, bodies: Sequence[bytes], *, leased: bool = True) -> list[Accepted]:
        """Store events, all or none: from here on none of them is lost. Raises ``NotKept``."""
        now = self.clock.time()
        unkept = self.store.unkept_because
        if unkept is not None:
            return [Accepted(None, body, now, now, unkept_because=unkept) for body in bodies]
        ids = self.store.add(self.owner, bodies, lease=self.lease if leased else None)
        return [Accepted(event_id, body, now, now) for event_id, body in zip(ids, bodies, strict=True)]

    def deliver(self, accepted: Accepted, budget: Budget, *, renew_every_s: float = RENEW_EVERY_S) -> Result:
        """Send one event within the budget, and acknowledge it. A signal ends the attempts; the event is then kept."""
        over = threading.Event()
        tried = Tried("untried", 0)
        try:
            if budget.remaining() >= SURE_LEASE_S:  # one attempt may outlast the lease
                renewing = (accepted, over, renew_every_s)
                with suppress(RuntimeError):  # no thread can be started
                    threading.Thread(target=self._keep_renewing, args=renewing, daemon=True).start()
            tried = self.send(accepted, self.connect, budget)
        finally:
            over.set()
            self.acknowledge([(accepted, tried)])
        return result_of(accepted, tried)

    def _keep_renewing(self, accepted: Accepted, over: threading.Event, every_s: float) -> None:
        while not over.wait(every_s):
            self.renew([accepted.id])

    def give_back(self, accepted: Accepted, stop: KeyboardInterrupt) -> Result:
        """Leave an event that a signal kept from its first attempt to the next delivery."""
        tried = failed(0, retry.failure_of_error(stop))
        self.acknowledge([(accepted, tried)])
        return result_of(accepted, tried)

    def send(
        self,
        accepted: Accepted,
        connect: Callable[[], Client],
        budget: Budget,
        pace: Pace | None = None,
        *,
        most: int = retry.MAX_ATTEMPTS,
    ) -> Tried:
        """Try until the service has it, says no, or the rules, the budget or a signal say stop. The store is not told.

        With a drain's ``pace`` a limit that names its pause stops every worker for that long, and counts as no attempt.
        """
        body = dated(accepted.body, accepted.accepted_at, self.clock.time())
        started, attempts = self.clock.monotonic(), 0
        last: retry.Failure | None = None
        alike: dict[object, int] = {}
        try:
            client = connect()
            while True:
                if pace is not None and (because := pace.wait(budget)) is not None:
                    return failed(attempts, because)
                if self.stopping.is_set() or (last and not budget.remaining()):
                    return failed(attempts, last) if last else Tried("untried", 0)
                if not self._is_ours(accepted):
                    return Tried("lost", attempts, failure=_TAKEN_OVER)
                attempts += 1
                status, last = self._post(body, client, budget)
                if last is None:
                    return Tried("delivered", attempts, status)
                if pace is not None and last.wait_s is not None and status == retry.LIMIT_STATUS:
                    attempts -= 1
                    pace.pause(retry.asked_pause(last.wait_s, self._jitter()), last)
                    continue
                # An unanswered request is worth one more attempt, however many refused connections came before it.
                kind = (type(last.error), last.retries)
                alike[kind] = alike.get(kind, 0) + 1
                left = budget.remaining() if attempts < most else 0.0
                wait = retry.pause_before_next(last, attempts, alike[kind], left, self._jitter())
                if wait is None:
                    return failed(attempts, last)
                self._wait(wait, last, started)
        except (LogshError, KeyboardInterrupt) as end:  # no client can be made of these settings, or a signal came
            return failed(attempts, retry.failure_of_error(end))

    def _post(self, body: bytes, client: Client, budget: Budget) -> tuple[int | None, retry.Failure | None]:
        try:
            if budget.remaining() <= 0:
                hint = "raise it with --deadline"
                raise errors.Unreachable("the deadline passed before a connection was made", hint=hint)
            answer = client.post(body, budget)
        except LogshError as error:
            return None, retry.failure_of_error(error)
        return answer.status, retry.failure_of_answer(answer, self.clock.time())

    def _wait(self, pause_s: float, failure: retry.Failure, started: float) -> None:
        silent_s = max(0.0, SILENT_S - (self.clock.monotonic() - started))
        if self._show is not None and pause_s > silent_s:
            self.clock.sleep(silent_s)
            pause_s -= silent_s
            self._show(f"trying again in {pause_s:.0f} s: {failure.error.message}")
        self.clock.sleep(pause_s)

    def acknowledge(self, ended: Iterable[tuple[Accepted, Tried]]) -> None:
        """Tell the store: forget what was delivered, shelve what was refused, keep anything else for later.

        Should the store fail, leases end by themselves, but what was delivered would go out a second time: those
        acknowledgements are tried again with every later one.
        """
        kept = [(accepted.id, accepted, tried) for accepted, tried in ended if accepted.id is not None]
        self.unacknowledged += [event_id for event_id, _, tried in kept if tried.end == "delivered"]
        if self.unacknowledged:
            with suppress(NotKept):
                self.store.delivered(self.unacknowledged, self.lease)
                self.unacknowledged = []
        self.release([event_id for event_id, _, tried in kept if tried.end == "untried"])
        for event_id, accepted, tried in kept:
            if tried.end == "failed" and tried.failure is not None:
                with suppress(NotKept):
                    self._put_back(event_id, accepted, tried, tried.failure)

    def last_words(self) -> str | None:
        """Try once more, for a few seconds, to acknowledge what was delivered; return what to say of the rest."""
        patience = Budget(LAST_PATIENCE_S, self.clock.monotonic)
        while self.unacknowledged:
            self.acknowledge([])
            if not self.unacknowledged or not patience.remaining() or self.stopping.is_set():
                break
            self.clock.sleep(LAST_PATIENCE_S / 10)
        if not self.unacknowledged:
            return None
        ids = ", ".join(f"#{event_id}" for event_id in self.unacknowledged)
        return f"delivered, but the outbox can't be written, so that they may go out a second time: {ids}"

    def release(self, event_ids: list[int]) -> None:
        """Let others have these, as they are; should the store fail, their leases end by themselves."""
        if event_ids:
            with suppress(NotKept):
                self.store.release(event_ids, self.lease)

    def _put_back(self, event_id: int, accepted: Accepted, tried: Tried, failure: retry.Failure) -> None:
        attempts = accepted.attempts_before + tried.attempts
        facts: AttemptFacts = {
            "attempts": attempts,
            "error_name": failure.error.name,
            "error_message": failure.error.message,
            "http_status": tried.http_status,
        }
        if isinstance(failure.error, errors.EventRefused):
            self.store.rejected(event_id, self.lease, **facts)
            return
        wait = 0.0
        if tried.attempts or failure.wait_s:  # else it was not sent, whatever others met
            wait = retry.stored_wait(failure, attempts, accepted.unanswered_before, self._jitter())
        self.store.failed(event_id, self.lease, **facts, not_before=self.clock.time() + wait if wait else 0.0)

    def _is_ours(self, accepted: Accepted) -> bool:
        age = abs(self.clock.time() - accepted.leased_at)  # wall time, since it is what leases are counted in
        if accepted.id is None or age < FRESH_LEASE_S:
            return True
        try:
            return accepted.id in self.store.renew([accepted.id], self.lease)
        except NotKept:
            # A disk that has filled up must not keep us from delivering what nobody else may take yet.
            return age < SURE_LEASE_S

    def renew(self, event_ids: Iterable[int | None]) -> None:
        """Hold these for another while. Before each attempt it is asked again whether an event is still ours."""
        with suppress(NotKept):
            self.store.renew([event_id for event_id in event_ids if event_id is not None], self.lease)


def result_of(accepted: Accepted, tried: Tried) -> Result:
    """Return what to tell of one event; its body and the time it took are for the caller to add."""
    kept = accepted.unkept_because is None
    status: ResultStatus = "queued" if kept else "failed"
    error = None if tried.failure is None else tried.failure.error
    if tried.end == "delivered":
        status = "delivered"
    elif isinstance(error, errors.EventRefused):
        status = "rejected"
    elif isinstance(error, errors.Interrupted):
        hint = "it goes out with the next event, or with `logsh outbox flush`" if kept else "the event is not kept"
        error = type(error)(error.message, hint=hint)
    elif error is not None and not kept:
        error = NotKept(f"{error.message}; and it could not be kept: {accepted.unkept_because}", hint=error.hint)
    code = ExitCode.OK if error is None else error.exit_code
    return Result(status, None, accepted.id, tried.http_status, tried.attempts, exit_code=code, error=error)
