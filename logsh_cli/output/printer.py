"""Results made visible: one JSON line for machines, one plain line for logs, rich for people at a terminal.

Every text passes the redactor, and every text from outside passes ``printable``, so that neither a secret nor an
escape sequence gets through whichever way the result is shown.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from logsh_cli.errors import ExitCode
from logsh_cli.output import SKIPPED, Tally, to_json
from logsh_cli.output.text import Redactor, json_escaped, printable, shown_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logsh_cli.errors import LogshError
    from logsh_cli.output import Result
    from logsh_cli.output.rich_output import RichOutput
    from logsh_cli.output.streams import Streams

_DELIVERY_PROBLEMS = (ExitCode.REFUSED, ExitCode.NOT_KEPT, ExitCode.KEPT, ExitCode.KEY_REFUSED)


class Printer:
    """The one place that writes results, errors and warnings; ``json``, ``quiet`` and ``verbose`` as the user asked."""

    def __init__(self, streams: Streams, redact: Redactor) -> None:
        self.streams = streams
        self.redact = redact
        self.json = False
        self.quiet = False
        self.verbose = False
        self._bar: RichOutput | None = None

    def show(self, result: Result | Tally) -> None:
        """Print how it ended for one event, or for many."""
        if self.json:
            self.json_line(to_json(result))
        elif isinstance(result, Tally):
            if result.error is not None:
                self.error(result.error, SKIPPED * (not result.exit_code and result.error.name == "missing_key"))
                if not any(result[:5]):  # there is nothing to count
                    return
            if not self.quiet or (result.exit_code and result.error is None):
                (self.note if result.exit_code else self.line)(plain_tally(result))
        elif result.error is not None:
            if self.streams.in_workflow and result.error.exit_code in _DELIVERY_PROBLEMS:
                self.trouble(result.error, result.heading)
            else:
                forgiven = not result.exit_code and result.status != "skipped"
                self.error(result.error, ": ".join(filter(None, ("warning" * forgiven, result.heading))))
        elif not self.quiet or result.status == "dry_run":
            if rich := self.rich(self.streams.stdout):
                rich.result(result)
            else:
                self.line(plain_result(result))

    def answer(self, value: object, sentence: str) -> None:
        """Print what was done or asked for, as one line of JSON or in words."""
        if self.json:
            self.json_line(value)
        elif not self.quiet:
            self.line(sentence)

    def json_line(self, value: object, file: TextIO | None = None) -> None:
        """One JSON line on standard output, or in a file; ASCII only where the stream can't take more."""
        # Text by text: a secret that looks like JSON must not take the line's own brackets and quotes with it.
        hidden = _each_text(value, self.redact)
        ascii_only = file is None and not self.streams.takes_unicode(self.streams.stdout)
        line = json_escaped(_json(hidden, ascii_only=ascii_only))
        if file is None:
            self.streams.out(line)
        else:
            print(line, file=file, flush=True)

    def line(self, text: str) -> None:
        """One line of result on standard output."""
        self.streams.out(self.safe(text))

    def note(self, text: str) -> None:
        """One line that is not a result, on standard error, also when quiet."""
        write = self.streams.err if self._bar is None else self._bar.above_the_bar
        write(f"logsh: {self.safe(text)}")

    def warn(self, text: str) -> None:
        """Something the user should know although it went on."""
        self.note(f"warning: {text}")

    def detail(self, text: str) -> None:
        """A line for ``--verbose``, on standard error."""
        if self.verbose:
            self.streams.err(f"* {self.safe(text)}")

    def error(self, error: LogshError, heading: str = "") -> None:
        """Say what went wrong and what to do about it, on standard error."""
        if rich := self.rich(self.streams.stderr):
            rich.error(error, heading)
        else:
            self.note(one_line(error, heading))

    def trouble(self, error: LogshError, heading: str = "") -> None:
        """Trouble with a delivery on one line whatever the terminal: a warning in the log of a GitHub workflow."""
        text = one_line(error, heading)
        if self.streams.in_workflow and heading != SKIPPED:  # which was asked for
            self.streams.workflow_warning(self.safe(text))
        else:
            self.note(text)

    def arrival(self, at: str, event: Mapping[str, Any]) -> None:
        """An event that the sandbox received, on one line."""
        subject = f"{event.get('icon', '')} {event['event']}".strip()
        facts = "notify " * bool(event.get("notify")) + " ".join(
            f"{key}={shown_value(value)}" for key, value in event.get("metadata", {}).items()
        )
        if rich := self.rich(self.streams.stdout):
            workspace = f"[{event['workspace']}]"
            rich.parts(
                (at, "dim"), (subject, "bold"), (event["description"], ""), (workspace, "cyan"), (facts.strip(), "dim")
            )
        else:
            self.line(f"{at}  {subject}  {event['description']}  [{event['workspace']}] {facts}".rstrip())

    def columns(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """Rows as they come, however many: aligned under a header at a terminal, separated by tabs elsewhere."""
        if rich := self.rich(self.streams.stdout):
            rich.columns(header, rows)
            return
        for row in rows:
            self.streams.out("\t".join(map(self.safe, row)))

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int, Mapping[str, int]], None]]:
        """A progress bar on standard error while entered, if a person is watching; yields what moves it.

        ``total`` and the position that it is called with are in the same unit; ``None`` where the end is not known.
        """
        rich = None if self.quiet or self.streams.env.get("CI") else self.rich(self.streams.stderr)
        if rich is None:
            yield lambda _position, _counts: None
            return
        with rich.progress(what, total) as move:
            self._bar = rich
            try:
                yield move
            finally:
                self._bar = None

    @property
    def watched(self) -> bool:
        """Return True if a person at a terminal reads what is said beside the result."""
        stderr = self.streams.stderr
        return not self.quiet and not self.json and stderr is not None and stderr.isatty()

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None] | None]:
        """Yield what shows, on a line that is gone in the end, what is waited for; ``None`` if nobody watches."""
        if not self.watched or not self.streams.is_rich(self.streams.stderr):
            yield None
            return
        shown: list[str] = []

        def show(text: str) -> None:
            shown.append(text)
            self.streams.overwrite(self.safe(f"logsh: {text}"))

        try:
            yield show
        finally:
            if shown:
                self.streams.overwrite("")

    def rich(self, stream: TextIO | None) -> RichOutput | None:
        """Return what draws on this stream, ``None`` where that can't be done."""
        if not self.streams.is_rich(stream):
            return None
        from logsh_cli.output.rich_output import RichOutput  # noqa: PLC0415 - rich costs 25 to 45 ms

        return RichOutput(self.streams, stream, self.safe)

    def safe(self, text: str) -> str:
        """The text as it may be shown: on one line, driving no terminal, without secrets."""
        return self.redact(printable(text))


