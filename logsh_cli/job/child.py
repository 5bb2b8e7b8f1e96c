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
from typing import TYPE_CHECKING

from logsh_cli.job.arrivals import concerns_child, handed_on, in_foreground, next_arrival
from logsh_cli.job.ending import Ending, shell_status
from logsh_cli.job.process_tree import ProcessTree, adopt_orphans, send
from logsh_cli.job.spawn import CannotStart, environment_at_start, spawn
from logsh_cli.job.witness import GRACE_S, Witness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logsh_cli.job.arrivals import Arrival
    from logsh_cli.job.tail import Tee

__all__ = ["Child", "Ending", "HeldSignals", "hold_signals", "shell_status", "start"]

_JOB_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}) if sys.platform != "win32" else frozenset()
_GIVE_UP_S = 5.0
"""After KILL; a process that the kernel holds (a dead network disk) can't be waited for."""
_LOOK_AGAIN_S = 0.05


class HeldSignals:
    """The signals that are handed on, blocked, and the mask to go back to; threads started since block them as well."""

    def __init__(self) -> None:
        self.numbers = handed_on()
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # Were SIGCHLD ignored, as some starters leave it, the kernel would throw the command's status away. The command
        # sees the default then: it can't be started with it ignored and reported on as well.
        self._sigchld = signal.getsignal(signal.SIGCHLD)
        if self._sigchld == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, self.awaited)
        except BaseException:  # a Ctrl-C from just before; there is no command yet
            self.release()
            raise

    @property
    def awaited(self) -> frozenset[int]:
        """Those handed on, and the news of children."""
        return self.numbers | {signal.SIGCHLD}

    def release(self) -> None:
        """Give the mask back; what arrived since the command ended has nobody left to go to and is dropped."""
        while arrived := signal.sigpending() & self.awaited:
            signal.sigwait(arrived)
        if self._sigchld == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def hold_signals() -> HeldSignals:
    """Block what ``start`` hands on: for callers that have threads, which must all be started after this."""
    return HeldSignals()


def start(
    argv: Sequence[str | bytes],
    *,
    tail: int | None = None,
    timeout_s: float | None = None,
    kill_after_s: float = 10.0,
    env: Mapping[str, str] | None = None,
    held: HeldSignals | None = None,
) -> Child:
    """Start a command; one that can't be started is told by ``wait``, too.

    Call it from the main thread, before any other thread is started (or see ``hold_signals``).

    Args:
        argv: executed directly, without a shell.
        tail: remember the end of its output, which is then passed on through pipes. How much of it is sent is the
            reporter's business: the amount kept does not depend on it.
        timeout_s: send TERM to the command and everything it started after so many seconds,
        kill_after_s: and KILL to what is left of it so many seconds later.
        env: its environment; logsh's own by default, as logsh got it.
        held: from ``hold_signals``.
    """
    if sys.platform == "win32":
        from logsh_cli.job.windows import start_on_windows  # noqa: PLC0415 - no POSIX there: the simpler engine

        return start_on_windows(argv, tail=tail, timeout_s=timeout_s, env=env)
    held = held or HeldSignals()
    if timeout_s is not None:
        adopt_orphans()
    tee = _make_tee() if tail is not None else None
    child = Child(held, tee, timeout_s, kill_after_s)
    try:
        child.pid = spawn(
            argv,
            environment_at_start(os.environ if env is None else env),
            mask=held.mask,
            moves=tee.moves if tee else (),
        )
        child.witness.call()
    except CannotStart as failure:
        child.failure = failure
    finally:
        if tee:
            tee.spawned()
    return child


def _make_tee() -> Tee | None:
    from logsh_cli.job.tail import Tee  # noqa: PLC0415 - brings threads, and few ask for it

    try:
        return Tee()
    except (OSError, RuntimeError):
        return None  # no pipes or threads to be had: the job comes first, without its tail


