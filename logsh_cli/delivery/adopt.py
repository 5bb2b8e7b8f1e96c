"""Events that were accepted under another key of their profile: how many there are, and moving them to this one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logsh_cli.outbox import Outbox, Owner

_PORTION = 500


def under_other_keys(store: Outbox, owner: Owner) -> int:
    """Return how many waiting events of the owner's profile were accepted under another key."""
    rows = store.rows(state="pending")
    return sum(row.owner.profile == owner.profile and row.owner != owner for row in rows)


def adopt(store: Outbox, owner: Owner) -> int:
    """Make the waiting events of the owner's profile its own, whatever their key; return how many there are now."""
    lease, moved, after = uuid.uuid4().hex, 0, 0
    while rows := store.take(owner, lease=lease, limit=_PORTION, after=after, ignore_wait=True, adopt=True):
        store.release([row.id for row in rows], lease)
        moved, after = moved + len(rows), rows[-1].id
    return moved
