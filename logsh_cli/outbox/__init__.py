"""The outbox: what was accepted and is not yet delivered, in one SQLite file that all processes of a user share.

An event is on disk, synced, when ``add`` returns. It is leased to one process at a time, which renews its lease before
an attempt and says what came of it; the lease of one that dies ends by itself. A power cut loses at most
acknowledgements, which are not synced, so that an event may go out twice, never not at all.
"""

from logsh_cli.outbox.file import StoreUnavailable
from logsh_cli.outbox.rows import LEASE_S, Changed, Counts, Owner, Row, State
from logsh_cli.outbox.store import MAX_PENDING, PATIENCE_S, MemoryOutbox, Outbox, OutboxFull, open_store

__all__ = [
    "LEASE_S",
    "MAX_PENDING",
    "PATIENCE_S",
    "Changed",
    "Counts",
    "MemoryOutbox",
    "Outbox",
    "OutboxFull",
    "Owner",
    "Row",
    "State",
    "StoreUnavailable",
    "open_store",
]
