"""What ``logsh doctor -v`` says about the programs it is made of, for reports of faults."""

from __future__ import annotations

import platform
import sqlite3
import ssl
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from logsh_cli import __version__
from logsh_cli.doctor import Check, passed

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = ("httpx", "httpcore", "typer", "rich")


def version_checks() -> Iterator[Check]:
    """One line each; none of them can fail."""
    yield passed("logsh", __version__)
    yield passed("python", f"{platform.python_version()} on {platform.platform()}")
    yield passed("openssl", ssl.OPENSSL_VERSION)
    yield passed("sqlite", sqlite3.sqlite_version)
    for name in LIBRARIES:
        try:
            yield passed(name, version(name))
        except PackageNotFoundError:
            yield passed(name, "installed without its metadata")
