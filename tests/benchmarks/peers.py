"""The programs that could be used instead, each making the same request, and the source of HTTPie and Apprise."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlencode

from tests.benchmarks.lab import KEY, WORKSPACE, Lab, find, say
from tests.benchmarks.lab import install as install_into

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.lab import Trust
    from tests.benchmarks.measure import Sample

EVENT = {
    "workspace": WORKSPACE,
    "event": "deploy.done",
    "description": "v1.2.3 is live",
    "icon": "🚀",
    "metadata": {"version": "1.2.3"},
}
SCRIPT = "httpx script"
STARTED = "started"


class Program(NamedTuple):
    """A program to measure beside the httpx script that is set up as it is; ``target`` is a ratio to that.

    ``part`` is what counts: the whole, the time ``until output``, or the time ``after output``, a clock's reading.
    ``events`` are how many it sends.
    """

    name: str
    argv: tuple[str | Path, ...]
    env: Mapping[str, str]
    target: float | None = None
    part: Literal["whole", "until output", "after output"] = "whole"
    events: int = 1
    port: str = "https"
    trust: Trust = "bundle"
    on_terminal: bool = False

    def measured_ms(self, sample: Sample) -> float:
        """The milliseconds of the part that counts."""
        if self.part == "after output":
            return (sample.end_ns - int(sample.output)) / 1e6
        return sample.first_ms if self.part == "until output" else sample.wall_ms


def smallest_script(lab: Lab, port: str, trust: Trust = "bundle") -> Program:
    """The measure of all things: the least that one can write with httpx, in the same environment as logsh."""
    headers = {"Authorization": f"Bearer {KEY}"}
    code = f"import httpx; httpx.post({lab.url(port) + '/api/event'!r}, headers={headers!r}, json={EVENT!r})"
    return Program(SCRIPT, (lab.python, "-c", code), lab.environment(trust))


def curl_argv(lab: Lab, port: str, program: Path) -> tuple[str | Path, ...]:
    """curl, posting what its last argument will be."""
    headers = ("-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json")
    return (program, "-sS", "-o", os.devnull, *headers, lab.url(port) + "/api/event", "--data-raw")


def others(lab: Lab, *, install: bool) -> list[Program]:
    """HTTPie, Apprise, curl, `env` and an empty Python program, as far as they are installed here."""
    found: list[Program] = []
    env = lab.environment()
    url = lab.url("https") + "/api/event"
    if httpie := _peer_program("http", install=install):
        # Else it starts a process that looks for a newer version.
        (lab.directory / "httpie").mkdir(exist_ok=True)
        (lab.directory / "httpie" / "config.json").write_text(json.dumps({"disable_update_warnings": True}))
        fields = [f"{name}:={json.dumps(value)}" for name, value in EVENT.items()]
        words = ("--ignore-stdin", f"--verify={lab.bundle}", "POST", url, f"Authorization:Bearer {KEY}", *fields)
        found.append(Program("HTTPie", (httpie, *words), {**env, "HTTPIE_CONFIG_DIR": str(lab.directory / "httpie")}))
    if apprise := _peer_program("apprise", install=install):
        target = f"{url.replace('http', 'json', 1)}?{urlencode({'+Authorization': f'Bearer {KEY}'})}"
        message = ("-t", str(EVENT["event"]), "-b", str(EVENT["description"]))
        found.append(Program("Apprise", (apprise, *message, target), env))
    if curl := find("curl"):
        found.append(Program("curl", (*curl_argv(lab, "https", curl), json.dumps(EVENT)), env))
    if starter := find("env"):
        found.append(Program("env, until the job starts", (starter, "echo", STARTED), env, None, "until output", 0))
    return [*found, Program("python -c pass", (lab.python, "-c", "pass"), env, events=0)]


def _peer_program(name: str, *, install: bool) -> Path | None:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    venv = Path(cache) / "logsh-benchmarks" / "peers"
    program = venv / "bin" / name
    if install and not program.exists():
        install_into(venv, "httpie", "apprise")
    if program.exists():
        return program
    if (on_path := find(name)) is None:
        say(f"note: {name} is not installed; --peers installs it into {venv}")
    return on_path
