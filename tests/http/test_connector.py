"""Clients for one destination: certificates read once, and every step told when asked for."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Budget
from logsh_cli.config.resolve import Destination
from logsh_cli.errors import BadConfig, LogshError
from logsh_cli.http.connector import Background, Connector
from logsh_cli.http.wire import build_request, encode_body
from tests.support import answers as says
from tests.support.certs import authority
from tests.support.clients import KEY
from tests.support.proxy import ConnectProxy
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    from pathlib import Path

BODY = encode_body({"workspace": "shop", "event": "deploy.done", "description": "geprüft"})


def destination(url: str, ca_file: Path | None = None) -> Destination:
    return Destination("default", url, KEY, None if ca_file is None else str(ca_file))


def told(url: str, ca_file: Path | None = None, *, posts: int = 1, env: dict[str, str] | None = None) -> list[str]:
    """The lines about the last of so many posts over one client, all numbers of milliseconds as N."""
    lines: list[str] = []
    client = Connector(destination(url, ca_file), env or {}, lines.append)()
    for _ in range(posts):
        lines.clear()
        with contextlib.suppress(LogshError):
            client.post(BODY, Budget(10))
    client.close()
    return [re.sub(r"\d+\.\d ms", "N", line) for line in lines]


def test_certificates_are_read_once_for_all_clients_and_not_for_plain_http(tmp_path: Path) -> None:
    ca_file = authority().write_ca(tmp_path)
    with Server(tls=authority().server_context()) as server:
        connector = Connector(destination(server.url, ca_file), {})
        first = connector()
        ca_file.unlink()
        second = connector()
        assert [client.post(BODY, Budget(10)).status for client in (first, second)] == [201, 201]
        first.close()
        second.close()
    connector = Connector(destination("https://logsh.test", ca_file), {})
    for _ in range(2):
        with pytest.raises(BadConfig, match="ca_file"):
            connector()
    Connector(destination("http://127.0.0.1:1", ca_file), {})().close()


def test_a_post_is_told_line_by_line(tmp_path: Path) -> None:
    with Server(tls=authority().server_context()) as server:
        ca_file = authority().write_ca(tmp_path)
        lines = told(server.url, ca_file)
        assert lines[:-4] == [
            f"> POST {server.url}/api/event",
            "> Accept: application/json",
            "> Accept-Encoding: identity",
            "> Content-Type: application/json",
            *[line for line in lines if line.startswith("> User-Agent: logsh-cli/")],
            "> Authorization: Bearer [redacted]",
            '> {"workspace": "shop", "event": "deploy.done", "description": "geprüft"}',
        ]
        answered = ["< HTTP/1.1 201", "< Content-Type: application/json"]
        assert lines[-4:] == [
            f"connected to 127.0.0.1:{server.port}, TLSv1.3",
            *answered,
            "timings: name look-up N, connection N, TLS N, first byte after N, all in N",
        ]
        assert told(server.url, ca_file, posts=2)[-4:] == [
            f"over the open connection to 127.0.0.1:{server.port}",
            *answered,
            "timings: first byte after N, all in N",
        ]


def test_an_answer_that_is_no_success_is_told_with_all_that_it_says() -> None:
    said = {"status": False, "name": "n", "message": "m", "details": {"a": "ü"}}
    headers = {"Retry-After": "7", "Location": "/elsewhere", "Content-Type": "application/json"}
    with Server() as server:
        server.script(says.raw(says.http(429, json.dumps(said).encode(), headers)))
        assert told(server.url)[-8:-1] == [
            "< HTTP/1.1 429",
            "< Location: /elsewhere (not followed)",
            "< Content-Type: application/json",
            "< Retry-After: 7",
            "< name: n",
            "< message: m",
            '< details: {"a": "ü"}',
        ]


def test_a_failure_is_told_as_far_as_it_came() -> None:
    with Listener() as gone:
        pass
    assert told(f"http://127.0.0.1:{gone.port}")[-2:] == [
        f"no answer: 127.0.0.1:{gone.port}: Connection refused",
        "timings: name look-up N, all in N",
    ]
    with ConnectProxy({}) as proxy:
        lines = told("https://logsh.test", env={"https_proxy": f"http://me:hunter2@127.0.0.1:{proxy.port}"})
    assert f"through the proxy {proxy.url}" in lines
    assert f"no answer: logsh.test:443: the proxy {proxy.url} answered 502" in lines
    assert "hunter2" not in "".join(lines)


def test_an_event_travels_as_compact_utf_8_which_has_no_form_for_what_is_not_json() -> None:
    assert '{"workspace":"shop","event":"deploy.done","description":"geprüft"}'.encode() == BODY
    with pytest.raises(ValueError, match="JSON"):
        encode_body({"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        encode_body({"a": "\ud800"})
    assert KEY not in str(build_request("https://logsh.co", KEY, BODY).redacted())
    for api_url in ("https://logsh.co", "https://logsh.co//"):
        assert build_request(api_url, KEY, BODY).url == "https://logsh.co/api/event"


def test_waiting_for_a_value_ends_with_the_patience() -> None:
    reading, writing = socket.socketpair()
    with reading, writing:
        slow = Background(lambda: reading.recv(1))
        with pytest.raises(TimeoutError):
            slow.result(0.05)
        writing.send(b"x")
        assert slow.result() == b"x"


def test_a_module_that_few_requests_need_is_loaded_once_by_whichever_threads_use_it() -> None:
    code = """if True:
        import sys, logsh_cli.http, threading, httpx
        later = {*sys.modules} & {"certifi", "idna", "ipaddress", "mimetypes"}
        assert len(later) == 4 and not any(sys.modules[name].__spec__ for name in later)
        hosts = []
        def use(): hosts.append(httpx.URL("https://B\u00dccher.example").raw_host + httpx.URL("http://127.0.0.1").raw_host)
        threads = [threading.Thread(target=use) for _ in range(20)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        assert hosts == [b"xn--bcher-kva.example127.0.0.1"] * 20, hosts
        import certifi, idna.core, ipaddress
        assert certifi.where() and idna.core.IDNAError is idna.IDNAError and not hasattr(ipaddress, "nothing")
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
