"""The README's pictures of a terminal: what the real command prints, drawn by rich.

``python -m tests.support.pictures`` writes them; a test holds their text equal to what the command prints today.
"""

from __future__ import annotations

import html
import io
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tests.support.command import run_logsh
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = Path(__file__).parents[2] / "docs"
WIDTH = 88

SESSIONS: dict[str, tuple[str, ...]] = {
    "send": (
        'logsh send -e deploy.done -d "v1.2.3 is live" -i :rocket: -m version=1.2.3',
        'logsh send -e deploy.done -d "" -i :rokcet: -m version',
    ),
    "outbox": ('logsh send -e order.paid -d "42 EUR" --deadline 3', "logsh outbox list"),
}
"""The commands in each picture; in the second one, nobody answers."""

# What differs from run to run, and what stands for it.
_VARYING = ((re.compile(r"\d+ ms"), "142 ms"), (re.compile(r"((?:pending|waiting) +)\d+s +\d +"), r"\g<1>5s   3      "))


def screen(name: str) -> Text:
    """Return a session as a terminal shows it: each command behind a prompt, and what it printed."""
    shown = Text()
    with tempfile.TemporaryDirectory() as home, Server() as server:
        url = server.url if name == "send" else "http://127.0.0.1:9"
        for command in SESSIONS[name]:
            shown.append("$ ", "bold green").append(f"{command}\n")
            shown.append_text(Text.from_ansi(_printed(command, _environment(home, url)))).append("\n\n")
    shown.rstrip()
    return shown


def _environment(home: str, url: str) -> Mapping[str, str]:
    return {
        "HOME": home,
        "LOGSH_CONFIG_DIR": f"{home}/config",
        "LOGSH_STATE_DIR": f"{home}/state",
        "LOGSH_API_URL": url,
        "LOGSH_API_KEY": "logsh_for_a_picture",
        "LOGSH_WORKSPACE": "prod",
        "FORCE_COLOR": "1",
        "COLUMNS": str(WIDTH),
    }


def _printed(command: str, env: Mapping[str, str]) -> str:
    done = run_logsh(*shlex.split(command)[1:], env=env)
    printed = done.stdout + done.stderr
    for pattern, stand_in in _VARYING:
        printed = pattern.sub(stand_in, printed)
    return "\n".join(line.rstrip() for line in printed.rstrip().splitlines())


def draw(name: str) -> str:
    """The picture as SVG."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True)
    console.print(screen(name))
    return console.export_svg(title="logsh", unique_id=f"logsh-{name}")


def text_of(svg: str) -> list[str]:
    """The words on the lines of a picture, however this version of rich draws them."""
    lines: dict[float, list[str]] = {}
    for attributes, content in re.findall(r"<text ([^>]*)>([^<]*)</text>", svg):
        if place := re.search(r'\by="([\d.]+)"', attributes):
            lines.setdefault(float(place[1]), []).append(html.unescape(content))
    return [" ".join(" ".join(parts).replace("\xa0", " ").split()) for _, parts in sorted(lines.items())]


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for each in SESSIONS:
        (DIRECTORY / f"{each}.svg").write_text(draw(each), encoding="utf-8")
