"""What ``logsh run`` says about a job: its start, if asked, and how it ended.

Nothing here may disturb the job or change its status: every fault becomes one line on standard error, after the job.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.clock import Budget
from logsh_cli.config.resolve import Flags, Settings, value_of
from logsh_cli.delivery.courier import take_along_what_waits
from logsh_cli.delivery.road import skips_without_key
from logsh_cli.errors import InvalidEvent, LogshError, MissingKey, NotKept, raise_term_signal
from logsh_cli.event import (
    FLAG_LABELS,
    SAFE_LENGTH,
    WHITE_SPACE,
    Draft,
    Event,
    build_event,
    parse_metadata,
    shorten,
)
from logsh_cli.http.wire import encode_body
from logsh_cli.job.arrivals import handed_on
from logsh_cli.job.outcome import as_status, default_event_name, describe, judge, metadata, wants_push, wants_report
from logsh_cli.output.result import Result
from logsh_cli.output.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from logsh_cli.app import AppContext
    from logsh_cli.delivery.road import Accepted, Road
    from logsh_cli.event import Scalar
    from logsh_cli.job.child import Child
    from logsh_cli.job.ending import Ending
    from logsh_cli.job.options import RunOptions
    from logsh_cli.job.outcome import Outcome
    from logsh_cli.outbox import Store
    from logsh_cli.output.printer import Printer

ICON_SUCCESS, ICON_FAILURE, ICON_START = "✅", "❌", "▶️"


class Icon(NamedTuple):
    """The icon that is wanted, the one in its place should that be none, and the flag it comes from."""

    wanted: str
    standard: str
    flag: str


class JobReport:
    """The events of one job."""

    def __init__(self, app: AppContext, given: RunOptions) -> None:
        self.app = app
        self.given = given
        self.settings: Settings | None = None
        self.troubles: list[Callable[[Printer], None]] = []
        self._start: _Start | None = None

    def begin(self) -> None:
        """Report the start on a thread, so that signals to the job are not kept waiting."""
        report = JobReport(_silent(self.app), self.given)
        try:
            self._start = _Start(report)
        except RuntimeError as error:  # no more threads to be had
            self._note(f"the start is not reported: {error}")

    def finish(self, ending: Ending, child: Child) -> None:
        """Report how it ended: first make that safe, then let signals end the wait for its delivery."""
        with self.guarded():
            settings = self._load_settings()
            way = self._accept_ending(settings, ending)
            _raise_on_stop()
            budget = Budget(settings.deadline.value, self.app.clock.monotonic)
            try:
                child.release_signals()
                if self._start is not None:
                    # The end must not arrive before the start; and one deadline is for both.
                    self._start.thread.join(budget.remaining())
            except KeyboardInterrupt as stop:
                if way is not None:
                    road, accepted = way
                    self._tell(road.give_back(accepted, stop))
            else:
                if way is not None:
                    self._deliver_ending(settings, *way, budget)
        # Told after the job, not amid its output; and once, since what is wrong with the start mostly still is.
        for say in self.troubles or (self._start.report.troubles if self._start else []):
            say(self.app.printer)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Note what goes wrong while entered."""
        try:
            yield
        except LogshError as error:
            trouble = error
            self.troubles.append(lambda printer: printer.trouble(trouble))
        except KeyboardInterrupt:
            pass  # whoever sent it knows; what was accepted is kept
        except Exception as fault:  # noqa: BLE001 - the job's status is worth more than our traceback
            self._note(f"a fault in logsh, please report it: {type(fault).__name__}: {fault}")

    def report_start(self) -> None:
        """Send the event of the start."""
        room = SAFE_LENGTH - len(": started")
        prefix = shorten(_sendable(self.given.description or "").strip(WHITE_SPACE), room)
        facts: dict[str, Scalar] = {
            "status": "started",
            "host": _host(),
            "command": default_event_name(self.given.argv),
        }
        icon = Icon(ICON_START, ICON_START, FLAG_LABELS["icon"])
        event = self._event(f"{prefix}: started" if prefix else "started", icon, facts, push=False)
        settings = self._load_settings()
        if (road := self._road(settings, self.app.store())) is not None:
            # A courier that this thread started would inherit the signals blocked in it; the ending will start one.
            accepted = road.accept(encode_body(event.body()))
            self._tell(road.deliver(accepted, Budget(settings.deadline.value, self.app.clock.monotonic)))

    def _accept_ending(self, settings: Settings, ending: Ending) -> tuple[Road, Accepted] | None:
        """Make safe what is to be reported, if anything, and remember the outcome."""
        outcome = judge(ending, self.given.success_codes)
        store = self.app.store()
        names = (settings.profile.value, _sendable(value_of(settings.workspace) or ""), self._event_name())
        previous = None
        with suppress(NotKept):  # a store that fails is told of when the event can't be kept
            previous = as_status(store.last_outcome(*names))
        accepted = None
        if wants_report(self.given.on, outcome, previous):
            event = self._ending_event(outcome, ending, push=wants_push(self.given.notify_on, outcome, previous))
            road = self._road(settings, store)
            if road is None:
                return None
            accepted = road, road.accept(encode_body(event.body()))
        # Remembered only now: an event that was never accepted must not count as the one that told of the change.
        with suppress(NotKept):
            store.remember_outcome(*names, outcome.status)
        return accepted

    def _road(self, settings: Settings, store: Store) -> Road | None:
        """Return the way to the service; ``None`` when there is no key, and that is to be skipped."""
        try:
            return self.app.road(settings.destination(), store=store, ahead=True)
        except MissingKey as error:
            if not skips_without_key(self.given.on_missing_key, settings):
                raise
            skipped = Result("skipped", error=error)
            self.troubles.append(lambda printer: printer.result_trouble(skipped))
            return None

    def _deliver_ending(self, settings: Settings, road: Road, accepted: Accepted, budget: Budget) -> None:
        result = road.deliver(accepted, budget)
        self._tell(result)
        if result.status == "delivered":
            take_along_what_waits(self.app, settings, road)

    def _tell(self, result: Result) -> None:
        if result.error is not None:
            self.troubles.append(lambda printer: printer.result_trouble(result))
        self.app.printer.detail(f"{result.status} after {result.attempts} attempts")

    def _ending_event(self, outcome: Outcome, ending: Ending, *, push: bool) -> Event:
        settings = self._load_settings()
        output = None
        if self.given.tail is not None and not outcome.succeeded:
            from logsh_cli.job.redact import scrub_output  # noqa: PLC0415 - its patterns take 10 ms to compile

            known = [settings.api_key.value] if settings.api_key is not None else []
            output = scrub_output(ending.tail, self.given.tail, known) or None
        facts: dict[str, Scalar] = dict(metadata(outcome, _host(), default_event_name(self.given.argv), output))
        if outcome.succeeded:
            icon = Icon(self.given.icon_success or ICON_SUCCESS, ICON_SUCCESS, "--icon-success")
        else:
            icon = Icon(self.given.icon_failure or ICON_FAILURE, ICON_FAILURE, "--icon-failure")
        description = describe(outcome, _sendable(self.given.description or ""))
        return self._event(description, icon, facts, push=push)

    def _event(self, description: str, icon: Icon, facts: dict[str, Scalar], *, push: bool) -> Event:
        settings = self._load_settings()
        own, _ = parse_metadata(self.given.metadata)
        ci = _ci_metadata(self.app) if self.given.ci else {}
        draft = Draft(
            workspace=value_of(settings.workspace),
            event=self._event_name(),
            description=description,
            icon=icon.wanted,
            notify=push or None,
            metadata={**ci, **settings.metadata, **facts, **own},
        )
        labels = {**FLAG_LABELS, "icon": icon.flag}
        if settings.workspace is not None:
            labels["workspace"] = settings.workspace.source
        try:
            return build_event(draft, labels=labels, truncate=True)
        except InvalidEvent as error:
            event = _plainer(draft, icon, facts)
            if event is None:
                raise
            self._note(f"sent without what is wrong with it: {error.message}")
            return event

    def _event_name(self) -> str:
        given = _sendable(self.given.event or "").strip(WHITE_SPACE)
        return shorten(given or default_event_name(self.given.argv), SAFE_LENGTH)

    def _load_settings(self) -> Settings:
        if self.settings is None:
            flags = Flags(self.given.profile, self.given.workspace, deadline=self.given.deadline_s)
            self.settings = self.app.settings(flags)
        return self.settings

    def _note(self, text: str) -> None:
        self.troubles.append(lambda printer: printer.note(text))


