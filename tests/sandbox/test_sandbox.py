"""The sandbox's server, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from logsh_cli.errors import UsageError
from logsh_cli.sandbox.rules import MAX_BODY_BYTES, SLOW_S, parse_faults
from logsh_cli.sandbox.server import Received, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = {"workspace": "web", "event": "user.signup", "description": "Ann joined"}
KEY = {"Authorization": "Bearer logsh_canary"}
JSON = {**KEY, "Content-Type": "application/json"}


class Sandbox:
    """A running server and everything that it has received."""

    def __init__(self, faults: str = "") -> None:
        self.requests: list[Received] = []
        self.server = SandboxServer(self.requests.append, faults=parse_faults(faults) if faults else ())

    @property
    def events(self) -> list[dict[str, Any]]:
        return [received.event for received in self.requests if received.event is not None]

    @property
    def reasons(self) -> list[str | None]:
        return [received.reason for received in self.requests]

    def post(self, body: object = EVENT, **given: Any) -> httpx.Response:
        what: dict[str, Any] = {"json": body, "headers": KEY, "timeout": 30} | given
        return httpx.post(f"{self.server.url}/api/event", **what)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=30)

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send a raw request, in which ``PORT`` stands for the sandbox's own."""
        connection.sendall(data.replace(b"PORT", str(self.server.port).encode()))


