"""The only rich: results for a person at a terminal.

Every text from outside becomes a ``Text``, which rich takes literally: no markup in an event's description is obeyed.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.cells import set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from logsh_cli.output.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logsh_cli.doctor import Check, Section
    from logsh_cli.errors import LogshError
    from logsh_cli.output.result import Result
    from logsh_cli.output.streams import Streams

# Basic colours only: they follow the terminal's own palette, so they read on a light ground as on a dark one.
GOOD, BAD, DIM, KEY = "green", "bold red", "dim", "cyan"

_UNBROKEN = 10_000
"""Columns off a terminal (``FORCE_COLOR``): the real width is not known, and a guess must not break lines."""
_MARKS = {"ok": ("✓", GOOD), "warn": ("!", "bold yellow"), "fail": ("✗", BAD), "skip": ("·", DIM)}
_CHECK_NAME_WIDTH = 14
_UNBROKEN = 10_000
"""The width of a table off a terminal, where the width is a guess, which must not break lines."""


class Forgiving:
    """A stream whose reader may go away, or whose disk may be full, without that changing how the command ends.

    Rich would raise ``SystemExit(1)`` for the one and ``OSError`` for the other.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            return cast("TextIO", self._stream).write(text)
        return len(text)

    def flush(self) -> None:
        """Push out what can be."""
        with suppress(OSError, ValueError):
            cast("TextIO", self._stream).flush()


