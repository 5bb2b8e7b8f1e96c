"""One run of the sandbox: alone until it is told to stop, or around a command."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from logsh_cli.config import config_dir
from logsh_cli.config.files import CONFIG_FILE, read_config
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import ExitCode, NotKept, Unexpected, UsageError, raise_term_signal
from logsh_cli.job import child, signals
from logsh_cli.outbox import open_store
from logsh_cli.record import Record
from logsh_cli.sandbox.home import DEFAULT_WORKSPACE, SANDBOX_KEY, throwaway_home
from logsh_cli.sandbox.server import Received, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from logsh_cli.app import AppContext
    from logsh_cli.output.printer import Printer
    from logsh_cli.sandbox.expectations import Expectations
    from logsh_cli.sandbox.rules import Fault

USUAL_PORT: Final = 5647
"""The port when it serves alone ("logs" on a telephone's keys): the URL is the same the next time."""

QUIET_S: Final = 2.0
"""Events left in the outbox when the command ends are waited for until nobody has worked on them for so long,"""
PATIENCE_S: Final = 10.0
"""and no longer than this."""

_LOOK_AGAIN_S: Final = 0.2
_STDOUT, _STDERR = 1, 2


class Plan(Record):
    """The options: ``faults`` for the first requests, ``output`` a file for the events."""

    faults: Sequence[Fault] = ()
    port: int | None = None
    output: Path | None = None
    expected: Expectations | None = None


def alone(app: AppContext, plan: Plan) -> int:
    """Serve until INT or TERM, showing each request as it comes. Without a port, on the usual one if it is free."""
    gc.enable()  # it may serve for days
    arrivals: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with _file(plan.output) as file, StopRequest() as stop, _server(arrivals, plan) as server:
        if not app.printer.quiet:
            _say_how(app, server.url)
        while not (stop and arrivals.empty()):
            with contextlib.suppress(queue.Empty):
                _show(app.printer, arrivals.get(timeout=_LOOK_AGAIN_S), file)
    return 0


def around(app: AppContext, command: Sequence[str], plan: Plan) -> int:
    """Serve while the command runs, show what came, and return the command's exit status.

    If that is 0 and what came is not what was expected, say how it differs and return 1.
    """
    gc.enable()
    config = read_config(config_dir(app.env) / CONFIG_FILE)
    if config.warning:
        app.printer.warn(config.warning)
    received: list[Received] = []
    with _file(plan.output) as file:
        with (
            _ends_tidily(),
            _held_signals() as held,
            SandboxServer(received.append, port=plan.port or 0, faults=plan.faults) as server,
            throwaway_home(server.url, env=app.env, profiles=config.profiles) as home,
        ):
            # Without a standard output, its number may be that of anything that was opened since, such as the server.
            printed = app.printer.json and file is None and app.streams.stdout is not None
            with _stdout_on_stderr() if printed else contextlib.nullcontext():
                running = child.start(command, env=home.env, held=held)
            ending = running.wait()
            undelivered = _await_deliveries(home.state_dir, received)
        if ending.kind == "not_started":
            app.printer.note(f"could not start {command[0]}: {ending.reason}")
        elif file is not None or app.printer.json or not app.printer.quiet:
            _show_all(app.printer, received, undelivered, file)
    if ending.signal == signal.SIGINT:
        app.fatal_signal = signal.SIGINT
    return child.shell_status(ending) or _check(app, received, plan.expected)


def _check(app: AppContext, received: Sequence[Received], expected: Expectations | None) -> int:
    complaint = expected.complaint([request.event for request in received if request.event]) if expected else []
    if not complaint:
        return ExitCode.OK
    app.printer.error(Unexpected(complaint[0]))
    for line in complaint[1:]:
        app.streams.err(app.printer.safe(line))
    return ExitCode.UNEXPECTED


def _show_all(printer: Printer, received: list[Received], undelivered: int, file: TextIO | None) -> None:
    events = sum(request.event is not None for request in received)
    if not printer.quiet and (file is not None or not printer.json or not events):
        printer.note(f"the sandbox received {_count(events)}{':' if events and file is None else ''}")
    for request in received:
        if request.event or not printer.quiet:
            _show(printer, request, file)
    if undelivered and not printer.quiet:
        printer.note(f"{_count(undelivered)} had not been delivered when the sandbox closed")


def _show(printer: Printer, request: Received, file: TextIO | None) -> None:
    """Show one request: an event is a result, and one that was refused or failed on purpose is a note."""
    if request.event is None:
        what = "not answered" if request.status is None else f"answered {request.status}"
        printer.note(f"{what}: {request.reason}")
    elif printer.json or file is not None:
        at = request.at.isoformat(timespec="milliseconds")
        printer.json_line({"event": request.event, "received_at": at, "status": request.status}, file)
    else:
        printer.arrival(f"{request.at.astimezone():%H:%M:%S}", request.event)


@contextlib.contextmanager
def _file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output can't be written: {path}: {error.strerror}", hint="name another file") from None
    with file:
        yield file


@contextlib.contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Let a command that starts meanwhile write to standard error: standard output is for the events alone."""
    kept = os.dup(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _server(arrivals: queue.SimpleQueue[Received], plan: Plan) -> SandboxServer:
    if plan.port is None:
        # Taken by another sandbox, most likely.
        with contextlib.suppress(UsageError):
            return SandboxServer(arrivals.put, port=USUAL_PORT, faults=plan.faults)
    return SandboxServer(arrivals.put, port=plan.port or 0, faults=plan.faults)


def _say_how(app: AppContext, url: str) -> None:
    # Past the redactor, for which this key is a secret as soon as somebody has followed the advice.
    write = app.streams.err if app.printer.json else app.streams.out
    write(f"A sandbox at {url} until Ctrl-C. To send there, in another shell:")
    write(f"  export LOGSH_API_URL={url} LOGSH_API_KEY={SANDBOX_KEY} LOGSH_WORKSPACE={DEFAULT_WORKSPACE}")


def _count(events: int) -> str:
    return f"{events or 'no'} event{'' if events == 1 else 's'}"


@contextlib.contextmanager
def _held_signals() -> Iterator[signals.HeldSignals | None]:
    """Block signals before the server's threads start: they are for the command, and no thread may swallow one."""
    if sys.platform == "win32":
        yield None
        return
    held = signals.HeldSignals()
    try:
        yield held
    finally:
        held.release()


@contextlib.contextmanager
def _ends_tidily() -> Iterator[None]:
    """Let TERM and HUP unwind the stack, so that nothing stays behind in the temporary directory."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = [number for number in map(signal.Signals.__getitem__, names) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, raise_term_signal)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _await_deliveries(state_dir: Path, received: Sequence[Received]) -> int:
    """Give ``send --background`` the time to deliver; return how many events are left in the command's outbox."""
    if not any(state_dir.iterdir()):
        return 0
    started = busy_at = time.monotonic()
    seen = len(received)
    # A store that can't be read has nothing to wait for: what the sandbox received is shown either way.
    with contextlib.suppress(NotKept), contextlib.closing(open_store(lambda: state_dir, create=False)) as store:
        while (counts := store.counts()).pending:
            now = time.monotonic()
            if counts.leased or len(received) != seen:
                seen, busy_at = len(received), now
            if now > min(busy_at + QUIET_S, started + PATIENCE_S):
                return counts.pending
            time.sleep(_LOOK_AGAIN_S / 4)
    return 0
