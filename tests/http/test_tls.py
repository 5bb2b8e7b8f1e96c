"""Whom the client trusts, and what it says when it does not."""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Budget
from logsh_cli.errors import BadConfig, TlsFailure
from logsh_cli.http.tls import explain, make_context
from tests.support.certs import Authority, authority, self_signed_context
from tests.support.clients import closing_clients
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    import socket
    import threading
    from pathlib import Path

BODY = b"{}"


def post_to(server: Listener, *, ca_file: Path | None = None, env: dict[str, str] | None = None) -> int:
    named = None if ca_file is None else str(ca_file)
    with closing_clients() as connect:
        client = connect(f"https://127.0.0.1:{server.port}", ca_file=named, env=env)
        return client.post(BODY, Budget(10)).status


def failure_of(server: Listener, ca_file: Path | None = None) -> TlsFailure:
    with pytest.raises(TlsFailure) as caught:
        post_to(server, ca_file=ca_file)
    assert caught.value.message.startswith(f"127.0.0.1:{server.port}: ")
    return caught.value


def test_a_private_authority_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    ca_file = authority().write_ca(tmp_path)
    with Server(tls=authority().server_context()) as server:
        assert post_to(server, ca_file=ca_file) == 201
        assert post_to(server, env={"SSL_CERT_FILE": str(ca_file)}) == 201


@pytest.mark.parametrize("name", ["ca_file", "SSL_CERT_FILE"])
def test_only_the_authorities_in_a_named_file_are_trusted(name: str, tmp_path: Path) -> None:
    path = str(authority().write_ca(tmp_path))
    context = make_context(path, {}) if name == "ca_file" else make_context(None, {name: path})
    assert len(context.get_ca_certs()) == 1


def test_a_directory_of_authorities_is_looked_up(tmp_path: Path) -> None:
    directory = authority().write_ca_directory(tmp_path)
    with Server(tls=authority().server_context()) as server:
        assert post_to(server, env={"SSL_CERT_DIR": str(directory)}) == 201
        assert post_to(server, env={"SSL_CERT_DIR": os.pathsep.join(["/nowhere", str(directory)])}) == 201


def test_an_authority_that_nobody_named_is_not_trusted() -> None:
    with Server(tls=authority().server_context()) as server:
        error = failure_of(server)
        assert "not trusted" in error.message
        assert "ca_file" in str(error.hint)
        assert server.requests == []


def test_ca_file_is_the_only_authority_then(tmp_path: Path) -> None:
    other = Authority().write_ca(tmp_path, "other.pem")
    trusted_by_environment = {"SSL_CERT_FILE": str(authority().write_ca(tmp_path))}
    with Server(tls=authority().server_context()) as server, pytest.raises(TlsFailure):
        post_to(server, ca_file=other, env=trusted_by_environment)


def test_a_self_signed_certificate_is_refused_until_it_is_named(tmp_path: Path) -> None:
    context = self_signed_context(tmp_path)
    with Server(tls=context) as server, closing_clients() as connect:
        client = connect(f"https://localhost:{server.port}")
        with pytest.raises(TlsFailure, match="not trusted"):
            client.post(BODY, Budget(10))
        pinned = str(tmp_path / "self-signed.pem")
        client = connect(f"https://localhost:{server.port}", ca_file=pinned)
        assert client.post(BODY, Budget(10)).status == 201


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    with Server(tls=authority().server_context("elsewhere.test")) as server:
        assert "another name" in failure_of(server, authority().write_ca(tmp_path)).message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_host_is_told_from_the_one_that_the_certificate_names(host: str, tmp_path: Path) -> None:
    ca_file = str(authority().write_ca(tmp_path))
    with Server(tls=authority().server_context("elsewhere.test")) as server, closing_clients() as connect:
        with pytest.raises(TlsFailure, match="another name"):
            connect(f"https://{host}:{server.port}", ca_file=ca_file).post(BODY, Budget(10))
        assert server.requests == []


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    with Server(tls=authority().expired_context()) as server:
        error = failure_of(server, authority().write_ca(tmp_path))
        assert "expired" in error.message
        assert "clock" in str(error.hint)


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    old = authority().server_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with Server(tls=old) as server:
        failure_of(server, authority().write_ca(tmp_path))


class PlainServer(Listener):
    """Answers a TLS greeting as web servers do on their plain port."""

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def test_a_port_that_speaks_plain_http_is_told_apart() -> None:
    with PlainServer() as server:
        assert "does not speak TLS" in failure_of(server).message


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"])
def test_what_openssl_calls_a_wrong_version_is_called_by_its_name(reason: str) -> None:
    error = ssl.SSLError(1, "")
    error.reason = reason
    assert "does not speak TLS" in explain(error, "logsh.co:443").message


def test_a_server_that_hangs_up_in_the_handshake_is_a_tls_failure(tmp_path: Path) -> None:
    needs_a_certificate = authority().server_context()
    needs_a_certificate.verify_mode = ssl.CERT_REQUIRED
    needs_a_certificate.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones complain only after the handshake
    with Server(tls=needs_a_certificate) as server:
        failure_of(server, authority().write_ca(tmp_path))


@pytest.mark.parametrize("source", ["ca_file", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_certificates_is_a_matter_of_configuration(
    source: str, content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    ca_file, env = (str(path), {}) if source == "ca_file" else (None, {"SSL_CERT_FILE": str(path)})
    with pytest.raises(BadConfig) as caught:
        make_context(ca_file, env)
    assert caught.value.message.startswith(source)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("path", ["", "/", "\x00", "a" * 5000])
def test_a_path_that_is_no_file_is_a_matter_of_configuration(path: str) -> None:
    with pytest.raises(BadConfig):
        make_context(path, {})


def test_a_missing_directory_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="SSL_CERT_DIR"):
        make_context(None, {"SSL_CERT_DIR": str(tmp_path / "nowhere")})


def test_verification_is_always_on() -> None:
    context = make_context(None, {})
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a store of its own")
def test_a_machine_without_certificates_falls_back_on_those_of_certifi(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    bare = ssl.get_default_verify_paths()._replace(openssl_cafile=nowhere, openssl_capath=nowhere)
    assert len(make_context(None, {}, bare).get_ca_certs()) > 50


def test_no_certificates_are_looked_at_for_plain_http() -> None:
    with closing_clients() as connect:
        connect("http://127.0.0.1:1", ca_file="/nowhere", env={"SSL_CERT_FILE": "/nowhere"})
