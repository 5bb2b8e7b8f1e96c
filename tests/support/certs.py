"""A private certificate authority for servers on loopback; nothing of it is ever trusted by the machine."""

from __future__ import annotations

import datetime as dt
import functools
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "logsh.test")
"""The names that a server certificate holds unless a test says otherwise; ``logsh.test`` is reached through a proxy."""


class Authority:
    """Issues server certificates, and writes its own where a client is told to look."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_ca(self, directory: Path, name: str = "ca.pem") -> Path:
        """The CA certificate as a PEM file, for ``ca_file`` and ``SSL_CERT_FILE``."""
        path = directory / name
        path.write_bytes(self._ca.cert_pem.bytes())
        return path

    def write_ca_directory(self, directory: Path) -> Path:
        """The CA certificate in a directory as OpenSSL looks it up, by a hash of its name, for ``SSL_CERT_DIR``."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("the hash that names the file comes from the openssl command, which is not installed")
        pem = self.write_ca(directory, "ca-for-directory.pem")
        asked = [openssl, "x509", "-noout", "-hash", "-in", str(pem)]
        name_hash = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        path = directory / "ca-directory"
        path.mkdir()
        pem.rename(path / f"{name_hash}.0")
        return path

    def server_context(self, *names: str) -> ssl.SSLContext:
        """For a server that can prove to be one of ``names`` (the loopback ones if none is given)."""
        return _serve_with(self._ca.issue_cert(*(names or LOOPBACK_NAMES)))

    def expired_context(self, *names: str) -> ssl.SSLContext:
        """The same with a certificate that ran out yesterday."""
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        return _serve_with(self._ca.issue_cert(*(names or LOOPBACK_NAMES), not_after=yesterday))


@functools.cache
def authority() -> Authority:
    """One for the whole test process: making keys is the slow part."""
    return Authority()


def _serve_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
