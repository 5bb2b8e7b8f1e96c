"""The sources of settings, and the places where a key may go: the user's file, the project's file, the environment.

Here are the places themselves, without I/O. The directories are platformdirs' ones; on Linux they are worked out here,
since importing it costs 5 ms at every call, and its rule there is XDG's, in two lines. A test holds the two together.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_API_URL = "https://logsh.co"
EVENT_PATH = "/api/event"

_DEFAULT_PORTS = {"https": 443, "http": 80}
_HIGHEST_PORT = 65535
_AFTER_SCHEME = r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{0,5}))?(?P<path>/.*)?"

HOMELESS = Path(os.devnull) / "logsh"
"""The directory of a user who has none: it never exists and can't be made, so nothing is read or kept, and nobody
else can plant a file there (as they could under ``/tmp``)."""


def config_dir(env: Mapping[str, str]) -> Path:
    """The directory of ``config.toml``: ``LOGSH_CONFIG_DIR``, else the user's configuration directory."""
    return _directory(env, "LOGSH_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")


def state_dir(env: Mapping[str, str]) -> Path:
    """The directory of the outbox: ``LOGSH_STATE_DIR``, else the user's state directory."""
    return _directory(env, "LOGSH_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _directory(env: Mapping[str, str], override: str, xdg: str, below_home: str) -> Path:
    if given := env.get(override, "").strip():
        path = Path(os.path.expanduser(given))  # noqa: PTH111 - Path.expanduser raises without a home
        try:
            return path.absolute()
        except OSError:  # the working directory was deleted
            return path
    if sys.platform == "linux" and not hasattr(sys, "getandroidapilevel"):
        if (base := Path(env.get(xdg, ""))).is_absolute():
            return base / "logsh"
        if (home := Path(env.get("HOME", ""))).is_absolute():
            return home / below_home / "logsh"
    import platformdirs  # noqa: PLC0415 - for the other systems, and a Linux without HOME

    find = platformdirs.user_config_path if override == "LOGSH_CONFIG_DIR" else platformdirs.user_state_path
    try:
        return find("logsh", appauthor=False)
    except RuntimeError:  # neither HOME nor an entry in the user database, as in some containers
        return HOMELESS


def clean_api_url(text: str) -> str:
    """Return the base URL in its one form: lower-case host, no default port, no slash and no ``/api/event`` at its end.

    Raises ``ValueError`` with a sentence that lacks its subject, and never has a password in it.
    """
    if text == DEFAULT_API_URL:
        return text
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must not contain white space, control characters or backslashes")
    if not separator or scheme not in _DEFAULT_PORTS:
        raise ValueError("must start with https://")
    if "?" in rest or "#" in rest:
        raise ValueError("must not have a query (?) or a fragment (#)")
    if "@" in rest.partition("/")[0]:
        raise ValueError("must not contain a user name or password")
    parts = re.fullmatch(_AFTER_SCHEME, rest)
    port = int(parts["port"] or _DEFAULT_PORTS[scheme]) if parts else 0
    if not parts or not 1 <= port <= _HIGHEST_PORT:
        raise ValueError("must have a valid host, as in https://logsh.co, and a port from 1 to 65535")
    host = parts["host"].lower()
    if scheme == "http" and not is_loopback(host):
        raise ValueError("must start with https:// (plain http only to this machine: localhost, 127.0.0.1 or [::1])")
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    path = (parts["path"] or "").rstrip("/").removesuffix(EVENT_PATH).rstrip("/")
    return f"{scheme}://{host}{suffix}{path}"


def is_loopback(host: str) -> bool:
    """Return whether a host, as a URL has it, is this machine for certain: ``localhost``, 127.0.0.0/8 or ``[::1]``.

    ``NAME.localhost`` is not: a resolver that does not know the convention asks the network for it.
    """
    if not host.startswith(("[", "127.")):
        return host == "localhost"
    import ipaddress  # noqa: PLC0415 - 3 ms, for addresses only

    try:
        if host.startswith("["):
            # Not is_loopback: from 3.13 on it is true of IPv4 addresses in IPv6 form as well, which nobody means.
            return ipaddress.IPv6Address(host[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
