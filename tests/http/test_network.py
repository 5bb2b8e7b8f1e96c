"""From a name to a connection, when some of its addresses lead nowhere."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Budget
from logsh_cli.errors import Unreachable
from logsh_cli.http.connector import Background
from logsh_cli.http.network import connect_to_first, families_in_turn
from tests.support.blackhole import blackhole
from tests.support.clients import closing_clients
from tests.support.server import Listener, Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logsh_cli.http.network import AddressInfo


def at(address: tuple[str, int]) -> AddressInfo:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


def closed_port() -> tuple[str, int]:
    with Listener() as gone:
        pass
    return gone.address


def test_the_next_address_is_tried_when_one_refuses() -> None:
    with Listener() as there, connect_to_first([at(closed_port()), at(there.address)], 10) as sock:
        assert sock.getpeername() == there.address
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "small packets go out at once"


def test_an_address_that_swallows_everything_does_not_eat_the_time_of_the_next() -> None:
    with blackhole() as nowhere, Server() as server, closing_clients() as connect:

        def lookup(_host: str, _port: int) -> Sequence[AddressInfo]:
            return [at(nowhere), at(server.address)]

        client = connect("http://localhost:1", lookup=lookup, connect_timeout=10)
        assert client.post(b"{}", Budget(10)).status == 201


def test_silence_ends_with_the_connect_timeout_long_before_the_budget() -> None:
    with blackhole() as nowhere, closing_clients() as connect:
        client = connect("http://localhost:1", lookup=lambda *_: [at(nowhere)] * 2, connect_timeout=0.3)
        with pytest.raises(Unreachable, match="no connection within"):
            client.post(b"{}", Budget(600))


def test_each_reason_is_given_once_and_no_address_is_a_reason_too() -> None:
    refused = at(closed_port())
    with pytest.raises(OSError, match="refused") as caught:
        connect_to_first([refused, refused, refused], 10)
    assert str(caught.value) == os.strerror(errno.ECONNREFUSED)
    with pytest.raises(OSError, match="no address"):
        connect_to_first([], 10)


def test_a_family_that_this_machine_lacks_is_passed_over() -> None:
    impossible: AddressInfo = (-5, socket.SOCK_STREAM, 0, "", ("", 0))
    with Listener() as there, connect_to_first([impossible, at(there.address)], 10) as sock:
        assert sock.getpeername() == there.address
    with pytest.raises(OSError, match="family") as caught:
        connect_to_first([impossible], 10)
    assert "[Errno" not in str(caught.value)


def test_where_no_thread_can_be_started_the_caller_does_the_work() -> None:
    usual = threading.stack_size(1 << 47)  # more than any system gives
    try:
        with pytest.raises(RuntimeError):
            threading.Thread(target=print).start()
        assert Background(lambda: 7).result() == 7
        with pytest.raises(ZeroDivisionError):
            Background(lambda: 1 // 0).result()
    finally:
        threading.stack_size(usual)


def test_families_take_turns_in_the_order_of_the_resolver() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    given: list[AddressInfo] = [(family, 0, 0, "", (name,)) for family, name in
                                [(six, "a"), (six, "b"), (six, "c"), (four, "x"), (four, "y")]]  # fmt: skip
    assert [where for *_, (where,) in families_in_turn(given)] == ["a", "x", "b", "y", "c"]
    assert not families_in_turn([])


def test_a_name_that_can_not_be_looked_up_was_never_sent_to() -> None:
    for name in ("no-such-host.invalid", "a" * 300):
        with closing_clients() as connect, pytest.raises(Unreachable, match="the name look-up failed"):
            connect(f"https://{name}").post(b"{}", Budget(10))
