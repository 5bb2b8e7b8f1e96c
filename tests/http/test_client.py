"""The client against a real server: every answer, every way for one not to come, and never beyond the budget."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from importlib.util import find_spec
from typing import TYPE_CHECKING

import httpx
import pytest

from logsh_cli.clock import Budget
from logsh_cli.errors import BadConfig, InternalError, LogshError, TlsFailure, Unanswered, Unreachable
from logsh_cli.http.client import Client, translate
from logsh_cli.http.wire import USER_AGENT, Exchange, build_request
from tests.support import answers as says
from tests.support.answers import COLUMNS
from tests.support.certs import authority
from tests.support.clients import KEY
from tests.support.proxy import ConnectProxy
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.support.answers import Column
    from tests.support.clients import Connect

BODY = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'
SHORT_S = 0.3
FAR_BEYOND_S = 15.0
"""Nothing that is bounded by SHORT_S takes this long, even on a busy machine."""


def failure_of(client: Client, seconds: float = 10, body: bytes = BODY) -> LogshError:
    """Return the error of a post; also hold that no message has the key and that the record is complete."""
    start = time.monotonic()
    with pytest.raises(LogshError) as caught:
        client.post(body, Budget(seconds))
    assert time.monotonic() - start < FAR_BEYOND_S
    error = caught.value
    assert error.hint
    for text in (error.message, error.hint):
        assert KEY not in text
        assert "\n" not in text
    assert client.exchange is not None
    assert client.exchange.total_ms is not None
    return error


# The contract


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_both_columns_of_the_contract_are_understood(connect: Connect, column: Column, ca_file: str) -> None:
    with Server(key=KEY, column=column, validate=True, tls=authority().server_context()) as server:
        client = connect(server.url, ca_file=ca_file)
        assert client.post(BODY, Budget(10)).status in {200, 201}

        refusal = client.post(b"{}", Budget(10))
        assert (refusal.status, refusal.name) in {(400, "bad_request"), (403, "validation_error")}
        assert refusal.message

        server.script(column.limited, column.quota_spent)
        limited, spent = client.post(BODY, Budget(10)), client.post(BODY, Budget(10))
        assert (limited.status, limited.retry_after) in {(429, "1"), (429, None)}
        assert (spent.status, spent.retry_after) in {(402, None), (429, None)}
        assert (column is COLUMNS["observed"]) <= (limited.retry_after == "1")

        stranger = connect(server.url, "logsh_another", ca_file=ca_file)
        assert stranger.post(BODY, Budget(10)).name == "unauthorized"
        assert server.events == [json.loads(BODY)]


def test_a_request_has_the_documented_headers_and_no_others_whatever_was_answered(
    connect: Connect, server: Server
) -> None:
    server.script(says.raw(says.http(201, b"{}", {"Set-Cookie": "a=b"})))
    client = connect(f"{server.url}/below/")
    headers = {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(BODY)),
    }
    for _ in range(2):
        client.post(BODY, Budget(10))
        request = server.requests[-1]
        assert (request.method, request.path, request.body) == ("POST", "/below/api/event", BODY)
        assert request.headers == headers
    connect(server.url, None).post(b"{}", Budget(10))
    assert "authorization" not in server.requests[-1].headers


def test_a_redirect_is_an_answer_and_never_followed(connect: Connect, server: Server) -> None:
    targets = (f"{server.url}/elsewhere", "http://[::bad", "nonsense://", "\x01", f"{server.url}/elsewhere")
    for status, target in zip((301, 302, 303, 307, 308), targets, strict=True):
        server.script(says.redirect(target, status))
        client = connect(server.url)
        assert client.post(BODY, Budget(10)).status == status
        assert client.exchange is not None
        assert client.exchange.location == target
    assert len(server.requests) == len(targets)


# Malformed answers


def test_an_answer_with_whole_headers_is_an_answer_whatever_its_body(connect: Connect, server: Server) -> None:
    refused = b'{"name":"validation_error","message":"no"}'
    for answer, *expected in (
        (says.html404(), 404),
        (says.empty(201), 201),
        (says.raw(b"HTTP/1.1 204 No Content\r\n\r\n"), 204),
        (says.cut_off(403), 403),
        (says.cut_off(500, chunked=True), 500),
        (says.drip_body(status=500), 500),
        (says.raw(says.http(500, b"\x1f\x8b not gzip", {"Content-Encoding": "gzip"})), 500),
        (says.raw(says.http(500, b"[" * 5000)), 500),
        (says.raw(b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", hang_up=True), 502),
        (says.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"), 201),
        (says.raw(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"), 999),
        (says.wrong_charset(), 403, "validation_error", "Überlänge"),
        (says.drip_body(0.001, 403, refused), 403, "validation_error", "no"),
    ):
        server.script(answer)
        start = time.monotonic()
        got = connect(server.url).post(BODY, Budget(SHORT_S if len(expected) == 1 else FAR_BEYOND_S))
        assert [got.status, got.name, got.message] == [*expected, None, None][:3], answer
        assert time.monotonic() - start < FAR_BEYOND_S, answer


def test_without_whole_headers_the_event_counts_as_unanswered_and_the_client_works_on(
    connect: Connect, server: Server
) -> None:
    closed, bad = "the connection was closed without an answer", "the answer is cut off, or is not HTTP"
    late = "the answer did not end in time"
    for answer, words in (
        (says.drop(), closed),
        (says.cut_off_headers(), bad),
        (says.drip_headers(), late),
        (says.slow(FAR_BEYOND_S), "no answer in time"),
        (says.raw(b"\x00\xff\xfe garbage\r\n\r\n", hang_up=True), bad),
        (says.raw(b"SSH-2.0-OpenSSH_9.2\r\n"), late),
        (says.raw(b"x" * 300_000, hang_up=True), bad),
        (says.raw(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: and so on\r\n" * 10_000), bad),
        (says.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), late),
        (says.raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), bad),
        (says.raw(b"HTTP/1.1 201 Created\r\nContent-Length: -5\r\n\r\n"), bad),
    ):
        server.script(answer)
        client = connect(server.url)
        error = failure_of(client, SHORT_S)
        assert type(error) is Unanswered, answer
        assert error.message == f"127.0.0.1:{server.port}: {words}", answer
        assert client.exchange is not None
        assert client.exchange.sent
        assert client.post(BODY, Budget(10)).status == 201, answer


def test_without_a_port_the_usual_one_is_meant(connect: Connect) -> None:
    asked: list[object] = []

    def unknown(*where: object) -> list[object]:
        asked.append(where)
        raise OSError("unknown")

    for url, host in (("http://localhost", "localhost:80"), ("https://logsh.test", "logsh.test:443")):
        assert failure_of(connect(url, lookup=unknown)).message.startswith(f"{host}: ")
    assert asked == [("localhost", 80), ("logsh.test", 443)]


def test_memory_stays_flat_whatever_the_size_of_an_answer(connect: Connect, server: Server) -> None:
    for answer in (says.huge(status=201), says.huge(status=500), says.endless(status=201), says.endless(status=500)):
        server.script(answer)
        client = connect(server.url)
        tracemalloc.start()
        try:
            assert client.post(BODY, Budget(10)).status in {201, 500}
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3_000_000, answer


# The budget


def _never(_host: str, _port: int) -> list[object]:
    threading.Event().wait(FAR_BEYOND_S)
    return []


def test_whatever_hangs_ends_with_the_budget(connect: Connect) -> None:
    with Listener() as silent:
        where = f"127.0.0.1:{silent.port}"
        error = failure_of(connect("https://logsh.test", lookup=_never), SHORT_S)
        assert type(error) is Unreachable
        assert "logsh.test:443: the name look-up took too long" in error.message
        assert type(failure_of(connect(f"https://{where}"), SHORT_S)) is TlsFailure
        assert type(failure_of(connect(f"https://{where}", connect_timeout=SHORT_S), 600)) is TlsFailure
        through = connect("https://logsh.test", env={"https_proxy": f"http://{where}"})
        assert type(failure_of(through, SHORT_S)) is Unreachable
        huge = b'"' + b"x" * 30_000_000 + b'"'  # more than the buffers of a server that does not read
        assert type(failure_of(connect(f"http://{where}"), SHORT_S, body=huge)) is Unanswered


def test_a_spent_budget_sends_nothing_and_no_limit_is_a_budget_too(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    assert type(failure_of(client, 0)) is Unreachable
    assert client.post(BODY, Budget(float("inf"))).status == 201
    assert type(failure_of(client, 0)) is Unreachable, "on an open connection as well"
    assert len(server.requests) == 1


def test_a_budget_counts_down_to_zero_and_no_further() -> None:
    now = 100.0
    budget = Budget(2.0, lambda: now)
    assert budget.remaining() == 2.0
    now = 105.0
    assert budget.remaining() == 0.0


# Connections


def test_one_connection_serves_many_posts_until_it_is_closed_which_costs_no_failure_and_no_second_event(
    connect: Connect, server: Server, secured: Server, ca_file: str
) -> None:
    for there in (server, secured):
        client = connect(there.url, ca_file=ca_file)
        for _ in range(3):
            client.post(BODY, Budget(10))
        assert there.connections == 1
        there.default = says.raw(says.http(201, b"{}"), accepts=True, hang_up=True)
        for _ in range(5):
            assert client.post(BODY, Budget(10)).status == 201
            there.wait_until_idle()
        assert len(there.events) == 8


def test_a_server_that_comes_back_is_found_by_the_same_client(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    client.post(BODY, Budget(10))
    server.stop()
    error = failure_of(client)
    assert type(error) is Unreachable
    assert "refused" in error.message.lower()
    server.start()
    assert client.post(BODY, Budget(10)).status == 201


def test_the_record_tells_how_an_attempt_went(connect: Connect, secured: Server, ca_file: str) -> None:
    client = connect(secured.url, ca_file=ca_file)
    client.post(BODY, Budget(10))
    exchange = client.exchange
    assert exchange is not None
    assert exchange.host == exchange.peer == f"127.0.0.1:{secured.port}"
    assert (exchange.status, exchange.http_version, exchange.reused) == (201, "HTTP/1.1", False)
    assert exchange.tls_version in {"TLSv1.2", "TLSv1.3"}
    steps = (exchange.lookup_ms, exchange.connect_ms, exchange.tls_ms, exchange.first_byte_ms, exchange.total_ms)
    assert all(isinstance(step, float) for step in steps)
    secured.script(says.slow(0.05))
    begun = time.monotonic()
    client.post(BODY, Budget(10))
    again = client.exchange
    assert again is not None
    assert again.reused
    assert again.first_byte_ms is not None
    assert again.total_ms is not None
    assert 45 <= again.first_byte_ms <= again.total_ms <= (time.monotonic() - begun) * 1000
    assert exchange.request["url"] == f"{secured.url}/api/event"
    assert exchange.request["body"] == json.loads(BODY)
    assert KEY not in repr(exchange) + repr(exchange.request)


# Proxies


def test_https_goes_through_a_connect_proxy_that_never_sees_the_key(
    connect: Connect, secured: Server, ca_file: str
) -> None:
    with ConnectProxy({"logsh.test:443": secured.address}) as proxy:
        client = connect("https://logsh.test", ca_file=ca_file, env={"https_proxy": proxy.url})
        for _ in range(2):
            assert client.post(BODY, Budget(10)).status == 201
        assert proxy.lines == ["CONNECT logsh.test:443 HTTP/1.1"]
        assert "authorization" not in proxy.headers[0]
        assert secured.requests[0].headers["host"] == "logsh.test"
        assert client.exchange is not None
        assert client.exchange.proxy == proxy.url


def test_an_https_proxy_is_spoken_to_over_tls(connect: Connect, secured: Server, ca_file: str) -> None:
    with ConnectProxy({"logsh.test:443": secured.address}, tls=authority().server_context()) as proxy:
        client = connect(
            "https://logsh.test", ca_file=ca_file, env={"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": ca_file}
        )
        for _ in range(2):
            assert client.post(BODY, Budget(10)).status == 201
        assert len(proxy.lines) == 1
        secured.script(says.drop())
        assert type(failure_of(client)) is Unanswered

        error = failure_of(connect("https://logsh.test", ca_file=ca_file, env={"https_proxy": proxy.url}))
        assert type(error) is TlsFailure
        assert f"the proxy {proxy.url}" in error.message


class DrippingHandshake(Listener):
    """Begins a TLS record and sends the rest of it byte by byte."""

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        sock.sendall(b"\x16\x03\x03\x3f\xff")
        while not stopping.wait(0.05):
            sock.sendall(b"\x02")


def test_the_budget_bounds_what_goes_through_an_https_proxy_as_well(
    connect: Connect, secured: Server, ca_file: str
) -> None:
    with (
        DrippingHandshake() as dripping,
        ConnectProxy({"logsh.test:443": dripping.address}, tls=authority().server_context()) as proxy,
    ):
        client = connect("https://logsh.test", env={"https_proxy": proxy.url, "SSL_CERT_FILE": ca_file})
        error = failure_of(client, SHORT_S)
        assert type(error) is TlsFailure
        assert error.message.startswith("logsh.test:443: the TLS handshake took too long")

        proxy.route("logsh.test:443", secured.address)
        secured.script(says.drip_headers(), says.slow(FAR_BEYOND_S))
        for _ in range(2):
            assert type(failure_of(client, 1)) is Unanswered
        assert client.post(BODY, Budget(10)).status == 201


def test_credentials_of_a_proxy_come_from_its_url_and_show_nowhere(
    connect: Connect, secured: Server, ca_file: str
) -> None:
    with ConnectProxy({"logsh.test:443": secured.address}, credentials="me:p@ss:wörd") as proxy:

        def through(credentials: str) -> Client:
            env = {"https_proxy": f"http://{credentials}@127.0.0.1:{proxy.port}"}
            return connect("https://logsh.test", ca_file=ca_file, env=env)

        client = through("me:p%40ss%3Aw%C3%B6rd")
        assert client.post(BODY, Budget(10)).status == 201
        assert client.exchange is not None
        assert client.exchange.proxy == proxy.url
        error = failure_of(through("me:hunter2"))
        assert type(error) is BadConfig
        assert "hunter2" not in error.message + str(error.hint)


def test_a_proxy_that_makes_no_connection_means_never_sent(connect: Connect) -> None:
    with ConnectProxy({}) as proxy:
        client = connect("https://logsh.test", env={"all_proxy": proxy.url})
        garbage = says.raw(b"garbage\r\n\r\n")
        for answer in (says.error(502), says.error(403), says.drop(), garbage, says.html404(), says.drip_headers()):
            proxy.answer = answer
            error = failure_of(client, SHORT_S)
            assert type(error) is Unreachable, answer
            assert f"the proxy {proxy.url}" in error.message
    error = failure_of(client)
    assert type(error) is Unreachable, "it is gone"
    assert f"the proxy {proxy.url}" in error.message


@pytest.mark.skipif(find_spec("socksio") is not None, reason="SOCKS proxies are supported here")
def test_a_proxy_of_a_kind_that_is_not_supported_is_said_before_anything_is_sent(connect: Connect) -> None:
    with pytest.raises(BadConfig, match="all_proxy names a SOCKS proxy") as caught:
        connect("https://logsh.test", env={"all_proxy": "socks5://127.0.0.1:9"})
    assert "httpx[socks]" in (caught.value.hint or "")


def test_loopback_is_never_reached_through_a_proxy(connect: Connect, server: Server) -> None:
    with ConnectProxy({}) as proxy:
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        connect(server.url, env=dict.fromkeys(names, proxy.url)).post(BODY, Budget(10))
        assert proxy.connections == 0


# What can't be used is said at once


def test_a_url_that_no_key_may_go_to_is_refused(connect: Connect) -> None:
    for url in ("", "logsh.co", "ftp://logsh.co", "https://", "http://logsh.co", "https://me:hunter2@logsh.co",
                "https://logsh.co/?a=b", "https://logsh.co:99999", "http://127.0.0.1.evil.example"):  # fmt: skip
        with pytest.raises(BadConfig) as caught:
            connect(url)
        assert "hunter2" not in caught.value.message


def test_a_key_that_would_break_the_header_is_refused_and_not_repeated(connect: Connect) -> None:
    for key in ("", "logsh key", "logsh\n", "logsh_ü", "\x00", "a\r\nX-Other: b"):
        with pytest.raises(BadConfig) as caught:
            connect("https://logsh.co", key)
        assert not key or key not in caught.value.message


# Foreign exceptions


def _kinds_below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds_below(below)


OUR_FAULTS = {*(httpx.TransportError, httpx.ProtocolError, httpx.LocalProtocolError, httpx.UnsupportedProtocol)}
"""Kinds that are only bases, and those that only a request that is not valid HTTP can raise."""


def _translated(error: Exception, *, sent: bool) -> type[LogshError]:
    exchange = Exchange(build_request("https://logsh.co", KEY, BODY), "logsh.co:443")
    exchange.sent = sent
    return type(translate(error, exchange))


def test_every_exception_of_the_transport_is_translated() -> None:
    kinds: set[type[Exception]] = {*_kinds_below(httpx.TransportError), TimeoutError}
    for kind in kinds:
        found = [_translated(kind.__new__(kind), sent=sent) for sent in (False, True)]
        if kind in OUR_FAULTS:
            assert found == [InternalError] * 2, kind
        else:
            assert found == [Unreachable, Unreachable if kind is httpx.ProxyError else Unanswered], kind


def test_a_fault_of_ours_is_one_and_what_is_ours_goes_through_untranslated(connect: Connect) -> None:
    for raised, seen in ((ZeroDivisionError(), InternalError), (Unanswered("from within"), Unanswered)):

        def broken(_host: str, _port: int, error: Exception = raised) -> list[object]:
            raise error

        with pytest.raises(seen):
            connect("https://logsh.test", lookup=broken).post(BODY, Budget(10))


# What an answer says


HTML = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>"
PAGE = {"Content-Type": "text/html; charset=utf-8"}


def test_a_success_whose_body_denies_it_says_so(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    for status, body, headers in (
        (200, b'{"status": false, "message": "no"}', {}),
        (201, b'{"status":false}', PAGE),
        (299, HTML, PAGE),
        (200, HTML.upper(), {}),
        (201, b"\xef\xbb\xbf \r\n<html lang=en>", {}),
        (200, b"Please log in", PAGE),
        (201, b"<!-- blocked --><p>", {"Content-Type": "application/xhtml+xml"}),
        (200, HTML + b"x" * 100_000, {}),
    ):
        server.script(says.raw(says.http(status, body, headers)))
        answer = client.post(BODY, Budget(30))
        assert (answer.status, answer.denies_success) == (status, True), (body[:50], headers)


def test_an_empty_cut_off_or_slow_body_does_not_deny_a_success(connect: Connect, server: Server) -> None:
    for answer in (
        says.raw(says.http(201, b"")),
        says.raw(says.http(201, b"", PAGE)),
        says.raw(says.http(201, b" \r\n", PAGE)),
        says.raw(says.http(200, b'{"status": true}', PAGE)),
        says.raw(says.http(200, b'{"status": null}')),
        says.raw(says.http(200, b'{"status": 0, "id": "<html>"}')),
        says.raw(says.http(200, b'[{"status": false}]')),
        says.raw(says.http(200, b"OK", {"Content-Type": "text/plain"})),
        says.raw(says.http(200, b"see <html>", {"Content-Type": "text/plain"})),
        says.raw(says.http(200, b"<htmlish/>", {"Content-Type": "text/xml"})),
        says.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 900\r\n\r\n" + HTML, hang_up=True),
        says.raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"status":false}\r\n', hang_up=True),
        says.drip_body(5.0, 200, b'{"status": false}'),
    ):
        server.script(answer)
        start = time.monotonic()
        assert not connect(server.url).post(BODY, Budget(600)).denies_success, answer
        assert time.monotonic() - start < FAR_BEYOND_S, answer


def test_a_page_that_ends_with_the_connection_came_whole(
    connect: Connect, server: Server, secured: Server, ca_file: str
) -> None:
    page = says.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML, hang_up=True)
    server.script(page)
    assert connect(server.url).post(BODY, Budget(10)).denies_success
    secured.script(page)
    with ConnectProxy({"logsh.test:443": secured.address}, tls=authority().server_context()) as proxy:
        client = connect("https://logsh.test", env={"SSL_CERT_FILE": ca_file, "https_proxy": proxy.url})
        assert client.post(BODY, Budget(10)).denies_success, "TLS inside TLS reports the end as an error"


def test_no_piece_of_a_key_comes_back_from_a_service_that_repeats_it(connect: Connect, server: Server) -> None:
    piece = KEY[2:15]
    # The name would be cut within the key.
    said = {"name": "n" * 490 + KEY, "message": f"your key {KEY[:-2]}… is bad", "details": {"header": piece}}
    headers = {"Content-Type": f"text/{piece}", "Retry-After": piece, "Location": f"/?{piece}"}
    server.script(says.raw(says.http(429, json.dumps(said).encode(), headers)))
    client = connect(server.url)
    answer = client.post(BODY, Budget(10))
    assert client.exchange is not None
    shown = f"{answer} {client.exchange.location}"
    assert "your key [redacted]… is bad" in shown
    assert KEY[:8] not in shown
    assert not any(KEY[at : at + 12] in shown for at in range(len(KEY) - 11))


def test_texts_of_an_answer_are_cut_to_size(connect: Connect, server: Server) -> None:
    said = {"name": "n" * 501, "message": "m" * 500, "details": ["d"] * 500}
    server.script(says.raw(says.http(500, json.dumps(said).encode(), {"Retry-After": "9" * 501})))
    answer = connect(server.url).post(BODY, Budget(10))
    assert answer.name == "n" * 499 + "…"
    assert answer.message == "m" * 500
    assert {len(text or "") for text in (answer.details, answer.retry_after)} == {500}
