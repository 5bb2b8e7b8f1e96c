"""The outbox, as ``logsh doctor`` shows it: can it be written, and what is in it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.config import HOMELESS
from logsh_cli.delivery.flush import under_other_keys
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.errors import NotDelivered, NotKept
from logsh_cli.outbox import MAX_PENDING, Outbox, OutboxFull, StoreUnavailable
from logsh_cli.outbox.rows import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logsh_cli.outbox import Owner

OLD_S = 3600.0
"""A network fault is rarely longer: what has waited for an hour needs somebody to look at it."""


def outbox_checks(
    directory: Path, owner: Callable[[Outbox], Owner | None], clock: Callable[[], float]
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
        if found := [*store.notices, *store.tightened]:
            yield warned("outbox", "; ".join(found))
        else:
            yield passed("outbox", f"{directory} can be written")
        yield from _set_aside_checks(store)
        yield _waiting_check(store, owner(store), clock())
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


def _set_aside_checks(store: Outbox) -> Iterator[Check]:
    """Fail as long as a damaged file holds events that nobody has read: they are kept, and not delivered."""
    if files := store.set_aside():
        unread = "; ".join(f"{file.path} still holds events: {file.unread}" for file in files)
        new = any(file.read is None for file in files)
        hint = "`logsh outbox recover` reads what can be read" if new else "move it away when you no longer need it"
        yield failed("set_aside", NotDelivered(f"a damaged outbox was set aside: {unread}", hint=hint))


def _waiting_check(store: Outbox, mine: Owner | None, now: float) -> Check:
    counts = store.counts()
    if not counts.pending:
        return passed("waiting", "no events")
    detail, hint = _events(counts.pending), "`logsh outbox flush` sends them now"
    waited = 0.0
    if (oldest := next(store.rows(state="pending"), None)) is not None:
        waited = now - oldest.accepted_at
        detail += f", the oldest for {age(waited)}"
        if oldest.error_message:
            detail += f", last because {oldest.error_message}"
    stuck = 0 if mine is None else under_other_keys(store, mine)
    elsewhere = 0 if mine is None else counts.pending - store.counts(mine).pending - stuck
    if elsewhere:
        detail += f"; {_events(elsewhere)} of other profiles"
    if stuck:
        detail += f"; {_events(stuck)} accepted under another key"
        hint = "`logsh outbox flush --adopt` sends them, those of the other key too"
    if counts.pending >= MAX_PENDING:
        return failed("waiting", OutboxFull(f"the outbox is full: {detail}", hint=hint))
    return warned("waiting", detail, hint) if waited > OLD_S or stuck else passed("waiting", detail)


def _refused_check(store: Outbox) -> Check:
    counts = store.counts()
    dropped = f"; {counts.dropped:,} dropped so far, since only the newest 1,000 are kept" if counts.dropped else ""
    if not counts.rejected:
        return passed("refused", f"no events{dropped}")
    detail = f"{_events(counts.rejected)} refused by the service{dropped}"
    return warned("refused", detail, "`logsh outbox list` shows them")


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"
