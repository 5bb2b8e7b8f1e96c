"""Medians, spreads and tables; and the place in docs/benchmarks.md where they stand. Pure."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
HEADING = "## Figures"


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
    note: str = ""

    def __str__(self) -> str:
        """As Markdown whose columns also line up on a terminal."""
        widths = [max(len(row[column]) for row in (self.header, *self.rows)) for column in range(len(self.header))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(self.header, widths), _line(rule, widths), *(_line(row, widths) for row in self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else [])])


def shown(number: float) -> str:
    """Three figures that mean something: ``0.98``, ``12.3``, ``1,234``."""
    decimals = 2 if abs(number) < 10 else 1 if abs(number) < 100 else 0
    return f"{number:,.{decimals}f}"


def judged(ratio: float, target: float) -> str:
    """The target, and whether the ratio that is printed is within it."""
    return f"≤ {target}" if round(ratio, 2) <= target else f"≤ {target}, missed"


def with_figures(page: str, figures: str) -> str:
    """The page with these figures between the markers; the section is added at the end where there is none.

    Raises ``ValueError`` when there is only one of the two markers, or they are the wrong way round.
    """
    block = f"{BEGIN}\n{figures.strip()}\n{END}"
    if BEGIN not in page and END not in page:
        return f"{page.rstrip()}\n\n{HEADING}\n\n{block}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have {BEGIN} and after it {END}")
    return before + block + after


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"
