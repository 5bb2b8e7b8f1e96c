"""A Logsh that answers as fast as Python can: a process of its own, so that what is measured is the client.

It reads just enough of a request to find its end, keeps connections open, and answers 201. On its standard output it
writes one line of JSON with its ports, and it ends when its standard input does, so that it never outlives a benchmark.
``GET /count`` gives the number of events so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from functools import partial
from pathlib import Path

import trustme

LATENCY_S = 0.5
"""How long the slow port takes to answer: more than any client here needs for everything else."""

_CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status": true}'
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Tally:
    """Events received, over all ports."""

    events = 0


class Connection(asyncio.Protocol):
    """One client's connection, which may bring many requests, in any number of pieces."""

    def __init__(self, tally: Tally, latency_s: float) -> None:
        self._tally = tally
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
            size = end + len(_END_OF_HEAD) + _body_length(head)
            if len(self._received) < size:
                return
            self._received = self._received[size:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get /count"):
            body = str(self._tally.events).encode()
            self._transport.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            self._transport.close()
            return
        self._tally.events += 1
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, _CREATED)
        else:
            self._transport.write(_CREATED)


def _body_length(head: bytes) -> int:
    start = head.find(_LENGTH)
    if start < 0:
        return 0
    return int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0])


async def serve(authority: trustme.CA) -> None:
    """Listen on three ports until standard input ends."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(secure)
    loop = asyncio.get_running_loop()
    tally = Tally()
    ports = {}
    for name, context, latency_s in (("http", None, 0.0), ("https", secure, 0.0), ("slow", secure, LATENCY_S)):
        make = partial(Connection, tally, latency_s)
        server = await loop.create_server(make, "127.0.0.1", 0, ssl=context, backlog=1024)
        ports[name] = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ca_file", type=Path, help="where to write the authority that signed for TLS")
    ca = trustme.CA()
    parser.parse_args().ca_file.write_bytes(ca.cert_pem.bytes())
    asyncio.run(serve(ca))
