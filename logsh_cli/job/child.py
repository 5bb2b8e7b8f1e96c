"""Run a command as if logsh were not there, and learn how it ended.

The command shares our process group, terminal and descriptors. While it runs, our signals are blocked and taken one by
one with ``sigwaitinfo``: none is lost between its start and our readiness, none interrupts Python code, and each can
be handed on as often as it comes. Nothing heavy is imported here: the command starts before anything about Logsh is
loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from logsh_cli import Record
from logsh_cli.job import SIGNAL_BASE
from logsh_cli.job.spawn import CannotStart, environment_at_start, spawn

if sys.platform != "win32":
    from logsh_cli.job.signals import GRACE_S, HeldSignals, Witness, in_foreground, is_for_child, send, stop_here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logsh_cli.job.process_tree import Timeout
    from logsh_cli.job.signals import Arrival
    from logsh_cli.job.tail import Tee, Terminal

Kind: TypeAlias = Literal["exited", "signaled", "timed_out", "not_started"]

TIMED_OUT = 124
"""The status that timeout(1) made customary."""

_KILL = 9
_STOPS = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})
_JOB_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}) if sys.platform != "win32" else frozenset()
_PATIENCE_S = 5.0
"""For a reader of the output, once time is out."""
_LOOK_AGAIN_S = 0.05
_LOOK_AROUND_S = 1.0


class Ending(Record):
    """One run of a command, from its start to its end.

    ``exit_code`` and ``signal`` are what the system said, one of them at most; after a timeout they tell what the
    command itself ended with, ``killed`` that it took KILL, and both are ``None`` only when not even that could end it.
    A command that did not start has the shell's 126 or 127 as its code, and a ``reason`` that does not name it.
    ``ordered`` are those of INT, TERM and HUP that logsh was sent from outside. ``tail`` is the end of the output as
    raw bytes, neither redacted nor cut to size yet; ``output_error`` says why output could not be passed on.
    """

    kind: Kind
    exit_code: int | None
    signal: int | None
    duration_s: float
    tail: bytes = b""
    reason: str | None = None
    ordered: frozenset[int] = frozenset()
    killed: bool = False
    output_error: str | None = None


def shell_status(ending: Ending) -> int:
    """Return what a shell shows in ``$?``: the command's own code, or 128+n for signal n.

    After a timeout it is 124, or 137 where KILL was needed, whatever the command made of the TERM.
    """
    if ending.kind == "timed_out":
        return SIGNAL_BASE + _KILL if ending.killed else TIMED_OUT
    if ending.exit_code is not None:
        # Bare, the command would have met the full disk itself. It can have ended well only because we took its output.
        return 1 if ending.output_error and not ending.exit_code else ending.exit_code
    return SIGNAL_BASE + (ending.signal or _KILL)


def start(
    argv: Sequence[str | bytes],
    *,
    timeout_s: float | None = None,
    kill_after_s: float = 10.0,
    env: Mapping[str, str] | None = None,
    tee: bool = False,
    hold: bool = False,
    held: HeldSignals | None = None,
) -> Child:
    """Start a command, without a shell; one that can't be started is told by ``wait``, too.

    Call it from the main thread, before any other thread is started (or with signals ``held`` before those were):
    signals are blocked from here on until ``release_signals``. After ``timeout_s`` the command and everything it
    started get TERM, and KILL ``kill_after_s`` later. ``tee`` passes its output on and remembers the end; ``hold`` as
    well, but not before ``show_output``.
    """
    if sys.platform == "win32":
        from logsh_cli.job.windows import start_on_windows  # noqa: PLC0415 - no POSIX there: the simpler engine

        return start_on_windows(argv, tee=tee, timeout_s=timeout_s, env=env)
    child = Child(held or HeldSignals(), _make_tee(hold=hold) if tee or hold else None)
    child.spawn(argv, environment_at_start(os.environ if env is None else env), timeout_s, kill_after_s)
    return child


def _make_tee(*, hold: bool) -> Tee | None:
    from logsh_cli.job.tail import Tee  # noqa: PLC0415 - few ask for it

    try:
        return Tee(hold=hold)
    except (OSError, RuntimeError):
        return None  # neither pipes nor threads are left: the job comes first, without its tail


class Child:
    """A command that was started. ``pid`` is ``None`` if it could not be."""

    def __init__(self, held: HeldSignals, tee: Tee | None) -> None:
        self.pid: int | None = None
        self._failure = CannotStart("not started", 126)
        self._witness = Witness()
        self._held = held
        self._tee = tee
        self._terminal = tee.terminal if tee else None
        self._started_at = time.monotonic()
        self._ended_at: float | None = None
        self._status: int | None = None
        self._ordered: set[int] = set()
        self._next_look = self._started_at + _LOOK_AROUND_S
        self._doubtful: deque[tuple[float, Arrival]] = deque()
        self._timeout: Timeout | None = None

    def spawn(
        self, argv: Sequence[str | bytes], env: Mapping[str, str], timeout_s: float | None, kill_after_s: float
    ) -> None:
        """Start it, and the bystander beside it."""
        if timeout_s is not None:
            from logsh_cli.job.process_tree import ProcessTree, Timeout, adopt_orphans  # noqa: PLC0415 - few ask for it

            adopt_orphans()
        try:
            moves = self._tee.moves if self._tee else ()
            if self._terminal:
                self._terminal.take()
                self.pid = self._terminal.spawn(argv, env, mask=self._held.mask, moves=moves)
            else:
                self.pid = spawn(argv, env, mask=self._held.mask, moves=moves)
                self._witness.call()
        except CannotStart as failure:
            self._failure = failure
        finally:
            if self._tee:
                self._tee.spawned()
        if timeout_s is not None and self.pid is not None:
            tree = ProcessTree(self.pid, self._our_own)
            self._timeout = Timeout(tree, self._started_at + timeout_s, kill_after_s)

    def _our_own(self) -> set[int]:
        """Return our children that are not the command's."""
        return self._witness.pids | ({self._terminal.monitor or 0} if self._terminal else set())

    def wait(self) -> Ending:
        """Wait until the command has ended, handing signals on; call it once, from the thread that started it.

        Signals stay blocked, so that nothing disturbs what is to be done about the ending, until ``release_signals``.
        """
        try:
            return self._wait()
        finally:
            self._witness.dismiss()
            if self._terminal:
                self._terminal.end()

    def release_signals(self) -> None:
        """After ``wait``: let signals act on logsh again. What came since is dropped."""
        self._held.release()

    def show_output(self) -> None:
        """Pass on what was held back, and from now on what is left of the command writes."""
        if self._tee:
            self._tee.show()

    def _wait(self) -> Ending:
        if self.pid is None:
            return Ending("not_started", self._failure.status, None, 0.0, reason=self._failure.reason)
        self._reap(self.pid)
        while not self._is_over():
            arrival = self._held.next_arrival(self._patience_s())
            if arrival is not None and arrival.number == signal.SIGTSTP:
                self._consider(arrival, self.pid)  # first: we would stop once more for the command's having stopped
            self._reap(self.pid)
            if arrival is None and time.monotonic() >= self._next_look:
                self._witness.look_around()
                self._next_look = time.monotonic() + _LOOK_AROUND_S
            if arrival is not None and arrival.number not in (signal.SIGCHLD, signal.SIGTSTP):
                self._consider(arrival, self.pid)
            self._hand_on(self.pid)
        self._hear_why(self.pid)
        self._finish_output()
        return self._ending()

    def _hear_why(self, child: int) -> None:
        """A signal to the whole group may have ended the command before it came to us."""
        number = os.WTERMSIG(self._status) if self._status is not None and os.WIFSIGNALED(self._status) else 0
        until = time.monotonic() + GRACE_S
        while number in _STOPS - self._ordered:
            arrival = self._held.next_arrival(until - time.monotonic())
            if arrival is None:
                return
            if arrival.number in _STOPS and arrival.sender != child:
                self._ordered.add(arrival.number)

    def _is_over(self) -> bool:
        ended = self._status is not None
        return self._timeout.is_over(ended=ended) if self._timeout else ended

    def _patience_s(self) -> float | None:
        """For how long nothing has to be done unless a signal arrives."""
        waits = [self._next_look - time.monotonic()] if self._witness.pids else []
        if self._timeout:
            waits.append(self._timeout.remaining_s())
        if self._doubtful:
            waits.append(self._doubtful[0][0] - time.monotonic())
        return min(waits, default=None)

    def _consider(self, arrival: Arrival, child: int) -> None:
        """Set aside what the command seems not to have had for a second look, since the sender may not be through yet.

        The next one is taken meanwhile: two of a kind would become one if they had to wait for us.
        """
        if arrival.number in _STOPS and arrival.sender != child:
            self._ordered.add(arrival.number)
        if self._terminal:
            self._pass_through(self._terminal, arrival, child)
            return
        seen = self._witness.saw(arrival.number)
        if arrival.number == signal.SIGTSTP:
            # At once: a second TSTP does nothing to what is stopped, and the shell is waiting for us to stop.
            if not seen and is_for_child(arrival) and self._status is None:
                send(child, signal.SIGTSTP)
            stop_here()
        elif not seen:
            self._doubtful.append((time.monotonic() + GRACE_S, arrival))

    def _pass_through(self, terminal: Terminal, arrival: Arrival, child: int) -> None:
        """Hand on to a command in a session of its own what it can't have had; keys reach it by its terminal."""
        if arrival.number == signal.SIGWINCH:
            terminal.resize()
        elif arrival.number == signal.SIGCONT:
            terminal.resume()
        elif arrival.sender != os.getpid() and self._status is None:
            send(child, arrival.number)

    def _hand_on(self, child: int) -> None:
        while self._doubtful and self._doubtful[0][0] <= time.monotonic():
            _, arrival = self._doubtful.popleft()
            # Once the command is reaped, its number may be somebody else's.
            if not self._witness.saw(arrival.number) and is_for_child(arrival) and self._status is None:
                send(child, arrival.number)

    def _reap(self, child: int) -> None:
        if self._status is None:
            status = self._terminal.next_status() if self._terminal else _next_status(child)
            if status is not None and not os.WIFSTOPPED(status):
                self._take_note(status)
            elif status is not None and self._terminal:
                self._suspend(self._terminal)
            elif status is not None and os.WSTOPSIG(status) in _JOB_STOPS:
                self._stop_as_well(child)
        # What was left to us, as a container's first process or as the adopter that somebody made us, is ours to bury.
        while sys.platform == "linux" and (pid := _next_ended()) not in (0, child):
            os.waitpid(pid, os.WNOHANG)
            self._witness.replace(pid)

    def _take_note(self, status: int) -> None:
        self._status = status
        self._ended_at = time.monotonic()

    def _stop_as_well(self, child: int) -> None:
        """The command stopped itself, as a pager or an editor does on Ctrl-Z; if only it did, no shell would know.

        Only in the foreground of a terminal, where a shell waits to take over. Elsewhere (and after ``kill -STOP``)
        whoever stopped the command alone will continue it alone, and a logsh that had stopped would be left behind.
        """
        time.sleep(_LOOK_AGAIN_S)  # it may just have been continued, by the same `fg` that continued us
        if self._is_stopped(child) and in_foreground():
            stop_here()
            if self._is_stopped(child):
                send(child, signal.SIGCONT)

    def _suspend(self, terminal: Terminal) -> None:
        """The command on our terminal was stopped, and so are we all, as by Ctrl-Z."""
        time.sleep(_LOOK_AGAIN_S)  # what it wrote before is still to be shown
        terminal.give_back()
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        stop_here()
        terminal.resume()

    def _is_stopped(self, child: int) -> bool:
        """True if a child that was stopped still is."""
        if self._status is not None:
            return False
        pid, status = os.waitpid(child, os.WNOHANG | os.WCONTINUED)
        if pid and not os.WIFCONTINUED(status):
            self._take_note(status)
        return not pid

    def _finish_output(self) -> None:
        """Pass on what the command wrote before it ended, however slow the reader; a signal to stop ends the wait."""
        if self._tee is None:
            return
        self._tee.child_ended()
        patience_ends = time.monotonic() + _PATIENCE_S if self._timeout and self._timeout.has_passed else None
        while not self._tee.drained(_LOOK_AGAIN_S):
            arrival = self._held.next_arrival(0)
            if arrival is not None and arrival.number in {*_STOPS, signal.SIGQUIT}:
                self._ordered.add(arrival.number)
                return
            if arrival is not None and arrival.number == signal.SIGTSTP:
                stop_here()
            if patience_ends is not None and time.monotonic() > patience_ends:
                return

    def _ending(self) -> Ending:
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        exit_code, number = (None, -code) if code is not None and code < 0 else (code, None)
        kind: Kind = "exited" if number is None else "signaled"
        ending = Ending(kind, exit_code, number, (self._ended_at or time.monotonic()) - self._started_at)
        ending = ending._replace(ordered=frozenset(self._ordered))
        if self._timeout and self._timeout.has_passed:
            ending = ending._replace(kind="timed_out", killed=self._timeout.has_killed)
        return ending._replace(tail=self._tee.contents(), output_error=self._tee.error) if self._tee else ending


def _next_status(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
    return status if pid else None


def _next_ended() -> int:
    """The next child whose end has not been taken note of; 0 when there is none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return result.si_pid if result else 0
