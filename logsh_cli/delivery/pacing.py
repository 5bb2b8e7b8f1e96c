"""When a drain's workers may go ahead: a rate, a pause that the service asked for, a service that is not there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from logsh_cli.errors import ConfigError, EventRefused, KeyRefused

if TYPE_CHECKING:
    from logsh_cli.clock import Budget, Clock
    from logsh_cli.delivery.retry import Failure

FIRST_COOLDOWN_S, LONGEST_COOLDOWN_S = 5.0, 60.0


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

    After ``threshold`` failures in a row with no success between them, events are kept without an attempt until a
    cool-down is over; then one goes ahead as a probe. A refused key or a wrong URL opens it at once: the next event
    would fare no better. Refused events don't count, they show that the service is there.
    """

    def __init__(self, clock: Clock, threshold: int) -> None:
        self._clock = clock
        self._threshold = threshold
        self._lock = threading.Lock()
        self._failures = 0
        self._cooldown = FIRST_COOLDOWN_S
        self._open_until = 0.0
        self._failure: Failure | None = None

    def assumed(self) -> Failure | None:
        """Return the failure to assume without an attempt, or ``None`` to go ahead."""
        with self._lock:
            if self._failure is None:
                return None
            if self._clock.monotonic() < self._open_until:
                return self._failure
            # This caller is the probe; the others wait for what it finds.
            self._open_until = self._clock.monotonic() + self._cooldown
            return None

    def record(self, failure: Failure | None) -> None:
        """Learn from an attempt."""
        with self._lock:
            if failure is None or isinstance(failure.error, EventRefused):
                self._failures, self._failure, self._cooldown = 0, None, FIRST_COOLDOWN_S
                return
            self._failures += 1
            hopeless = isinstance(failure.error, (KeyRefused, ConfigError))
            if self._failures < self._threshold and not hopeless:
                return
            if self._failure is not None:
                self._cooldown = min(self._cooldown * 2, LONGEST_COOLDOWN_S)
            self._failure = failure
            self._open_until = self._clock.monotonic() + self._cooldown
