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
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.processes import wait_until
from tests.support.pty_session import CTRL_D, Session
from tests.support.sending import settings_for
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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
    """What the caller of a command sees of it: the status as a shell shows it, and its output."""

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
def test_binary_output_is_not_touched(options: tuple[str, ...]) -> None:
    every_byte = bytes(range(256)) * 3
    code = f"import os; os.write(1, {every_byte!r}); os.write(2, {every_byte[::-1]!r}); os._exit(5)"
    assert assert_alike(python(code), *options) == Seen(5, every_byte, every_byte[::-1])


@PLAIN_AND_TAIL
def test_a_job_without_output_has_none(options: tuple[str, ...]) -> None:
    assert assert_alike(["true"], *options) == Seen(0, b"", b"")


def test_both_streams_on_one_pipe_keep_their_order() -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    seen = assert_alike(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"], ids=["stdin", "stdout", "stderr", "all"])
@PLAIN_AND_TAIL
def test_closed_streams_stay_closed(tmp_path: Path, closed: str, options: tuple[str, ...]) -> None:
    script = f'"$@" sh -c "ls /proc/\\$\\$/fd > {tmp_path}/list" {closed}; echo $?'

    def open_ones(*prefix: str) -> tuple[bytes, str]:
        done = subprocess.run(["sh", "-c", script, "sh", *prefix], capture_output=True, check=False)
        return done.stdout, (tmp_path / "list").read_text()

    assert open_ones(*wrapped(*options)) == open_ones("env")


# --- status ---------------------------------------------------------------------------------------------------------

CODES = (0, 1, 2, 3, 64, 65, 69, 70, 75, 77, 78, 125, 126, 127, 128, 129, 130, 137, 143, 254, 255)
SIGNALS = (
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "ABRT",
    "FPE",
    "KILL",
    "SEGV",
    "PIPE",
    "ALRM",
    "TERM",
    "USR1",
    "XFSZ",
    "SYS",
    "RTMIN",
)


def test_every_exit_code_is_the_jobs() -> None:
    with ThreadPoolExecutor(2) as two:
        statuses = two.map(lambda code: observe([*wrapped("--on", "change"), "sh", "-c", f"exit {code}"]), CODES)
    assert list(statuses) == [Seen(code, b"", b"") for code in CODES]


def test_a_death_by_a_signal_is_128_and_its_number() -> None:
    def die(name: str) -> Seen:
        # With the default action, which pytest or Python may have changed for some; KILL's can't be.
        reset = "" if name == "KILL" else f"signal.signal(signal.SIG{name}, signal.SIG_DFL); "
        code = f"import os, signal; {reset}os.kill(os.getpid(), signal.SIG{name})"
        script = 'ulimit -c 0; exec "$0" -c "$1"'
        return observe([*wrapped("--on", "change"), "sh", "-c", script, sys.executable, code])

    with ThreadPoolExecutor(2) as two:
        statuses = list(two.map(die, SIGNALS))
    assert statuses == [Seen(128 + getattr(signal, f"SIG{name}"), b"", b"") for name in SIGNALS]


def test_logsh_dies_of_the_signal_that_the_job_died_of_and_exits_where_the_job_did() -> None:
    def code(script: str) -> int:
        return subprocess.run([*wrapped(), "sh", "-c", script], check=False, stdin=subprocess.DEVNULL).returncode

    assert code("kill -INT $$") == -signal.SIGINT
    assert code("exit 130") == 130
    assert code("exit 143") == 143
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


@pytest.mark.parametrize(
    ("name", "status"),
    [
        pytest.param("no-such-command", 127, id="not on the path"),
        pytest.param("./no-such-file", 127, id="no such file"),
        pytest.param("./orphan", 127, id="an interpreter that is missing"),
        pytest.param("./directory", 126, id="a directory"),
        pytest.param("./plain", 126, id="not executable"),
        pytest.param("./foreign", 126, id="for another machine"),
    ],
)
def test_what_cannot_start_has_the_status_that_others_give_it(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / "directory").mkdir()
    make(tmp_path / "plain", b"echo\n", 0o644)
    make(tmp_path / "foreign", b"\x7fELF\0\0\0not for us")
    make(tmp_path / "orphan", b"#!/no/such/interpreter\n")
    # glibc's execvp has sh run whatever the kernel won't, binaries too; bash looks first.
    alone = ["bash", "-c", name] if name == "./foreign" else ["env", name]
    assert observe(alone, cwd=tmp_path).status == status
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


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_arguments_arrive_byte_for_byte(locale: str) -> None:
    argv: list[str | bytes] = ["printf", r"%s\0", *WORDS]
    assert assert_alike(argv, env=environment({"LC_ALL": locale})).stdout.split(b"\0") == [*WORDS, b""]


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


@pytest.mark.parametrize("redirected", [True, False], ids=["silent", "holding the streams"])
@PLAIN_AND_TAIL
def test_a_process_that_outlives_the_job_is_not_waited_for_and_lives_on(
    tmp_path: Path, redirected: bool, options: tuple[str, ...]
) -> None:
    keep = ">/dev/null 2>&1 </dev/null" if redirected else ""
    script = f"sleep 60 {keep} & echo $! > {tmp_path}/left; exit 4"
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


@pytest.mark.parametrize("terminals", range(8), ids=[f"{number:03b}"[::-1] for number in range(8)])
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


@pytest.mark.parametrize(
    "command",
    [
        "for n in 0 1 2; do test -t $n && echo $n; done; stty size; stty -a; test -t 1 </dev/tty && echo tty",
        "printf 'a\\tb\\033[31mred\\033[0m\\rx\\n'; exit 5",
        "seq 1 20000",
        "stty -echo -icanon",
        "kill -TERM $$",
        "echo out; echo err >&2; exec no-such-command",
    ],
)
def test_with_a_tail_a_terminal_shows_what_it_would_have_shown(command: str) -> None:
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
        self._do("new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo status $?; exec sleep 60")

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

        wait_until(at_rest, f"{sign!r} on the screen")
        return last

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._do("kill-server")


needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


def screens(tmp_path: Path, prefix: str, act: Callable[[Tmux], list[str]], program: str) -> list[str]:
    place = tmp_path / ("wrapped" if prefix else "bare")
    place.mkdir()
    tmux = Tmux(place, f"cd {tmp_path} && {prefix} {program}")
    try:
        return act(tmux)
    finally:
        tmux.close()


@needs_tmux
@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
@PLAIN_AND_TAIL
def test_a_pager_in_tmux_scrolls_searches_follows_the_window_and_ends(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "text").write_text("".join(f"line {number}\n" for number in range(1, 301)))

    def page(tmux: Tmux) -> list[str]:
        seen = [tmux.settled("line 1\n")]
        tmux.keys("Space")
        seen.append(tmux.settled("line 40\n"))
        tmux.keys("/line 200", "Enter")
        seen.append(tmux.settled("line 20[1-9]"))
        tmux.resize(100, 30)
        seen.append(tmux.settled("line 22[4-9]"))
        tmux.keys("q")
        seen.append(tmux.settled("status 0"))
        return seen

    command = "env LESS= less text"
    bare = screens(tmp_path, "", page, command)
    assert screens(tmp_path, " ".join(wrapped(*options)), page, command) == bare


@needs_tmux
@pytest.mark.skipif(shutil.which("vi") is None, reason="vi is not installed")
@PLAIN_AND_TAIL
def test_an_editor_in_tmux_edits_and_gives_the_screen_back(tmp_path: Path, options: tuple[str, ...]) -> None:
    def edit(tmux: Tmux) -> list[str]:
        seen = [tmux.settled("~")]
        tmux.keys("i", "first", "Enter", "second", "Escape")
        seen.append(tmux.settled("second"))
        tmux.keys(":wq", "Enter")
        seen.append(tmux.settled("status 0"))
        text = (tmp_path / "file").read_text()
        (tmp_path / "file").unlink()
        return [*seen, text]

    command = "vi -u NONE -i NONE file"
    bare = screens(tmp_path, "", edit, command)
    assert bare[-1] == "first\nsecond\n"
    assert screens(tmp_path, " ".join(wrapped(*options)), edit, command) == bare


def test_the_report_comes_although_nothing_of_it_is_seen(service: Server) -> None:
    assert_alike(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert [event["metadata"]["exit_code"] for event in service.events] == [3]
