"""Lines that a job may write: tokens by their shape, secrets by what stands around them, and lines without any secret.

The table is ``corpus.txt``. In a token ``{h*40}`` is 40 characters of a kind: it never has a whole one, which scanners
of repositories look for. ``{}`` is the secret of a context; ``␤`` is a line feed, ``␉`` a tab.
"""

from __future__ import annotations

import random
import re
import string
from pathlib import Path

HEX = "0123456789abcdef"
KINDS = {
    "a": string.ascii_letters + string.digits,
    "U": string.ascii_uppercase + string.digits,
    "l": string.ascii_lowercase + string.digits,
    "h": HEX,
    "d": string.digits,
}
SECRET = "c0rrect-h0rse"
WORDS = (
    *("alpha", "broker", "cache", "driver", "engine", "filter", "graph", "handler"),
    *("index", "journal", "kernel", "loader", "matrix", "node", "parser"),
)


def section(name: str) -> list[str]:
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    rows = re.search(rf"^\[{name}\]\n(.*?)(?:\n(?=\[[a-z]+\]\n)|\Z)", text, re.MULTILINE | re.DOTALL)
    assert rows
    return rows[1].replace("␉", "\t").splitlines()


def tokens() -> list[str]:
    """One token of each shape; the same at every run."""
    chance = random.Random(12)

    def filled(kind: re.Match[str]) -> str:
        return "".join(chance.choices(KINDS[kind[1]], k=int(kind[2])))

    return [re.sub(r"\{(\w)\*(\d+)\}", filled, shape) for shape in section("tokens")]


def contexts() -> list[str]:
    """``SECRET`` in each context."""
    return [context.replace("{}", SECRET).replace("␤", "\n") for context in section("contexts")]


def ordinary_lines(count: int) -> list[str]:
    """Lines as builds write them, none of which has a secret; the same at every run."""
    chance = random.Random(7)
    templates = section("ordinary")

    def filled(template: str) -> str:
        word = chance.choice(WORDS)
        hexadecimal = "".join(chance.choices(HEX, k=12))
        n, k, m = chance.randrange(10, 60), chance.randrange(1, 9), chance.randrange(100, 1000)
        return template.format(word=word, hex=hexadecimal, n=n, k=k, m=m)

    return [filled(chance.choice(templates)) for _ in range(count)]