def one_line(error: LogshError, heading: str = "") -> str:
    """Heading, message and hint as one line."""
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return f"{heading}: {text}" if heading else text


def plain_result(result: Result) -> str:
    """The result as one line of plain text, never wrapped."""
    if result.request is not None:
        return curl_command(result.request)
    event = result.event or {}
    return f"{result.status}: {event.get('event', '')} -> {event.get('workspace', '')} ({', '.join(result.facts)})"


def curl_command(request: Mapping[str, Any]) -> str:
    """A request as a command for a POSIX shell that makes it; the key is the variable ``LOGSH_API_KEY``'s."""
    from shlex import quote  # noqa: PLC0415 - only a dry run gets here

    headers = {**request["headers"], "Authorization": None}
    options = [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items() if value is not None]
    body = json_escaped(_json(request["body"]))
    authorization = '-H "Authorization: Bearer $LOGSH_API_KEY"'
    return " ".join(
        ["curl", "-X", request["method"], quote(request["url"]), authorization, *options, "-d", quote(body)]
    )


def plain_tally(tally: Tally) -> str:
    """The counts that are not zero, in words, on one line."""
    done = tally.delivered + tally.queued + tally.rejected
    lost = tally.accepted - done if tally.exit_code == ExitCode.NOT_KEPT else 0
    counts = [
        f"{number} {word}"
        for number, word in (
            (0 if done or lost else tally.accepted, "valid"),
            (tally.delivered, "delivered"),
            (tally.queued, "kept"),
            (tally.rejected, "refused"),
            (lost, "lost"),
            (tally.invalid, "invalid"),
        )
        if number
    ]
    return f"{', '.join(counts) or 'nothing to deliver'} ({tally.elapsed_ms / 1000:.1f} s)"


def _each_text(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def _json(value: object, *, ascii_only: bool = False) -> str:
    import json  # noqa: PLC0415 - a command that is run must not wait for it

    return json.dumps(value, ensure_ascii=ascii_only, default=str)
