"""A clock for tests of what takes long."""

from __future__ import annotations

from logsh_cli.clock import Budget, Clock


class Time:
    """A clock that jumps when somebody sleeps, or when told to; it begins at 2026-03-01T12:00:00Z."""

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
