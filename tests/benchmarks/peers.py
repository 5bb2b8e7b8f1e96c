"""What people would use instead of logsh, each making the same request; and where HTTPie and Apprise come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from tests.benchmarks.lab import KEY, WORKSPACE, Lab, find, say
from tests.benchmarks.measure import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.lab import Trust

EVENT = {
    "workspace": WORKSPACE,
    "event": "deploy.done",
    "description": "v1.2.3 is live",
    "icon": "🚀",
    "metadata": {"version": "1.2.3"},
}
SCRIPT, HTTPIE, APPRISE, CURL, PYTHON = "httpx script", "HTTPie", "Apprise", "curl", "python -c pass"

_PACKAGES = {"http": "httpie", "apprise": "apprise"}


class Peer(NamedTuple):
    """A program to measure; ``posts`` says whether it sends one event."""

    name: str
    argv: tuple[str | Path, ...]
    env: Mapping[str, str]
    posts: bool = True


def smallest_script(lab: Lab, port: str, trust: Trust = "bundle") -> Peer:
    """The measure of all things: the least that one can write with httpx, in the same environment as logsh."""
    headers = {"Authorization": f"Bearer {KEY}"}
    code = f"import httpx; httpx.post({lab.url(port) + '/api/event'!r}, headers={headers!r}, json={EVENT!r})"
    return Peer(SCRIPT, (lab.python, "-c", code), lab.environment(trust))


def curl_argv(lab: Lab, port: str, program: Path) -> tuple[str | Path, ...]:
    """curl, posting what its last argument will be."""
    headers = ("-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json")
    return (program, "-sS", "-o", os.devnull, *headers, lab.url(port) + "/api/event", "--data-raw")


def others(lab: Lab, port: str, *, install: bool) -> list[Peer]:
    """HTTPie, Apprise, curl and an empty Python program, as far as they are to be had here."""
    found: list[Peer] = []
    env = lab.environment()
    if httpie := _peer_program("http", install=install):
        # Else it starts a process that looks for a newer version.
        (lab.directory / "httpie").mkdir(exist_ok=True)
        (lab.directory / "httpie" / "config.json").write_text(json.dumps({"disable_update_warnings": True}))
        fields = [f"{name}:={json.dumps(value)}" for name, value in EVENT.items()]
        words = ("--ignore-stdin", "--verify", lab.bundle, "POST", lab.url(port) + "/api/event")
        httpie_env = {**env, "HTTPIE_CONFIG_DIR": str(lab.directory / "httpie")}
        found.append(Peer(HTTPIE, (httpie, *words, f"Authorization:Bearer {KEY}", *fields), httpie_env))
    if apprise := _peer_program("apprise", install=install):
        target = (
            lab.url(port).replace("http", "json", 1) + "/api/event?" + urlencode({"+Authorization": f"Bearer {KEY}"})
        )
        found.append(Peer(APPRISE, (apprise, "-t", str(EVENT["event"]), "-b", str(EVENT["description"]), target), env))
    if curl := find("curl"):
        found.append(Peer(CURL, (*curl_argv(lab, port, curl), json.dumps(EVENT)), env))
    found.append(Peer(PYTHON, (lab.python, "-c", "pass"), env, posts=False))
    return found


def _peer_program(name: str, *, install: bool) -> Path | None:
    program = _peers_venv() / "bin" / name
    if install and not program.exists():
        _install_peers()
    if program.exists():
        return program
    if (on_path := find(name)) is not None:
        return on_path
    say(f"note: {_PACKAGES[name]} is not installed; --peers installs it into {_peers_venv()}")
    return None


def _peers_venv() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "logsh-benchmarks" / "peers"


def _install_peers() -> None:
    venv = _peers_venv()
    say(f"installing {' and '.join(_PACKAGES.values())} into {venv} ...")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    steps = (
        (sys.executable, "-m", "venv", str(venv)),
        (str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", *_PACKAGES.values()),
    )
    for step in steps:
        done = subprocess.run(step, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{' '.join(step)} failed:\n{done.stdout}{done.stderr}")
