"""``logsh run`` changes nothing: each command here runs without it and with it, and must not differ."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.processes import wait_until
from tests.support.pty_session import CTRL_D, Session
from tests.support.sending import settings_for
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams, signals and terminals of POSIX")

TAIL = ("--tail", "100")
PLAIN_AND_TAIL = pytest.mark.parametrize("options", [(), TAIL], ids=["plain", "with a tail"])


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The environment leads to it whether logsh is there or not: nobody can tell by that."""
    with Server() as server:
        for name, value in settings_for(server, LOGSH_WORKSPACE="shop", LOGSH_DEADLINE="60").items():
            monkeypatch.setenv(name, value)
        yield server


class Seen(NamedTuple):
    """A command as its caller sees it: the status as a shell shows it, and its output."""

    status: int
    stdout: bytes
    stderr: bytes


def wrapped(*options: str) -> list[str]:
    return [str(LOGSH), "run", *options, "--"]


def observe(argv: Sequence[str | bytes], **popen: Any) -> Seen:
    given: dict[str, Any] = {} if "input" in popen else {"stdin": subprocess.DEVNULL}
    streams: dict[str, Any] = {} if "stdout" in popen else {"capture_output": True}
    done = subprocess.run(argv, check=False, timeout=PATIENCE_S, **{**given, **streams, **popen})
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Seen(status, done.stdout, done.stderr)


def assert_alike(argv: Sequence[str | bytes], *options: str, **popen: Any) -> Seen:
    """Run it without logsh and with it; the same must be seen, which is given back."""
    bare = observe(argv, **popen)
    assert observe([*wrapped(*options), *argv], **popen) == bare
    return bare


def python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-c", code, *args]


# --- bytes ----------------------------------------------------------------------------------------------------------


@PLAIN_AND_TAIL
def test_ten_megabytes_from_standard_input_come_out_on_both_streams(options: tuple[str, ...]) -> None:
    data = os.urandom(10 * 1024 * 1024)
    seen = assert_alike(["tee", "/dev/stderr"], *options, input=data)
    assert seen == Seen(0, data, data)


