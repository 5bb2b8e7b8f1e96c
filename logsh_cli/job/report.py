"""The report of ``logsh run`` about a job: its start, if asked, and how it ended.

Nothing here may disturb the job or change its status: every fault becomes one line on standard error, after the job.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from logsh_cli import Record
from logsh_cli.clock import Budget
from logsh_cli.config.files import read_config
from logsh_cli.config.resolve import BUILT_IN, KEY_VARIABLES, Flags, Settings, environment_key
from logsh_cli.delivery import end_of_the_road, leave_to_courier
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import (
    ConfigError,
    ExitCode,
    InvalidEvent,
    LogshError,
    MissingKey,
    MissingWorkspace,
    NotKept,
    TermSignal,
    raise_on_stop,
)
from logsh_cli.event import FLAG_LABELS, SAFE_LENGTH, WHITE_SPACE, Draft, Event, build_event, parse_metadata, shorten
from logsh_cli.http.wire import build_request, encode_body
from logsh_cli.job.child import Ending
from logsh_cli.job.outcome import Past, command_name, describe, judge, metadata, wants_push, wants_report, with_prefix
from logsh_cli.job.signals import JOB_CONTROL, handed_on
from logsh_cli.output import Result
from logsh_cli.output.streams import Streams
from logsh_cli.output.text import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logsh_cli.app import AppContext
    from logsh_cli.config.resolve import Destination
    from logsh_cli.delivery.road import Accepted, Road
    from logsh_cli.event import Scalar
    from logsh_cli.http.connector import Connector
    from logsh_cli.job import Meanwhile, RunOptions
    from logsh_cli.job.child import Child
    from logsh_cli.job.outcome import Outcome
    from logsh_cli.outbox import Outbox

AFTER_THE_JOB_S = 3.0
AFTER_A_STOP_S = 1.0
"""Somebody waits for logsh to be gone: ``docker stop``, a shell at its prompt. So too while the network is down."""
LATELY_S = 60.0
LOCK_PATIENCE_S = 5.0
"""For the store's lock, whose holder may be stopped: then the report goes out without having been kept."""

_SETTLED_S = 0.2
_KEY_PATIENCE_S = 0.4  # a pipe that gave its key gives it but once, and its writer may hold it open
_LOWER_PRIORITY = 5  # not the lowest: at its end, a job on a busy machine would wait for the loading

_ICONS = {"succeeded": "✅", "stopped": "⏹️", "started": "▶️"}
_ICON_FAILURE = "❌"


class _Way(Record):
    """An event that is safe, the road it is on, and whether the last one on it is still waiting."""

    road: Road
    accepted: Accepted
    failed_lately: bool


