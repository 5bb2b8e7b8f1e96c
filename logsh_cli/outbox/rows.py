"""Stored events: the tables they stand in, as values, and as people and programs read them. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal, TypedDict
from zlib import crc32

from logsh_cli import Record
from logsh_cli.output.text import shown_value

State = Literal["pending", "leased", "rejected", "damaged"]

LEASE_S = 60.0
"""The time that a lease lasts unless it is renewed."""

MAX_WAIT_S = 86_400.0
"""No event waits longer than this for its next attempt, whatever was asked for."""

CLOCK_SLACK_S = 5.0
"""A lease or a wait that ends this much later than it can was written under another clock, and counts as over."""

SALT_BYTES = 16
PAGE_BYTES = 4096  # SQLite's default
ABSURD_ID = 2**48

STEPS = (
    # An event is rejected when it has a `rejected_at`, and pending otherwise. Times are epoch seconds; `lease_until` is
    # 0 when nobody holds it. AUTOINCREMENT, so that the id of a dropped event never comes back as another one's.
    # One index for the pending tells whether anything is due, and counts; takers walk the table in the order of ids.
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, profile TEXT NOT NULL, key_fingerprint TEXT NOT NULL, body BLOB NOT NULL,
        accepted_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
        lease TEXT, lease_until REAL NOT NULL DEFAULT 0,
        error_name TEXT, error_message TEXT, http_status INTEGER, rejected_at REAL
    );
    CREATE INDEX pending_events ON events (profile, key_fingerprint, not_before, lease_until)
        WHERE rejected_at IS NULL;
    CREATE INDEX rejected_events ON events (rejected_at) WHERE rejected_at IS NOT NULL;
    CREATE TABLE outcomes (
        profile TEXT NOT NULL, workspace TEXT NOT NULL, event TEXT NOT NULL, outcome TEXT NOT NULL,
        UNIQUE (profile, workspace, event)
    );
    CREATE TABLE store (salt BLOB NOT NULL);
    INSERT INTO store (salt) VALUES (randomblob(16))
    """,
    # A CRC-32 of each body (NULL where version 1 stored it), how many refused events the shelf has dropped, and the
    # clock of leases: `boot_offset` and the seconds since the boot named `boot_id` make the time in which they count.
    """
    ALTER TABLE events ADD COLUMN body_crc INTEGER;
    ALTER TABLE store ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN boot_id TEXT;
    ALTER TABLE store ADD COLUMN boot_offset REAL
    """,
)
"""The statements that lead from version N to version N + 1. They only add: an older version may be at work on the same
file, and must be able to go on with it."""

BREAKING_VERSION = 1_000
"""A format from this version on did more than add, and must be left alone; one below it can be used as it is."""

COLUMNS = (
    "id, profile, key_fingerprint, body, accepted_at, attempts, not_before, lease, lease_until, error_name, "
    "error_message, http_status, rejected_at, body_crc"
)

_KINDS: tuple[tuple[type, Any], ...] = (
    *((int, 0), (str, ""), (str, ""), (bytes, b""), (float, 0.0), (int, 0), (float, 0.0), (str, None), (float, 0.0)),
    *((str, None), (str, None), (int, None), (float, None), (int, None)),
)
"""For each of the columns its type, and what stands for a value of another one."""

_LAST_YEAR = 1e11  # epoch seconds beyond every clock

_STATES = {
    "pending": ("waiting", "waiting to be delivered"),
    "leased": ("waiting", "waiting; being delivered at this moment"),
    "rejected": ("refused", "refused by the service; `logsh outbox retry` puts it back"),
    "damaged": ("damaged", "damaged: what is stored can't be read any more; `logsh outbox drop` removes it"),
}
"""For each state that programs read, what people read: in a list, and of one event."""

HEADER = ("ID", "STATE", "AGE", "TRIES", "EVENT", "LAST ERROR")


class Owner(Record):
    """Who may deliver an event: a profile, and the fingerprint of the key it was accepted under."""

    profile: str
    key_fingerprint: str


class Row(Record):
    """One stored event; times are epoch seconds, ``not_before`` is 0 when it may be tried at once.

    A ``damaged`` one has a body that can't be read, and defaults where other values are unreadable.
    """

    id: int
    state: State
    owner: Owner
    body: bytes
    accepted_at: float
    attempts: int
    not_before: float
    error_name: str | None
    error_message: str | None
    http_status: int | None
    rejected_at: float | None

    @property
    def event(self) -> dict[str, Any] | None:
        """The event in the body; ``None`` when that can't be read."""
        return None if self.state == "damaged" else _event_of(self.body)

    @property
    def error(self) -> str | None:
        """The reason why it is still here."""
        return "what is stored can't be read any more" if self.state == "damaged" else self.error_message