def console_for(streams: Streams, stream: TextIO | None) -> Console:
    """A console on one of the streams; ``FORCE_COLOR`` makes it draw off a terminal too, ``NO_COLOR`` takes colours."""
    forced = bool(streams.env.get("FORCE_COLOR"))
    return Console(
        file=cast("TextIO", Forgiving(stream)),
        force_terminal=True if forced else None,
        width=None if stream is not None and stream.isatty() else _UNBROKEN,
        no_color=True if streams.env.get("NO_COLOR") else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def show_result(streams: Streams, result: Result, redact: Callable[[str], str]) -> None:
    """A delivered, stored or dry-run event."""
    console = console_for(streams, streams.stdout)
    safe = _safe(redact)
    event = result.event or {}
    if result.request is not None:
        _print(console, _heading("dry run", "yellow", "nothing was sent"))
        _print(console, _request(result.request, safe))
        return
    facts = [f"#{result.id}"] if result.status == "stored" else [f"HTTP {result.http_status}"]
    if result.attempts > 1:
        facts.append(f"{result.attempts} attempts")
    facts.append(f"{result.elapsed_ms} ms")
    _print(console, _heading(f"✓ {result.status}", GOOD, " · ".join(facts)))
    _print(console, event_block(event, safe))


def show_error(streams: Streams, error: LogshError, *, prefix: str, redact: Callable[[str], str]) -> None:
    """What went wrong, each problem on a line of its own, and what to do about it."""
    console = console_for(streams, streams.stderr)
    safe = _safe(redact)
    problems = list(getattr(error, "problems", [])) or [error.message]
    head = Text.assemble(("✗ ", BAD), (safe(prefix or _HEADS.get(error.name, problems[0])), BAD))
    _print(console, head)
    shown = problems if prefix or error.name in _HEADS else problems[1:]
    for problem in shown:
        _print(console, Text("  " + safe(problem)))
    if error.hint:
        _print(console, Text.assemble(("  → ", KEY), safe(error.hint)))


@contextmanager
def progress_bar(streams: Streams, what: str, total: int | None) -> Iterator[Callable[[int, Mapping[str, int]], None]]:
    """A bar with the counts of each outcome; it disappears when it is done, since the tally says the same."""
    from rich.progress import (  # noqa: PLC0415 - 2 ms that a single result can do without
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"), TimeElapsedColumn())
    with Progress(*columns, console=console_for(streams, streams.stderr), transient=True) as bar:
        task = bar.add_task(what, total=total, counts="")

        def move(position: int, counts: Mapping[str, int]) -> None:
            bar.update(task, completed=position, counts=", ".join(f"{n} {status}" for status, n in counts.items() if n))

        yield move


def show_parts(streams: Streams, parts: Iterable[tuple[str, str]], redact: Callable[[str], str]) -> None:
    """Texts on one line, each with its style; those that are empty are left out."""
    safe = _safe(redact)
    shown = [Text(safe(text.strip()), style) for text, style in parts if text.strip()]
    _print(console_for(streams, streams.stdout), Text("  ").join(shown))


def show_columns(
    streams: Streams,
    header: tuple[str, ...],
    widths: tuple[int, ...],
    rows: Iterable[tuple[str, ...]],
    redact: Callable[[str], str],
) -> None:
    """Aligned lines, cut at the terminal's edge. A rich table would hold all rows before it prints the first."""
    console = console_for(streams, streams.stdout)
    safe = _safe(redact)

    def line(cells: tuple[str, ...]) -> Text:
        padded = [set_cell_size(safe(cell), width) for cell, width in zip(cells, widths, strict=False)]
        return Text("  ".join([*padded, *map(safe, cells[len(widths) :])]))

    head = line(header)
    head.stylize("bold")
    console.print(head, no_wrap=True, overflow="ellipsis")
    for row in rows:
        console.print(line(row), no_wrap=True, overflow="ellipsis")


def show_checks(
    streams: Streams,
    sections: Iterable[Section],
    redact: Callable[[str], str],
    summarise: Callable[[list[Check]], str],
    *,
    quiet: bool,
) -> list[Check]:
    """The sections of ``doctor``, each as soon as it is known; with ``quiet`` only the problems. Returns all checks."""
    console = console_for(streams, streams.stdout)
    watched = console.file.isatty()
    if not watched:
        console.width = _UNBROKEN
    checks: list[Check] = []
    for section in sections:
        with console.status(f"{section.title} …") if watched else nullcontext():
            found = list(section.checks)
        checks += found
        if shown := [check for check in found if check.is_problem or not quiet]:
            console.print(Text(section.title, "bold"))
            console.print(_checks_grid(shown, _safe(redact)))
    if not quiet:
        broken = any(check.level == "fail" for check in checks)
        console.print(Text.assemble(_MARKS["fail" if broken else "ok"], " ", (summarise(checks), "bold")))
    return checks


def _checks_grid(checks: Iterable[Check], safe: Callable[[str], str]) -> Table:
    """Mark, name, detail; what to do stands below its detail."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=_CHECK_NAME_WIDTH)
    grid.add_column(overflow="fold")
    for check in checks:
        detail = Text(safe(check.detail), DIM if check.level == "skip" else "")
        if check.hint:
            detail.append("\n→ ", KEY).append(safe(check.hint))
        grid.add_row(Text.assemble("  ", _MARKS[check.level]), Text(check.name, KEY), detail)
    return grid


def event_block(event: Mapping[str, Any], safe: Callable[[str], str]) -> Table:
    """An event as people read it: icon and name, description, workspace, then its metadata aligned."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    name = f"{event.get('icon', '')} {event.get('event', '')}".strip()
    grid.add_row(Text("  event", KEY), Text(safe(name), "bold"))
    grid.add_row(Text("  description", KEY), Text(safe(str(event.get("description", "")))))
    grid.add_row(Text("  workspace", KEY), Text(safe(str(event.get("workspace", "")))))
    if "notify" in event:
        grid.add_row(Text("  notify", KEY), Text("yes" if event["notify"] else "no"))
    for key, value in (event.get("metadata") or {}).items():
        shown = value if isinstance(value, str) else _json(value)
        grid.add_row(Text(f"  {safe(str(key))}", DIM), Text(safe(shown)))
    return grid


def _request(request: Mapping[str, Any], safe: Callable[[str], str]) -> Text:
    text = Text(f"{request['method']} ", "bold").append(safe(request["url"]), "bold").append("\n")
    for name, value in request["headers"].items():
        text.append(f"{name}: ", KEY).append(safe(value)).append("\n")
    return text.append("\n").append("\n".join(safe(line) for line in _json(request["body"], indent=2).splitlines()))


def _heading(what: str, style: str, facts: str) -> Text:
    return Text.assemble((what, f"bold {style}"), (f"  {facts}", DIM))


def _print(console: Console, renderable: Text | Table) -> None:
    # Off a terminal (FORCE_COLOR) the width is a guess, and a guess must not break lines.
    console.print(renderable, soft_wrap=not console.file.isatty())


def _safe(redact: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: redact(printable(text))


def _json(value: object, indent: int | None = None) -> str:
    import json  # noqa: PLC0415 - beside rich it costs nothing, and nothing above needs it

    return json.dumps(value, ensure_ascii=False, indent=indent)


_HEADS = {
    "invalid_event": "this event can't be sent",
}
