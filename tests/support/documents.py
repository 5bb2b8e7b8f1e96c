"""The README and the pages under docs/ as data: their fenced blocks, each with the marker that stands above it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RECIPES = ROOT / "docs" / "recipes.md"
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


def blocks(page: Path = README) -> list[Block]:
    """Every block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found["marker"], found["language"], found["text"]) for found in _FENCE.finditer(text)]


def block(marker: str, page: Path = README) -> Block:
    """The one under this marker."""
    (found,) = (each for each in blocks(page) if each.marker == marker)
    return found


def recipe(name: str) -> Block:
    """The recipe of this name."""
    return block(f"recipe: {name}", RECIPES)


def table(text: str) -> list[list[str]]:
    """The rows of a Markdown table below its header, cell by cell."""
    rows = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows[2:]]
