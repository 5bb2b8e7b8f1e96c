"""Results made visible: one JSON line for machines, one plain line for logs, rich for people at a terminal.

Every text passes the redactor, and every text from outside passes ``printable``, so that neither a secret nor an
escape sequence gets through whichever way the result is shown.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from logsh_cli.errors import ExitCode
from logsh_cli.output.text import Redactor, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logsh_cli.errors import LogshError
    from logsh_cli.output.result import Result, Tally
    from logsh_cli.output.streams import Streams


class Printer:
    """The one place that writes results, errors and warnings; ``json``, ``quiet`` and ``verbose`` as the user asked."""

    def __init__(self, streams: Streams, redact: Redactor) -> None:
        self.streams = streams
        self.redact = redact
        self.json = False
        self.quiet = False
        self.verbose = False

    def show(self, result: Result) -> None:
        """Print how it ended for one event."""
        if self.json:
            self.json_line(result.to_json())
            return
        if result.error is not None:
            if self._in_workflow and result.error.exit_code in _DELIVERY_PROBLEMS:
                self.result_trouble(result)
            else:
                self.error(result.error, prefix=_prefix(result), kept_as=_kept_id(result))
        elif not self.quiet or result.status == "dry_run":
            if self.streams.is_rich(self.streams.stdout):
                from logsh_cli.output import rich_output  # noqa: PLC0415 - rich costs 25 to 45 ms

                rich_output.show_result(self.streams, result, self.redact)
            else:
                self.line(plain_result(result))

    def show_tally(self, tally: Tally) -> None:
        """Print how it ended for many events."""
        if self.json:
            self.json_line(tally.to_json())
            return
        if tally.error is not None:
            self.error(tally.error)
        if not self.quiet or (tally.exit_code and tally.error is None):
            (self.line if not tally.exit_code else self.note)(plain_tally(tally))

    def json_line(self, value: object) -> None:
        """One compact JSON line on standard output; ASCII only where the stream can't take more."""
        import json  # noqa: PLC0415 - not every command prints JSON

        ascii_only = not self.streams.takes_unicode(self.streams.stdout)
        # Text by text: a secret that looks like JSON must not take the line's own brackets and quotes with it.
        hidden = _each_text(value, self.redact)
        text = json.dumps(hidden, ensure_ascii=ascii_only, separators=(", ", ": "), default=str)
        # A lone surrogate (an undecodable byte of argv) has no UTF-8 form: only its escape can be written.
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(hidden, ensure_ascii=True, default=str)
        self.streams.out(text)

    def line(self, text: str) -> None:
        """One line of result on standard output."""
        self.streams.out(self.redact(printable(text)))

    def arrival(self, at: str, event: Mapping[str, Any]) -> None:
        """An event that the sandbox received, on one line."""
        subject = f"{event.get('icon', '')} {event['event']}".strip()
        facts = "notify " * bool(event.get("notify")) + " ".join(
            f"{key}={shown_value(value)}" for key, value in event.get("metadata", {}).items()
        )
        if self.streams.is_rich(self.streams.stdout):
            from logsh_cli.output.rich_output import show_parts  # noqa: PLC0415 - rich costs 25 to 45 ms

            parts = ((at, "dim"), (subject, "bold"), (event["description"], ""), (f"[{event['workspace']}]", "cyan"))
            show_parts(self.streams, (*parts, (facts, "dim")), self.redact)
        else:
            self.line(f"{at}  {subject}  {event['description']}  [{event['workspace']}] {facts}".rstrip())

    def note(self, text: str) -> None:
        """One line that is not a result, on standard error."""
        self.streams.err(self.redact(f"logsh: {printable(text)}"))

    def warn(self, text: str) -> None:
        """Something the user should know although it went on."""
        self.note(f"warning: {text}")

    def trouble(self, error: LogshError, prefix: str = "") -> None:
        """Trouble with a delivery on one line whatever the terminal: a warning in the log of a GitHub workflow."""
        text = (f"{prefix}: " if prefix else "") + one_line(error)
        if self._in_workflow:
            self.streams.err(f"::warning title=logsh::{workflow_text(self.redact(printable(text)))}")
        else:
            self.note(text)

    def result_trouble(self, result: Result) -> None:
        """The same for a result with an error; that an event was skipped, as asked for, is no trouble."""
        if result.error is None:
            return
        prefix = _PREFIXES.get(result.status, "") + _kept_id(result)
        if result.status == "skipped":
            self.note(f"{prefix}: {one_line(result.error)}")
        else:
            self.trouble(result.error, prefix)

    @property
    def _in_workflow(self) -> bool:
        return self.streams.env.get("GITHUB_ACTIONS") == "true"

    def problem(self, text: str) -> None:
        """Something that is wrong with the input, on standard error, also when quiet."""
        self.streams.err(self.redact(f"logsh: {printable(text)}"))

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int, Mapping[str, int]], None]]:
        """A progress bar on standard error while entered, if a person is watching; yields what moves it.

        ``total`` and the position that it is called with are in the same unit; ``None`` where the end is not known.
        """
        watched = self.streams.is_rich(self.streams.stderr) and not self.streams.env.get("CI")
        if self.quiet or not watched:
            yield lambda _position, _counts: None
            return
        from logsh_cli.output.rich_output import progress_bar  # noqa: PLC0415 - rich costs 25 to 45 ms

        with progress_bar(self.streams, what, total) as move:
            yield move

    def columns(self, header: tuple[str, ...], widths: tuple[int, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """Rows as they come, however many: aligned under a header at a terminal, separated by tabs elsewhere."""
        if self.streams.is_rich(self.streams.stdout):
            from logsh_cli.output.rich_output import show_columns  # noqa: PLC0415 - rich costs 25 to 45 ms

            show_columns(self.streams, header, widths, rows, self.redact)
            return
        for row in rows:
            self.streams.out(self.redact("\t".join(printable(cell) for cell in row)))

    def detail(self, text: str) -> None:
        """A line for ``--verbose``, on standard error."""
        if self.verbose:
            self.streams.err(self.redact(f"* {printable(text)}"))

    def error(self, error: LogshError, *, prefix: str = "", kept_as: str = "") -> None:
        """What went wrong and what to do about it, on standard error."""
        if self.streams.is_rich(self.streams.stderr):
            from logsh_cli.output import rich_output  # noqa: PLC0415 - rich costs 25 to 45 ms

            rich_output.show_error(self.streams, error, prefix=prefix + kept_as, redact=self.redact)
            return
        self.note(prefix + kept_as + _separator(prefix, kept_as) + one_line(error))


def shown_value(value: object) -> str:
    """A metadata value as people write it: a string as it is, anything else as JSON."""
    import json  # noqa: PLC0415 - only for what is shown

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def workflow_text(text: str) -> str:
    """Text as the data of a GitHub workflow command, of which nothing can become a command of its own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def one_line(error: LogshError) -> str:
    """Message and hint as one line."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def plain_result(result: Result) -> str:
    """The result as one line of plain text, never wrapped."""
    event = result.event or {}
    if result.request is not None:
        return plain_request(result.request)
    facts = []
    if result.id is not None and result.status == "stored":
        facts.append(f"#{result.id}")
    if result.http_status is not None:
        facts.append(f"HTTP {result.http_status}")
    if result.attempts > 1:
        facts.append(f"{result.attempts} attempts")
    facts.append(f"{result.elapsed_ms} ms")
    subject = f"{event.get('event', '')} -> {event.get('workspace', '')}"
    return f"{result.status}: {subject} ({', '.join(facts)})"


def plain_request(request: Any) -> str:
    """A request on one line: method, URL, headers, JSON body."""
    import json  # noqa: PLC0415 - only a dry run gets here

    headers = " ".join(f"-H '{name}: {value}'" for name, value in request["headers"].items())
    body = json.dumps(request["body"], ensure_ascii=False)
    return f"{request['method']} {request['url']} {headers} {body}"


def plain_tally(tally: Tally) -> str:
    """The counts that are not zero, in words, on one line."""
    done = tally.delivered + tally.queued + tally.rejected
    counts = [
        f"{number} {word}"
        for number, word in (
            (0 if done else tally.accepted, "valid"),
            (tally.delivered, "delivered"),
            (tally.queued, "kept"),
            (tally.rejected, "refused"),
            (tally.invalid, "invalid"),
        )
        if number
    ]
    return f"{', '.join(counts) or 'nothing to deliver'} ({tally.elapsed_ms / 1000:.1f} s)"


_DELIVERY_PROBLEMS = (ExitCode.REFUSED, ExitCode.NOT_KEPT, ExitCode.KEPT, ExitCode.KEY_REFUSED)
_PREFIXES = {"queued": "not delivered, kept", "rejected": "refused", "skipped": "skipped"}


def _prefix(result: Result) -> str:
    words = [_PREFIXES.get(result.status, "")]
    if not result.exit_code and result.status != "skipped":
        words.insert(0, "warning")  # --best-effort forgave it
    return ": ".join(filter(None, words))


def _each_text(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def _kept_id(result: Result) -> str:
    return f" as #{result.id}" if result.id is not None and result.status == "queued" else ""


def _separator(prefix: str, kept_as: str) -> str:
    return ": " if prefix or kept_as else ""
