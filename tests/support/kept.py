"""Events put into a test's outbox as if logsh had accepted them: of any owner, at any time."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from logsh_cli.files import file_lock
from logsh_cli.outbox import Outbox, Owner
from logsh_cli.outbox.file import FILE_NAME, LEDGER_NAME
from tests.support.sending import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server


def keep(
    tmp_path: Path,
    *names: str,
    key: str = KEY,
    profile: str = "default",
    at: float | None = None,
    lease: str | None = None,
) -> list[int]:
    """Accept events of those names, at that time (epoch seconds); returns their ids."""
    store = Outbox.open(tmp_path / "state", now=lambda: time.time() if at is None else at)
    try:
        owner = Owner(profile, store.fingerprint(key))
        return store.add(owner, [body_of(name) for name in names], lease=lease)
    finally:
        store.close()


def body_of(name: str) -> bytes:
    """An event of that name as it is stored."""
    return json.dumps({"workspace": "shop", "event": name, "description": "d"}, ensure_ascii=False).encode()


def shelve(tmp_path: Path, event_id: int, message: str = "Icon must be a valid emoji.") -> None:
    """Have the event refused by the service: it was leased by the holder ``"l"``, and is now rejected."""
    store = Outbox.open(tmp_path / "state")
    try:
        facts = {"attempts": 1, "error_name": "refused", "error_message": message, "http_status": 403}
        store.rejected(event_id, "l", **facts)  # type: ignore[arg-type]
    finally:
        store.close()


def arrived(server: Server) -> list[str]:
    """The names of the events that a server took, sorted: workers overtake one another."""
    return sorted(body["event"] for body in server.events)


@contextmanager
def nothing_can_be_written(directory: Path) -> Iterator[None]:
    """Another process keeps the store's lock, and that of the file kept for acknowledgements."""
    db = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    with closing(db), file_lock(directory / LEDGER_NAME):
        db.execute("BEGIN IMMEDIATE")
        yield
