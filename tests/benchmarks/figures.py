"""Medians, spreads and tables; and the place in docs/benchmarks.md where they stand. Pure."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


class Spread(NamedTuple):
    """The middle of some numbers, and the quartiles that half of them lie between."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread:
        """Of at least one number."""
        values = list(numbers)
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(median(values), low, high)

    @classmethod
    def of_ratios(cls, numbers: Iterable[float], others: Iterable[float]) -> Spread:
        """Of each number to the one that was measured beside it."""
        return cls.of(number / other for number, other in zip(numbers, others, strict=True))

    def __str__(self) -> str:
        return f"{shown(self.middle)} ({shown(self.low)}-{shown(self.high)})"


class Table(NamedTuple):
    """A titled table; the first column is of words, the others of numbers. ``note`` says how to read it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    def __str__(self) -> str:
        """As Markdown whose columns also line up on a terminal."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = (_line(cells, widths) for cells in (self.header, rule, *self.rows))
        return "\n".join([f"**{self.title}**", "", *lines, "", self.note])


def shown(number: float) -> str:
    """Three figures that mean something: ``0.98``, ``12.3``, ``1,234``."""
    decimals = 2 if abs(number) < 10 else 1 if abs(number) < 100 else 0
    return f"{number:,.{decimals}f}"


def judged(sign: str, target: float, *, met: bool) -> str:
    """The target, and whether what was measured is within it."""
    return f"{sign} {target}" if met else f"{sign} {target}, missed"


def with_figures(page: str, figures: str) -> str:
    """The page with these figures between its markers; raises ``ValueError`` where they are not."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    if begin > end:
        raise ValueError(f"the page must have {BEGIN} and after it {END}")
    return f"{page[:begin]}\n{figures.strip()}\n{page[end:]}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"