@contextmanager
def running(faults: str = "") -> Iterator[Sandbox]:
    sandbox = Sandbox(faults)
    with sandbox.server:
        yield sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def raw_post(body: bytes, *extra: str) -> bytes:
    headers = ("Host: localhost:PORT", "Content-Type: application/json", "Authorization: Bearer k", *extra)
    return ("POST /api/event HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in headers) + "\r\n").encode() + body


# The documented contract


def test_a_good_event_is_answered_201_with_status_true_and_received_as_it_was_sent(sandbox: Sandbox) -> None:
    event = {**EVENT, "icon": "👤", "notify": True, "metadata": {"plan": "pro", "seats": 3, "trial": False}}
    answer = sandbox.post(event)
    assert (answer.status_code, answer.json()) == (201, {"status": True})
    assert sandbox.events == [event]


def test_an_event_that_breaks_a_rule_gets_400_naming_field_and_rule(sandbox: Sandbox) -> None:
    for change, detail in (
        ({"event": None}, "event"),
        ({"event": " "}, "event"),
        ({"event": "x" * 251}, "250"),
        ({"description": "x" * 151}, "150"),
        ({"workspace": "x" * 36}, "35"),
        ({"workspace": 5}, "workspace"),
        ({"icon": "rocket"}, "icon"),
        ({"icon": ":rocket:"}, "icon"),
        ({"notify": "yes"}, "notify"),
        ({"metadata": {"a": {"b": 1}}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ):
        answer = sandbox.post({**EVENT, **change})
        error = answer.json()
        assert (answer.status_code, error["status"], error["name"]) == (400, False, "bad_request"), change
        assert error["message"] == "Invalid body parameters provided."
        assert detail in error["details"]
    assert sandbox.events == []


def test_an_empty_object_with_a_good_key_gets_400_naming_all_that_is_required_and_makes_no_event(
    sandbox: Sandbox,
) -> None:
    answer = sandbox.post({})
    assert answer.status_code == 400
    for name in ("workspace", "event", "description"):
        assert answer.json()["details"].count(f"{name} is required") == 1
    assert sandbox.events == []


def test_a_body_that_is_no_json_object_gets_400(sandbox: Sandbox) -> None:
    for body in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"event": NaN}', b"[" * 100_000, b"1" * 5000):
        answer = sandbox.post(None, json=None, content=body, headers=JSON)
        assert (answer.status_code, answer.json()["name"]) == (400, "bad_request"), body[:20]
    assert sandbox.events == []


def test_the_documented_content_type_is_required(sandbox: Sandbox) -> None:
    content = json.dumps(EVENT).encode()
    as_form = sandbox.post(json=None, content=content, headers={**KEY, "Content-Type": "text/plain"})
    with_charset = {**KEY, "Content-Type": "Application/JSON; charset=utf-8"}
    assert (as_form.status_code, "Content-Type" in as_form.json()["details"]) == (400, True)
    assert sandbox.post(json=None, content=content, headers=with_charset).status_code == 201


def test_a_request_without_a_bearer_key_gets_401_before_its_body_is_judged(sandbox: Sandbox) -> None:
    for headers in ({}, *({"Authorization": given} for given in ("", "Bearer", "Basic abc"))):
        answer = sandbox.post({}, headers=headers)
        assert (answer.status_code, answer.json()["name"]) == (401, "unauthorized"), headers
        assert answer.json()["message"] == "Your Bearer Token is missing, invalid or expired."


def test_a_request_for_another_host_is_misdirected_and_uses_up_no_fault() -> None:
    with running("503") as sandbox:
        port = sandbox.server.port
        others = ("evil.test", f"evil.test:{port}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil.test:{port}")
        for host in others:
            answer = sandbox.post(headers={**KEY, "Host": host})
            assert (answer.status_code, answer.json()["name"]) == (421, "misdirected_request"), host
        assert sandbox.post(headers={**KEY, "Host": f"LOCALHOST:{port}"}).status_code == 503
        assert sandbox.events == []


def test_another_path_gets_a_404_page_in_html_and_another_method_405_in_json(sandbox: Sandbox) -> None:
    for path in ("/", "/api/events", "/api/event/", "//[", "/%00"):
        with sandbox.connect() as connection:
            sandbox.send(connection, f"POST {path} HTTP/1.0\r\nHost: localhost:PORT\r\n\r\n".encode())
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b"text/html" in answer
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "BREW"):
        refused = httpx.request(method, f"{sandbox.server.url}/api/event?x=1", headers=KEY)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST"), method
        assert refused.json()["name"] == "method_not_allowed"


def test_a_head_request_gets_no_body_and_leaves_the_connection_usable(sandbox: Sandbox) -> None:
    with httpx.Client(base_url=sandbox.server.url, headers=KEY) as client:
        assert client.head("/api/event").status_code == 405
        assert client.post("/api/event", json=EVENT).status_code == 201


def test_a_body_over_a_megabyte_gets_413_and_one_at_the_limit_is_read(sandbox: Sandbox) -> None:
    too_long = sandbox.post(json=None, content=b" " * (MAX_BODY_BYTES + 1))
    assert (too_long.status_code, too_long.json()["name"]) == (413, "payload_too_large")
    at_limit = json.dumps(EVENT).encode().ljust(MAX_BODY_BYTES)
    assert sandbox.post(json=None, content=at_limit, headers=JSON).status_code == 201


def test_a_chunked_body_is_read_and_bounded_like_any_other(sandbox: Sandbox) -> None:
    content = json.dumps(EVENT).encode()
    parts = iter([content[:10], content[10:]])
    assert sandbox.post(json=None, content=parts, headers=JSON).status_code == 201
    with sandbox.connect() as connection:
        sandbox.send(connection, raw_post(b"200000\r\n", "Transfer-Encoding: chunked") + b"x" * 0x200000)
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert sandbox.events == [EVENT]


def test_no_key_is_remembered(sandbox: Sandbox) -> None:
    sandbox.post()
    sandbox.post({"event": 1})
    assert len(sandbox.requests) == 2
    assert "canary" not in repr(sandbox.requests)
    assert sandbox.requests[0].headers["content-type"] == "application/json"


# --fail


def test_a_status_in_fail_is_answered_once_with_its_name_and_is_no_event() -> None:
    names = {
        400: "bad_request",
        401: "unauthorized",
        402: "payment_required",
        403: "forbidden",
        499: "error",
        429: "rate_limit_exceeded",
        500: "internal_server_error",
        503: "service_unavailable",
    }
    with running(",".join(map(str, names))) as sandbox:
        for status, name in names.items():
            failed = sandbox.post()
            assert (failed.status_code, failed.json()["name"]) == (status, name)
            assert failed.headers.get("Retry-After") == ("1" if status == 429 else None)
        assert sandbox.post().status_code == 201
    assert [received.status for received in sandbox.requests] == [*names, 201]
    assert len(sandbox.events) == 1


def test_drop_closes_the_connection_without_an_answer() -> None:
    with running("drop") as sandbox:
        with pytest.raises(httpx.RemoteProtocolError):
            sandbox.post()
        assert sandbox.post().status_code == 201
    assert sandbox.reasons == ["--fail drop", None]
    assert sandbox.requests[0].status is None


def test_slow_holds_an_ordinary_answer_back_and_nobody_elses() -> None:
    with running("slow") as sandbox:
        with pytest.raises(httpx.ReadTimeout):
            sandbox.post(timeout=0.5)
        assert sandbox.post(timeout=SLOW_S / 2).status_code == 201
        assert len(sandbox.events) == 2, "a slow service has the event although its client has gone"


def test_a_slow_answer_comes_in_the_end_and_a_stop_does_not_wait_for_it() -> None:
    with running("slow") as sandbox:
        answer = sandbox.post()
    assert (answer.status_code, answer.elapsed.total_seconds() >= SLOW_S) == (201, True)
    with running("slow") as sandbox:
        connection = sandbox.connect()
        sandbox.send(connection, raw_post(b"{}", "Content-Length: 2"))
        while not sandbox.requests:
            threading.Event().wait(0.01)
    with connection:
        assert read_all(connection) == b""


def test_the_first_requests_get_the_faults_in_their_order_before_the_key_and_the_body_are_looked_at() -> None:
    with running("503, 429 ,HTML") as sandbox:
        assert httpx.post(f"{sandbox.server.url}/other").status_code == 404
        answers = [sandbox.post({}, headers={}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 429, 502, 401]
    assert answers[2].headers["Content-Type"] == "text/html; charset=utf-8"


def test_wrong_fail_items_are_usage_errors_that_name_each_and_say_what_is_allowed() -> None:
    for spec in ("", "503,", "banana", "200", "399", "600", "5O3", "٥٠٣", "503 429", "-503", "503,teapot,1"):
        with pytest.raises(UsageError, match="400 to 599, drop, slow or html") as caught:
            parse_faults(spec)
    assert '"teapot", "1"' in caught.value.message


# Connections


def test_a_connection_is_kept_open_for_the_next_request_whatever_the_answers_were() -> None:
    with running("503,html") as sandbox, sandbox.connect() as connection:
        body = json.dumps(EVENT).encode()
        for request in (
            raw_post(body, f"Content-Length: {len(body)}"),
            raw_post(b"", "Content-Length: 0"),
            raw_post(b"{", "Content-Length: 1"),
            b"PUT /x HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 3\r\n\r\nabc",
        ):
            sandbox.send(connection, request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        sandbox.send(connection, raw_post(body, f"Content-Length: {len(body)}", "Connection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 201 ")
    assert [received.status for received in sandbox.requests] == [503, 502, 400, 404, 201]


def test_many_connections_at_once_are_all_served(sandbox: Sandbox) -> None:
    def converse(number: int) -> list[int]:
        with httpx.Client(base_url=sandbox.server.url, headers=KEY, timeout=60, verify=False) as client:
            events = [{**EVENT, "metadata": {"n": f"{number}.{turn}"}} for turn in range(3)]
            return [client.post("/api/event", json=event).status_code for event in events]

    with ThreadPoolExecutor(30) as pool:
        assert [*pool.map(converse, range(30))] == [[201] * 3] * 30
    assert len({event["metadata"]["n"] for event in sandbox.events}) == 90


def test_connections_that_say_nothing_hold_nobody_up(sandbox: Sandbox) -> None:
    with ExitStack() as silent:
        for _ in range(200):
            silent.enter_context(sandbox.connect())
        assert sandbox.post().status_code == 201


RUBBISH = (
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 500,
    b"\r\n" * 50,
    b"POST /api/event HTTP/1.1\r\nContent-Le",
    b"POST /api/event HTTP/9.9\r\n\r\n",
    b"POST " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /api/event HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"POST /api/event HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    raw_post(json.dumps(EVENT).encode(), "Content-Length: 1000"),
    raw_post(b"{}", "Content-Length: -2"),
    raw_post(b"{}", "Content-Length: 2", "Content-Length: two"),
    raw_post(b"{}", "Content-Length: " + "9" * 5000),
    raw_post(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    raw_post(b"-5\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    raw_post(b"5\r\n{}", "Transfer-Encoding: chunked"),
)


def test_rubbish_and_half_requests_make_no_event_and_harm_nobody(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    for rubbish in RUBBISH:
        with sandbox.connect() as connection:
            try:
                sandbox.send(connection, rubbish)
                connection.shutdown(socket.SHUT_WR)
                answer = read_all(connection)
            except OSError:  # the server may have answered and hung up before it had read all of it
                answer = b""
        assert b" 201 " not in answer[:20], rubbish[:60]
        assert sandbox.events == [], rubbish[:60]
    assert sandbox.post().status_code == 201
    assert capfd.readouterr() == ("", "")


def test_a_client_that_resets_its_connection_is_not_reported(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(20):
        with sandbox.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sandbox.send(connection, raw_post(b"{", "Content-Length: 100"))
    assert sandbox.post().status_code == 201
    assert len(sandbox.requests) == 1
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_a_usage_error_that_names_it(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match=f"127.0.0.1:{sandbox.server.port}") as caught:
        SandboxServer(sandbox.requests.append, port=sandbox.server.port)
    assert "--port" in (caught.value.hint or "")


def test_a_stopped_sandbox_closes_its_connections_and_frees_its_port() -> None:
    with running() as sandbox:
        connection = sandbox.connect()
        sandbox.send(connection, raw_post(b"{}", "Content-Length: 2"))
        assert connection.recv(65536)
    with connection:
        assert connection.recv(65536) == b""
    with SandboxServer(sandbox.requests.append, port=sandbox.server.port) as again:
        assert httpx.get(again.url).status_code == 404


def test_a_thousand_events_leave_nothing_behind_in_the_server() -> None:
    count = 0

    def counted(_received: Received) -> None:
        nonlocal count
        count += 1

    body = json.dumps(EVENT).encode()
    request = raw_post(body, f"Content-Length: {len(body)}")

    def talk(server: SandboxServer, times: int) -> None:
        to_here = request.replace(b"PORT", str(server.port).encode())
        for _ in range(times):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(to_here)
                assert connection.recv(4096)

    with SandboxServer(counted) as server:
        talk(server, 250)
        tracemalloc.start()
        talk(server, 750)
        kept, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 1_000
    assert kept < 75_000
