"""The API key: its sources, and the one rule of where it may go.

A key goes only where it belongs: a profile's key to that profile's URL, a key from the environment to a URL from the
environment (or to Logsh itself, when nobody names another). What does not fit together is an error, never a guess.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.config import DEFAULT_API_URL, clean_api_url
from logsh_cli.errors import BadConfig, MisplacedKey, MissingKey

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIAL = "logsh-api-key"
KEY_PREFIX = "logsh_"
KEY_VARIABLES = ("LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "CREDENTIALS_DIRECTORY")
COPY_AGAIN = "copy it again from the Logsh dashboard"
_MAX_KEY = 1024
_LONGEST_FILE = _MAX_KEY + 100
WRITER_PATIENCE_S = 60.0
"""As long as somebody may need for the passphrase of what writes the key."""

_WRONG_PLACE = "that looks like an API key, which goes into LOGSH_API_KEY, or to `logsh login --key-stdin`"


class Destination(Record):
    """A key and the URL it belongs to. ``ca_file`` names the certificates to trust there, in place of the system's."""

    profile: str
    api_url: str
    key: str
    ca_file: str | None

    def __repr__(self) -> str:
        return f"Destination({self.profile} at {self.api_url})"


class Setting(Record):
    """A value, ``None`` where nothing sets it, and its source: ``--icon``, ``LOGSH_ICON``, a profile, ``built-in``."""

    value: Any
    source: str

    @property
    def from_environment(self) -> bool:
        """True of what a variable gives, itself or by the file that it names."""
        return self.source.startswith(("LOGSH_", "$"))

    def __repr__(self) -> str:
        return f"Setting(from {self.source})"  # it may be the key


def environment_key(env: Mapping[str, str], patience_s: float = WRITER_PATIENCE_S) -> Setting | None:
    """Return the key from the environment: the variable, the file it names, or systemd's credential, in this order.

    Raises ``BadConfig`` or ``MissingKey`` if a named file can't be read or is empty: that is no reason to take another.
    """
    if key := env.get("LOGSH_API_KEY", "").strip():
        return Setting(key, "LOGSH_API_KEY")
    if path := env.get("LOGSH_API_KEY_FILE", "").strip():
        return _key_from_file(path, f"LOGSH_API_KEY_FILE ({path})", patience_s)
    if directory := env.get("CREDENTIALS_DIRECTORY", "").strip():
        path = os.path.join(directory, CREDENTIAL)  # noqa: PTH118 - one string from another
        if os.path.lexists(path):
            return _key_from_file(path, f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}", patience_s)
    return None


def key_hint(text: str, otherwise: str | None = None) -> str | None:
    """Return where a key belongs if somebody put one where this text was expected, else the other hint."""
    return _WRONG_PLACE if KEY_PREFIX in text else otherwise


def check_key(key: str) -> str | None:
    """Return why this can't be an API key, or ``None``. The sentence lacks its subject and never has the key in it.

    The service reads the key as the last word of a header, so white space would cut it, and a header is ASCII.
    """
    if any(char.isspace() for char in key):
        return "must not contain white space"
    if not key.isascii() or not key.isprintable() or key[:1] in ("'", '"'):
        return "must be plain ASCII without control characters or quotation marks around it"
    if len(key) > _MAX_KEY:
        return f"must be at most {_MAX_KEY} characters"
    return None


def misplacement(profile: str, key: Setting, url: Setting, profile_url: str | None) -> MisplacedKey | None:
    """Return why this key must not go to this URL, or ``None``.

    ``url`` is the effective one, in its one form; ``profile_url`` the profile's own, ``None`` where it has none.
    """
    if not key.from_environment and not same_url(url.value, profile_url or DEFAULT_API_URL):
        return MisplacedKey(
            f"the key of profile {profile} does not belong to the URL from {url.source} ({url.value})",
            hint=f"set LOGSH_API_KEY as well, or unset LOGSH_API_URL, or use --profile {profile}",
        )
    if key.from_environment and not url.from_environment and url.value != DEFAULT_API_URL:
        return MisplacedKey(
            f"the key from {key.source} does not belong to the URL of {url.source} ({url.value})",
            hint=f"set LOGSH_API_URL as well, or use --profile {profile} for the profile's own key",
        )
    return None


def same_url(one: str, other: str) -> bool:
    """Return true for two spellings of one base URL; a URL that can't be used is like no other."""
    try:
        return clean_api_url(one) == clean_api_url(other)
    except ValueError:
        return False


def mask_key(key: str) -> str:
    """Return enough of a key to recognise it, and no more: its end, if it is long enough to spare that."""
    if len(key) < 20:  # noqa: PLR2004 - of a shorter one, four characters would be too much
        return "****"
    return f"{KEY_PREFIX if key.startswith(KEY_PREFIX) else ''}…{key[-4:]}"


def _key_from_file(path: str, source: str, patience_s: float) -> Setting:
    try:
        content = _read(os.path.expanduser(path), patience_s)  # noqa: PTH111 - never raises
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = key_hint(path, "check that the file is there and readable")
        raise BadConfig(f"can't read the key from {source}: {reason}", hint=hint) from None
    key = content.decode("utf-8-sig", "replace").strip()
    if not key:
        raise MissingKey(f"the key file is empty: {source}", hint="put the API key into it")
    return Setting(key, source)


def _read(path: str, patience_s: float) -> bytes:
    """Read a file or a pipe, such as ``<(pass show logsh)`` makes, for whose writer ``patience_s`` is waited.

    Never by a read that blocks: ``run`` holds signals back while it reports.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(_LONGEST_FILE)
        import select  # noqa: PLC0415 - few keys come through a pipe

        content = b""
        while len(content) < _LONGEST_FILE:
            if not select.select([file], [], [], patience_s)[0]:
                raise ValueError("nobody writes to it")
            if not (chunk := file.read(_LONGEST_FILE)):
                break
            content += chunk
        return content