class _Start:
    """The report of the start, on its way. Raises ``RuntimeError`` where no thread can be started."""

    def __init__(self, report: JobReport) -> None:
        self.report = report
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self.report.guarded():
            self.report.report_start()


def _silent(app: AppContext) -> AppContext:
    """A context for the thread that reports the start; what it has to say the ending's report will say, too."""
    stderr = app.streams.stderr if app.printer.verbose else None
    silent = type(app)(app.env, Streams(None, None, stderr, app.env), app.clock)
    silent.configure_output(verbose=app.printer.verbose)
    return silent


def _plainer(draft: Draft, icon: Icon, facts: dict[str, Scalar]) -> Event | None:
    """The event with as much of its decoration as is right: at 3 a.m. a plain one is worth more than none.

    ``None`` when it is not the decoration that is wrong.
    """
    plain_icon = draft._replace(icon=icon.standard)
    for plainer in (plain_icon, draft._replace(metadata=facts), plain_icon._replace(metadata=facts)):
        with suppress(InvalidEvent):
            return build_event(plainer, truncate=True)
    return None


def _sendable(text: str) -> str:
    """Text of the command line or the environment, whose bytes need not be UTF-8, as an event can hold it."""
    return os.fsencode(text).decode(errors="replace")


def _ci_metadata(app: AppContext) -> dict[str, str]:
    from logsh_cli.event.ci import ci_metadata  # noqa: PLC0415 - only with --ci

    return ci_metadata(app.env)


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "unknown")


def _raise_on_stop() -> None:
    """From now on a signal to stop ends the wait for the delivery, and others are ignored.

    They would have been the command's, which is gone; their default action would take logsh away as well, and the
    status that it still has to hand on.
    """
    stops: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGTERM: raise_term_signal}
    if os.name == "posix":
        stops |= {signal.SIGHUP: raise_term_signal, signal.SIGQUIT: signal.default_int_handler}
    for number in handed_on() - {signal.SIGINT}:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stops.get(number, signal.SIG_IGN))
