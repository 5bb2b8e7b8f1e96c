"""One run of the sandbox: alone until it is told to stop, or around a command."""

from __future__ import annotations

import contextlib
import gc
import queue
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from logsh_cli.config import config_dir
from logsh_cli.config.files import CONFIG_FILE, read_config
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import NotKept, UsageError, raise_term_signal
from logsh_cli.job import child, signals
from logsh_cli.outbox import open_store
from logsh_cli.sandbox.home import SANDBOX_KEY, throwaway_home
from logsh_cli.sandbox.server import Received, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from logsh_cli.app import AppContext
    from logsh_cli.output.printer import Printer
    from logsh_cli.sandbox.rules import Fault

USUAL_PORT: Final = 5647
"""Where it serves alone ("logs" on a telephone's keys), so that the URL is the same the next time."""

QUIET_S: Final = 2.0
"""Events left in the outbox when the command ends are waited for until nobody has worked on them for so long,"""
PATIENCE_S: Final = 10.0
"""and no longer than this."""

_LOOK_AGAIN_S: Final = 0.2


def alone(app: AppContext, faults: Sequence[Fault], port: int | None) -> int:
    """Serve until INT or TERM, showing each request as it comes. Without a ``port``, on the usual one if it is free."""
    gc.enable()  # it may serve for days
    arrivals: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with StopRequest() as stop, _server(arrivals, faults, port) as server:
        if not app.printer.quiet:
            _say_how(app, server.url)
        while not (stop and arrivals.empty()):
            with contextlib.suppress(queue.Empty):
                show(app.printer, arrivals.get(timeout=_LOOK_AGAIN_S))
    return 0


def around(app: AppContext, command: Sequence[str], faults: Sequence[Fault], port: int) -> int:
    """Serve while the command runs, show what came, and return the command's exit status."""
    gc.enable()
    config = read_config(config_dir(app.env) / CONFIG_FILE)
    if config.warning:
        app.printer.warn(config.warning)
    received: list[Received] = []
    with (
        _ends_tidily(),
        _held_signals() as held,
        SandboxServer(received.append, port=port, faults=faults) as server,
        throwaway_home(server.url, env=app.env, profiles=config.profiles) as home,
    ):
        started = child.start(command, env=home.env, held=held)
        ending = started.wait()
        started.release_signals()
        undelivered = _await_deliveries(home.state_dir, received)
    if not ending.started:
        app.printer.note(f"could not start {command[0]}: {ending.reason}")
    elif app.printer.json or not app.printer.quiet:
        show_all(app.printer, received, undelivered)
    if ending.signal == signal.SIGINT:
        app.fatal_signal = signal.SIGINT
    return child.shell_status(ending)


def show_all(printer: Printer, received: list[Received], undelivered: int) -> None:
    """What came while the command ran: the events on standard output, all else on standard error."""
    events = sum(request.event is not None for request in received)
    if not printer.json or not events:
        printer.note(f"the sandbox received {_count(events)}{':' if events else ''}")
    for request in received:
        show(printer, request)
    if undelivered:
        printer.note(f"{_count(undelivered)} had not been delivered when the sandbox closed")


def show(printer: Printer, request: Received) -> None:
    """One request: an event is a result, and one that was refused or failed on purpose is a note."""
    if request.event is None:
        what = "not answered" if request.status is None else f"answered {request.status}"
        printer.note(f"{what}: {request.reason}")
    elif printer.json:
        at = request.at.isoformat(timespec="milliseconds")
        printer.json_line({"event": request.event, "received_at": at, "status": request.status})
    else:
        printer.arrival(f"{request.at.astimezone():%H:%M:%S}", request.event)


def _server(arrivals: queue.SimpleQueue[Received], faults: Sequence[Fault], port: int | None) -> SandboxServer:
    if port is None:
        # Taken by another sandbox, most likely.
        with contextlib.suppress(UsageError):
            return SandboxServer(arrivals.put, port=USUAL_PORT, faults=faults)
    return SandboxServer(arrivals.put, port=port or 0, faults=faults)


def _say_how(app: AppContext, url: str) -> None:
    # Past the redactor, for which this key is a secret as soon as somebody has followed the advice.
    write = app.streams.err if app.printer.json else app.streams.out
    write(f"A sandbox at {url} until Ctrl-C. To send there, in another shell:")
    write(f"  export LOGSH_API_URL={url} LOGSH_API_KEY={SANDBOX_KEY}")


def _count(events: int) -> str:
    return f"{events or 'no'} event{'' if events == 1 else 's'}"


@contextlib.contextmanager
def _held_signals() -> Iterator[signals.HeldSignals | None]:
    """Before the server's threads start: signals are for the command, and none of those threads may swallow one."""
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
    """TERM and HUP unwind the stack, so that nothing stays behind in the temporary directory."""
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
    """Give ``send --background`` the time to deliver; returns how many events are left in the command's outbox."""
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
