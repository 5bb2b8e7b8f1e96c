"""A Logsh that answers as fast as Python can: a process of its own, so that what is measured is the client.

``python server.py CA_FILE`` writes the authority that signed for TLS there, and on its standard output one line of JSON
with its ports. It reads just enough of a request to find its end, keeps connections open, answers 201, and ends when
its standard input does, so that it never outlives a benchmark. ``GET /count`` gives the number of events so far.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

import trustme

LATENCY_S = 0.5
"""The time that the slow port takes to answer: more than any client here needs for everything else."""

_CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status": true}'
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One client's connection, which may bring many requests, in any number of pieces."""

    events = 0
    """Received over all connections."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = self._received[:end].lower()
            length = head.partition(_LENGTH)[2].split(b"\r\n", 1)[0]
            size = end + len(_END_OF_HEAD) + int(length or 0)
            if len(self._received) < size:
                return
            self._received = self._received[size:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get /count"):
            self._transport.write(b"HTTP/1.0 200 OK\r\n\r\n%d" % Connection.events)
            self._transport.close()
            return
        Connection.events += 1
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, _CREATED)
        else:
            self._transport.write(_CREATED)


async def serve(authority: trustme.CA) -> None:
    """Listen on three ports until standard input ends."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(secure)
    loop = asyncio.get_running_loop()
    ports = {}
    for name, context, latency_s in (("http", None, 0.0), ("https", secure, 0.0), ("slow", secure, LATENCY_S)):
        server = await loop.create_server(
            lambda latency_s=latency_s: Connection(latency_s), "127.0.0.1", 0, ssl=context, backlog=1024
        )
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    ca = trustme.CA()
    Path(sys.argv[1]).write_bytes(ca.cert_pem.bytes())
    asyncio.run(serve(ca))