class Child:
    """A command that was started. ``pid`` is ``None`` if it could not be."""

    def __init__(self, held: HeldSignals, tee: Tee | None, timeout_s: float | None, kill_after_s: float) -> None:
        self.pid: int | None = None
        self.failure: CannotStart | None = None
        self.witness = Witness()
        self._held = held
        self._tee = tee
        self._started_at = time.monotonic()
        self._ended_at: float | None = None
        self._status: int | None = None
        self._doubtful: deque[tuple[float, Arrival]] = deque()
        self._timeout = _Timeout(self._started_at + timeout_s, kill_after_s) if timeout_s is not None else None

    @property
    def started(self) -> bool:
        """Whether there is, or was, a process."""
        return self.pid is not None

    def wait(self, *, hold_signals: bool = False) -> Ending:
        """Wait until the command has ended, handing signals on; call it once, from the thread that started it.

        ``hold_signals`` leaves them blocked, so that nothing disturbs what is to be done about the ending, until
        ``release_signals``.
        """
        try:
            return self._wait()
        finally:
            self.witness.dismiss()
            if not hold_signals:
                self.release_signals()

    def release_signals(self) -> None:
        """After ``wait(hold_signals=True)``: let signals act on logsh again. What came since is dropped."""
        self._held.release()

    def _wait(self) -> Ending:
        if self.pid is None:
            reason, status = (self.failure.reason, self.failure.status) if self.failure else ("not started", 126)
            return Ending("not_started", status, None, 0.0, started=False, reason=reason)
        tree = ProcessTree(self.pid, lambda: self.witness.pids)
        self._reap(self.pid)
        while not self._is_over(tree):
            arrival = next_arrival(self._held.awaited, self._patience_s())
            self._reap(self.pid)
            if arrival is not None and arrival.number != signal.SIGCHLD:
                self._consider(arrival, self.pid)
            self._hand_on(self.pid)
        self._finish_output()
        return self._ending()

    def _is_over(self, tree: ProcessTree) -> bool:
        if self._timeout is None:
            return self._status is not None
        return self._timeout.is_over(tree, ended=self._status is not None)

    def _patience_s(self) -> float | None:
        """For how long nothing has to be done unless a signal arrives."""
        waits = [self._timeout.remaining_s()] if self._timeout else []
        if self._doubtful:
            waits.append(self._doubtful[0][0] - time.monotonic())
        return min(waits, default=None)

    def _consider(self, arrival: Arrival, child: int) -> None:
        """Set aside what seems to concern the command for a second look.

        The next one is taken meanwhile: two of a kind would become one if they had to wait for us.
        """
        if concerns_child(arrival, child, self.witness):
            self._doubtful.append((time.monotonic() + GRACE_S, arrival))

    def _hand_on(self, child: int) -> None:
        while self._doubtful and self._doubtful[0][0] <= time.monotonic():
            _, arrival = self._doubtful.popleft()
            # Once the command is reaped, its number may be somebody else's.
            if self._status is None and concerns_child(arrival, child, self.witness):
                send(child, arrival.number)

    def _reap(self, child: int) -> None:
        if self._status is None:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if pid and not os.WIFSTOPPED(status):
                self._take_note(status)
            elif pid and os.WSTOPSIG(status) in _JOB_STOPS:
                self._stop_as_well(child)
        if sys.platform == "linux" and (self._timeout or os.getpid() == 1):
            # What was left to us, as the adopter under a timeout or as a container's first process, is ours to bury.
            while (pid := _next_ended()) not in (0, child):
                os.waitpid(pid, os.WNOHANG)
                self.witness.reaped(pid)

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
            os.kill(os.getpid(), signal.SIGTSTP)
            if self._is_stopped(child):
                send(child, signal.SIGCONT)

    def _is_stopped(self, child: int) -> bool:
        """Whether a child that was stopped still is."""
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
        patience_ends = time.monotonic() + _GIVE_UP_S if self._timeout and self._timeout.has_passed else None
        while not self._tee.drained(_LOOK_AGAIN_S):
            arrival = next_arrival(self._held.awaited, 0)
            if arrival is not None and arrival.number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                return
            if patience_ends is not None and time.monotonic() > patience_ends:
                return

    def _ending(self) -> Ending:
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        exit_code, number = (None, -code) if code is not None and code < 0 else (code, None)
        kind = "timed_out" if self._timeout and self._timeout.has_passed else "exited" if number is None else "signaled"
        duration_s = (self._ended_at or time.monotonic()) - self._started_at
        tail = self._tee.tail.contents() if self._tee else b""
        return Ending(kind, exit_code, number, duration_s, tail)  # type: ignore[arg-type]


class _Timeout:
    """TERM, then KILL, to the whole tree; over when all of it is gone, or can't be ended."""

    def __init__(self, deadline: float, kill_after_s: float) -> None:
        self.has_passed = False
        self._next_step = deadline
        self._kill_after_s = kill_after_s
        self._give_up: float | None = None

    def remaining_s(self) -> float:
        """Until the next step; shorter while stragglers are watched, since off Linux nothing announces their end."""
        remaining = self._next_step - time.monotonic()
        return min(remaining, _LOOK_AGAIN_S) if self.has_passed else remaining

    def is_over(self, tree: ProcessTree, *, ended: bool) -> bool:
        """Take the step that is due, and say whether there is nothing more to wait for."""
        now = time.monotonic()
        if not self.has_passed:
            if ended or now < self._next_step:
                return ended
            self.has_passed = True
            self._next_step = now + self._kill_after_s
            tree.terminate()
            return False
        if now < self._next_step:
            return ended and not tree.living()
        if self._give_up is None:
            self._give_up = now + _GIVE_UP_S
        return (tree.kill() and ended) or now > self._give_up


def _next_ended() -> int:
    """The next child whose end has not been taken note of; 0 when there is none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return result.si_pid if result else 0
