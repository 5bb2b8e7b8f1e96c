"""The README as data: its fenced blocks, each with the marker that stands above it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).parents[2] / "README.md"
_FENCE = re.compile(
    r"^(?:<!-- (?P<marker>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """One fenced block; ``marker`` is the comment on the line before it, such as ``recipe: cron``."""

    marker: str | None
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Without empty ones."""
        return [line for line in self.text.splitlines() if line.strip()]


def blocks() -> list[Block]:
    """All of them, in order."""
    text = README.read_text(encoding="utf-8")
    return [Block(found["marker"], found["language"], found["text"]) for found in _FENCE.finditer(text)]


def block(marker: str) -> Block:
    """The one under this marker."""
    (found,) = (each for each in blocks() if each.marker == marker)
    return found


def recipe(name: str) -> Block:
    """The recipe of this name."""
    return block(f"recipe: {name}")


def section(name: str) -> str:
    """What stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    text = README.read_text(encoding="utf-8")
    return text.split(f"<!-- {name} -->\n", 1)[1].split(f"<!-- /{name} -->", 1)[0]


def write_section(name: str, content: str) -> None:
    """Replace it."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(f"<!-- {name} -->\n", 1)
    _, after = rest.split(f"<!-- /{name} -->", 1)
    README.write_text(f"{before}<!-- {name} -->\n{content}<!-- /{name} -->{after}", encoding="utf-8")


def table(text: str) -> list[list[str]]:
    """The rows of a Markdown table below its header, cell by cell."""
    rows = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows[2:]]
