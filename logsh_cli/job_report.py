"""What ``logsh run`` says about a job: its start, if asked, and how it ended.

Nothing here may disturb the job or change its status: every fault becomes one line on standard error.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from logsh_cli.dispatch import Policy, dispatch, skips_without_key
from logsh_cli.errors import InvalidEvent, LogshError, TermSignal
from logsh_cli.event import SAFE_LENGTH, Draft, Event, build_event, parse_metadata, shorten
from logsh_cli.outcome import as_status, default_event_name, describe, judge, metadata, wants_push, wants_report
from logsh_cli.settings import Flags, Settings, value_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from logsh_cli.context import AppContext
    from logsh_cli.ending import Ending
    from logsh_cli.event import Scalar
    from logsh_cli.outbox import Store
    from logsh_cli.outcome import Outcome
    from logsh_cli.run_options import RunOptions

ICON_SUCCESS, ICON_FAILURE, ICON_START = "✅", "❌", "▶️"


class JobReport:
    """The events of one job."""

    def __init__(self, app: AppContext, given: RunOptions) -> None:
        self.app = app
        self.given = given
        self.settings: Settings | None = None
        self._start: threading.Thread | None = None

    def begin(self) -> None:
        """Report the start on a thread, so that signals to the job are not kept waiting."""
        self._start = threading.Thread(target=self._guarded, args=(self._report_start,), daemon=True)
        self._start.start()

    def finish(self, ending: Ending, before_sending: Callable[[], None]) -> None:
        """Report the ending; ``before_sending`` is called once the event is safe, and a signal may end the wait."""
        self._guarded(self._report_ending, ending, before_sending)

    def _guarded(self, work: Callable[..., None], *args: object) -> None:
        try:
            work(*args)
        except LogshError as error:
            self.app.printer.trouble(error)
        except KeyboardInterrupt:
            pass  # whoever sent it knows; what was accepted is kept
        except Exception as fault:  # noqa: BLE001 - the job's status is worth more than our traceback
            self.app.printer.note(f"a fault in logsh, please report it: {type(fault).__name__}: {fault}")

    def _report_start(self) -> None:
        description = f"{self.given.description}: started" if self.given.description else "started"
        event = self._event(description, ICON_START, {"status": "started", **self._whereabouts()}, push=False)
        self._send(event)

    def _report_ending(self, ending: Ending, before_sending: Callable[[], None]) -> None:
        outcome = judge(ending, self.given.success_codes)
        settings = self._load_settings()
        store = self.app.store()
        names = (settings.profile.value, str(value_of(settings.workspace) or ""), self._event_name())
        previous = as_status(store.last_outcome(*names))
        if wants_report(self.given.on, outcome, previous):
            event = self._ending_event(outcome, ending, push=wants_push(self.given.notify_on, outcome, previous))
            if self._start is not None:
                self._start.join()  # so that the end does not arrive before the start
            self._send(event, store, lambda: self._now_safe(store, names, outcome, before_sending))
        else:
            store.remember_outcome(*names, outcome.status)

    def _now_safe(
        self, store: Store, names: tuple[str, str, str], outcome: Outcome, before_sending: Callable[[], None]
    ) -> None:
        # Remembered only now: an event that was never accepted must not count as the one that told of the change.
        store.remember_outcome(*names, outcome.status)
        _raise_on_stop()
        before_sending()

    def _ending_event(self, outcome: Outcome, ending: Ending, *, push: bool) -> Event:
        settings = self._load_settings()
        output = None
        if self.given.tail is not None and not outcome.succeeded:
            from logsh_cli.redact import scrub_output  # noqa: PLC0415 - its patterns take 10 ms to compile

            known = [settings.api_key.value] if settings.api_key is not None else []
            output = scrub_output(ending.tail, self.given.tail, known) or None
        command = default_event_name(self.given.argv)
        facts = metadata(outcome, _host(), command, output)
        icon = (
            (self.given.icon_success or ICON_SUCCESS)
            if outcome.succeeded
            else (self.given.icon_failure or ICON_FAILURE)
        )
        return self._event(describe(outcome, self.given.description), icon, facts, push=push)

    def _event(self, description: str, icon: str, facts: dict[str, Scalar], *, push: bool) -> Event:
        settings = self._load_settings()
        own, _ = parse_metadata(self.given.metadata)
        ci = _ci_metadata(self.app) if self.given.ci else {}
        draft = Draft(
            workspace=value_of(settings.workspace),
            event=self._event_name(),
            description=description,
            icon=icon,
            notify=push or None,
            metadata={**ci, **settings.metadata, **facts, **own},
        )
        try:
            return build_event(draft, truncate=True)
        except InvalidEvent as error:
            # At 3 a.m. an event without its decoration is worth more than none.
            plain = draft._replace(
                icon=ICON_SUCCESS if icon == self.given.icon_success else ICON_FAILURE, metadata=facts
            )
            event = build_event(plain, truncate=True)
            self.app.printer.note(f"sent without what is wrong with it: {error.message}")
            return event

    def _event_name(self) -> str:
        return shorten((self.given.event or default_event_name(self.given.argv)).strip(), SAFE_LENGTH)

    def _whereabouts(self) -> dict[str, Scalar]:
        return {"host": _host(), "command": default_event_name(self.given.argv)}

    def _load_settings(self) -> Settings:
        if self.settings is None:
            flags = Flags(self.given.profile, self.given.workspace, deadline=self.given.deadline_s)
            self.settings = self.app.settings(flags)
        return self.settings

    def _send(self, event: Event, store: Store | None = None, on_accepted: Callable[[], None] = lambda: None) -> None:
        settings = self._load_settings()
        policy = Policy(
            deadline_s=settings.deadline.value,
            skip_without_key=skips_without_key(self.given.on_missing_key, settings),
        )
        result = dispatch(self.app, settings, event, policy, store=store, on_accepted=on_accepted)
        if result.error is not None:
            self.app.printer.result_trouble(result)
        self.app.printer.detail(f"{result.status} after {result.attempts} attempts")


def _ci_metadata(app: AppContext) -> dict[str, str]:
    from logsh_cli.ci import ci_metadata  # noqa: PLC0415 - only with --ci

    return ci_metadata(app.env)


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "unknown")


def _raise_on_stop() -> None:
    for signum in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(signum) is signal.SIG_DFL:
            signal.signal(signum, _stop)


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise TermSignal
