"""Every way to install logsh gives a whole one: each command that starts another process, the manual, completion."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest

from tests.support.archives import unpack
from tests.support.command import environment
from tests.support.documents import ROOT, block, blocks
from tests.support.processes import processes_with, wait_until
from tests.support.sending import KEY, settings_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.server import Server

pytestmark = [
    pytest.mark.service(key=KEY, validate=True),
    pytest.mark.skipif(os.name != "posix", reason="the shells are a POSIX system's"),
    pytest.mark.timeout(600),
    pytest.mark.long,
]

Completed: TypeAlias = "subprocess.CompletedProcess[str]"

DOWNLOADS = {
    "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip"),
    "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
    "UV_PYTHON": sys.executable,
    "UV_PYTHON_DOWNLOADS": "never",
    "PIPX_DEFAULT_PYTHON": sys.executable,
    "PIP_COMPILE": "0",  # all of it at once takes longer than what is used when it is used
}
"""Taken before each test gets an empty HOME: what was downloaded once need not be again."""
if "SSL_CERT_FILE" in os.environ:
    DOWNLOADS["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]


def run(argv: list[str], env: Mapping[str, str | None], **more: Any) -> Completed:
    return subprocess.run(
        argv, env=environment(env), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **more
    )


def succeed(argv: list[str], env: Mapping[str, str | None], cwd: Path | None = None) -> Completed:
    """Run an installer; without an index to be reached there is nothing to test."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    done = run(argv, {**env, **DOWNLOADS}, timeout=500, cwd=cwd)
    if done.returncode and re.search(
        r"NewConnectionError|No matching distribution|Read timed out|tcp connect error|dns error", done.stderr
    ):
        pytest.skip(f"{argv[0]} can't reach a package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class Installed(NamedTuple):
    """The command that starts what was installed, and the directory that a user has on PATH for it, if there is one."""

    argv: list[str]
    bin: Path | None


def by_pip_from_source(_wheel: Path, sdist: Path, place: Path) -> Installed:
    """As the README's main command does it, which prints what stands there, but for times and numbers."""
    (command,) = block("main command").lines
    copy = unpack(sdist, place)
    done = succeed(["sh", "-c", command], {"LOGSH_CONFIG_DIR": None, "LOGSH_STATE_DIR": None}, cwd=copy)
    shown = next(each.text for each in blocks() if not each.language)
    varying = re.compile(r"\d+ ms|\d\d:\d\d:\d\d|HTTP 20\d")
    assert varying.sub("N", done.stdout) == varying.sub("N", shown)
    return Installed([str(copy / ".venv" / "bin" / "logsh")], copy / ".venv" / "bin")


def by_pipx(wheel: Path, _sdist: Path, _place: Path) -> Installed:
    succeed(["pipx", "install", "--quiet", str(wheel)], {})
    own = Path(os.environ["HOME"], ".local", "bin")
    return Installed([str(own / "logsh")], own)


def by_uv_tool(wheel: Path, _sdist: Path, _place: Path) -> Installed:
    succeed(["uv", "tool", "install", "--quiet", str(wheel)], {})
    own = Path(os.environ["HOME"], ".local", "bin")
    return Installed([str(own / "logsh")], own)


def by_uvx(wheel: Path, _sdist: Path, _place: Path) -> Installed:
    argv = ["uvx", "--quiet", "--from", str(wheel), "logsh"]
    succeed([*argv, "--version"], {})
    return Installed([shutil.which("uvx") or "", *argv[1:]], None)


def by_zipapp(_wheel: Path, _sdist: Path, place: Path) -> Installed:
    place.mkdir()
    # With the hatchling that is here: pip reads this variable as "--build-isolation = 0".
    succeed(
        [str(ROOT / ".ci" / "zipapp"), str(place / "logsh")], {"PYTHON": sys.executable, "PIP_NO_BUILD_ISOLATION": "0"}
    )
    # A Python that has no logsh of its own: the one file must do.
    (place / "python3").symlink_to(Path(sys.executable).resolve())
    return Installed([str(place / "logsh")], place)


INSTALLERS = {
    "pip, from the source archive": by_pip_from_source,
    "pipx": by_pipx,
    "uv tool": by_uv_tool,
    "uvx --from": by_uvx,
    "zipapp": by_zipapp,
}


_LOADED = "autoload -Uz compinit; fpath+=(~/.zfunc); compinit -D -u; echo $_comps[logsh]"
READERS = {
    "bash": ("bash", ". ~/.local/share/bash-completion/completions/logsh; complete -p logsh", " logsh\n"),
    "zsh": ("zsh -f", _LOADED, "_logsh\n"),
    "fish": ("fish", "complete -C 'logsh sen'", "send"),
    "man": ("sh", 'MANPATH="$HOME/.local/share/man:" man -w logsh', "man1/logsh.1\n"),
}
"""For each file that was put in place: a shell, what it is asked, and what the answer ends with or has in it."""


@pytest.mark.parametrize("installer", INSTALLERS)
def test_an_installed_logsh_is_whole(
    archives: tuple[Path, Path], tmp_path: Path, service: Server, installer: str
) -> None:
    argv, own = INSTALLERS[installer](*archives, tmp_path / "installed")
    search = f"{own}:/usr/bin:/bin" if own else "/usr/bin:/bin"
    settings = {**settings_for(service, LOGSH_DEADLINE="30"), "PATH": search, **DOWNLOADS}

    def logsh(*args: str, env: Mapping[str, str | None] = settings) -> Completed:
        return run([*argv, *args], env, timeout=120)

    sent = logsh("send", "-e", "sent", "-d", "x", "-i", ":rocket:", "-q")
    assert (sent.returncode, sent.stderr, service.events[-1]["event"]) == (0, "", "sent")
    stored = logsh("send", "-b", "-e", "in the background", "-d", "x", "-q")
    assert (stored.returncode, stored.stderr) == (0, "")
    assert service.wait_for_events(2)[-1]["event"] == "in the background"
    job = logsh("run", "-e", "job", "--", "sh", "-c", "echo done; exit 3")
    assert (job.returncode, job.stdout, job.stderr) == (3, "done\n", "")
    assert service.events[-1]["metadata"]["exit_code"] == 3
    tried = logsh("sandbox", "--", "logsh", "send", "-e", "tried", "-d", "x", env={"PATH": search, **DOWNLOADS})
    assert (tried.returncode, len(service.events)) == (0, 3), tried.stderr
    assert re.search(r"(?m)^\d\d:\d\d:\d\d  tried  x  ", tried.stdout)
    for shell in ("bash", "zsh", "fish", "man"):
        put = logsh("completion", shell, "--install")
        assert (put.returncode, put.stderr) == (0, "")
    wait_until(lambda: not processes_with(tmp_path / "state"), "the courier to end")
    env = {"HOME": os.environ["HOME"], "PATH": search, "LC_ALL": "C.UTF-8"}
    for reader, (shell, question, answer) in READERS.items():
        if shutil.which(reader) is None:
            pytest.skip(f"{reader} is not installed")
        if reader == "fish" and own is None:
            continue  # it completes only what is there, and uvx leaves no command behind
        done = run([*shell.split(), "-c", question], env, timeout=60)
        assert answer in done.stdout, (reader, done.stderr)
