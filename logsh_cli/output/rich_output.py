"""The only rich: results for a person at a terminal.

Every text from outside becomes a ``Text``, which rich takes literally: no markup in an event's description is obeyed.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from logsh_cli.output.streams import write
from logsh_cli.output.text import shown_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logsh_cli.doctor import Check
    from logsh_cli.errors import LogshError
    from logsh_cli.output import Result
    from logsh_cli.output.streams import Streams

# Basic colours only: they follow the terminal's own palette, so they read on a light ground as on a dark one.
GOOD, BAD, DIM, KEY = "green", "bold red", "dim", "cyan"

_UNBROKEN = 10_000
"""Columns off a terminal (``FORCE_COLOR``): the real width is not known, and a guess must not break lines."""
_MARKS = {"ok": ("✓", GOOD), "warn": ("!", "bold yellow"), "fail": ("✗", BAD), "skip": ("·", DIM)}
_CHECK_NAME_WIDTH = 14
_WIDEST_COLUMN = 32
_MEASURED_ROWS = 100
"""So many rows decide how wide columns are; to wait for all would need them all in memory."""
_HEADS = {"invalid_event": "this event can't be sent"}


class Forgiving:
    """A stream whose reader may go away, or whose disk may be full, without that changing how the command ends.

    Rich would raise ``SystemExit(1)`` for the one and ``OSError`` for the other.
    """

    def __init__(self, stream: TextIO | None, harmless: Callable[[str], str]) -> None:
        self._stream = stream
        self._harmless = harmless

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written, at once."""
        write(self._stream, self._harmless(text))
        return len(text)

    def flush(self) -> None:
        """Nothing waits to be written."""


class RichOutput:
    """Drawing on one stream. ``safe`` makes a text fit to be shown.

    ``FORCE_COLOR`` draws off a terminal too, ``NO_COLOR`` takes the colours.
    """

    def __init__(self, streams: Streams, stream: TextIO | None, safe: Callable[[str], str]) -> None:
        self._safe = safe
        self._watched = stream is not None and stream.isatty()
        self._console = Console(
            file=cast("TextIO", Forgiving(stream, streams.harmless)),
            force_terminal=True if streams.env.get("FORCE_COLOR") else None,
            width=None if self._watched else _UNBROKEN,
            no_color=True if streams.env.get("NO_COLOR") else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def result(self, result: Result) -> None:
        """A delivered, stored or dry-run event."""
        if result.request is not None:
            self._print(_heading("dry run", "yellow", "nothing was sent"))
            self._print(self._request(result.request))
            return
        self._print(_heading(f"✓ {result.status}", GOOD, " · ".join(result.facts)))
        self._print(self._event(result.event or {}))

    def error(self, error: LogshError, heading: str) -> None:
        """Say what went wrong, each problem on a line of its own, and what to do about it."""
        problems = list(getattr(error, "problems", [])) or [error.message]
        heading = heading or _HEADS.get(error.name, "")
        self._print(Text.assemble(("✗ ", BAD), (self._safe(heading or problems[0]), BAD)))
        for problem in problems if heading else problems[1:]:
            self._print(Text("  " + self._safe(problem)))
        if error.hint:
            self._print(Text.assemble(("  → ", KEY), self._safe(error.hint)))

    def parts(self, *parts: tuple[str, str]) -> None:
        """Texts on one line, each with its style; those that are empty are left out."""
        self._print(Text("  ").join([Text(self._safe(text), style) for text, style in parts if text.strip()]))

    def columns(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """Aligned lines, cut at the terminal's edge, as wide as the first rows need."""
        coming = (tuple(map(self._safe, row)) for row in rows)
        first = [header, *islice(coming, _MEASURED_ROWS)]
        widths = [min(max(map(cell_len, column)), _WIDEST_COLUMN) for column in zip(*first, strict=True)][:-1]
        for number, row in enumerate(chain(first, coming)):
            padded = [_fitted(cell, width) for cell, width in zip(row, widths, strict=False)]
            line = Text("  ".join([*padded, row[-1]]), "" if number else "bold")
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int, Mapping[str, int]], None]]:
        """A bar with the counts of each outcome; it disappears when it is done, since the tally says the same."""
        from rich import progress as bars  # noqa: PLC0415 - 2 ms that a single result can do without

        words, counts = bars.TextColumn("{task.description}"), bars.TextColumn("{task.fields[counts]}")
        shown = (words, bars.BarColumn(), counts, bars.TimeElapsedColumn())
        with bars.Progress(*shown, console=self._console, transient=True) as bar:
            task = bar.add_task(what, total=total, counts="")

            def move(position: int, counts: Mapping[str, int]) -> None:
                told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
                bar.update(task, completed=position, counts=told)

            yield move

    def above_the_bar(self, line: str) -> None:
        """A line of its own while a bar is shown, which stays below it."""
        self._console.print(Text(line), soft_wrap=True)

    def checks(self, sections: Mapping[str, Iterable[Check]], *, quiet: bool) -> list[Check]:
        """The sections of ``doctor``, each as soon as it is known; with ``quiet`` only the problems. Returns all."""
        checks: list[Check] = []
        for title, made in sections.items():
            with self._console.status(f"{title} …") if self._watched else nullcontext():
                found = list(made)
            checks += found
            if shown := [check for check in found if check.is_problem or not quiet]:
                self._console.print(Text(title, "bold"))
                self._console.print(self._grid(shown))
        return checks

    def _grid(self, checks: Iterable[Check]) -> Table:
        """Mark, name, detail; what to do stands below its detail."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, min_width=_CHECK_NAME_WIDTH)
        grid.add_column(overflow="fold")
        for check in checks:
            detail = Text(self._safe(check.detail), DIM if check.level == "skip" else "")
            if check.hint:
                detail.append("\n→ ", KEY).append(self._safe(check.hint))
            grid.add_row(Text.assemble("  ", _MARKS[check.level]), Text(check.name, KEY), detail)
        return grid

    def _event(self, event: Mapping[str, Any]) -> Table:
        """An event as people read it: icon and name, description, workspace, then its metadata aligned."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        name = f"{event.get('icon', '')} {event.get('event', '')}".strip()
        grid.add_row(Text("  event", KEY), Text(self._safe(name), "bold"))
        for field in ("description", "workspace"):
            grid.add_row(Text(f"  {field}", KEY), Text(self._safe(str(event.get(field, "")))))
        if "notify" in event:
            grid.add_row(Text("  notify", KEY), Text("yes" if event["notify"] else "no"))
        for key, value in (event.get("metadata") or {}).items():
            grid.add_row(Text(f"  {self._safe(str(key))}", DIM), Text(self._safe(shown_value(value))))
        return grid

    def _request(self, request: Mapping[str, Any]) -> Text:
        text = Text().append(f"{request['method']} {self._safe(request['url'])}\n", "bold")
        for name, value in request["headers"].items():
            text.append(f"{name}: ", KEY).append(f"{self._safe(value)}\n")
        body = json.dumps(request["body"], ensure_ascii=False, indent=2)
        return text.append("\n" + "\n".join(map(self._safe, body.splitlines())))

    def _print(self, renderable: Text | Table) -> None:
        # Off a terminal (FORCE_COLOR) the width is a guess, and a guess must not break lines.
        self._console.print(renderable, soft_wrap=not self._watched)


def _heading(what: str, style: str, facts: str) -> Text:
    return Text.assemble((what, f"bold {style}"), (f"  {facts}", DIM))


def _fitted(cell: str, width: int) -> str:
    if cell_len(cell) <= width:
        return set_cell_size(cell, width)
    return set_cell_size(cell, width - 1) + "…"
