"""Everything that can go wrong, and the exit code each of it ends with.

    LogshError
    ├── Unexpected              1   the sandbox did not receive what was expected
    ├── UsageError              2   the command line is wrong
    │   └── InvalidEvent        2   the event breaks documented rules; lists every one
    ├── EventRefused           65   the service will never take this event
    ├── NotKept                69   not delivered, and nowhere to keep it
    ├── InternalError          70   a fault in logsh itself
    ├── NotDelivered           75   not now; a later attempt may succeed
    │   ├── NeverSent               no byte of the event left this machine
    │   │   ├── Unreachable         name look-up, refused, no route, connect timed out
    │   │   └── TlsFailure          the connection could not be secured
    │   ├── Unanswered              sent, then cut off or timed out: it may have arrived
    │   └── ServiceUnavailable      the service said "not now": 402, 408, 429, 5xx
    ├── KeyRefused             77   the service does not take this key
    ├── ConfigError            78   something must be set up first
    │   ├── MissingKey
    │   ├── MissingWorkspace
    │   ├── UnknownProfile
    │   ├── BadConfig               a file or a value in it is wrong
    │   ├── MisplacedKey            this key does not belong to this URL
    │   └── UnexpectedAnswer        an answer that is not from a Logsh: wrong URL?
    └── Interrupted           130   by INT
        └── Terminated        143   by TERM

The codes are sysexits(3) where it has one. ``cli.main`` is the only place that turns an error into an exit code.
"""

from __future__ import annotations

import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """The process exit codes that scripts may rely on."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 65
    NOT_KEPT = 69
    FAULT = 70
    KEPT = 75
    KEY_REFUSED = 77
    CONFIG = 78
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "the service has the event (with --background: it is stored)",
    ExitCode.UNEXPECTED: "what the sandbox received is not what --expect asks for",
    ExitCode.USAGE: "wrong usage, or an event that breaks a documented rule: nothing stored, nothing sent",
    ExitCode.REFUSED: "the service refused the event, or a line of a batch is bad",
    ExitCode.NOT_KEPT: "not delivered, and it could not be kept either",
    ExitCode.FAULT: "a fault in logsh",
    ExitCode.KEPT: "not delivered, kept on this machine",
    ExitCode.KEY_REFUSED: "the service refused the key; the event is kept",
    ExitCode.CONFIG: "configuration missing or wrong, or an answer that is not from a Logsh",
    ExitCode.INTERRUPTED: "interrupted by INT; what was accepted is kept",
    ExitCode.TERMINATED: "ended by TERM; what was accepted is kept",
}
"""One line a code, as the help, the man page and the README give them."""


class LogshError(Exception):
    """Base of all expected failures.

    ``name`` is stable and machine-readable, ``message`` says what happened, ``hint`` what to do about it.
    """

    name = "error"
    exit_code = ExitCode.FAULT

    def __init_subclass__(cls, *, name: str, exit_code: ExitCode | None = None) -> None:
        cls.name = name
        cls.exit_code = exit_code or cls.exit_code

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unexpected(LogshError, name="unexpected", exit_code=ExitCode.UNEXPECTED):
    """The sandbox did not receive what was expected."""


class UsageError(LogshError, name="usage", exit_code=ExitCode.USAGE):
    """The command line can't be understood."""


class InvalidEvent(UsageError, name="invalid_event"):
    """The event breaks documented rules; ``problems`` has one sentence for each."""

    def __init__(self, problems: list[str], *, hint: str | None = None) -> None:
        super().__init__("; ".join(problems), hint=hint)
        self.problems = problems


class EventRefused(LogshError, name="refused", exit_code=ExitCode.REFUSED):
    """The service judged the event and will never take it as it is."""


class NotKept(LogshError, name="not_kept", exit_code=ExitCode.NOT_KEPT):
    """The event was neither delivered nor could it be stored."""


class InternalError(LogshError, name="internal", exit_code=ExitCode.FAULT):
    """Something in logsh is broken; never the user's fault."""


class NotDelivered(LogshError, name="not_delivered", exit_code=ExitCode.KEPT):
    """The event did not get through this time."""


class NeverSent(NotDelivered, name="never_sent"):
    """No byte of the event left this machine, so trying again can't make a second event."""


class Unreachable(NeverSent, name="unreachable"):
    """No connection: name look-up, refusal, no route, or time ran out while connecting."""


class TlsFailure(NeverSent, name="tls"):
    """The connection could not be secured: certificate, protocol, or a port that does not speak TLS."""


class Unanswered(NotDelivered, name="unanswered"):
    """The request went out and no whole answer came back: the service may or may not have the event."""


class ServiceUnavailable(NotDelivered, name="unavailable"):
    """The service answered that it can't take events now (402, 408, 429, 5xx)."""


class KeyRefused(LogshError, name="unauthorized", exit_code=ExitCode.KEY_REFUSED):
    """The service does not accept this API key (401, or a 403 that is not about the event)."""


class ConfigError(LogshError, name="config", exit_code=ExitCode.CONFIG):
    """Nothing can be sent until something is configured."""


class MissingKey(ConfigError, name="missing_key"):
    """No API key from any source."""


class MissingWorkspace(ConfigError, name="missing_workspace"):
    """No workspace from any source."""


class UnknownProfile(ConfigError, name="unknown_profile"):
    """A profile was named that the configuration file does not have."""


class BadConfig(ConfigError, name="bad_config"):
    """A configuration file or an environment variable holds something unusable."""


class MisplacedKey(ConfigError, name="misplaced_key"):
    """The key and the URL come from places that do not belong together."""


class UnexpectedAnswer(ConfigError, name="unexpected_answer"):
    """An answer that is not from a Logsh (3xx, 404, 405, …): most likely the URL is wrong."""


class Interrupted(LogshError, name="interrupted", exit_code=ExitCode.INTERRUPTED):
    """INT arrived (Ctrl-C)."""


class Terminated(Interrupted, name="terminated", exit_code=ExitCode.TERMINATED):
    """TERM arrived."""


class TermSignal(KeyboardInterrupt):
    """TERM or HUP, which ``args`` name, raised by its handler wherever the main thread stands.

    A ``KeyboardInterrupt``, as INT is, so that no ``except Exception`` on the way, ours or a library's, swallows it.
    """


def stop_signal(number: int) -> KeyboardInterrupt:
    """Return what a signal to stop raises: TERM and HUP a ``TermSignal``, QUIT the same as INT."""
    name = signal.Signals(number).name.removeprefix("SIG")
    return TermSignal(name) if name in ("TERM", "HUP") else KeyboardInterrupt()


def raise_on_stop() -> None:
    """Let TERM, HUP and QUIT raise, as INT does, unless whoever started us has them ignored."""

    def stop(number: int, _frame: object) -> None:
        raise stop_signal(number)

    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)  # Windows has TERM alone
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def interruption(stop: KeyboardInterrupt, *, hint: str | None = None) -> Interrupted:
    """Return the error that reports a signal which stopped us."""
    if isinstance(stop, TermSignal):
        return Terminated(f"ended by {stop.args[0] if stop.args else 'TERM'}", hint=hint)
    return Interrupted("interrupted", hint=hint)
