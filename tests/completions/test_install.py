"""``logsh completion --install``: each file where its reader looks, found there by the real shells and by man."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logsh_cli.commands.completion import FILES
from tests.completions.test_completion import COMPLETIONS, PACKAGES, SETUPS
from tests.support.command import LOGSH, Completed, environment
from tests.support.pty_session import Session
from tests.support.terminal import Shell

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="HOME is for POSIX systems")

PLACES = {
    "bash": ".local/share/bash-completion/completions/logsh",
    "zsh": ".zfunc/_logsh",
    "fish": ".config/fish/completions/logsh.fish",
    "powershell": ".config/powershell/logsh.ps1",
    "man": ".local/share/man/man1/logsh.1",
}


@pytest.fixture
def home() -> Path:
    return Path(os.environ["HOME"])


def installed(logsh: Callable[..., Completed], shell: str, *more: str, **env: str) -> list[str]:
    done = logsh("completion", shell, "--install", *more, env=env)
    assert (done.code, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", FILES)
def test_each_file_goes_where_its_reader_looks(logsh: Callable[..., Completed], home: Path, shell: str) -> None:
    path = home / PLACES[shell]

    would = installed(logsh, shell, "--dry-run")
    assert would[0] == f"would write {path}"
    assert list(home.iterdir()) == []
    wrote = installed(logsh, shell)
    assert (wrote[0], wrote[1:]) == (f"wrote {path}", would[1:])
    assert path.read_bytes() == COMPLETIONS.joinpath(FILES[shell]).read_bytes()
    assert installed(logsh, shell)[0] == f"{path} is up to date"
    path.write_text("of an older version")
    assert installed(logsh, shell)[0] == f"wrote {path}"
    assert [each for each in home.rglob("*") if each.is_file()] == [path]


def test_places_that_the_environment_names_are_used(logsh: Callable[..., Completed], tmp_path: Path) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config home")}
    assert installed(logsh, "bash", "--dry-run", **env)[0].endswith(
        f" {tmp_path}/data/bash-completion/completions/logsh"
    )
    assert installed(logsh, "fish", "--dry-run", **env)[0].endswith(
        f" {tmp_path}/config home/fish/completions/logsh.fish"
    )
    own = {**env, "BASH_COMPLETION_USER_DIR": str(tmp_path / "own")}
    assert installed(logsh, "bash", "--dry-run", **own)[0].endswith(f" {tmp_path}/own/completions/logsh")


def test_dry_run_without_install_is_refused(logsh: Callable[..., Completed]) -> None:
    done = logsh("completion", "zsh", "--dry-run")
    assert (done.code, done.stdout) == (2, "")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0 and sys.platform != "linux", reason="root writes all")
def test_a_place_that_can_not_be_written_is_said(logsh: Callable[..., Completed], home: Path) -> None:
    (home / ".zfunc").write_text("a file")
    done = logsh("completion", "zsh", "--install")
    assert (done.code, done.stdout) == (78, "")
    assert f"{home}/.zfunc/_logsh can't be written" in done.stderr


@pytest.mark.parametrize(("answer", "written"), [(b"y", True), (b"yes", True), (b"n", False), (b"", False)])
def test_at_a_terminal_it_asks_first(home: Path, answer: bytes, written: bool) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    with Session([str(LOGSH), "completion", "zsh", "--install"], env=env, cwd=home) as session:
        session.shows(b"[y/N]")
        session.type(answer + b"\n")
        session.rest()
        assert session.wait() == 0
    assert (home / PLACES["zsh"]).exists() is written


NOTES = {
    "no start-up file": (None, "add to ~/.zshrc:  fpath+=(~/.zfunc); autoload -Uz compinit; compinit"),
    "one that starts completion": (
        "autoload -Uz compinit\ncompinit\n",
        "add to ~/.zshrc, before the line with compinit:  fpath+=(~/.zfunc)",
    ),
    "one that knows the folder": ("fpath+=(~/.zfunc)\nautoload -Uz compinit\ncompinit\n", None),
}


@pytest.mark.parametrize("case", NOTES)
def test_zsh_finds_it_once_the_line_that_is_shown_stands_in_its_start_up_file(
    logsh: Callable[..., Completed], home: Path, case: str
) -> None:
    rc, note = NOTES[case]
    if rc is not None:
        (home / ".zshrc").write_text(rc)

    shown = installed(logsh, "zsh")[1:]

    assert shown == ([note] if note else [])
    assert (home / ".zshrc").exists() is (rc is not None), "it is never written unasked"
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    line = f"{note.partition(':  ')[2]}\n" if note else ""
    (home / ".zshrc").write_text(line + (rc or ""))
    env = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "xterm"}
    asked = subprocess.run(
        ["zsh", "-ic", "echo $_comps[logsh]"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert asked.stdout.split()[-1:] == ["_logsh"], asked.stderr


@pytest.mark.parametrize("name", ["bash", "fish"])
def test_bash_and_fish_find_it_themselves(logsh: Callable[..., Completed], home: Path, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    installed(logsh, name)
    setup = re.sub(r"(?m)^(\.|source) \{completions\}.*\n", "", SETUPS[name])
    if name == "bash":
        package = next((path for path in PACKAGES if path.is_file()), None)
        if package is None:
            pytest.skip("the bash-completion package is not installed")
        setup = f". {package}\n{setup}"
    (home / ".local/share/fish/generated_completions").mkdir(parents=True)
    commands = home / "bin"
    commands.mkdir()
    (commands / "logsh").symlink_to(LOGSH)
    env = {"HOME": str(home), "PATH": f"{commands}:/usr/bin:/bin", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    argv = (name, "--norc", "--noprofile", "-i") if name == "bash" else (name, "-i")
    shell = Shell(argv, setup, env, home)
    try:
        assert shell.complete("logsh send --wo").line.rstrip() == "logsh send --workspace"
    finally:
        shell.close()


def test_bash_without_its_package_needs_the_line_that_is_shown(logsh: Callable[..., Completed], home: Path) -> None:
    (note,) = installed(logsh, "bash")[1:]
    line = note.partition(":  ")[2]
    script = f"{line}\ncomplete -p logsh"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(" logsh\n")
    assert home.joinpath(".bashrc").exists() is False


@pytest.mark.parametrize("path", ["{home}/.local/bin:/usr/bin:/bin", "/usr/bin:/bin"])
def test_man_finds_the_manual(logsh: Callable[..., Completed], home: Path, path: str) -> None:
    (home / ".local" / "bin").mkdir(parents=True)
    search = path.format(home=home)
    notes = installed(logsh, "man", PATH=search)[1:]
    assert len(notes) == (0 if ".local" in path else 1)
    if shutil.which("man") is None or shutil.which("manpath") is None:
        pytest.skip("man-db is not installed")
    line = notes[0].partition(":  ")[2] if notes else ":"
    done = subprocess.run(
        ["sh", "-c", f"{line}\nman -w logsh"],
        env={"HOME": str(home), "PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(home / PLACES["man"]), done.stderr
