"""The client against a real server: every answer, every way for one not to come, and never beyond the budget."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
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
from tests.support.clients import KEY, closing_clients
from tests.support.proxy import ConnectProxy
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.answers import Answer, Column
    from tests.support.clients import Connect

BODY = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'
SHORT_S = 0.4
FAR_BEYOND_S = 15.0
"""Nothing that is bounded by SHORT_S takes this long, even on a busy machine."""


@pytest.fixture
def connect() -> Iterator[Connect]:
    with closing_clients() as make:
        yield make


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def failure_of(client: Client, seconds: float = 10, body: bytes = BODY) -> LogshError:
    """What a post raises; also holds that no message has the key and that the record is complete."""
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
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_both_columns_of_the_contract_are_understood(
    connect: Connect, column: Column, secure: bool, tmp_path: Path
) -> None:
    tls = authority().server_context() if secure else None
    ca_file = str(authority().write_ca(tmp_path)) if secure else None
    with Server(key=KEY, column=column, validate=True, tls=tls) as server:
        client = connect(server.url, ca_file=ca_file)
        assert client.post(BODY, Budget(10)).status in {200, 201}

        refusal = client.post(b"{}", Budget(10))
        assert (refusal.status, refusal.name) in {(400, "bad_request"), (403, "validation_error")}
        assert refusal.message

        server.script(column.limited, column.quota_spent)
        assert client.post(BODY, Budget(10)).status == 429
        assert client.post(BODY, Budget(10)).status in {402, 429}

        stranger = connect(server.url, "logsh_another", ca_file=ca_file)
        assert stranger.post(BODY, Budget(10)).name == "unauthorized"
        assert server.events == [json.loads(BODY)]


def test_the_wait_that_a_limit_asks_for_is_handed_on(connect: Connect, server: Server) -> None:
    server.script(COLUMNS["observed"].limited, COLUMNS["observed"].quota_spent)
    client = connect(server.url)
    assert client.post(BODY, Budget(10)).retry_after == "1"
    assert client.post(BODY, Budget(10)).retry_after is None


def test_a_request_has_the_documented_headers_and_no_others(connect: Connect, server: Server) -> None:
    connect(server.url).post(BODY, Budget(10))
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/event", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(BODY)),
    }


def test_without_a_key_no_authorization_is_sent(connect: Connect, server: Server) -> None:
    connect(server.url, None).post(b"{}", Budget(10))
    assert "authorization" not in server.requests[0].headers


def test_a_path_of_the_api_url_is_kept(connect: Connect, server: Server) -> None:
    answer = connect(f"{server.url}/below/").post(BODY, Budget(10))
    assert (answer.status, server.requests[0].path) == (404, "/below/api/event")


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/elsewhere", "http://[::bad", "nonsense://", "\x01"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_never_followed(connect: Connect, server: Server, status: int, target: str) -> None:
    server.script(says.redirect(target.format(port=server.port), status))
    client = connect(server.url)
    assert client.post(BODY, Budget(10)).status == status
    assert client.exchange is not None
    assert client.exchange.location == target.format(port=server.port)
    assert len(server.requests) == 1


def test_cookies_are_not_kept(connect: Connect, server: Server) -> None:
    server.script(says.raw(says.http(201, b"{}", {"Set-Cookie": "a=b"})))
    client = connect(server.url)
    client.post(BODY, Budget(10))
    client.post(BODY, Budget(10))
    assert "cookie" not in server.requests[1].headers


# Malformed answers


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (says.html404(), 404),
        (says.empty(500), 500),
        (says.empty(201), 201),
        (says.raw(b"HTTP/1.1 204 No Content\r\n\r\n"), 204),
        (says.cut_off(201), 201),
        (says.cut_off(201, chunked=True), 201),
        (says.cut_off(403), 403),
        (says.cut_off(500, chunked=True), 500),
        (says.drip_body(status=201), 201),
        (says.drip_body(status=500), 500),
        (says.raw(says.http(500, b"\x1f\x8b not gzip", {"Content-Encoding": "gzip"})), 500),
        (says.raw(says.http(500, b"[" * 5000)), 500),
        (says.raw(b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", hang_up=True), 502),
        (says.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"), 201),
        (says.raw(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"), 999),
    ],
    ids=repr,
)
def test_an_answer_with_whole_headers_is_an_answer_whatever_its_body(
    connect: Connect, server: Server, answer: Answer, status: int
) -> None:
    server.script(answer)
    start = time.monotonic()
    got = connect(server.url).post(BODY, Budget(SHORT_S))
    assert (got.status, got.name, got.message) == (status, None, None)
    assert time.monotonic() - start < FAR_BEYOND_S


def test_an_error_in_a_wrong_charset_is_read_all_the_same(connect: Connect, server: Server) -> None:
    server.script(says.wrong_charset())
    answer = connect(server.url).post(BODY, Budget(10))
    assert (answer.name, answer.message) == ("validation_error", "Überlänge")


def test_a_dripping_error_is_read_to_its_end_if_the_budget_allows(connect: Connect, server: Server) -> None:
    server.script(says.drip_body(0.001, 403, b'{"name":"validation_error","message":"no"}'))
    assert connect(server.url).post(BODY, Budget(30)).name == "validation_error"


@pytest.mark.parametrize(
    "answer",
    [
        says.drop(),
        says.accept_then_drop(),
        says.cut_off_headers(),
        says.drip_headers(),
        says.slow(FAR_BEYOND_S),
        says.raw(b"\x00\xff\xfe garbage\r\n\r\n", hang_up=True),
        says.raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        says.raw(b"x" * 300_000, hang_up=True),
        says.raw(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: and so on\r\n" * 10_000),
        says.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        says.raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        says.raw(b"HTTP/1.1 201 Created\r\nContent-Length: -5\r\n\r\n"),
    ],
    ids=repr,
)
def test_without_whole_headers_the_event_counts_as_unanswered(connect: Connect, server: Server, answer: Answer) -> None:
    server.script(answer)
    client = connect(server.url)
    error = failure_of(client, SHORT_S)
    assert type(error) is Unanswered
    assert error.message.startswith(f"127.0.0.1:{server.port}: ")
    assert client.exchange is not None
    assert client.exchange.sent

    server.default = says.ok()
    assert client.post(BODY, Budget(10)).status == 201, "the client works on after a failure"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says.slow(FAR_BEYOND_S), "no answer in time"),
        (says.drip_headers(), "the answer did not end in time"),
        (says.drop(), "the connection was closed without an answer"),
        (says.cut_off_headers(), "the answer is cut off, or is not HTTP"),
        (says.raw(b"\x00\xff garbage\r\n\r\n", hang_up=True), "the answer is cut off, or is not HTTP"),
    ],
    ids=repr,
)
def test_the_message_says_how_far_an_answer_came(connect: Connect, server: Server, answer: Answer, words: str) -> None:
    server.script(answer)
    assert failure_of(connect(server.url), SHORT_S).message == f"127.0.0.1:{server.port}: {words}"


@pytest.mark.parametrize(
    ("url", "host"), [("http://localhost", "localhost:80"), ("https://logsh.test", "logsh.test:443")]
)
def test_without_a_port_the_usual_one_is_meant(connect: Connect, url: str, host: str) -> None:
    asked: list[object] = []

    def unknown(*where: object) -> list[object]:
        asked.append(where)
        raise OSError("unknown")

    assert failure_of(connect(url, lookup=unknown)).message.startswith(f"{host}: ")
    assert asked == [(host.partition(":")[0], int(host.partition(":")[2]))]


@pytest.mark.parametrize("status", [201, 500])
@pytest.mark.parametrize("answer", [says.huge, says.endless])
def test_memory_stays_flat_whatever_the_size_of_an_answer(
    connect: Connect, server: Server, answer: object, status: int
) -> None:
    assert callable(answer)
    server.script(answer(status=status))
    client = connect(server.url)
    tracemalloc.start()
    try:
        assert client.post(BODY, Budget(10)).status == status
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


# The budget


def _never(_host: str, _port: int) -> list[object]:
    threading.Event().wait(FAR_BEYOND_S)
    return []


def test_a_look_up_that_hangs_ends_with_the_budget(connect: Connect) -> None:
    client = connect("https://logsh.test", lookup=_never)
    error = failure_of(client, SHORT_S)
    assert type(error) is Unreachable
    assert "logsh.test:443: the name look-up took too long" in error.message


def test_a_handshake_that_hangs_ends_with_the_budget(connect: Connect) -> None:
    with Listener() as silent:
        error = failure_of(connect(f"https://127.0.0.1:{silent.port}"), SHORT_S)
    assert type(error) is TlsFailure


def test_a_handshake_that_hangs_ends_with_the_connect_timeout(connect: Connect) -> None:
    with Listener() as silent:
        client = connect(f"https://127.0.0.1:{silent.port}", connect_timeout=SHORT_S)
        assert type(failure_of(client, 600)) is TlsFailure


def test_a_server_that_does_not_read_holds_nobody_beyond_the_budget(connect: Connect) -> None:
    with Listener() as silent:
        client = connect(f"http://127.0.0.1:{silent.port}")
        assert type(failure_of(client, SHORT_S, body=b'"' + b"x" * 30_000_000 + b'"')) is Unanswered


def test_a_tunnel_that_is_never_made_ends_with_the_budget(connect: Connect) -> None:
    with Listener() as silent:
        client = connect("https://logsh.test", env={"https_proxy": f"http://127.0.0.1:{silent.port}"})
        assert type(failure_of(client, SHORT_S)) is Unreachable


def test_a_spent_budget_sends_nothing(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    assert type(failure_of(client, 0)) is Unreachable
    client.post(BODY, Budget(10))
    assert type(failure_of(client, 0)) is Unreachable, "on an open connection as well"
    assert len(server.requests) == 1


def test_no_limit_is_a_budget_too(connect: Connect, server: Server) -> None:
    assert connect(server.url).post(BODY, Budget(float("inf"))).status == 201


def test_a_budget_counts_down_to_zero_and_no_further() -> None:
    now = 100.0
    budget = Budget(2.0, lambda: now)
    assert budget.remaining() == 2.0
    now = 105.0
    assert budget.remaining() == 0.0


# Connections


def test_one_connection_serves_many_posts(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    for _ in range(5):
        client.post(BODY, Budget(10))
    assert {request.connection for request in server.requests} == {1}
    assert client.exchange is not None
    assert client.exchange.reused


def test_a_tls_connection_is_kept_as_well(connect: Connect, tmp_path: Path) -> None:
    with Server(tls=authority().server_context()) as server:
        client = connect(server.url, ca_file=str(authority().write_ca(tmp_path)))
        for _ in range(3):
            client.post(BODY, Budget(10))
        assert server.connections == 1


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_connection_that_was_closed_while_idle_costs_neither_a_failure_nor_a_second_event(
    connect: Connect, secure: bool, tmp_path: Path
) -> None:
    answer_and_leave = says.raw(says.http(201, b"{}"), accepts=True, hang_up=True)
    with Server(tls=authority().server_context() if secure else None) as server:
        client = connect(server.url, ca_file=str(authority().write_ca(tmp_path)))
        server.default = answer_and_leave
        for _ in range(5):
            assert client.post(BODY, Budget(10)).status == 201
            server.wait_until_idle()
        assert len(server.events) == 5


def test_a_server_that_comes_back_is_found_by_the_same_client(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    client.post(BODY, Budget(10))
    server.stop()
    assert type(failure_of(client)) is Unreachable
    server.start()
    assert client.post(BODY, Budget(10)).status == 201


def test_a_refused_connection_is_never_sent(connect: Connect, server: Server) -> None:
    server.stop()
    error = failure_of(connect(server.url))
    assert type(error) is Unreachable
    assert "refused" in error.message.lower()


def test_a_name_that_nobody_has_is_never_sent(connect: Connect) -> None:
    error = failure_of(connect("https://no-such-host.invalid"))
    assert type(error) is Unreachable
    assert "no-such-host.invalid:443" in error.message


def test_a_client_may_be_made_on_one_thread_and_used_on_another(connect: Connect, server: Server) -> None:
    made: list[Client] = []
    maker = threading.Thread(target=lambda: made.append(connect(server.url)))
    maker.start()
    maker.join()
    assert made[0].post(BODY, Budget(10)).status == 201


def test_the_record_tells_how_an_attempt_went(connect: Connect, tmp_path: Path) -> None:
    with Server(tls=authority().server_context()) as server:
        client = connect(server.url, ca_file=str(authority().write_ca(tmp_path)))
        client.post(BODY, Budget(10))
        exchange = client.exchange
        assert exchange is not None
        assert exchange.host == exchange.peer == f"127.0.0.1:{server.port}"
        assert (exchange.status, exchange.http_version, exchange.reused) == (201, "HTTP/1.1", False)
        assert exchange.tls_version in {"TLSv1.2", "TLSv1.3"}
        steps = (exchange.lookup_ms, exchange.connect_ms, exchange.tls_ms, exchange.first_byte_ms, exchange.total_ms)
        assert all(isinstance(step, float) for step in steps)
        assert exchange.request["url"] == f"{server.url}/api/event"
        assert exchange.request["body"] == json.loads(BODY)
        assert KEY not in repr(exchange) + repr(exchange.request)


# Proxies


@pytest.fixture
def secured() -> Iterator[Server]:
    with Server(tls=authority().server_context()) as running:
        yield running


def test_https_goes_through_a_connect_proxy_that_never_sees_the_key(
    connect: Connect, secured: Server, tmp_path: Path
) -> None:
    with ConnectProxy({"logsh.test:443": secured.address}) as proxy:
        env = {"https_proxy": proxy.url}
        client = connect("https://logsh.test", ca_file=str(authority().write_ca(tmp_path)), env=env)
        assert client.post(BODY, Budget(10)).status == 201
        assert client.post(BODY, Budget(10)).status == 201
        assert proxy.lines == ["CONNECT logsh.test:443 HTTP/1.1"]
        assert "authorization" not in proxy.headers[0]
        assert secured.requests[0].headers["host"] == "logsh.test"
        assert client.exchange is not None
        assert client.exchange.proxy == proxy.url


def test_an_https_proxy_is_spoken_to_over_tls(connect: Connect, secured: Server, tmp_path: Path) -> None:
    ca_file = str(authority().write_ca(tmp_path))
    with ConnectProxy({"logsh.test:443": secured.address}, tls=authority().server_context()) as proxy:
        client = connect(
            "https://logsh.test", ca_file=ca_file, env={"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": ca_file}
        )
        for _ in range(2):
            assert client.post(BODY, Budget(10)).status == 201
        assert len(proxy.lines) == 1
        secured.script(says.drop())
        assert type(failure_of(client)) is Unanswered

        untrusting = connect("https://logsh.test", ca_file=ca_file, env={"https_proxy": proxy.url})
        error = failure_of(untrusting)
        assert type(error) is TlsFailure
        assert f"the proxy {proxy.url}" in error.message


class DrippingHandshake(Listener):
    """Begins a TLS record and sends the rest of it byte by byte."""

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        sock.sendall(b"\x16\x03\x03\x3f\xff")
        while not stopping.wait(0.05):
            sock.sendall(b"\x02")


def test_the_budget_bounds_what_goes_through_an_https_proxy_as_well(
    connect: Connect, secured: Server, tmp_path: Path
) -> None:
    ca_file = str(authority().write_ca(tmp_path))
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
            assert type(failure_of(client, 2)) is Unanswered
        assert client.post(BODY, Budget(10)).status == 201


def test_credentials_of_a_proxy_come_from_its_url_and_show_nowhere(
    connect: Connect, secured: Server, tmp_path: Path
) -> None:
    ca_file = str(authority().write_ca(tmp_path))
    with ConnectProxy({"logsh.test:443": secured.address}, credentials="me:p@ss:wörd") as proxy:
        address = f"me:p%40ss%3Aw%C3%B6rd@127.0.0.1:{proxy.port}"
        client = connect("https://logsh.test", ca_file=ca_file, env={"https_proxy": address})
        assert client.post(BODY, Budget(10)).status == 201
        assert client.exchange is not None
        assert client.exchange.proxy == proxy.url

        wrong = connect(
            "https://logsh.test", ca_file=ca_file, env={"https_proxy": f"http://me:hunter2@127.0.0.1:{proxy.port}"}
        )
        error = failure_of(wrong)
        assert type(error) is BadConfig
        assert "hunter2" not in error.message + str(error.hint)


@pytest.mark.parametrize(
    "answer",
    [says.error(502), says.error(403), says.drop(), says.raw(b"garbage\r\n\r\n"), says.html404(), says.drip_headers()],
    ids=repr,
)
def test_a_proxy_that_makes_no_connection_means_never_sent(connect: Connect, answer: Answer) -> None:
    with ConnectProxy({}) as proxy:
        proxy.answer = answer
        client = connect("https://logsh.test", env={"all_proxy": proxy.url})
        for _ in range(2):
            error = failure_of(client, SHORT_S)
            assert type(error) is Unreachable
            assert f"the proxy {proxy.url}" in error.message


def test_a_failed_handshake_through_a_proxy_leaves_a_client_that_works(
    connect: Connect, secured: Server, tmp_path: Path
) -> None:
    with Listener() as silent, ConnectProxy({"logsh.test:443": silent.address}) as proxy:
        client = connect(
            "https://logsh.test", ca_file=str(authority().write_ca(tmp_path)), env={"https_proxy": proxy.url}
        )
        for _ in range(2):
            assert type(failure_of(client, SHORT_S)) is TlsFailure
        proxy.route("logsh.test:443", secured.address)
        assert client.post(BODY, Budget(10)).status == 201


def test_a_proxy_that_is_gone_means_never_sent(connect: Connect) -> None:
    with Listener() as gone:
        pass
    error = failure_of(connect("https://logsh.test", env={"https_proxy": f"http://127.0.0.1:{gone.port}"}))
    assert type(error) is Unreachable
    assert "the proxy" in error.message


def test_loopback_is_never_reached_through_a_proxy(connect: Connect, server: Server) -> None:
    with ConnectProxy({}) as proxy:
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        connect(server.url, env=dict.fromkeys(names, proxy.url)).post(BODY, Budget(10))
        assert proxy.connections == 0


# What can't be used is said at once


@pytest.mark.parametrize(
    "url",
    ["", "logsh.co", "ftp://logsh.co", "https://", "http://logsh.co", "https://me:hunter2@logsh.co",
     "https://logsh.co/?a=b", "https://logsh.co:99999", "http://127.0.0.1.evil.example"],
)  # fmt: skip
def test_a_url_that_no_key_may_go_to_is_refused(connect: Connect, url: str) -> None:
    with pytest.raises(BadConfig) as caught:
        connect(url)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("key", ["", "logsh key", "logsh\n", "logsh_ü", "\x00", "a\r\nX-Other: b"])
def test_a_key_that_would_break_the_header_is_refused_and_not_repeated(connect: Connect, key: str) -> None:
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


def _translated(error: Exception, *, sent: bool) -> LogshError:
    exchange = Exchange(build_request("https://logsh.co", KEY, BODY), "logsh.co:443")
    exchange.sent = sent
    return translate(error, exchange)


@pytest.mark.parametrize("kind", sorted({*_kinds_below(httpx.TransportError), TimeoutError}, key=repr))
def test_every_exception_of_the_transport_is_translated(kind: type[Exception]) -> None:
    unsent, sent = (_translated(kind.__new__(kind), sent=sent) for sent in (False, True))
    if kind in OUR_FAULTS:
        assert {type(unsent), type(sent)} == {InternalError}
    elif kind is httpx.ProxyError:
        assert {type(unsent), type(sent)} == {Unreachable}
    else:
        assert (type(unsent), type(sent)) == (Unreachable, Unanswered)


def test_an_exception_never_heard_of_is_not_mistaken_for_a_network_fault(connect: Connect) -> None:
    assert type(_translated(ZeroDivisionError(), sent=False)) is InternalError

    def broken(_host: str, _port: int) -> list[object]:
        raise ZeroDivisionError

    client = connect("https://logsh.test", lookup=broken)
    with pytest.raises(InternalError):
        client.post(BODY, Budget(10))


def test_a_signal_that_raises_goes_through_untranslated(connect: Connect) -> None:
    def interrupted(_host: str, _port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        raise Unanswered("raised from within")

    with pytest.raises(Unanswered, match="from within"):
        connect("https://logsh.test", lookup=interrupted).post(BODY, Budget(10))


# What an answer says


HTML = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>"
PAGE = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"status": false, "message": "no"}', {}),
        (b'{"status":false}', PAGE),
        (HTML, PAGE),
        (HTML.upper(), {}),
        (b"\xef\xbb\xbf \r\n<html lang=en>", {}),
        (b"Please log in", PAGE),
        (b"<!-- blocked --><p>", {"Content-Type": "application/xhtml+xml"}),
        (HTML + b"x" * 100_000, {}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_success_whose_body_denies_it_says_so(
    connect: Connect, server: Server, status: int, body: bytes, headers: dict[str, str]
) -> None:
    server.script(says.raw(says.http(status, body, headers)))
    answer = connect(server.url).post(BODY, Budget(30))
    assert (answer.status, answer.denies_success) == (status, True)


@pytest.mark.parametrize(
    "answer",
    [
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
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_empty_cut_off_or_slow_body_does_not_deny_a_success(
    connect: Connect, server: Server, answer: Answer
) -> None:
    server.script(answer)
    start = time.monotonic()
    assert not connect(server.url).post(BODY, Budget(600)).denies_success
    assert time.monotonic() - start < FAR_BEYOND_S


def test_a_page_that_ends_with_the_connection_came_whole(connect: Connect, server: Server, tmp_path: Path) -> None:
    page = says.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML, hang_up=True)
    server.script(page)
    assert connect(server.url).post(BODY, Budget(10)).denies_success

    ca_file = str(authority().write_ca(tmp_path))
    env = {"https_proxy": "", "SSL_CERT_FILE": ca_file}
    with (
        Server(tls=authority().server_context()) as secured,
        ConnectProxy({"logsh.test:443": secured.address}, tls=authority().server_context()) as proxy,
    ):
        secured.script(page)
        client = connect("https://logsh.test", env={**env, "https_proxy": proxy.url})
        assert client.post(BODY, Budget(10)).denies_success, "TLS inside TLS reports the end as an error"


def test_no_piece_of_a_key_comes_back_from_a_service_that_repeats_it(connect: Connect, server: Server) -> None:
    piece = KEY[2:15]
    said = {"name": f"n {piece}", "message": f"your key {KEY[:-2]}… is bad", "details": {"header": piece}}
    headers = {"Content-Type": f"text/{piece}", "Retry-After": piece, "Location": f"/?{piece}"}
    server.script(says.raw(says.http(429, json.dumps(said).encode(), headers)))
    client = connect(server.url)
    answer = client.post(BODY, Budget(10))
    assert client.exchange is not None
    shown = f"{answer} {client.exchange.location}"
    assert "your key [redacted]… is bad" in shown
    assert not any(KEY[at : at + 12] in shown for at in range(len(KEY) - 11))


def test_texts_of_an_answer_are_cut_to_size(connect: Connect, server: Server) -> None:
    said = {"name": "n" * 501, "message": "m" * 500, "details": ["d"] * 500}
    server.script(says.raw(says.http(500, json.dumps(said).encode(), {"Retry-After": "9" * 501})))
    answer = connect(server.url).post(BODY, Budget(10))
    assert answer.name == "n" * 499 + "…"
    assert answer.message == "m" * 500
    assert {len(text or "") for text in (answer.details, answer.retry_after)} == {500}
