"""Decide whom to trust over TLS, and explain why a connection could not be secured.

Certificates and host names are always verified, at TLS 1.2 or later. The trust anchors are exactly one of

1. ``ca_file``, and then nothing else, as with curl's ``--cacert``: no public authority can stand in for a private one;
2. ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, those of them that are set;
3. the system's store, or certifi's list where the system has none.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING

from logsh_cli.errors import BadConfig, TlsFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

# OpenSSL's X509_V_ERR_* numbers, which the ssl module hands on without names.
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 62, 64

_TRUST_HINT = "if a private authority signed it, set ca_file or SSL_CERT_FILE to that authority's certificate (PEM)"


def make_context(
    ca_file: str | None, env: Mapping[str, str], system: ssl.DefaultVerifyPaths | None = None
) -> ssl.SSLContext:
    """Return a context for one or many connections; ``BadConfig`` if a named file or folder can't be used.

    ``system`` is where this machine keeps its certificates, if that is not where OpenSSL says.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A server's own certificate or an intermediate one may be the anchor, as in curl.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is not None:
        _load_file(context, ca_file, "ca_file")
        return context
    named_file, named_directory = env.get("SSL_CERT_FILE"), env.get("SSL_CERT_DIR")
    if named_file:
        _load_file(context, named_file, "SSL_CERT_FILE")
    if named_directory:
        if not any(map(os.path.isdir, named_directory.split(os.pathsep))):
            raise BadConfig(f"SSL_CERT_DIR is not a directory: {named_directory}", hint="correct it, or unset it")
        context.load_verify_locations(capath=named_directory)
    if not named_file and not named_directory:
        _load_system_store(context, system or ssl.get_default_verify_paths())
    return context


def _load_file(context: ssl.SSLContext, path: str, source: str) -> None:
    hint = f"{source} takes a file with one or more certificates in PEM format"
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise BadConfig(f"{source} has no certificate in it: {path}", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadConfig(f"{source} can't be read: {path}: {reason}", hint=hint) from error


def _load_system_store(context: ssl.SSLContext, paths: ssl.DefaultVerifyPaths) -> None:
    if sys.platform == "win32":
        context.load_default_certs()
        return
    # A directory (Debian) costs nothing: OpenSSL looks in it when asked; to parse a whole bundle costs 15 to 25 ms.
    context.set_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile) or _has_hashed_names(paths.openssl_capath):  # noqa: PTH113 - loads no pathlib
        return
    import certifi  # noqa: PLC0415 - only for a Python whose OpenSSL finds no store, or a machine without one

    context.load_verify_locations(cafile=certifi.where())


def _has_hashed_names(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(".0") for entry in entries)  # the first certificate of each hash
    except OSError:
        return False


def explain(error: BaseException | None, where: str) -> TlsFailure:
    """Return what went wrong in a handshake with ``where``, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, where)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)):
        hint = "the server or a firewall in between refuses it; try again later"
        return TlsFailure(f"{where}: the connection was closed during the TLS handshake", hint=hint)
    if isinstance(error, TimeoutError):
        return TlsFailure(f"{where}: the TLS handshake took too long", hint="check the network, or try again later")
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}:
        return TlsFailure(f"{where}: the server there does not speak TLS", hint="check host and port of api_url")
    words = str(reason).replace("_", " ").lower()
    return TlsFailure(f"{where}: no TLS connection: {words}", hint="the server must offer TLS 1.2 or later")


def _explain_certificate(error: ssl.SSLCertVerificationError, where: str) -> TlsFailure:
    # Not there on the exceptions that the ssl module itself raises.
    code, reason = getattr(error, "verify_code", None), getattr(error, "verify_message", None) or str(error)
    if code in {_HOSTNAME_MISMATCH, _ADDRESS_MISMATCH}:
        return TlsFailure(f"{where}: the server's certificate is for another name", hint="check the host in api_url")
    if code in {_EXPIRED, _NOT_YET_VALID}:
        hint = "the server's certificate must be renewed, or this machine's clock is wrong"
        return TlsFailure(f"{where}: {reason}", hint=hint)
    return TlsFailure(f"{where}: the server's certificate is not trusted: {reason}", hint=_TRUST_HINT)
