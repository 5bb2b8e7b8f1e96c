"""Change keys of one table in TOML text, leaving every other byte, comments included, where it is. Pure.

tomlkit keeps comments, but adds a key behind whatever stands last before the next table, which is often that table's
comment. So it is given one block of the file at a time: a header, the comment lines right above it, and its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import tomlkit

if TYPE_CHECKING:
    from collections.abc import Sequence

Changes: TypeAlias = "Mapping[str, str | bool | int | float | None]"

_BLOCK_START = re.compile(r"^(?:[ \t]*#[^\n]*\n)*[ \t]*\[", re.MULTILINE)


def edit(text: str, table: Sequence[str], changes: Changes) -> str:
    """The text with keys of ``table`` set, or removed where the value is ``None``.

    ``table`` is the path of its name, empty for the top level; it is added at the end if no block has it.

    Raises:
        tomlkit.exceptions.TOMLKitError, ValueError: the text is beyond what this can change. It may also give a text
            that is wrong (a multi-line string that looks like a header misleads it): the caller compares.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    blocks = _blocks(text)
    for index, block in enumerate(blocks):
        body = block.rstrip()
        document = tomlkit.parse(body and body + newline)
        found = _descend(document, table)
        if found is None:
            continue
        apply(found, changes)
        separator = block[len(body) :] or newline
        if not body and index + 1 < len(blocks):
            separator = newline * 2
        edited = tomlkit.dumps(document).rstrip("\r\n")
        blocks[index] = _with_newline(edited, newline) + separator if edited else ""
        return "".join(blocks)
    head = text.rstrip()
    return (head and head + newline * 2) + _with_newline(_new_table(table, changes), newline)


def apply(table: Any, changes: Changes) -> None:
    """Make the changes in a table, tomlkit's or a plain ``dict``."""
    for key, value in changes.items():
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]


def _blocks(text: str) -> list[str]:
    """The text in pieces, the first of which is the top level, possibly empty."""
    starts = [match.start() for match in _BLOCK_START.finditer(text)]
    return [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]


def _descend(document: Any, path: Sequence[str]) -> Any | None:
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            return None
        document = document[name]
    return document


def _new_table(path: Sequence[str], changes: Changes) -> str:
    table = tomlkit.table()
    apply(table, changes)
    for name in reversed(path):
        parent = tomlkit.table(is_super_table=True)
        parent[name] = table
        table = parent
    document = tomlkit.document()
    document.update(table)
    return tomlkit.dumps(document)


def _with_newline(text: str, newline: str) -> str:
    return text if newline == "\n" else re.sub(r"(?<!\r)\n", newline, text)
