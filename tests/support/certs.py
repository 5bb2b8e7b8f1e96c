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
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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


def self_signed_context(directory: Path, name: str = "localhost") -> ssl.SSLContext:
    """For a server whose certificate vouches for itself, as many appliances' do."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _serve_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
