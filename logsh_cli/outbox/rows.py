"""What the outbox hands out, as values: events with their owner and state, counts, and what became of a request.

Named tuples, since this is loaded at every call: a frozen dataclass takes 0.8 ms to define, one of these 0.1.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from logsh_cli.outbox.faults import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["pending", "leased", "rejected"]

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
    "http_status, rejected_at"
)
"""The columns that ``read_row`` reads, in its order."""

_KINDS: tuple[tuple[type, ...], ...] = (
    *((int,), (str,), (str,), (bytes,), (float,), (int,), (float,), (float,)),
    *((str, NoneType), (str, NoneType), (int, NoneType), (float, NoneType)),
)

FREE = "(lease_until <= :now OR lease_until > :now + :longest_lease)"
"""SQL for: nobody holds the event. True of every rejected one."""

DUE_HALVES = ("not_before <= :now", "not_before > :now + :longest_wait")
DUE = f"({' OR '.join(DUE_HALVES)})"
"""SQL for: its wait is over."""


class Owner(NamedTuple):
    """Who may deliver an event: a profile, and the fingerprint of the key it was accepted under."""

    profile: str
    key_fingerprint: str


class Row(NamedTuple):
    """One stored event. Times are epoch seconds; ``not_before`` is 0 when it may be tried at once.

    ``body`` is the JSON as it was accepted, ``attempts`` how often it was tried in all, the error that of the last try.
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


class Counts(NamedTuple):
    """How many events there are. ``leased`` ones, being delivered just now, are part of ``pending``."""

    pending: int
    leased: int
    rejected: int


class Changed(NamedTuple):
    """What ``retry`` or ``drop`` did: how many events it changed, and the ids it left alone.

    ``leased`` are being delivered at this moment, ``missing`` don't exist (or no longer).
    """

    done: int
    leased: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


def moment(now: float) -> dict[str, Any]:
    """The parameters of ``FREE`` and ``DUE``."""
    return {"now": now, "longest_lease": LEASE_S + CLOCK_SLACK_S, "longest_wait": MAX_WAIT_S + CLOCK_SLACK_S}


def is_free(lease_until: float, now: float) -> bool:
    """``FREE``, for a value at hand."""
    return lease_until <= now or lease_until > now + LEASE_S + CLOCK_SLACK_S


def read_rows(found: Iterable[tuple[Any, ...]], now: float, *, after: int, taken_by: Owner | None = None) -> list[Row]:
    """Rows as selected by ``COLUMNS`` in the order of their ids, all above ``after``; ``taken_by`` just leased them.

    Raises:
        Damaged: they are in no order, in which somebody who walks on from the last one would walk in a circle.
    """
    rows = []
    for values in found:
        row = read_row(values, now, taken_by=taken_by)
        if row.id <= after:
            raise Damaged("its events are in disorder")
        after = row.id
        rows.append(row)
    return rows


def read_row(values: tuple[Any, ...], now: float, *, taken_by: Owner | None = None) -> Row:
    """A row as selected by ``COLUMNS``; ``taken_by`` has just leased it.

    Raises:
        Damaged: a value is of a kind that was never stored there.
    """
    if any(type(value) not in kinds for value, kinds in zip(values, _KINDS, strict=True)):
        raise Damaged("an event in it is broken")
    row_id, profile, fingerprint, body, accepted_at, attempts, not_before, lease_until, *end = values
    if end[-1] is not None:  # rejected_at
        state: State = "rejected"
    elif taken_by is not None or not is_free(lease_until, now):
        state = "leased"
    else:
        state = "pending"
    owner = taken_by or Owner(profile, fingerprint)
    return Row(row_id, state, owner, body, accepted_at, attempts, not_before, *end)
