"""Changing the user's ``config.toml``: one profile's keys, leaving every other byte, comments included, where it is.

tomlkit keeps comments, but adds a key behind whatever stands last before the next table, which is often that table's
comment. So it is given one block of the file at a time: a header, the comment lines right above it, and its keys.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from logsh_cli.config import config_dir
from logsh_cli.config.files import (
    CONFIG_FILE,
    DEFAULT_PROFILE,
    check_config_owner,
    check_profile_name,
    parse,
    profiles_of,
    read_config,
    unreadable,
)
from logsh_cli.config.key import key_hint
from logsh_cli.config.resolve import profile_values, selected_profile
from logsh_cli.errors import BadConfig, UsageError
from logsh_cli.files import check_owner, file_lock, make_directory, write_atomically
from logsh_cli.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Changes: TypeAlias = "Mapping[str, str | bool | int | float | None]"

_BLOCK_START = r"(?m)^(?:[ \t]*#[^\n]*\n)*[ \t]*\["
_LOCK_PATIENCE_S = 10.0


class StoredProfile(Record):
    """A profile's name and what the file has for it; ``explicit`` when ``--profile`` named it."""

    path: Path
    name: str
    explicit: bool
    values: Mapping[str, Any]

    def update(self, changes: Changes) -> None:
        """Write changes; raises ``BadConfig`` when that can't be done."""
        update(self.path, self.name, changes)


def config_path(env: Mapping[str, str]) -> Path:
    """Return where the configuration file is, or would be."""
    return config_dir(env) / CONFIG_FILE


def open_profile(
    flag: str | None, env: Mapping[str, str], warn: Callable[[str], None], *, may_be_new: bool = False
) -> StoredProfile:
    """Return the profile that a command is about: ``--profile``'s, ``LOGSH_PROFILE``'s or the default one.

    Raises:
        UsageError: a name that can't be one.
        UnknownProfile: it isn't there, unless ``may_be_new``.
        BadConfig: the file is wrong.
    """
    chosen = selected_profile(flag, env)
    if problem := check_profile_name(chosen.value):
        raise UsageError(f"{chosen.source}: {problem}", hint=key_hint(chosen.value))
    path = config_path(env)
    file = read_config(path)
    if file.warning:
        warn(file.warning)
    is_new = may_be_new and chosen.value not in file.profiles
    values = {} if is_new else profile_values(chosen, file, path)
    return StoredProfile(path, chosen.value, chosen.source == "--profile", values)


def update(path: Path, profile: str, changes: Changes) -> None:
    """Set keys of a profile, and remove those whose value is ``None``; a profile that isn't there is made.

    The file is replaced in one step, so that nobody ever reads half of it, and two updates at once both take effect.

    Raises:
        BadConfig: the present file is wrong or another user's, or the new one can't be written.
    """
    try:
        make_directory(path.parent)
        check_owner(path.parent)
        with suppress(FileNotFoundError):
            check_config_owner(path)
        with file_lock(path.with_name(path.name + ".lock"), patience_s=_LOCK_PATIENCE_S) as held:
            if not held:
                raise BadConfig(f"another process is changing {path} and does not end", hint="try again")
            # A dotfiles manager's symbolic link stays one: what is replaced is the file that it points at.
            target = path.resolve()
            write_atomically(target, _edited(target, profile, changes))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadConfig(f"can't write {path}: {reason}", hint=_write_hint(error)) from error


def edit(text: str, table: Sequence[str], changes: Changes) -> str:
    """Return the TOML text with keys of ``table`` set, or removed where the value is ``None``.

    ``table`` is the path of its name, empty for the top level; it is added at the end if no block has it.

    Raises:
        tomlkit.exceptions.TOMLKitError, ValueError: the text is beyond what this can change. It may also give a text
            that is wrong (a multi-line string that looks like a header misleads it): the caller compares.
    """
    import tomlkit  # noqa: PLC0415 - 20 ms; only a change to the file pays for it

    newline = "\r\n" if "\r\n" in text else "\n"
    starts = [match.start() for match in re.finditer(_BLOCK_START, text)]
    blocks = [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
    for index, block in enumerate(blocks):
        body = block.rstrip()
        document = tomlkit.parse(body and body + newline)
        found = _descend(document, table)
        if found is None:
            continue
        _apply(found, changes)
        separator = block[len(body) :] or newline
        if not body and index + 1 < len(blocks):
            separator = newline * 2
        edited = tomlkit.dumps(document).rstrip("\r\n")
        blocks[index] = _with_newline(edited, newline) + separator if edited else ""
        return "".join(blocks)
    added: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    for name in reversed(table):
        added = {name: added}
    head = text.rstrip()
    return (head and head + newline * 2) + _with_newline(tomlkit.dumps(added), newline)


def _edited(path: Path, profile: str, changes: Changes) -> bytes:
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - as above

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise unreadable(path, error) from None
    expected = profiles_of(parse(content, path), path)
    _apply(expected.setdefault(profile, {}), changes)
    table = () if profile == DEFAULT_PROFILE else ("profiles", profile)
    with suppress(TOMLKitError, BadConfig, ValueError, RecursionError):
        edited = edit(content.decode("utf-8-sig"), table, changes).encode()
        if profiles_of(parse(edited, path), path) == expected:
            return edited
    # Two readers disagree about this file: better no change than one that harms the rest of it.
    raise BadConfig(f"can't change {path} without harming the rest of it", hint="make the change by hand, in an editor")


def _apply(table: Any, changes: Changes) -> None:
    for key, value in changes.items():
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]


def _descend(document: Any, path: Sequence[str]) -> Any | None:
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            return None
        document = document[name]
    return document


def _with_newline(text: str, newline: str) -> str:
    return text if newline == "\n" else re.sub(r"(?<!\r)\n", newline, text)


def _write_hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on that disk"
    return "set LOGSH_CONFIG_DIR to a directory that can be written, or use LOGSH_API_KEY and the other variables"