class JobReport:
    """The events of one job; its name depends on whether it was ``started``."""

    def __init__(self, app: AppContext, given: RunOptions, *, started: bool = True) -> None:
        self.app = app
        self.given = given
        self.name = command_name(given.command, started=started)
        self.prefix = _sendable(given.desc or "")
        self.settings: Settings | None = None
        self.troubles: list[tuple[LogshError | str, str]] = []
        self.loaded: tuple[Destination, Connector] | None = None
        self._flags = Flags(
            given.profile, given.workspace, deadline=given.deadline, on_missing_key=given.on_missing_key
        )

    def meanwhile(self, is_over: threading.Event) -> None:
        """While the command runs, report its start, and load what its end will need but for the network.

        Silently, and out of the way: what there is to say the ending's report will say, too.
        """
        self.app = _silent(self.app)
        if self.given.report_start:
            self._report_start()
        if is_over.wait(_SETTLED_S):
            return  # such a short command is best left alone
        if sys.platform == "linux":  # where it is the thread's own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWER_PRIORITY)
        destination = self._load_settings().destination()
        connector = self.app.connector(destination)
        connector()
        self.loaded = destination, connector

    def finish(self, ending: Ending, child: Child, meanwhile: Meanwhile) -> None:
        """Report how it ended: first make that safe, then let signals end the wait for its delivery."""
        way = None
        with self._guarded():
            _raise_on_stop()
            try:
                # However often somebody presses Ctrl-C, what is to be told is made safe first.
                with StopRequest(insist=False) as stop:
                    child.release_signals()
                    self._flags = self._flags._replace(key_patience_s=AFTER_THE_JOB_S)
                    settings = self.settings = self._settings_at_the_end(meanwhile)
                    self.loaded = meanwhile.report.loaded if meanwhile.report else None
                    way = self._accept_ending(settings, self.app.store(patience_s=LOCK_PATIENCE_S), ending)
                if stop:
                    raise stop.error()
                budget = Budget(self._patience_s(settings, ending, way), self.app.clock.monotonic)
                if self.given.report_start:
                    # The end must not arrive before the start; and one budget is for both.
                    meanwhile.wait(budget.remaining())
            except KeyboardInterrupt as stopped:
                if way is None:
                    raise
                self._settle(settings, way, way.road.give_back(way.accepted, stopped))
            else:
                if way is not None and self.given.background and way.accepted.id is not None:
                    leave_to_courier(self.app, settings)
                elif way is not None:
                    self._settle(settings, way, way.road.deliver(way.accepted, budget))
        # Told after the job, not amid its output; and once, since what is wrong with the start mostly still is.
        for trouble, heading in self.troubles or (meanwhile.report.troubles if meanwhile.report else []):
            if isinstance(trouble, str):
                self.app.printer.note(trouble)
            else:
                self.app.printer.trouble(trouble, heading)

    def preview(self) -> list[Result]:
        """Return the requests that tell of a success and of a failure, and send nothing."""
        settings = self._load_settings()
        results = []
        for code in (0, 1):
            outcome = judge(Ending("exited", code, None, 0.0), frozenset({0}))
            event = self._ending_event(outcome, push=wants_push(self.given.notify_on, outcome, Past()))
            request = build_request(settings.api_url.value, REDACTED, encode_body(event.body()))
            results.append(Result("dry_run", event.body(), request=request.redacted()))
        return results

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Note what goes wrong while entered."""
        try:
            yield
        except LogshError as error:
            self.troubles.append((error, ""))
        except KeyboardInterrupt as stop:  # whoever sent it knows; what was accepted is kept
            self._note_stop(stop)
        except Exception as fault:  # noqa: BLE001 - the job's status is worth more than our traceback
            self.troubles.append((f"a fault in logsh, please report it: {type(fault).__name__}: {fault}", ""))

    def _report_start(self) -> None:
        """Send the event of the start."""
        with self._guarded():
            run_id = self.given.run_id or ""
            facts = {"status": "started", "run_id": run_id, "host": _host(), "command": self.name}
            event = self._event(with_prefix(self.prefix, "started"), facts, [], push=False)
            settings = self._load_settings()
            if (road := self._road(settings, self.app.store(patience_s=LOCK_PATIENCE_S))) is not None:
                # A courier that this thread started would inherit the signals blocked in it; the ending will start one.
                budget = Budget(settings.deadline.value, self.app.clock.monotonic)
                self._tell(road.deliver(road.accept(encode_body(event.body())), budget))

    def _accept_ending(self, settings: Settings, store: Outbox, ending: Ending) -> _Way | None:
        """Make safe what is to be reported, if anything, and remember the outcome."""
        outcome = judge(ending, self.given.success_codes)
        names = (settings.profile.value, _sendable(settings.workspace.value or ""), self._event_name())
        past = Past()
        with suppress(NotKept):  # a store that fails is told of when the event can't be kept
            past = Past.parse(store.last_outcome(*names))
        way = None
        if wants_report(self.given, outcome, past):
            push = wants_push(self.given.notify_on, outcome, past, self.given.notify_after)
            event = self._ending_event(outcome, ending.tail, push=push)
            road = self._road(settings, store)
            if road is None:
                return None
            newest = None
            with suppress(NotKept):
                newest = store.newest_pending_at(road.owner)
            failed_lately = newest is not None and self.app.clock.time() - newest < LATELY_S
            way = _Way(road, road.accept(encode_body(event.body()), for_a_courier=self.given.background), failed_lately)
        # Remembered only now: an event that was never accepted must not count as the one that told of the change.
        with suppress(NotKept):
            if (now := past.then(outcome)) != past:
                store.remember_outcome(*names, str(now))
        return way

    def _patience_s(self, settings: Settings, ending: Ending, way: _Way | None) -> float:
        """For how long the caller waits for the delivery before a courier has it."""
        set_s = float(settings.deadline.value)
        if settings.deadline.source != BUILT_IN:
            return set_s
        if self.app.env.get("CI"):
            self.app.printer.detail(f"CI is set: the delivery has {set_s:.0f} s")
            return set_s
        return AFTER_A_STOP_S if ending.ordered or (way and way.failed_lately) else AFTER_THE_JOB_S

    def _settle(self, settings: Settings, way: _Way, result: Result) -> None:
        if result.exit_code == ExitCode.INTERRUPTED:
            self._note_stop(KeyboardInterrupt())
        self._tell(result)
        end_of_the_road(self.app, settings, way.road, takes_along=result.status == "delivered")
        if result.status == "queued":
            leave_to_courier(self.app, settings)

    def _tell(self, result: Result) -> None:
        if (error := result.error) is not None:
            self.troubles.append((error, result.heading))
        self.app.printer.detail(f"{result.status} after {result.attempts} attempts")

    def _road(self, settings: Settings, store: Outbox) -> Road | None:
        """Return the way to the service; ``None`` when there is no key, and that is to be skipped."""
        try:
            destination = settings.destination()
            # What was set may have changed since: a key that was rotated while the job ran.
            connector = self.loaded[1] if self.loaded and self.loaded[0] == destination else None
            return self.app.road(destination, store=store, connector=connector, ahead=not self.given.background)
        except MissingKey as error:
            if not settings.skips_without_key:
                raise
            self._tell(Result("skipped", error=error))
            return None

    def _ending_event(self, outcome: Outcome, tail: bytes = b"", *, push: bool) -> Event:
        output = None
        if self.given.tail is not None and tail and outcome.failed:
            from logsh_cli.job.redact import scrub_output, secret_values  # noqa: PLC0415 - its patterns take 50 ms

            known = [*secret_values(self.app.env), *_every_key(self._load_settings(), self.app.env)]
            output = scrub_output(tail, self.given.tail, known) or None
        facts = metadata(outcome, _host(), self.name, output, self.given.run_id)
        own = ("--icon-success", self.given.icon_success) if outcome.succeeded else ("", None)
        own = ("--icon-failure", self.given.icon_failure) if outcome.failed else own
        icons = [own, ("--icon", self.given.icon)]
        return self._event(describe(outcome, self.name, self.prefix), facts, icons, push=push)

    def _event(
        self, description: str, facts: Mapping[str, Scalar], icons: list[tuple[str, str | None]], *, push: bool
    ) -> Event:
        """Return an event with the first of the icons, each with its flag, that is given."""
        settings = self._load_settings()
        ci = {}
        if self.given.ci:
            from logsh_cli.event.ci import ci_metadata  # noqa: PLC0415 - only with --ci

            ci = ci_metadata(self.app.env)
        standard = _ICONS.get(str(facts["status"]), _ICON_FAILURE)
        flag, icon = next(((flag, icon) for flag, icon in icons if icon), (FLAG_LABELS["icon"], standard))
        draft = Draft(
            workspace=settings.workspace.value,
            event=self._event_name(),
            description=description,
            icon=icon,
            notify=push or None,
            metadata={**ci, **(settings.metadata.value or {}), **facts, **parse_metadata(self.given.meta or ())[0]},
        )
        labels = {**FLAG_LABELS, "icon": flag}
        if settings.workspace.value is not None:
            labels["workspace"] = settings.workspace.source
        try:
            return build_event(draft, labels=labels, truncate=True)
        except MissingWorkspace as error:
            raise settings.missing(error) from None
        except InvalidEvent as error:
            # At 3 a.m. an event with as much of its decoration as is right is worth more than none.
            plain = draft._replace(icon=standard)
            for plainer in (plain, draft._replace(metadata={**facts}), plain._replace(metadata={**facts})):
                with suppress(InvalidEvent):
                    event = build_event(plainer, truncate=True)
                    self.troubles.append((f"sent without what is wrong with it: {error.message}", ""))
                    return event
            raise  # it is not the decoration

    def _event_name(self) -> str:
        given = _sendable(self.given.event or "").strip(WHITE_SPACE)
        return shorten(given or self.name, SAFE_LENGTH)

    def _settings_at_the_end(self, meanwhile: Meanwhile) -> Settings:
        """Return the settings as they are now, or as they were while the command ran: a pipe gives its key but once."""
        now = self._load_settings()
        if now.place is None:
            meanwhile.wait(_SETTLED_S)  # it may have the key, and be about to say so
        before = meanwhile.report.settings if meanwhile.report else None
        if now.place is None and before and before.place and before.api_key and before.api_key.from_environment:
            return before
        return now

    def _load_settings(self) -> Settings:
        if self.settings is None:
            self.settings = self.app.settings(self._flags)
        return self.settings

    def _note_stop(self, stop: KeyboardInterrupt) -> None:
        """An INT ends logsh by INT, whatever the job's status was: a loop around it is to stop."""
        if not isinstance(stop, TermSignal):
            self.app.fatal_signal = signal.SIGINT


