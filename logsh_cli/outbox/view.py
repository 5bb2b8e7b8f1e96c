"""Stored events as people and machines read them. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logsh_cli.outbox import Row

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
HEADER = ("ID", "STATE", "AGE", "TRIES", "EVENT", "LAST ERROR")


def age(seconds: float) -> str:
    """A rough age of at most four characters: ``12s``, ``5m``, ``3h``, ``20d``; a clock set back gives ``0s``."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def iso(epoch_s: float) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")


def row_cells(row: Row, now: float) -> tuple[str, ...]:
    """One event in the columns of ``HEADER``."""
    state = {"leased": "sending"}.get(row.state, row.state)
    name = str(_event(row).get("event", ""))
    return (str(row.id), state, age(now - row.accepted_at), str(row.attempts), name, row.error_message or "")


def row_to_json(row: Row) -> dict[str, Any]:
    """One event with everything that is known about it; times are ISO 8601, UTC."""
    return {
        "id": row.id,
        "state": row.state,
        "event": _event(row),
        "profile": row.owner.profile,
        "accepted_at": iso(row.accepted_at),
        "attempts": row.attempts,
        "not_before": iso(row.not_before) if row.not_before else None,
        "rejected_at": iso(row.rejected_at) if row.rejected_at is not None else None,
        "http_status": row.http_status,
        "error": None if row.error_name is None else {"name": row.error_name, "message": row.error_message},
    }


def describe_row(row: Row, now: float) -> list[str]:
    """One event in lines of label and value."""
    facts: list[tuple[str, str]] = [
        ("id", str(row.id)),
        ("state", _STATES[row.state]),
        ("profile", row.owner.profile),
        ("accepted", f"{iso(row.accepted_at)} ({age(now - row.accepted_at)} ago)"),
        ("tries", str(row.attempts)),
    ]
    if row.error_message:
        facts.append(("last error", row.error_message))
    if row.not_before > now:
        facts.append(("next try", f"{iso(row.not_before)}, unless flushed before"))
    for name, value in _event(row).items():
        if name == "metadata" and isinstance(value, dict):
            facts.extend((f"meta {key}", _shown(item)) for key, item in value.items())
        else:
            facts.append((name, _shown(value)))
    width = max(len(label) for label, _ in facts)
    return [f"{label:<{width}}  {value}" for label, value in facts]


def _event(row: Row) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(row.body)
    return parsed


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_STATES = {
    "pending": "waiting to be delivered",
    "leased": "being delivered at this moment",
    "rejected": "refused by the service; `logsh outbox retry` puts it back",
}
