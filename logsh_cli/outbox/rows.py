"""Stored events as values, and as people and programs read them. Pure.

Named tuples, since this is loaded at every call: a frozen dataclass takes 0.8 ms to define, one of these 0.1.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple, TypedDict
from zlib import crc32

from logsh_cli.output.text import shown_value

State = Literal["pending", "leased", "rejected", "damaged"]

LEASE_S = 60.0
"""How long a lease lasts unless it is renewed."""

MAX_WAIT_S = 86_400.0
"""No event waits longer than this for its next attempt, whatever was asked for."""

CLOCK_SLACK_S = 5.0
"""How far a clock may be set back without anybody taking notice.

A lease or a wait that ends further in the future than it can last, and this much more, was written under another clock:
it counts as over, or a clock set back by a day would hold events up for a day.
"""

COLUMNS = (
    "id, profile, key_fingerprint, body, accepted_at, attempts, not_before, lease_until, error_name, error_message, "
    "http_status, rejected_at, body_crc"
)
"""The columns that ``read_row`` reads, in its order."""

_DEFAULTS: tuple[Any, ...] = ("", "", b"", 0.0, 0, 0.0, 0.0, None, None, None, None, None)
_KINDS: tuple[tuple[type, ...], ...] = (
    *((str,), (str,), (bytes,), (float,), (int,), (float,), (float,)),
    *((str, type(None)), (str, type(None)), (int, type(None)), (float, type(None)), (int, type(None))),
)
_LAST_YEAR = 1e11
"""Epoch seconds beyond every clock."""

_STATES = {"pending": "waiting", "leased": "waiting", "rejected": "refused", "damaged": "damaged"}
"""For each state that programs read, the word that people read."""

_EXPLAINED = {
    "pending": "waiting to be delivered",
    "leased": "waiting; being delivered at this moment",
    "rejected": "refused by the service; `logsh outbox retry` puts it back",
    "damaged": "damaged: what is stored can't be read any more; `logsh outbox drop` removes it",
}
HEADER = ("ID", "STATE", "AGE", "TRIES", "EVENT", "LAST ERROR")


class Owner(NamedTuple):
    """Who may deliver an event: a profile, and the fingerprint of the key it was accepted under."""

    profile: str
    key_fingerprint: str


class Row(NamedTuple):
    """One stored event. Times are epoch seconds; ``not_before`` is 0 when it may be tried at once.

    ``body`` is the JSON as it was accepted, ``attempts`` how often it was tried in all, the error that of the last try.
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


class AttemptFacts(TypedDict):
    """The facts that are kept of the last attempt; ``attempts`` counts all."""

    attempts: int
    error_name: str | None
    error_message: str | None
    http_status: int | None


class Counts(NamedTuple):
    """How many events there are. ``leased`` ones, being delivered just now, are part of ``pending``.

    ``dropped`` is how many refused ones the shelf has had no room for, ever.
    """

    pending: int
    leased: int
    rejected: int
    dropped: int = 0


class Changed(NamedTuple):
    """The number of events that ``retry`` or ``drop`` changed, and the ids it left alone.

    ``leased`` are being delivered at this moment, ``missing`` don't exist (or no longer).
    """

    done: int
    leased: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


def is_free(lease_until: float, lease_now: float) -> bool:
    """Tell whether a lease is over; both in the time of leases."""
    return lease_until <= lease_now or lease_until > lease_now + LEASE_S + CLOCK_SLACK_S


def read_row(values: tuple[Any, ...], lease_now: float) -> Row:
    """Return a row as selected by ``COLUMNS``, whatever has become of its values."""
    sound = all(map(_fits, values[1:], _KINDS))
    if not sound:
        kept = zip(values[1:], _KINDS, _DEFAULTS, strict=True)
        values = (values[0], *(value if _fits(value, kinds) else default for value, kinds, default in kept))
    row_id, profile, fingerprint, body, accepted_at, attempts, not_before, lease_until, *error, rejected_at, crc = (
        values
    )
    state: State = "pending" if is_free(lease_until, lease_now) else "leased"
    if not sound or (crc is not None and crc32(body) != crc) or event_of(body) is None:
        state = "damaged"
    elif rejected_at is not None:
        state = "rejected"
    name, message, http_status = error
    owner = Owner(profile, fingerprint)
    return Row(row_id, state, owner, body, accepted_at, attempts, not_before, name, message, http_status, rejected_at)


def _fits(value: object, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and (not isinstance(value, float) or 0 <= value < _LAST_YEAR)


def event_of(body: bytes) -> dict[str, Any] | None:
    """Return the event in a stored body; ``None`` when there is none that can be read."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def age(seconds: float) -> str:
    """Return a rough age of at most four characters: ``12s``, ``5m``, ``3h``, ``20d``; ``0s`` for the future."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def row_cells(row: Row, now: float, current: Owner | None = None) -> tuple[str, ...]:
    """Return one event in the columns of ``HEADER``, marked when it is not ``current``'s to deliver."""
    state = _STATES[row.state]
    if current is not None and row.owner.profile != current.profile:
        state += f", profile {row.owner.profile}"
    elif current is not None and row.owner != current:
        state += ", other key"
    name = str((event_of(row.body) or {}).get("event", "")) if row.state != "damaged" else "?"
    return (str(row.id), state, age(now - row.accepted_at), str(row.attempts), name, _error_of(row) or "")


def row_to_json(row: Row) -> dict[str, Any]:
    """Return one event with everything that is known about it; times are ISO 8601, UTC."""
    damaged = row.state == "damaged"
    message = _error_of(row)
    return {
        "id": row.id,
        "state": row.state,
        "event": None if damaged else event_of(row.body),
        "profile": row.owner.profile,
        "accepted_at": _iso(row.accepted_at),
        "attempts": row.attempts,
        "not_before": _iso(row.not_before) if row.not_before else None,
        "rejected_at": _iso(row.rejected_at) if row.rejected_at is not None else None,
        "http_status": row.http_status,
        "error": None if message is None else {"name": "damaged" if damaged else row.error_name, "message": message},
    }


def describe_row(row: Row, now: float) -> list[str]:
    """Return one event in lines of label and value."""
    facts: list[tuple[str, str]] = [
        ("id", str(row.id)),
        ("state", _EXPLAINED[row.state]),
        ("profile", row.owner.profile),
        ("accepted", f"{_iso(row.accepted_at)} ({age(now - row.accepted_at)} ago)"),
        ("tries", str(row.attempts)),
    ]
    if message := _error_of(row):
        facts.append(("last error", message))
    if row.not_before > now:
        facts.append(("next try", f"{_iso(row.not_before)}, unless flushed before"))
    if row.state == "damaged":
        facts.append(("stored", row.body.decode("utf-8", "backslashreplace")))
    for name, value in ((event_of(row.body) or {}) if row.state != "damaged" else {}).items():
        if name == "metadata" and isinstance(value, dict):
            facts.extend((f"meta {key}", shown_value(item)) for key, item in value.items())
        else:
            facts.append((name, shown_value(value)))
    width = max(len(label) for label, _ in facts)
    return [f"{label:<{width}}  {value}" for label, value in facts]


def _error_of(row: Row) -> str | None:
    return "what is stored can't be read any more" if row.state == "damaged" else row.error_message


def _iso(epoch_s: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - only for what is shown

    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