def _every_key(settings: Settings, env: Mapping[str, str]) -> Iterator[str]:
    """Every key that is set anywhere: a job may print one that is not the one in use."""
    if settings.api_key.value:
        yield settings.api_key.value
    for variable in KEY_VARIABLES:
        with suppress(ConfigError):
            if key := environment_key({variable: env.get(variable, "")}, _KEY_PATIENCE_S):
                yield key.value
    with suppress(ConfigError):
        for profile in read_config(settings.config_path)[0].values():
            yield str(profile.get("api_key", ""))


def _silent(app: AppContext) -> AppContext:
    """A context for the thread that reports the start; what it has to say the ending's report will say, too."""
    stderr = app.streams.stderr if app.printer.verbose else None
    streams = Streams(None, None, stderr, app.env)
    return type(app)(app.env, streams, app.clock).configured(verbose=app.printer.verbose)


def _sendable(text: str) -> str:
    """Text of the command line or the environment, whose bytes need not be UTF-8, as an event can hold it."""
    return os.fsencode(text).decode(errors="replace")


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "unknown")


def _raise_on_stop() -> None:
    """From now on a signal to stop ends the wait for the delivery, and others are ignored.

    They would have been the command's, which is gone; their default action would take logsh away as well, and the
    status that it still has to hand on.
    """
    if os.name != "posix":
        return
    raise_on_stop()
    for number in handed_on() - JOB_CONTROL - {signal.SIGINT}:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.SIG_IGN)
