"""Put one event on the road, for the commands that have one: ``send`` and ``run``.

settings + Event -> outbox -> delivery -> client -> Result
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.clock import Budget
from logsh_cli.delivery.deliver import Courier, verdict
from logsh_cli.delivery.detached import start_courier
from logsh_cli.errors import ExitCode, MissingKey, NotKept, interruption
from logsh_cli.http.connector import Background
from logsh_cli.http.wire import encode_body
from logsh_cli.output.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from logsh_cli.app import AppContext
    from logsh_cli.config.key import Destination
    from logsh_cli.config.resolve import Settings
    from logsh_cli.event import Event
    from logsh_cli.outbox import Store

FORGIVABLE = frozenset({ExitCode.REFUSED, ExitCode.NOT_KEPT, ExitCode.KEPT, ExitCode.KEY_REFUSED})
"""What ``--best-effort`` makes a warning; usage and configuration it does not, for those never heal by themselves."""


class Policy(NamedTuple):
    """How to go about it.

    ``deadline_s`` is for all attempts together, ``background`` leaves them to another process, ``best_effort`` forgives
    a failure, ``skip_without_key`` does nothing where there is no key, and ``takes_along`` has older events delivered
    after a success.
    """

    deadline_s: float
    background: bool = False
    best_effort: bool = False
    skip_without_key: bool = False
    takes_along: bool = True


def skips_without_key(flag: str | None, settings: Settings) -> bool:
    """Whether a missing key means doing nothing: what ``--on-missing-key`` says, else what the environment says."""
    return (flag or settings.on_missing_key) == "skip"


def dispatch(
    app: AppContext,
    settings: Settings,
    event: Event,
    policy: Policy,
    *,
    store: Store | None = None,
    on_accepted: Callable[[], None] = lambda: None,
) -> Result:
    """Store the event, deliver it (or have it delivered), and say how it ended.

    ``store`` is one that is open already; ``on_accepted`` is called once the event can't be lost any more;
    the time it takes is part of the deadline.

    Raises ``ConfigError`` when there is no usable key; everything after that is in the result.
    """
    started = app.clock.monotonic()
    body = event.body()
    try:
        destination = settings.destination()
    except MissingKey as error:
        if not policy.skip_without_key:
            raise
        return Result("skipped", body, error=error)
    result = _Dispatch(app, settings, destination, policy).go(encode_body(body), store, on_accepted)
    elapsed_ms = round((app.clock.monotonic() - started) * 1000)
    if policy.best_effort and result.exit_code in FORGIVABLE:
        result = result._replace(exit_code=ExitCode.OK)
    return result._replace(event=body, elapsed_ms=elapsed_ms)


class _Dispatch:
    """One event's way; split so that each step reads on its own."""

    def __init__(self, app: AppContext, settings: Settings, destination: Destination, policy: Policy) -> None:
        self.app = app
        self.settings = settings
        self.destination = destination
        self.policy = policy

    def go(self, body: bytes, store: Store | None, on_accepted: Callable[[], None]) -> Result:
        # httpx takes its time to load; the store's synced commit waits for the disk meanwhile.
        connector = self.app.connector(self.destination)
        connect = connector if self.policy.background else Background(connector).result
        store = store or self.app.store()
        courier = Courier(store, self.app.owner(store, self.destination), connect, self.app.clock)
        accepted_at = self.app.clock.time()
        event_id = self._accept(courier, body)
        if self.policy.background and courier.store.unkept_because is None:
            on_accepted()
            leave_to_courier(self.app, self.settings)
            return Result("stored", id=event_id)
        return self._carry(courier, event_id, body, accepted_at, on_accepted)

    def _accept(self, courier: Courier, body: bytes) -> int:
        """Store the event; in memory where there is no room for it, so that it still gets its chance."""
        for_another_process = self.policy.background and courier.store.unkept_because is None
        try:
            (event_id,) = courier.accept([body], leased=not for_another_process)
        except NotKept as error:
            self.app.printer.detail(f"not stored: {error.message}")
            courier.store = self.app.memory_store(error.message)
            (event_id,) = courier.accept([body])
        return event_id

    def _carry(
        self, courier: Courier, event_id: int, body: bytes, accepted_at: float, on_accepted: Callable[[], None]
    ) -> Result:
        store = courier.store
        kept_as = event_id if store.unkept_because is None else None
        budget = Budget(self.policy.deadline_s, self.app.clock.monotonic)
        try:
            on_accepted()
            delivery = courier.carry(event_id, body, accepted_at, budget)
        except KeyboardInterrupt as stop:
            store.release([event_id], courier.lease)  # `carry` has done so, if it was already on its way
            return _interrupted(stop, kept_as)
        status, exit_code, error = verdict(delivery, unkept_because=store.unkept_because)
        if delivery.fault is None and not delivery.lost and self.policy.takes_along:
            take_along_what_waits(self.app, self.settings, courier)
        return Result(status, None, kept_as, delivery.http_status, delivery.attempts, 0, exit_code, error)


def take_along_what_waits(app: AppContext, settings: Settings, courier: Courier) -> None:
    """After a success: have older events of the same profile and key delivered, if there are any."""
    with suppress(NotKept):  # a store that can't be read now must not make a failure of a delivery
        if courier.store.pending_exists(courier.owner):
            leave_to_courier(app, settings)


def leave_to_courier(app: AppContext, settings: Settings) -> None:
    """Start a process that delivers what is stored."""
    explicit = settings.profile.source == "--profile"
    try:
        start_courier(app.env, settings.profile.value if explicit else None)
    except OSError as error:
        # What it would have carried is stored, and goes out with the next success or flush.
        app.printer.warn(f"could not start a delivery process: {error.strerror}")


def _interrupted(stop: KeyboardInterrupt, kept_as: int | None) -> Result:
    if kept_as is None:
        error = interruption(stop, hint="the event could not be kept")
        return Result("failed", exit_code=error.exit_code, error=error)
    error = interruption(stop, hint="it goes out with the next event, or with `logsh outbox flush`")
    return Result("queued", id=kept_as, exit_code=error.exit_code, error=error)
