"""One run of the sandbox: alone until it is told to stop, or around a command.

The command gets a throw-away home and an environment in which nothing leads to the real Logsh.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from logsh_cli import Record, own_command
from logsh_cli.config import config_dir
from logsh_cli.config.edit import update
from logsh_cli.config.files import CONFIG_FILE, DEFAULT_PROFILE, read_config
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import BadConfig, ExitCode, NotKept, Unexpected, UsageError
from logsh_cli.job import child, signals
from logsh_cli.outbox import open_store
from logsh_cli.sandbox.server import Received, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from logsh_cli.app import AppContext
    from logsh_cli.output.printer import Printer
    from logsh_cli.sandbox.expectations import Expectations

USUAL_PORT: Final = 5647
"""The port when it serves alone ("logs" on a telephone's keys): the URL is the same the next time."""

QUIET_S: Final = 2.0
"""Events left in the outbox when the command ends are waited for until nobody has worked on them for so long,"""
PATIENCE_S: Final = 10.0
"""and no longer than this."""

_LOOK_AGAIN_S: Final = 0.2
_STDOUT, _STDERR = 1, 2
_KEY: Final = "logsh_sandbox_key"
"""Not a secret: the sandbox takes any key."""

_WORKSPACE: Final = "sandbox"
_KEPT_SETTINGS: Final = ("workspace", "icon", "notify", "deadline")
_REMOVED_VARIABLES: Final = ("LOGSH_API_KEY_FILE", "LOGSH_CA_FILE")


class Plan(Record):
    """The options: ``faults`` for the first requests, ``output`` a file for the events."""

    faults: Sequence[str]
    port: int | None
    output: Path | None
    expected: Expectations | None


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
    profiles, warning = read_config(config_dir(app.env) / CONFIG_FILE)
    if warning:
        app.printer.warn(warning)
    received: list[Received] = []
    with _file(plan.output) as file:
        with (
            _held_signals() as held,
            SandboxServer(received.append, port=plan.port or 0, faults=plan.faults) as server,
            _throwaway_home(server.url, app.env, profiles) as env,
        ):
            # Without a standard output, its number may be that of anything that was opened since, such as the server.
            printed = app.printer.json and file is None and app.streams.stdout is not None
            with _stdout_on_stderr() if printed else contextlib.nullcontext():
                running = child.start(command, env=env, held=held)
            ending = running.wait()
            undelivered = _await_deliveries(Path(env["LOGSH_STATE_DIR"]), received)
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


def _file(path: Path | None) -> TextIO | contextlib.nullcontext[None]:
    try:
        return contextlib.nullcontext() if path is None else path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output can't be written: {path}: {error.strerror}", hint="name another file") from None


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
        with contextlib.suppress(UsageError):  # taken by another sandbox, most likely
            return SandboxServer(arrivals.put, port=USUAL_PORT, faults=plan.faults)
    return SandboxServer(arrivals.put, port=plan.port or 0, faults=plan.faults)


def _say_how(app: AppContext, url: str) -> None:
    # Past the redactor, for which this key is a secret as soon as somebody has followed the advice.
    write = app.streams.err if app.printer.json else app.streams.out
    write(f"A sandbox at {url} until Ctrl-C. To send there, in another shell:")
    write(f"  export LOGSH_API_URL={url} LOGSH_API_KEY={_KEY} LOGSH_WORKSPACE={_WORKSPACE}")


def _count(events: int) -> str:
    return f"{events or 'no'} event{'' if events == 1 else 's'}"


@contextlib.contextmanager
def _held_signals() -> Iterator[signals.HeldSignals | None]:
    """Block signals before the server's threads start: they are for the command, and no thread may swallow one."""
    if sys.platform == "win32":
        yield None
    else:
        held = signals.HeldSignals()
        try:
            yield held
        finally:
            held.release()


@contextlib.contextmanager
def _throwaway_home(
    api_url: str, env: Mapping[str, str], profiles: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, str]]:
    """Set up directories and a configuration, and give the command's environment; all is gone at the end.

    What says what is sent, such as ``LOGSH_PROFILE`` and ``LOGSH_WORKSPACE``, stays: what arrives is to be what would
    have been sent. Of the user's ``profiles`` the keys and URLs are not looked at.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix="logsh-sandbox-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BadConfig(
            f"the sandbox can't make a temporary directory: {error.strerror}",
            hint="set TMPDIR to a directory that can be written",
        ) from None
    with temporary as name:
        root = Path(name)
        for directory in ("config", "state", "bin"):
            (root / directory).mkdir(mode=0o700)
        # The default profile comes last of all sources, so a workspace set anywhere else still wins over this one.
        default = {"workspace": _WORKSPACE, **profiles[DEFAULT_PROFILE]}
        for profile, own in {**profiles, DEFAULT_PROFILE: default}.items():
            kept = {setting: own[setting] for setting in _KEPT_SETTINGS if setting in own}
            update(root / "config" / CONFIG_FILE, profile, {"api_url": api_url, "api_key": _KEY, **kept})
        _write_launcher(root / "bin")
        # CREDENTIALS_DIRECTORY stays: the command may need other credentials of its unit, and this key wins.
        yield {variable: value for variable, value in env.items() if variable not in _REMOVED_VARIABLES} | {
            "LOGSH_API_URL": api_url,
            "LOGSH_API_KEY": _KEY,
            "LOGSH_CONFIG_DIR": str(root / "config"),
            "LOGSH_STATE_DIR": str(root / "state"),
            "PATH": os.pathsep.join((str(root / "bin"), env.get("PATH") or os.defpath)),
        }


def _write_launcher(directory: Path) -> None:
    """Put a ``logsh`` there that is this very one, whatever else is installed."""
    if sys.platform == "win32":
        python, option, code = own_command()
        quoted = code.replace("%", "%%")
        (directory / "logsh.cmd").write_text(f'@"{python}" {option} "{quoted}" %*\r\n', encoding="utf-8")
    else:
        launcher = directory / "logsh"
        launcher.write_text(f'#!/bin/sh\nexec {shlex.join(own_command())} "$@"\n', encoding="utf-8")
        launcher.chmod(0o700)


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
