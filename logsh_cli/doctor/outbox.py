"""What ``logsh doctor`` finds about the outbox: whether it can be written, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.config.paths import HOMELESS
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.errors import NotKept
from logsh_cli.outbox import MAX_PENDING, Outbox, OutboxFull, StoreUnavailable
from logsh_cli.outbox.rows import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logsh_cli.outbox import Owner, Store

OLD_S = 3600.0
"""A network fault is rarely longer: what has waited for an hour needs somebody to look at it."""


def outbox_checks(
    directory: Path, owner: Callable[[Store], Owner | None], clock: Callable[[], float]
) -> Iterator[Check]:
    """Open the outbox as ``send`` does, which makes one where there is none, and look into it.

    ``owner`` gives under whom events of the present profile and key are stored, ``None`` where there is no key.
    """
    try:
        store = Outbox.open(directory, now=clock)
        store.check_writable()
    except StoreUnavailable as error:
        yield _unusable(directory, error)
        yield from (skipped(name, "not known, since there is no outbox") for name in ("waiting", "refused"))
        return
    try:
        if store.notices:
            yield warned("outbox", "; ".join(store.notices), "what can be read of it: sqlite3 FILE .recover")
        else:
            yield passed("outbox", f"{directory} can be written")
        yield _waiting_check(store, owner, clock())
        yield _refused_check(store)
    finally:
        store.close()


def _unusable(directory: Path, error: StoreUnavailable) -> Check:
    lost = "events that can't be delivered at once are lost"
    if directory == HOMELESS:  # nothing is broken: that is how some services and containers are set up
        hint = "set LOGSH_STATE_DIR to a directory that can be written"
        return warned("outbox", f"this user has no home directory to keep one in: {lost}", hint)
    hint = f"make {directory} a directory that you can write, or set LOGSH_STATE_DIR to another"
    return failed("outbox", NotKept(f"{error.message}; {lost}", hint=error.hint or hint))


def _waiting_check(store: Store, owner: Callable[[Store], Owner | None], now: float) -> Check:
    counts = store.counts()
    if not counts.pending:
        return passed("waiting", "no events")
    detail = _events(counts.pending)
    oldest = next(store.rows(state="pending"), None)
    waited = 0.0 if oldest is None else now - oldest.accepted_at
    if oldest is not None:
        detail += f", the oldest for {age(waited)}"
        if oldest.error_message:
            detail += f", last because {oldest.error_message}"
    hint = "`logsh outbox flush` sends them now"
    mine = owner(store)
    strangers = 0 if mine is None else counts.pending - store.counts(mine).pending
    if strangers:
        detail += f"; {_events(strangers)} of other profiles or keys"
        hint += ", with --adopt also those of another key"
    if counts.pending >= MAX_PENDING:
        return failed("waiting", OutboxFull(f"the outbox is full: {detail}", hint=hint))
    return warned("waiting", detail, hint) if waited > OLD_S else passed("waiting", detail)


def _refused_check(store: Store) -> Check:
    refused = store.counts().rejected
    if not refused:
        return passed("refused", "no events")
    return warned("refused", f"{_events(refused)} refused by the service", "`logsh outbox list` shows them")


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"
