"""The user's ``config.toml``: what it may hold, reading it, and changing it without losing anything.

Top-level keys are the profile ``default``; ``[profiles.NAME]`` are the others. A profile inherits nothing from
another: a key must never end up at another profile's URL.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.config import toml_file
from logsh_cli.errors import BadConfig
from logsh_cli.output.text import excerpt, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logsh_cli.config.toml_edit import Changes

FILE_NAME = "config.toml"
DEFAULT_PROFILE = "default"
KEYS: dict[str, str] = {
    "api_key": "a string",
    "workspace": "a string",
    "api_url": "a string",
    "ca_file": "a string",
    "icon": "a string",
    "notify": "true or false",
    "deadline": "a duration",
}
"""What a profile may hold, and the type of each as messages say it."""

_TYPES: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "true or false": (bool,),
    "a duration": (int, float, str),
}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ConfigFile(NamedTuple):
    """The file as values of checked types. ``profiles`` always has ``default``; a missing file is an empty one."""

    profiles: dict[str, dict[str, Any]]
    warnings: tuple[str, ...] = ()


def read(path: Path) -> ConfigFile:
    """Read the file, tightening its mode to 0600 if it is ours and others can read it.

    Raises:
        BadConfig: unreadable, not UTF-8, not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        content, status = toml_file.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile({DEFAULT_PROFILE: {}})
    except PermissionError as error:
        if _there(path):
            raise toml_file.unreadable(path, error) from None
        # A service that runs under another user's HOME: it can't have put its configuration there.
        warning = f"can't look into {path.parent}: {error.strerror}; going on without a configuration file"
        return ConfigFile({DEFAULT_PROFILE: {}}, (warning,))
    except OSError as error:
        raise toml_file.unreadable(path, error) from None
    warnings = _tighten(path, status)
    return ConfigFile(_profiles(toml_file.parse(toml_file.decode(content, path), path), path), warnings)


def check_profile_name(name: str) -> str | None:
    """What is wrong with a profile's name, or ``None``."""
    if not name.strip():
        return "a profile's name must not be empty"
    if name != name.strip() or not name.isprintable():
        return "a profile's name must be printable, without white space around it"
    return None


def update(path: Path, profile: str, changes: Changes) -> None:
    """Set keys of a profile, and remove those whose value is ``None``; a profile that isn't there is made.

    The rest of the file stays as it is, comments included. The file is replaced in one step, so that nobody ever
    reads half of it, and two updates at once both take effect.

    Raises:
        BadConfig: the present file is wrong, or the new one can't be written.
    """
    try:
        # A dotfiles manager's symbolic link stays one: what is replaced is the file that it points at.
        target = Path(os.path.realpath(path))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            _replace(target, _edited(_current_text(target), target, profile, changes))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadConfig(f"can't write {path}: {reason}", hint=_write_hint(error)) from error


def _there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _tighten(path: Path, status: os.stat_result) -> tuple[str, ...]:
    # Windows has no such modes; a file that isn't ours (a read-only store, an administrator's) is not ours to change.
    if sys.platform == "win32" or not stat.S_ISREG(status.st_mode) or not status.st_mode & _OTHERS:
        return ()
    if status.st_uid != os.geteuid():
        return ()
    with suppress(OSError):
        path.chmod(0o600)
        # Some file systems (FAT, shares) take the call and change nothing.
        if not path.stat().st_mode & _OTHERS:
            return (f"{path} could be read by others (mode {stat.S_IMODE(status.st_mode):04o}); tightened to 0600",)
    return (f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), and that can't be changed",)


def _profiles(document: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    tables = document.pop("profiles", {})
    if not isinstance(tables, dict):
        raise BadConfig(f'{path}: "profiles" must be tables such as [profiles.work]')
    profiles = {DEFAULT_PROFILE: _checked(document, "", path)}
    for name, table in tables.items():
        where = f"profiles.{name}"
        if name == DEFAULT_PROFILE:
            raise BadConfig(
                f"{path}: [{where}] can't be used", hint="the default profile is the keys at the top of the file"
            )
        if problem := check_profile_name(name):
            raise BadConfig(f"{path}: {problem}; got {excerpt(name)}")
        if not isinstance(table, dict):
            raise BadConfig(f'{path}: "{where}" must be a table: [{where}]')
        profiles[name] = _checked(table, where + ".", path)
    return profiles


def _checked(table: dict[str, Any], prefix: str, path: Path) -> dict[str, Any]:
    for key, value in table.items():
        kind = KEYS.get(key)
        if kind is None:
            raise unknown_key(path, key, tuple(KEYS), prefix)
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "true or false"):
            raise BadConfig(f'{path}: "{prefix}{key}" must be {kind}')
    return table


def unknown_key(path: Path, key: str, known: tuple[str, ...], prefix: str = "") -> BadConfig:
    """A key that no version of this file has, with the one that was probably meant."""
    near = nearest(key, known)
    hint = f'did you mean "{near}"?' if near else f"known are {', '.join(known)}"
    return BadConfig(f"{path}: unknown key {excerpt(prefix + key)}", hint=hint)


def _current_text(path: Path) -> str:
    try:
        content, _ = toml_file.read_bytes(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise toml_file.unreadable(path, error) from None
    return toml_file.decode(content, path)


def _edited(text: str, path: Path, profile: str, changes: Changes) -> bytes:
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - 20 ms; only a change to the file pays for it

    from logsh_cli.config import toml_edit  # noqa: PLC0415 - the same

    expected = _profiles(toml_file.parse(text, path), path)
    toml_edit.apply(expected.setdefault(profile, {}), changes)
    try:
        table = () if profile == DEFAULT_PROFILE else ("profiles", profile)
        edited = toml_edit.edit(text, table, changes)
        if _profiles(toml_file.parse(edited, path), path) == expected:
            return edited.encode()
    except (TOMLKitError, BadConfig, ValueError, RecursionError):
        pass
    # Two readers disagree about this file: better no change than one that harms the rest of it.
    raise BadConfig(f"can't change {path} without harming the rest of it", hint="make the change by hand, in an editor")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time. The lock file stays: removing it would let two writers hold two of them."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        # File systems without locks (some network ones) still get an atomic replacement.
        with suppress(OSError):
            if sys.platform == "win32":
                import msvcrt  # noqa: PLC0415 - there is only one on each system

                msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
            else:
                import fcntl  # noqa: PLC0415 - the same

                fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(target: Path, content: bytes) -> None:
    import tempfile  # noqa: PLC0415 - 2 ms; only a change to the file pays for it

    # mkstemp makes it 0600 from the start.
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            _keep_owner(fd, target)
            file.write(content)
            file.flush()
            os.fsync(fd)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if sys.platform != "win32":
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _keep_owner(fd: int, target: Path) -> None:
    """Under ``sudo`` with the user's HOME, the file must not become root's: the user could no longer read it."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    with suppress(OSError):
        owner = target.stat() if target.exists() else target.parent.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _write_hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on that disk"
    return "set LOGSH_CONFIG_DIR to a directory that can be written, or use LOGSH_API_KEY and the other variables"
