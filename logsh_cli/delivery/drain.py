"""Many events at once: worker threads with a client each, one thread that talks to the store.

Workers only send, as a ``Pace`` and a ``Breaker`` let them; the feeding thread acknowledges in groups: SQLite has one
writer anyway, and a commit per hundred events makes a thousand a second possible. A pool that all shared was measured
at 800 events/s, a client per thread at 1,300.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from logsh_cli.clock import Budget
from logsh_cli.delivery.retry import MAX_ATTEMPTS
from logsh_cli.delivery.road import RENEW_EVERY_S, Accepted, Road, Tried, failed, result_of
from logsh_cli.errors import ConfigError, EventRefused, ExitCode, KeyRefused, LogshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logsh_cli.clock import Clock
    from logsh_cli.delivery.retry import Failure
    from logsh_cli.http.client import Client
    from logsh_cli.output import Result

SEVERITY = (
    *(ExitCode.TERMINATED, ExitCode.INTERRUPTED, ExitCode.FAULT, ExitCode.USAGE, ExitCode.CONFIG),
    *(ExitCode.KEY_REFUSED, ExitCode.NOT_KEPT, ExitCode.REFUSED, ExitCode.KEPT, ExitCode.UNEXPECTED, ExitCode.OK),
)
"""Several things at once end with the first of these that applies."""

DEFAULT_JOBS = 4
"""Requests under way at once, unless the user says otherwise."""

ACKNOWLEDGE_AT_ONCE = 100
FIRST_COOLDOWN_S, LONGEST_COOLDOWN_S = 5.0, 60.0
PROBES_AT_ONCE = 100
SERVER_ERROR = 500


class Totals:
    """The results of many events: how many ended in each status, and one error for each exit code met."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: dict[ExitCode, LogshError] = {}

    def add(self, result: Result) -> None:
        """Count one event."""
        self.counts[result.status] += 1
        if result.error is not None:
            self.note(result.error)

    def note(self, error: LogshError) -> None:
        """Remember an error under its exit code; the first of each kind is the one to show."""
        self.errors.setdefault(error.exit_code, error)

    def worst(self) -> tuple[int, LogshError | None]:
        """Return the exit code that the severities give, and its error."""
        code = min(self.errors, key=SEVERITY.index, default=ExitCode.OK)
        return int(code), self.errors.get(code)


class Drain:
    """Sends what it is fed over ``jobs`` threads, or in ``poll`` where none can be started.

    Feed, poll and settle from one thread only, and poll often: leases of what waits for a worker are renewed there.
    Once its road is being stopped, what is under way ends, and the rest is given back.
    """

    def __init__(self, road: Road, *, jobs: int, deadline_s: float, rate: float | None = None) -> None:
        self.road = road
        self.totals = Totals()
        self.in_flight = 0
        """The number of events that were handed in and not yet acknowledged."""
        self.in_vain: set[int | None] = set()
        """Those that were tried, and are kept."""
        self._deadline_s = deadline_s
        self._pace = Pace(road.clock, road.stopping, rate)
        self._breaker = Breaker(road.clock, jobs)
        self._todo: queue.SimpleQueue[Accepted | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Accepted, Tried | BaseException]] = queue.SimpleQueue()
        self._jobs = jobs
        self._workers: list[threading.Thread] = []
        self._connect = cache(road.connect)
        self._held: set[int | None] = set()
        self._renewed_at = road.clock.time()

    def feed(self, accepted: Accepted) -> None:
        """Hand in one event. Keep an eye on ``in_flight``: the drain itself sets no bound."""
        if len(self._workers) < self._jobs and self.in_flight >= len(self._workers):
            worker = threading.Thread(target=self._work, daemon=True)
            try:
                worker.start()
                self._workers.append(worker)
            except RuntimeError:  # no thread can be started
                self._jobs = len(self._workers)
        self.in_flight += 1
        self._held.add(accepted.id)
        self._todo.put(accepted)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Acknowledge what has ended, waiting up to ``timeout_s`` for the first.

        Raises what a worker met that is a fault of ours, once all that ended well is acknowledged.
        """
        if self.in_flight and not self._workers and (waiting := self._todo.get()) is not None:
            self._done.put((waiting, self._carry(waiting, self._connect)))
        ended: list[tuple[Accepted, Tried]] = []
        fault: BaseException | None = None
        while self.in_flight and len(ended) < ACKNOWLEDGE_AT_ONCE:
            try:
                accepted, tried = self._done.get(timeout=0.0 if ended or fault else timeout_s)
            except queue.Empty:
                break
            self.in_flight -= 1
            self._held.discard(accepted.id)
            if isinstance(tried, BaseException):
                fault = fault or tried
                continue
            ended.append((accepted, tried))
            result = result_of(accepted, tried)
            self.totals.add(result)
            if tried.end == "failed" and tried.attempts and result.status == "queued":
                self.in_vain.add(accepted.id)
        self.road.acknowledge(ended)
        if fault is not None:
            raise fault
        if abs(self.road.clock.time() - self._renewed_at) >= RENEW_EVERY_S:
            self._renewed_at = self.road.clock.time()
            self.road.renew(self._held)

    def settled(self) -> Iterator[None]:
        """Wait until everything fed has ended; yields now and then, for whoever shows how far it is."""
        while self.in_flight:
            self.poll(0.1)
            yield

    def close(self) -> None:
        """End the workers. Everything fed must have ended."""
        for _ in self._workers:
            self._todo.put(None)
        self._workers.clear()

    def _work(self) -> None:
        connect = cache(self.road.connect)  # a client of the worker's own
        while (accepted := self._todo.get()) is not None:
            self._done.put((accepted, self._carry(accepted, connect)))

    def _carry(self, accepted: Accepted, connect: Callable[[], Client]) -> Tried | BaseException:
        tried = Tried("untried", 0)
        try:
            self._pace.wait_turn()
            most, assumed = self._breaker.ask()
            if assumed is not None:
                return failed(0, assumed) if not self.road.stopping.is_set() else tried
            budget = Budget(self._deadline_s, self.road.clock.monotonic)
            try:
                tried = self.road.send(accepted, connect, budget, self._pace, most=most)
            finally:
                self._breaker.record(tried, probe=most == 1)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that feeds
            return error
        return tried


class Pace:
    """When the workers may send: at most ``rate`` a second, and not while the service asked one of them for a pause."""

    def __init__(self, clock: Clock, stopping: threading.Event, rate: float | None = None) -> None:
        self._clock = clock
        self._stopping = stopping
        self._interval = 1 / rate if rate else 0.0
        self._next = self._paused_until = 0.0
        self._because: Failure | None = None
        self._lock = threading.Lock()

    def wait_turn(self) -> None:
        """Wait for one's turn."""
        if self._interval:
            with self._lock:
                turn = max(self._next, self._clock.monotonic())
                self._next = turn + self._interval
            self._clock.sleep(max(0.0, turn - self._clock.monotonic()))

    def pause(self, seconds: float, because: Failure) -> None:
        """Hold everyone back for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
            self._because = because

    def wait(self, budget: Budget) -> Failure | None:
        """Wait for the end of a pause, or a stop; return the pause's reason instead if it ends after the budget."""
        while not self._stopping.is_set() and (ahead := self._paused_until - self._clock.monotonic()) > 0:
            if ahead >= budget.remaining():
                return self._because
            self._clock.sleep(ahead)
        return None