@PLAIN_AND_TAIL
def test_both_streams_on_one_pipe_keep_their_order(options: tuple[str, ...]) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    seen = assert_alike(["sh", "-c", script], *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert seen.stdout.splitlines()[:4] == [b"out 1", b"err 1", b"out 2", b"err 2"]


@PLAIN_AND_TAIL
def test_output_comes_as_it_is_written(options: tuple[str, ...]) -> None:
    command = [*wrapped(*options), "sh", "-c", "printf prompt; read answer; printf $answer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert os.read(process.stdout.fileno(), 100) == b"prompt"
        assert process.communicate(b"yes\n", timeout=PATIENCE_S)[0] == b"yes"


@PLAIN_AND_TAIL
def test_a_reader_that_leaves_ends_the_job_as_it_would_have(options: tuple[str, ...]) -> None:
    def status(*prefix: str) -> bytes:
        script = '{ "$@" yes; echo $? >&2; } | head -n 1'
        return subprocess.run(["sh", "-c", script, "sh", *prefix], capture_output=True, check=False).stderr

    assert status(*wrapped(*options)) == status("env") == b"141\n"


def test_input_that_the_job_does_not_read_is_left_for_the_next_one() -> None:
    def left(*prefix: str) -> bytes:
        script = '"$@" sh -c "read line"; cat'
        return subprocess.run(
            ["sh", "-c", script, "sh", *prefix], input=b"1\n2\n", capture_output=True, check=False
        ).stdout

    assert left(*wrapped()) == left("env") == b"2\n"


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"], ids=["stdout", "all"])
@PLAIN_AND_TAIL
def test_closed_streams_stay_closed(tmp_path: Path, closed: str, options: tuple[str, ...]) -> None:
    script = f'"$@" sh -c "ls /proc/\\$\\$/fd > {tmp_path}/list" {closed}; echo $?'

    def open_ones(*prefix: str) -> tuple[bytes, str]:
        done = subprocess.run(["sh", "-c", script, "sh", *prefix], capture_output=True, check=False)
        return done.stdout, (tmp_path / "list").read_text()

    assert open_ones(*wrapped(*options)) == open_ones("env")


# --- status ---------------------------------------------------------------------------------------------------------

CODES = (0, 1, 2, 75, 127, 137, 143, 255)
SIGNALS = ("HUP", "INT", "QUIT", "KILL", "SEGV", "PIPE", "TERM", "XFSZ", "RTMIN")


def test_every_exit_code_is_the_jobs() -> None:
    for code in CODES:
        assert observe([*wrapped("--on", "change"), "sh", "-c", f"exit {code}"]) == Seen(code, b"", b"")


def test_logsh_dies_of_the_signal_that_the_job_died_of_and_exits_where_the_job_did() -> None:
    def code(script: str) -> int:
        return subprocess.run([*wrapped(), "sh", "-c", script], check=False, stdin=subprocess.DEVNULL).returncode

    assert code("exit 130") == 130
    for name in SIGNALS:
        assert code(f"kill -{name} $$") == -getattr(signal, f"SIG{name}"), name


def test_a_job_that_dumps_core_leaves_one_core_and_a_shell_that_says_so(tmp_path: Path) -> None:
    script = "ulimit -c unlimited; \"$@\" sh -c 'kill -SEGV $$'; echo status $?"
    done = subprocess.run(["bash", "-c", script, "bash", *wrapped()], capture_output=True, check=False, cwd=tmp_path)
    assert done.stdout == b"status 139\n"
    assert b"Segmentation fault" in done.stderr
    assert b"core dumped" not in done.stderr
    assert len(list(tmp_path.glob("core*"))) <= 1


def make(path: Path, content: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_what_cannot_start_has_the_status_that_others_give_it(tmp_path: Path) -> None:
    make(tmp_path / "plain", b"echo\n", 0o644)
    make(tmp_path / "orphan", b"#!/no/such/interpreter\n")
    for name, status in (("no-such-command", 127), ("./orphan", 127), ("./plain", 126)):
        assert observe(["env", name], cwd=tmp_path).status == status
        seen = observe([*wrapped("--on", "success"), name], cwd=tmp_path)
        assert (seen.status, seen.stdout, seen.stderr.count(b"\n")) == (status, b"", 1)
        assert seen.stderr.startswith(b"logsh: " + name.encode() + b": ")


def test_a_script_without_an_interpreter_line_runs_as_from_a_shell(tmp_path: Path) -> None:
    make(tmp_path / "script", b'echo "$0 $*"; exit 5\n')
    from_shell = observe(["sh", "-c", "./script a 'b c'"], cwd=tmp_path)
    assert (
        observe([*wrapped(), "./script", "a", "b c"], cwd=tmp_path) == from_shell == Seen(5, b"./script a b c\n", b"")
    )


# --- arguments and surroundings -------------------------------------------------------------------------------------

WORDS = [
    *(b"a b", b"", b"'", b'"', b"\\", b"$HOME", b"`id`", b"*", b"~", b"!", b"#", b"two\nlines\n", b"\t", b"\r"),
    *(b"\xff\xfe\x80", b"caf\xe9", "ü✅".encode(), b"\x1b[31m"),
    *(b"--event", b"y", b"-e", b"--", b"--help", b"--version", b"-h", b"-", b"--tail=3", b"-m", b"@file", b"--json"),
]


def test_arguments_arrive_byte_for_byte() -> None:
    argv: list[str | bytes] = ["printf", r"%s\0", *WORDS]
    assert assert_alike(argv, env=environment({"LC_ALL": "C"})).stdout.split(b"\0") == [*WORDS, b""]


def test_options_on_our_side_do_not_change_how_the_commands_own_are_read() -> None:
    argv: list[str | bytes] = ["printf", r"%s\0", *WORDS]
    for start in (["run", "-e", "x"], ["run", "--event=x", "-m", "a=b", "--"], ["run"]):
        assert observe([str(LOGSH), *start, *argv]).stdout.split(b"\0") == [*WORDS, b""]


SURROUNDINGS = r"""
pwd; umask; env -0 | tr '\0' '\n' | grep -v ^_=; ulimit -a; nice; ls /proc/$$/fd
grep -E '^(SigBlk|Groups|Uid|NoNewPrivs|Cpus_allowed_list)' /proc/self/status
echo "group $(ps -o pgid= -p $$) session $(ps -o sid= -p $$) terminal $(ps -o tty= -p $$)"
"""


@PLAIN_AND_TAIL
def test_the_job_sees_the_world_it_would_see_without_us(tmp_path: Path, options: tuple[str, ...]) -> None:
    work = tmp_path / "work with a blank"
    work.mkdir()
    setting = f"cd '{work}'; umask 027; ulimit -n 200; export A='b c'; unset LC_ALL LC_CTYPE; export LANG=C"
    # Both in one shell: group and session are that shell's. The `:` keeps it from replacing itself with the last one.
    script = f'{setting}; sh -c "$0" > bare; "$@" sh -c "$0" > wrapped; :'
    subprocess.run(["nice", "-n", "3", "sh", "-c", script, SURROUNDINGS, *wrapped(*options)], check=True)
    bare, under_wrap = (work / "bare").read_text(), (work / "wrapped").read_text()
    assert "A=b c" in bare
    assert under_wrap == bare


@PLAIN_AND_TAIL
def test_a_descriptor_that_was_handed_down_is_the_jobs_too(tmp_path: Path, options: tuple[str, ...]) -> None:
    script = 'echo kept > lock; exec 3<>lock; flock 3; "$@" sh -c "cat <&3; echo more >&3"; cat lock'

    def with_prefix(*prefix: str) -> bytes:
        return subprocess.run(["sh", "-c", script, "sh", *prefix], capture_output=True, check=True, cwd=tmp_path).stdout

    assert with_prefix(*wrapped(*options)) == with_prefix("env") == b"kept\nkept\nmore\n"


def test_a_lock_on_a_handed_down_descriptor_ends_with_the_job_and_its_report(tmp_path: Path) -> None:
    """As in ``exec 9>lock; flock 9``: nothing of ours may hold the descriptor for longer, a courier least of all."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([*wrapped(), "true"], check=True, pass_fds=[lock.fileno()])
    with (tmp_path / "lock").open("w") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- what the job leaves behind -------------------------------------------------------------------------------------


@PLAIN_AND_TAIL
def test_a_process_that_outlives_the_job_is_not_waited_for_and_lives_on(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/left; exit 4"
    # Output goes to a file, since a pipe would be held open by what is left, with logsh or without.
    with (tmp_path / "output").open("w") as output:
        done = subprocess.run(
            [*wrapped(*options), "sh", "-c", script], stdout=output, stderr=output, check=False, timeout=PATIENCE_S / 2
        )
    left = int((tmp_path / "left").read_text())
    assert done.returncode == 4
    os.kill(left, signal.SIGKILL)  # which fails if it is gone


@PLAIN_AND_TAIL
def test_what_the_job_leaves_behind_writes_on_where_it_would_have(options: tuple[str, ...]) -> None:
    script = "(sleep 0.7; echo late; echo later >&2) & echo done; exit 4"
    assert assert_alike(["sh", "-c", script], *options) == Seen(4, b"done\nlate\n", b"later\n")


# --- terminals ------------------------------------------------------------------------------------------------------

TELL = ["sh", "-c", 'exec 4>"$0"; for n in 0 1 2; do if test -t $n; then echo $n >&4; fi; done']


@pytest.mark.parametrize("terminals", [0b001, 0b110, 0b111], ids=["input", "output and error", "all"])
@PLAIN_AND_TAIL
def test_isatty_is_what_it_would_be_on_each_stream(tmp_path: Path, terminals: int, options: tuple[str, ...]) -> None:
    """A terminal on each stream of the mask (input, output, error), pipes on the others."""

    def ask(*prefix: str) -> list[str]:
        answer = tmp_path / "answer"
        with contextlib.ExitStack() as stack:
            master, slave = os.openpty()
            reading, writing = os.pipe()
            for descriptor in (master, slave, reading, writing):
                stack.callback(os.close, descriptor)
            other = (reading, writing, writing)
            streams = [slave if terminals >> stream & 1 else other[stream] for stream in range(3)]
            # In a session of its own, so that nobody sits at these terminals.
            command = ["setsid", "--wait", *prefix, *TELL, str(answer)]
            subprocess.run(command, stdin=streams[0], stdout=streams[1], stderr=streams[2], check=True)
        return answer.read_text().split()

    bare = ask()
    assert bare == [str(stream) for stream in range(3) if terminals >> stream & 1]
    expected = [stream for stream in bare if stream == "0"] if options else bare  # --tail is pipes, as documented
    assert ask(*wrapped(*options)) == expected


@PLAIN_AND_TAIL
def test_a_job_may_read_the_terminal_without_echo_and_change_its_modes(options: tuple[str, ...]) -> None:
    script = (
        "stty -echo; printf 'password: '; read secret; stty echo; echo; echo got $secret; stty size; "
        "printf 'again: ' > /dev/tty; read line < /dev/tty; echo line $line; cat; echo end"
    )

    def dialogue(*prefix: str) -> bytes:
        with Session([*prefix, "sh", "-c", script]) as session:
            seen = session.shows(b"password: ")
            session.type(b"hunter2\n")
            seen += session.shows(b"again: ")
            session.type(b"word\n")
            seen += session.shows(b"line word\r\n")
            session.type(b"copied\n" + CTRL_D)
            seen += session.rest()
            assert session.wait() == 0
            return seen

    bare = dialogue()
    assert b"got hunter2\r\n24 80\r\n" in bare
    assert bare.count(b"hunter2") == 1
    assert dialogue(*wrapped(*options)) == bare


def on_a_terminal(command: str, *options: str) -> tuple[bytes, int]:
    with Session([*wrapped(*options), "sh", "-c", command] if options else ["sh", "-c", command]) as session:
        return session.rest(), session.wait()


def test_with_a_tail_a_terminal_shows_what_it_would_have_shown() -> None:
    for command in (
        "for n in 0 1 2; do test -t $n && echo $n; done; stty size; stty -a; test -t 1 </dev/tty && echo tty",
        "printf 'a\\tb\\033[31mred\\033[0m\\rx\\n'; seq 1 20000; stty -echo -icanon; exit 5",
        "echo out; echo err >&2; kill -TERM $$",
        "exec no-such-command",
    ):
        assert on_a_terminal(command, *TAIL) == on_a_terminal(command)


def test_the_modes_that_a_job_leaves_a_terminal_in_stay() -> None:
    script = '"$@" stty -echo -icanon; stty -a | tr " " "\\n" | grep -E "^-?(echo|icanon|isig|opost|onlcr);?$"'

    def modes(*prefix: str) -> bytes:
        with Session(["sh", "-c", script, "sh", *prefix]) as session:
            return session.rest()

    assert modes(*wrapped(*TAIL)) == modes("env")


class Tmux:
    """A tmux of its own with one window of 80 by 24."""

    def __init__(self, tmp_path: Path, command: str) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / "socket")]
        self._do("new-session", "-d", "-x", "80", "-y", "24", f"trap : INT; {command}; echo status $?; exec sleep 60")

    def _do(self, *args: str) -> str:
        env = environment({"TERM": "xterm", "SHELL": "/bin/sh", "TMUX": None})
        done = subprocess.run([*self._tmux, *args], capture_output=True, check=True, env=env, timeout=PATIENCE_S)
        return done.stdout.decode()

    def keys(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._do("capture-pane", "-p", "-e")

    def settled(self, sign: str) -> str:
        """The screen once it shows the sign and has come to rest."""
        last = ""

        def at_rest() -> bool:
            nonlocal last
            before, last = last, self.screen()
            time.sleep(0.1)
            return bool(re.search(sign, last)) and last == before

        try:
            wait_until(at_rest, "the screen", timeout=PATIENCE_S / 2)
        except AssertionError as error:
            raise AssertionError(f"no {sign!r} in {last!r}") from error
        return last

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._do("kill-server")


class Program(NamedTuple):
    """A program, and what is done to it: keys to press, or a size for the window, and what is on the screen then."""

    command: str
    steps: tuple[tuple[tuple[str, ...] | tuple[int, int], str], ...]


PROGRAMS = {
    "less": Program(
        "env LESS= less text",
        (
            ((), "line 1\n"),
            (("Space",), "line 40\n"),
            (("/line 200", "Enter"), "line 20[1-9]"),
            ((100, 30), "line 22[4-9]"),
            (("q",), "status 0"),
        ),
    ),
    "vi": Program(
        "vi -u NONE -i NONE file",
        (((), "~"), (("i", "first", "Enter", "second", "Escape"), "second"), ((":wq", "Enter"), "status 0")),
    ),
    "top": Program("top -d 60 -p 999999", (((), "PID"), (("q",), "status 0"))),
    "python3": Program(
        "env PYTHON_COLORS=0 python3 -q -i",
        (
            ((), ">>>"),
            (("print(6 * 7)", "Enter"), "42\n>>>"),
            (("C-c",), "KeyboardInterrupt\n>>>"),
            (("C-d",), "status 0"),
        ),
    ),
    "git": Program(
        "env GIT_EDITOR='vi -u NONE -i NONE --cmd \"set shm=aoOF\"' git -C repo commit -q --allow-empty",
        (((), "Please enter"), (("i", "a word", "Escape"), "a word"), ((":wq", "Enter"), "status 0")),
    ),
    "bash": Program(
        "env PS1='in> ' bash --norc --noprofile -i",
        (
            ((), "in>"),
            (("sleep 60", "Enter"), "sleep 60\n"),
            (("C-z",), "Stopped[^\n]*\nin>"),
            (("fg", "Enter"), "in> fg\nsleep 60\n"),
            (("C-c",), "\\^C\nin>"),
            (("stty -a | head -n 1", "Enter"), "rows 24[^\n]*\nin>"),
            (("C-d",), "status 0"),
        ),
    ),
}


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_in_tmux_looks_with_a_tail_as_it_does_bare(tmp_path: Path, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")

    def screens(prefix: str) -> list[str]:
        place = tmp_path / ("wrapped" if prefix else "bare")
        (place / "repo").mkdir(parents=True)
        (place / "text").write_text("".join(f"line {number}\n" for number in range(1, 301)))
        identity = ["-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, "init", "-q", str(place / "repo")], check=True)
        for key in ("user.name", "user.email"):
            subprocess.run(["git", "-C", str(place / "repo"), "config", key, "tester"], check=True)
        tmux = Tmux(place, f"cd {place} && {prefix} {PROGRAMS[name].command}")
        seen = []
        try:
            for act, sign in PROGRAMS[name].steps:
                if act and isinstance(act[0], int):
                    tmux.resize(*act)
                elif act:
                    tmux.keys(*act)
                seen.append(tmux.settled(sign))
        finally:
            tmux.close()
        return seen

    bare, with_tail = screens(""), screens(" ".join(wrapped(*TAIL)))
    if name == "top":  # whose figures, above its table, change
        bare, with_tail = ([screen[screen.index("PID") :] for screen in seen] for seen in (bare, with_tail))
    assert with_tail == bare


def test_the_report_comes_although_nothing_of_it_is_seen(service: Server) -> None:
    assert_alike(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert [event["metadata"]["exit_code"] for event in service.events] == [3]
