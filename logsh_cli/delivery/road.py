"""The road of every event: ``accept`` puts it on disk, ``deliver`` sends it and tells the store how that ended.

Foreground, background, ``run``, ``batch`` and ``outbox flush`` differ only in who walks it, when, and with what budget.
The clock, the sleep and the jitter are values.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from logsh_cli.clock import Budget
from logsh_cli.delivery import retry
from logsh_cli.errors import (
    EventRefused,
    ExitCode,
    Interrupted,
    LogshError,
    NotDelivered,
    NotKept,
    Unreachable,
    interruption,
)
from logsh_cli.http.wire import encode_body
from logsh_cli.output.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from logsh_cli.clock import Clock
    from logsh_cli.delivery.pacing import Hold
    from logsh_cli.http.wire import Answer
    from logsh_cli.outbox import Outbox, Owner
    from logsh_cli.outbox.rows import AttemptFacts
    from logsh_cli.output.result import ResultStatus

LATE_AFTER_S = 60.0
"""An event delivered later than this carries ``occurred_at``: the service dates events on arrival."""

FRESH_LEASE_S = 5.0
"""A lease younger than this is not renewed before an attempt."""

SURE_LEASE_S = 50.0
"""A lease younger than this has not ended, whether or not the store can say so."""

RENEW_EVERY_S = 20.0

SILENT_S = 1.0
"""Nobody is told of waits before this."""

LAST_PATIENCE_S = 2.0
"""For acknowledgements that could not be written, before the process ends."""

_TAKEN_OVER = retry.Failure(NotDelivered("another process has taken over its delivery"))

FORGIVABLE = frozenset({ExitCode.REFUSED, ExitCode.NOT_KEPT, ExitCode.KEPT, ExitCode.KEY_REFUSED})
"""What ``--best-effort`` makes a warning; usage and configuration it does not, for those never heal by themselves."""


class Poster(Protocol):
    """What delivery needs of a client."""

    def post(self, body: bytes, budget: Budget) -> Answer:
        """Send one body; raise ``NotDelivered`` when there is no answer."""


class Accepted(NamedTuple):
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


class Tried(NamedTuple):
    """How the attempts for one event ended.

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

    Args:
        store: the outbox; where it keeps nothing (``unkept_because``), events go out from memory alone.
        owner: whose events these are.
        connect: makes a client; called by ``deliver``, and by a drain for each of its workers.
        clock: seconds and sleep.
        stopping: once set, nothing new is begun, and a sleep of the clock ends.
        show: tells a person who watches, from the second second on, what is waited for.
        jitter: gives a number in [0, 1).
    """

    def __init__(
        self,
        store: Outbox,
        owner: Owner,
        connect: Callable[[], Poster],
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

    def deliver(self, accepted: Accepted, budget: Budget) -> Result:
        """Send one event within the budget, and acknowledge it. A signal ends the attempts; the event is then kept."""
        try:
            with self._held_meanwhile(accepted, budget):
                tried = self.send(accepted, self.connect(), budget)
        except LogshError as error:  # no client can be made of these settings
            tried = failed(0, retry.failure_of_error(error))
        except KeyboardInterrupt as stop:
            return self.give_back(accepted, stop)
        except BaseException:
            self.acknowledge([(accepted, Tried("untried", 0))])
            raise
        self.acknowledge([(accepted, tried)])
        return result_of(accepted, tried)

    def give_back(self, accepted: Accepted, stop: KeyboardInterrupt) -> Result:
        """Leave an event that a signal kept from its first attempt to the next delivery."""
        tried = failed(0, retry.failure_of_error(interruption(stop)))
        self.acknowledge([(accepted, tried)])
        return result_of(accepted, tried)

    def send(
        self,
        accepted: Accepted,
        client: Poster,
        budget: Budget,
        hold: Hold | None = None,
        *,
        most: int = retry.MAX_ATTEMPTS,
    ) -> Tried:
        """Try until the service has it, says no, or the rules, the budget or a signal say stop. The store is not told.

        There are ``most`` attempts at the most.

        With a ``hold``, which is a drain's, a limit that names its pause stops every worker for that long and counts as
        no attempt; the budget still bounds it.
        """
        body = dated(accepted.body, accepted.accepted_at, self.clock.time())
        attempts = 0
        started = self.clock.monotonic()
        last: retry.Failure | None = None
        alike: dict[object, int] = {}
        try:
            while True:
                because = hold.wait(budget) if hold is not None else None
                if because is not None:
                    return failed(attempts, because)
                if self.stopping.is_set():
                    return failed(attempts, last) if last is not None else Tried("untried", 0)
                if not self._is_ours(accepted):
                    return Tried("lost", attempts, failure=_TAKEN_OVER)
                attempts += 1
                status, last = _post_once(body, client, budget, self.clock)
                if last is None:
                    return Tried("delivered", attempts, status)
                asked = retry.asked_pause(last, self._jitter())
                if hold is not None and asked is not None and status == retry.LIMIT_STATUS:
                    attempts -= 1
                    hold.pause(asked, last)
                    continue
                # An unanswered request is worth one more attempt, however many refused connections came before it.
                kind = (type(last.error), last.retries)
                alike[kind] = alike.get(kind, 0) + 1
                pause = retry.pause_before_next(last, attempts, alike[kind], budget.remaining(), self._jitter())
                if pause is None or attempts >= most:
                    return failed(attempts, last)
                self._wait(pause, last, started)
        except KeyboardInterrupt as stop:
            return failed(attempts, retry.failure_of_error(interruption(stop)))

    def _wait(self, pause_s: float, failure: retry.Failure, started: float) -> None:
        silent_s = SILENT_S - (self.clock.monotonic() - started)
        if self._show is None or pause_s <= silent_s:
            self.clock.sleep(pause_s)
            return
        self.clock.sleep(max(0.0, silent_s))
        pause_s -= max(0.0, silent_s)
        self._show(f"trying again in {pause_s:.0f} s: {failure.error.message}")
        self.clock.sleep(pause_s)

    def acknowledge(self, ended: Iterable[tuple[Accepted, Tried]]) -> None:
        """Tell the store: forget what was delivered, shelve what was refused, keep anything else for later.

        A store that fails now still has the events, and leases end by themselves; a delivered one would go out a second
        time, so its acknowledgement is tried again with every later one.
        """
        kept = [(accepted, accepted.id, tried) for accepted, tried in ended if accepted.id is not None]
        self.unacknowledged += [event_id for _, event_id, tried in kept if tried.end == "delivered"]
        if self.unacknowledged:
            with suppress(NotKept):
                self.store.delivered(self.unacknowledged, self.lease)
                self.unacknowledged = []
        if untried := [event_id for _, event_id, tried in kept if tried.end == "untried"]:
            self.give_back_all(untried)
        for accepted, event_id, tried in kept:
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

    def give_back_all(self, event_ids: list[int]) -> None:
        """Let others have these, as they are; should the store fail, their leases end by themselves."""
        with suppress(NotKept):
            self.store.release(event_ids, self.lease)

    def _put_back(self, event_id: int, accepted: Accepted, tried: Tried, failure: retry.Failure) -> None:
        error = failure.error
        attempts = accepted.attempts_before + tried.attempts
        facts: AttemptFacts = {
            "attempts": attempts,
            "error_name": error.name,
            "error_message": error.message,
            "http_status": tried.http_status,
        }
        if isinstance(error, EventRefused):
            self.store.rejected(event_id, self.lease, **facts)
            return
        wait = 0.0
        if tried.attempts or failure.wait_s:  # else it was not sent, whatever others met
            wait = retry.stored_wait(failure, attempts, accepted.unanswered_before, self._jitter())
        self.store.failed(event_id, self.lease, **facts, not_before=self.clock.time() + wait if wait else 0.0)

    def _is_ours(self, accepted: Accepted) -> bool:
        # A lease a moment old needs no write to prove it. Wall time, since it is what leases are counted in.
        age = abs(self.clock.time() - accepted.leased_at)
        if accepted.id is None or age < FRESH_LEASE_S:
            return True
        try:
            return accepted.id in self.store.renew([accepted.id], self.lease)
        except NotKept:
            # A disk that has filled up must not keep us from delivering what nobody else may take yet.
            return age < SURE_LEASE_S

    def renew(self, held: Iterable[Accepted]) -> None:
        """Hold these for another while. Before each attempt it is asked again whether an event is still ours."""
        with suppress(NotKept):
            self.store.renew([accepted.id for accepted in held if accepted.id is not None], self.lease)

    @contextmanager
    def _held_meanwhile(self, accepted: Accepted, budget: Budget) -> Iterator[None]:
        """Renew the lease now and then while one attempt may outlast it: a long deadline, a slow service."""
        over = threading.Event()

        def keep_renewing() -> None:
            while not over.wait(RENEW_EVERY_S):
                self.renew([accepted])

        if budget.remaining() >= SURE_LEASE_S:
            with suppress(RuntimeError):  # no thread can be started
                threading.Thread(target=keep_renewing, daemon=True).start()
        try:
            yield
        finally:
            over.set()


def result_of(accepted: Accepted, tried: Tried) -> Result:
    """Return what to tell of one event; its body and the time it took are for the caller to add."""
    kept = accepted.unkept_because is None
    status: ResultStatus = "queued" if kept else "failed"
    error = None if tried.failure is None else tried.failure.error
    if tried.end == "delivered":
        status = "delivered"
    elif isinstance(error, EventRefused):
        status = "rejected"
    elif isinstance(error, Interrupted):
        hint = "it goes out with the next event, or with `logsh outbox flush`" if kept else "the event is not kept"
        error = type(error)(error.message, hint=hint)
    elif error is not None and not kept:
        error = NotKept(f"{error.message}; and it could not be kept: {accepted.unkept_because}", hint=error.hint)
    code = ExitCode.OK if error is None else error.exit_code
    return Result(status, None, accepted.id, tried.http_status, tried.attempts, exit_code=code, error=error)


def _post_once(body: bytes, client: Poster, budget: Budget, clock: Clock) -> tuple[int | None, retry.Failure | None]:
    try:
        if budget.remaining() <= 0:
            raise Unreachable("the deadline passed before a connection was made", hint="raise it with --deadline")
        answer = client.post(body, budget)
    except LogshError as error:
        return None, retry.failure_of_error(error)
    return answer.status, retry.failure_of_answer(answer, clock.time())
