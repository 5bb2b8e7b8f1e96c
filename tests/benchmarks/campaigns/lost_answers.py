"""The service takes every event, and its answers are lost: how often is each sent?"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from logsh_cli.clock import Clock
from logsh_cli.delivery.drain import Drain
from logsh_cli.delivery.flush import Flush
from logsh_cli.delivery.road import Road
from logsh_cli.http.client import Client
from logsh_cli.outbox import Outbox, Owner
from tests.benchmarks.campaigns.toll import Toll
from tests.support import answers as says
from tests.support.server import Server

if TYPE_CHECKING:
    import random

SIZE = 11
"""Minutes, in which the version before sent an event thirteen times."""

EVENTS = 3
ME = Owner("default", "a" * 16)


def campaign(dice: random.Random, size: int) -> Toll:
    """Let a courier walk for ``size`` minutes of a clock of its own, then let the answers through."""
    now = 1_700_000_000.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = Clock(lambda: now, lambda: now, sleep)
    with tempfile.TemporaryDirectory() as place, Server() as server:
        store = Outbox.open(Path(place), now=lambda: now)
        client = Client(server.url, "logsh_key", env={})
        store.add(ME, [b'{"workspace":"w","event":"e%d","description":"d"}' % number for number in range(EVENTS)])
        server.default = says.accept_then_drop()
        began = now
        while store.counts().pending:
            if now - began >= size * 60:
                server.default = says.ok()
                now += 3600
            drain = Drain(Road(store, ME, lambda: client, clock, jitter=dice.random), jobs=1, deadline_s=10)
            for _ in Flush(drain).walk():
                pass
            drain.close()
            now += 30
        client.close()
        store.close()
        copies = Counter(body["event"] for body in server.events)
    doubled = sum(copies.values()) - len(copies)
    note = f"{max(copies.values())} copies of one event at most, in {size} minutes and one more try"
    return Toll(EVENTS, len(copies), lost=EVENTS - len(copies), doubled=doubled, note=note)
