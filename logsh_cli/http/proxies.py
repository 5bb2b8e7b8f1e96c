"""Find the proxy that a connection goes through, by the usual environment variables. Pure.

There is no ``http_proxy`` here: plain http goes to loopback only, and loopback never through a proxy, which would be
handed the key in clear.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from logsh_cli import Record
from logsh_cli.config import is_loopback
from logsh_cli.errors import BadConfig
from logsh_cli.http import PROXY_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("http", "https", "socks5", "socks5h")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Proxy(Record):
    """A proxy and the variable that named it."""

    scheme: str
    host: str
    port: int | None
    variable: str
    auth: tuple[bytes, bytes] | None = None

    def __repr__(self) -> str:  # the password must not get into a message by accident
        return f"Proxy({self.url})"

    @property
    def url(self) -> str:
        """The address without credentials, so that it may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")


def proxy_for(host: str, port: int, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for https to ``host``, a name or an address (an IPv6 one in brackets), or ``None``.

    Raises ``BadConfig`` if it has no usable address, which is not repeated: it may have a password in it.
    """
    if is_loopback(host):
        return None
    variable = next((name for name in PROXY_VARIABLES if env.get(name)), None)
    if variable is None or _excepted(host, port, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    return _parse(variable, env[variable].strip())


def _parse(variable: str, value: str) -> Proxy:
    hint = f"{variable} takes an address such as http://proxy.example:3128"
    try:
        parts = urlsplit(value if _SCHEME.match(value) else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not host.isascii() or not host.isprintable() or " " in host:
        raise BadConfig(f"{variable} has no usable proxy address", hint=hint)
    if parts.scheme not in SCHEMES:
        raise BadConfig(f"{variable} names an unknown kind of proxy: {parts.scheme}://", hint=hint)
    auth = None
    if parts.username is not None:
        auth = unquote(parts.username).encode(), unquote(parts.password or "").encode()
    return Proxy(parts.scheme, host, port, variable, auth)


def _excepted(host: str, port: int, no_proxy: str) -> bool:
    name = host.strip("[]").rstrip(".").lower()
    return any(_matches(entry, name, port) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(entry: str, name: str, port: int) -> bool:
    """Match one entry of ``no_proxy``: ``*``, a domain, an address or a network; a port may follow."""
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(entry, name)
    with_port = re.fullmatch(r"(.+[^:]|\[.+\]):(\d+)", entry) if entry.count(":") == 1 or "]" in entry else None
    if with_port is not None:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    domain = entry.strip("[]").lstrip("*").strip(".")
    return name == domain or name.endswith(f".{domain}")


def _in_network(entry: str, name: str) -> bool:
    import ipaddress  # noqa: PLC0415 - 3 ms that only a network in no_proxy is worth

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
