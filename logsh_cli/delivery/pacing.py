"""When a drain's workers may go ahead: a rate, a pause that the service asked for, a service that is not there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from logsh_cli.delivery.retry import MAX_ATTEMPTS
from logsh_cli.errors import ConfigError, EventRefused, KeyRefused

if TYPE_CHECKING:
    from logsh_cli.clock import Budget, Clock
    from logsh_cli.delivery.retry import Failure
    from logsh_cli.delivery.road import Tried

FIRST_COOLDOWN_S, LONGEST_COOLDOWN_S = 5.0, 60.0
PROBES_AT_ONCE = 8
SERVER_ERROR = 500
ENDLESS = 2**63


class Pace:
    """At most ``rate`` starts a second, over all workers."""

    def __init__(self, clock: Clock, rate: float | None) -> None:
        self._clock = clock
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for one's turn."""
        if not self._interval:
            return
        with self._lock:
            turn = max(self._next, self._clock.monotonic())
            self._next = turn + self._interval
        self._clock.sleep(max(0.0, turn - self._clock.monotonic()))


class Hold:
    """The pause that the service asked of one worker, kept by all of them until a stop."""

    def __init__(self, clock: Clock, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._clock = clock
        self._until = 0.0
        self._because: Failure | None = None
        self._lock = threading.Lock()

    def pause(self, seconds: float, because: Failure) -> None:
        """Hold everyone back for so long."""
        with self._lock:
            self._until = max(self._until, self._clock.monotonic() + seconds)
            self._because = because

    def wait(self, budget: Budget) -> Failure | None:
        """Wait until nothing holds us back; return the reason instead, when that would be after the budget's end."""
        while not self._stopping.is_set():
            with self._lock:
                ahead, because = self._until - self._clock.monotonic(), self._because
            if ahead <= 0:
                return None
            if ahead >= budget.remaining():
                return because
            self._clock.sleep(ahead)
        return None


class Breaker:
    """Stops knocking at a door that does not open.

    After ``threshold`` failures in a row it opens: events are kept without an attempt until a cool-down is over, then
    one goes ahead as a probe, with a single attempt. A refused key or a wrong URL opens it at once: the next event
    would fare no better. Refused events don't count, they show that the service is there.

    Where it was opened by faults that may be the events' own, the next event is a probe at once, while the others wait
    for what it finds; only after several of those are ever more events skipped between two probes.
    """

    def __init__(self, clock: Clock, threshold: int) -> None:
        self._clock = clock
        self._threshold = threshold
        self._found = threading.Condition()
        self._failures = 0
        self._failed_probes = 0
        self._probing = False
        self._skips = 0
        self._open_until = 0.0
        self._failure: Failure | None = None

    def ask(self) -> tuple[int, Failure | None]:
        """Return how many attempts the next event may have; with none, the failure to assume instead."""
        with self._found:
            while self._probing and self._failure is not None and _may_be_the_events_own(self._failure):
                self._found.wait()
            if self._failure is None:
                return MAX_ATTEMPTS, None
            if self._probing or (self._skips > 0 and self._clock.monotonic() < self._open_until):
                self._skips -= 1
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
            self._skips = ENDLESS
            if _may_be_the_events_own(failure):
                self._skips = 2 ** (self._failed_probes - PROBES_AT_ONCE) if self._failed_probes > PROBES_AT_ONCE else 0
            cooldown = min(FIRST_COOLDOWN_S * 2.0 ** min(self._failed_probes, 10), LONGEST_COOLDOWN_S)
            self._open_until = self._clock.monotonic() + cooldown


def _may_be_the_events_own(failure: Failure) -> bool:
    """Tell if another event might fare better: after a server's error, unless it asks for time."""
    return failure.http_status is not None and failure.http_status >= SERVER_ERROR and failure.wait_s is None
