"""Whom the client trusts, and what it says when it does not."""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli.clock import Budget
from logsh_cli.errors import BadConfig, TlsFailure
from logsh_cli.http.tls import explain, make_context
from tests.support.certs import Authority, authority
from tests.support.clients import closing_clients
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    import socket
    import threading
    from pathlib import Path

BODY = b"{}"


def post_to(server: Listener, host: str = "127.0.0.1", **how: Any) -> int:
    with closing_clients() as connect:
        return connect(f"https://{host}:{server.port}", **how).post(BODY, Budget(10)).status


def failure_of(server: Listener, ca_file: str | None = None, host: str = "127.0.0.1") -> TlsFailure:
    with pytest.raises(TlsFailure) as caught:
        post_to(server, host, ca_file=ca_file)
    assert caught.value.message.startswith(f"{host}:{server.port}: ")
    assert not isinstance(server, Server) or server.requests == []
    return caught.value


def test_a_private_authority_is_trusted_when_it_is_named_and_not_otherwise(secured: Server, ca_file: str) -> None:
    error = failure_of(secured)
    assert "not trusted" in error.message
    assert "ca_file" in str(error.hint)
    assert post_to(secured, ca_file=ca_file) == 201
    assert post_to(secured, env={"SSL_CERT_FILE": ca_file}) == 201


def test_a_directory_of_authorities_is_looked_up(secured: Server, tmp_path: Path) -> None:
    directory = str(authority().write_ca_directory(tmp_path))
    for named in (directory, os.pathsep.join(["/nowhere", directory])):
        assert post_to(secured, env={"SSL_CERT_DIR": named}) == 201
    with pytest.raises(BadConfig, match="SSL_CERT_DIR"):
        make_context(None, {"SSL_CERT_DIR": str(tmp_path / "nowhere")})


def test_only_the_authorities_in_a_named_file_are_trusted(secured: Server, ca_file: str, tmp_path: Path) -> None:
    for context in (make_context(ca_file, {}), make_context(None, {"SSL_CERT_FILE": ca_file})):
        assert len(context.get_ca_certs()) == 1
    other = str(Authority().write_ca(tmp_path, "other.pem"))
    with pytest.raises(TlsFailure):
        post_to(secured, ca_file=other, env={"SSL_CERT_FILE": ca_file})


def test_a_servers_own_certificate_may_be_the_one_that_is_named(secured: Server, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text(ssl.get_server_certificate(secured.address))
    assert post_to(secured, ca_file=str(own)) == 201


def test_a_certificate_for_another_name_or_of_another_time_is_refused(ca_file: str) -> None:
    with Server(tls=authority().server_context("elsewhere.test")) as server:
        for host in ("localhost", "127.0.0.1"):
            assert "another name" in failure_of(server, ca_file, host).message
    with Server(tls=authority().expired_context()) as server:
        error = failure_of(server, ca_file)
        assert "expired" in error.message
        assert "clock" in str(error.hint)


def test_old_versions_of_tls_are_refused(ca_file: str) -> None:
    old = authority().server_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with Server(tls=old) as server:
        failure_of(server, ca_file)


class PlainServer(Listener):
    """Answers a TLS greeting as web servers do on their plain port."""

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def test_a_port_that_speaks_plain_http_is_told_apart() -> None:
    with PlainServer() as server:
        assert "does not speak TLS" in failure_of(server).message
    for reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):  # as versions of OpenSSL call it
        error = ssl.SSLError(1, "")
        error.reason = reason
        assert "does not speak TLS" in explain(error, "logsh.co:443").message


def test_a_server_that_hangs_up_in_the_handshake_is_a_tls_failure(ca_file: str) -> None:
    needs_a_certificate = authority().server_context()
    needs_a_certificate.verify_mode = ssl.CERT_REQUIRED
    needs_a_certificate.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones complain only after the handshake
    with Server(tls=needs_a_certificate) as server:
        failure_of(server, ca_file)


def test_a_connection_that_breaks_in_the_handshake_is_told_in_the_systems_words() -> None:
    assert "no TLS connection: no buffer space" in explain(OSError(105, "No buffer space"), "logsh.co:443").message


def test_a_file_without_certificates_is_a_matter_of_configuration(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for content in (None, b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"):
        if content is not None:
            path.write_bytes(content)
        for source, ca_file, env in (("ca_file", str(path), {}), ("SSL_CERT_FILE", None, {"SSL_CERT_FILE": str(path)})):
            with pytest.raises(BadConfig) as caught:
                make_context(ca_file, env)
            assert caught.value.message.startswith(source)
            assert str(path) in caught.value.message
            assert ("No such file" in caught.value.message) == (content is None)
            assert "[Errno" not in caught.value.message
            assert caught.value.hint
    for impossible in ("", "/", "\x00", "a" * 5000):
        with pytest.raises(BadConfig):
            make_context(impossible, {})


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
