"""The manual page, ``man logsh``: the help of every command in one document, and what they have in common.

Written in the man macros, which groff and mandoc both know. ASCII alone: groff has no glyph for an emoji on paper.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from logsh_cli import __version__
from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.help import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from completions.tree import Command

DATE = "2026-11-23"
"""When what stands below was last written. mandoc asks for a date, and today's would change the page at each build."""

DESCRIPTION = """\
logsh sends events to Logsh from the command line, from scripts, cron jobs and CI steps.

An event is on disk before its first byte goes out, and stays there until the service has it: what could not be
delivered goes out with the next event that gets through, or with `logsh outbox flush`. Where a connection breaks off
before the answer, an event may arrive twice.

A setting is taken from the first of these that has it: an option, the profile that --profile names, the environment,
the project file, the default profile. An API key goes only where it belongs: a profile's key to that profile's URL, one
from the environment to the URL from the environment, or else to Logsh itself.
"""

FILES = {
    "~/.config/logsh/config.toml": "The configuration, with mode 0600 since it holds keys. Keys at its top are the "
    "default profile, [profiles.NAME] are the others. On macOS below ~/Library/Application Support, on Windows below "
    "%LOCALAPPDATA%.",
    "~/.local/state/logsh/outbox.db": "Events that are not delivered yet; it never holds a key.",
    ".logsh.toml": "A project's defaults, from here up to the root of the repository: workspace, icon, notify and "
    "[metadata]. It can't name a URL or a key.",
}

EXAMPLES = {
    "Report a deployment:": 'logsh send -e deploy.done -d "v1.2.3 is live" -i :rocket: -m version=1.2.3',
    "Hear of a nightly job when it begins to fail, and when it works again:": "logsh run -e backup.nightly --on change "
    "--notify-on change -- ./backup.sh",
    "Send what cannot wait for the network:": "logsh send --background -e door.opened -d 'Front door'",
    "Try a script without an account:": "logsh sandbox -- ./deploy.sh",
}

SEE_ALSO = ("curl(1)", "jq(1)", "cron(8)", "systemd.exec(5)")


_SPECIAL = {"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
_CODE = re.compile(r"`([^`]+)`")
_MINUS = re.compile(r"(?<![A-Za-z])-|-(?![A-Za-z])")


def page(tree: Command) -> str:
    """The whole page."""
    commands = [command for command in tree.walk() if command is not tree]
    lines = [
        r".\" Made from the commands themselves by `python -m completions`: change those, not this file.",
        f'.TH LOGSH 1 {DATE} "logsh {__version__}" "User Commands"',
        *(".SH NAME", r"logsh \- send events to Logsh from shell one-liners, cron jobs and CI steps"),
        *(".SH SYNOPSIS", ".nf"),
        *(_usage(command) for command in commands if not command.commands),
        *(".fi", ".SH DESCRIPTION"),
        *_prose(DESCRIPTION),
        *(".SH OPTIONS", "Of logsh itself; every command also takes the last one."),
        *_entries(tree.sections),
        ".SH COMMANDS",
        *(line for command in commands for line in _command(command)),
        ".SH EXIT STATUS",
        *_definitions({str(int(code)): meaning for code, meaning in EXIT_CODE_MEANINGS.items()}),
        *(".PP", _text("`logsh run` and `logsh sandbox` end with the status of the command that they ran.")),
        *(".SH ENVIRONMENT", *_definitions(ENVIRONMENT)),
        *(".SH FILES", *_definitions(FILES)),
        *(".SH EXAMPLES", *(line for what, how in EXAMPLES.items() for line in (".PP", _text(what), *_block([how])))),
        *(".SH SEE ALSO", *_see_also()),
    ]
    # A heading begins a paragraph by itself, and mandoc does not like to be told so twice.
    kept = (line for before, line in pairwise(["", *lines]) if line != ".PP" or before[:3] not in (".SH", ".SS"))
    return "\n".join(kept) + "\n"


def _usage(command: Command) -> str:
    name = " ".join(command.path)
    return rf"\fB{_code(name)}\fR {_code(command.usage.removeprefix(name).strip())}"


def _command(command: Command) -> Iterable[str]:
    yield f".SS {' '.join(command.path)}"
    yield from _prose(command.text)
    yield from _entries(
        (heading, tuple(row for row in rows if not row[0].endswith("--help"))) for heading, rows in command.sections
    )


def _entries(sections: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> Iterable[str]:
    for heading, rows in sections:
        listed = list(rows)
        if listed and heading != "Options":
            yield from (".PP", rf"{heading}:")
        for names, words in listed:
            yield from (".TP", _names(names), _text(words))


def _names(names: str) -> str:
    """``-e, --event NAME`` with what is typed as it stands in bold and what it stands for in italics."""
    pieces = re.split(r"(--?[A-Za-z][\w-]*|, | / )", names)
    shown = [
        rf"\fB{_code(piece)}\fR" if piece.startswith("-") and piece != "-- " else _italic(piece)
        for piece in pieces
        if piece
    ]
    return "".join(shown)


def _italic(piece: str) -> str:
    if piece in (", ", " / "):
        return piece
    leading = piece[: len(piece) - len(piece.lstrip())]
    return rf"{leading}\fI{_code(piece.strip())}\fR"


def _definitions(meanings: dict[str, str]) -> Iterable[str]:
    for term, meaning in meanings.items():
        yield from (".TP", rf"\fB{_code(term)}\fR", _text(meaning))


def _prose(text: str) -> Iterable[str]:
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if lines and lines[0] == "\b":
            yield from _block(lines[1:])
        else:
            yield from (".PP", _text(" ".join(lines)))


def _block(lines: Iterable[str]) -> Iterable[str]:
    stripped = [_code(line.removeprefix("  ")) for line in lines]
    yield from (".PP", ".RS 4", ".nf", *(_guarded(line) for line in stripped), ".fi", ".RE")


def _see_also() -> Iterable[str]:
    for number, reference in enumerate(SEE_ALSO, 1):
        name, section = reference.rstrip(")").split("(")
        yield f".BR {name} ({section})" + ("," if number < len(SEE_ALSO) else "")


def _text(text: str) -> str:
    """A line of prose; what stands in backquotes is set in bold. A hyphen between letters stays one."""
    shown = []
    for number, piece in enumerate(_CODE.split(text)):
        escaped = _escaped(piece)
        shown.append(rf"\fB{_code(piece)}\fR" if number % 2 else _MINUS.sub(r"\\-", escaped))
    return _guarded("".join(shown))


def _code(text: str) -> str:
    """Text that may be copied from the page into a shell: every minus is one."""
    return _escaped(text).replace("-", r"\-")


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _guarded(line: str) -> str:
    # At the beginning of a line these two would make it a macro.
    return rf"\&{line}" if line.startswith((".", "'")) else line