class Breaker:
    """Opens after ``threshold`` failures in a row, or one that the next event would meet as well.

    Events are then kept without an attempt until a cool-down is over, and one goes ahead as a probe, with one attempt.
    After faults that may be the events' own the next one is a probe at once, while the others wait for what it finds;
    ``PROBES_AT_ONCE`` of those in a row are no longer put down to the events.
    """

    def __init__(self, clock: Clock, threshold: int) -> None:
        self._clock = clock
        self._threshold = threshold
        self._found = threading.Condition()
        self._failures = self._failed_probes = 0
        self._probing = False
        self._open_until = 0.0
        self._failure: Failure | None = None

    def ask(self) -> tuple[int, Failure | None]:
        """Return how many attempts the next event may have; with none, the failure to assume instead."""
        with self._found:
            while self._probing and self._may_be_the_events_own():
                self._found.wait()
            if self._failure is None:
                return MAX_ATTEMPTS, None
            if self._probing or self._clock.monotonic() < self._open_until:
                return 0, self._failure
            self._probing = True
            return 1, None

    def record(self, tried: Tried, *, probe: bool) -> None:
        """Learn from the attempts for one event; a probe that was not sent leaves its place to the next."""
        failure = tried.failure
        with self._found:
            if probe:
                self._probing = False
                self._found.notify_all()
            if tried.end not in ("delivered", "failed"):
                return
            if failure is None or isinstance(failure.error, EventRefused):
                self._failures = self._failed_probes = 0
                self._failure = None
                return
            self._failures += 1
            hopeless = isinstance(failure.error, (KeyRefused, ConfigError))
            if (self._failures < self._threshold and not hopeless) or (self._failure is not None and not probe):
                return
            self._failed_probes += probe
            self._failure = failure
            cooldown = min(FIRST_COOLDOWN_S * 2.0 ** min(self._failed_probes, 10), LONGEST_COOLDOWN_S)
            self._open_until = self._clock.monotonic() + (0.0 if self._may_be_the_events_own() else cooldown)

    def _may_be_the_events_own(self) -> bool:
        """Tell if another event might fare better: after a server's error, unless it asks for time."""
        failure = self._failure
        if failure is None or failure.wait_s is not None or self._failed_probes >= PROBES_AT_ONCE:
            return False
        return failure.http_status is not None and failure.http_status >= SERVER_ERROR