class AttemptFacts(TypedDict):
    """The facts that are kept of the last attempt; ``attempts`` counts all."""

    attempts: int
    error_name: str | None
    error_message: str | None
    http_status: int | None


class Counts(Record):
    """The number of events in each state, and of refused ones ever dropped. ``pending`` has the ``leased`` ones."""

    pending: int
    leased: int
    rejected: int
    dropped: int = 0


class Changed(Record):
    """How many events were changed by hand, and the ids left alone: being delivered, or not there."""

    done: int
    leased: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


class Salvage(Record):
    """What could be read of a damaged store, the highest id known of, and in words what could not be read."""

    rows: list[tuple[Any, ...]]
    salt: bytes | None = None
    dropped: int = 0
    highest: int = 0
    unread: str = ""


def read_row(values: tuple[Any, ...], lease_now: float) -> Row:
    """Return a row as selected by ``COLUMNS``, whatever has become of its values."""
    read = [value if _fits(value, *kind) else kind[1] for value, kind in zip(values, _KINDS, strict=True)]
    row_id, profile, fingerprint, body, accepted_at, attempts, not_before, _, until, *rest, crc = read
    is_free = until <= lease_now or until > lease_now + LEASE_S + CLOCK_SLACK_S
    state: State = "pending" if is_free else "leased"
    if tuple(read) != values or (crc is not None and crc32(body) != crc) or _event_of(body) is None:
        state = "damaged"
    elif rest[-1] is not None:
        state = "rejected"
    owner = Owner(profile, fingerprint)
    return Row(row_id, state, owner, body, accepted_at, attempts, not_before, *rest)


def _fits(value: object, kind: type, default: object) -> bool:
    if isinstance(value, float):
        return kind is float and 0 <= value < _LAST_YEAR
    return type(value) is kind or (value is None and default is None)


def _event_of(body: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def age(seconds: float) -> str:
    """Return a rough age: ``12s``, ``5m``, ``3h``, ``20d``; ``0s`` for the future."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def row_cells(row: Row, now: float, current: Owner | None = None) -> tuple[str, ...]:
    """Return one event in the columns of ``HEADER``, marked when it is not ``current``'s to deliver."""
    state = _STATES[row.state][0]
    if current is not None and row.owner.profile != current.profile:
        state += f", profile {row.owner.profile}"
    elif current is not None and row.owner != current:
        state += ", other key"
    event = "?" if row.event is None else str(row.event.get("event", ""))
    return (str(row.id), state, age(now - row.accepted_at), str(row.attempts), event, row.error or "")


def row_to_json(row: Row) -> dict[str, Any]:
    """Return one event with everything that is known about it; times are ISO 8601, UTC."""
    name = "damaged" if row.state == "damaged" else row.error_name
    return {
        "id": row.id,
        "state": row.state,
        "event": row.event,
        "profile": row.owner.profile,
        "accepted_at": _iso(row.accepted_at),
        "attempts": row.attempts,
        "not_before": _iso(row.not_before) if row.not_before else None,
        "rejected_at": _iso(row.rejected_at) if row.rejected_at is not None else None,
        "http_status": row.http_status,
        "error": None if row.error is None else {"name": name, "message": row.error},
    }


def describe_row(row: Row, now: float) -> list[str]:
    """Return one event in lines of label and value."""
    facts = {
        "id": str(row.id),
        "state": _STATES[row.state][1],
        "profile": row.owner.profile,
        "accepted": f"{_iso(row.accepted_at)} ({age(now - row.accepted_at)} ago)",
        "tries": str(row.attempts),
    }
    if row.error:
        facts["last error"] = row.error
    if row.not_before > now:
        facts["next try"] = f"{_iso(row.not_before)}, unless flushed before"
    event = row.event
    if event is None:
        facts["stored"] = row.body.decode("utf-8", "backslashreplace")
        event = {}
    if isinstance(event.get("metadata"), dict):
        event |= {f"meta {name}": value for name, value in event.pop("metadata").items()}
    facts |= {name: shown_value(value) for name, value in event.items()}
    width = max(map(len, facts))
    return [f"{label:<{width}}  {value}" for label, value in facts.items()]


def _iso(epoch_s: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - only for what is shown

    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
