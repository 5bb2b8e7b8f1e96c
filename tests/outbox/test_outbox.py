"""The queue: whose events, who holds them, for how long, and how many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from logsh_cli.outbox import MAX_PENDING, Changed, Counts, MemoryOutbox, Outbox, OutboxFull, Owner, Row, open_store

ME = Owner("default", "a" * 16)
OTHER_KEY = Owner("default", "b" * 16)
OTHER_PROFILE = Owner("work", "a" * 16)
DAY = 86_400.0
BODY = b'{"event":"x"}'


class Clock:
    """Epoch seconds that pass when told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Outbox:
    return Outbox.open(tmp_path / "state", now=clock)


def ids(rows: list[Row]) -> list[int]:
    return [row.id for row in rows]


def taken(store: Outbox, *, owner: Owner = ME, lease: str = "l", **more: Any) -> list[int]:
    return ids(store.take(owner, lease=lease, limit=10, **more))


def fail(store: Outbox, row_id: int, lease: str = "l", not_before: float = 0.0, message: str = "no route") -> None:
    facts = {"attempts": 3, "error_name": "unreachable", "error_message": message, "http_status": None}
    store.failed(row_id, lease, **facts, not_before=not_before)  # type: ignore[arg-type]


def reject(store: Outbox, row_id: int, lease: str = "l") -> None:
    store.rejected(row_id, lease, attempts=1, error_name="refused", error_message="bad icon", http_status=403)


def only(store: Outbox, row_id: int) -> Row:
    row = store.get(row_id)
    assert row is not None
    return row


# Accepting


def test_accepted_events_are_there_as_they_were_given_with_ids_in_their_order(store: Outbox, clock: Clock) -> None:
    events = ['{"event":"nul\\u0000","description":"👩‍🚀"}'.encode(), b'{"event":"2"}', b'{"event":"3"}']
    assert store.add(ME, events) + store.add(ME, [BODY]) == [1, 2, 3, 4]
    assert only(store, 1) == Row(1, "pending", ME, events[0], clock.time, 0, 0, None, None, None, None)
    assert [row.body for row in store.rows()] == [*events, BODY]
    assert store.add(ME, []) == []
    assert store.drop([4]) == Changed(1)
    assert store.add(ME, [BODY]) == [5], "the id of one that is gone never comes back"


def test_at_the_bound_events_are_kept_or_put_back_all_or_none(clock: Clock) -> None:
    store = MemoryOutbox(now=clock)
    store.add(ME, [BODY], lease="l")
    reject(store, 1)
    store.add(ME, [BODY] * (MAX_PENDING - 2))
    store.drop([2, 3])
    with pytest.raises(OutboxFull) as full:
        store.add(OTHER_PROFILE, [BODY] * 5)
    assert full.value.exit_code == 69
    assert f"{MAX_PENDING - 4:,} events are waiting" in full.value.message
    store.add(OTHER_PROFILE, [BODY] * 4)
    for change in (lambda: store.add(ME, [BODY]), lambda: store.retry([1]), store.retry):
        with pytest.raises(OutboxFull):
            change()
    assert store.counts() == Counts(MAX_PENDING, 0, 1)


def test_a_key_has_the_same_fingerprint_tomorrow_and_another_on_another_machine(tmp_path: Path) -> None:
    here = Outbox.open(tmp_path / "here")
    fingerprint = here.fingerprint("logsh_canary")
    assert Outbox.open(tmp_path / "here").fingerprint("logsh_canary") == fingerprint
    assert here.fingerprint("logsh_other") != fingerprint
    others = [Outbox.open(tmp_path / "there"), MemoryOutbox(), MemoryOutbox()]
    assert len({fingerprint, *(store.fingerprint("logsh_canary") for store in others)}) == 4


def test_threads_share_a_store(store: Outbox) -> None:
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda _: store.add(ME, [BODY], lease="l"), range(100)))
    assert sorted(added) == [[row_id] for row_id in range(1, 101)]
    assert store.counts() == Counts(100, 100, 0)


# Whose they are


def test_only_the_owners_events_are_seen_and_taken_oldest_first(store: Outbox) -> None:
    assert not store.pending_exists(ME)
    for owner in (OTHER_KEY, OTHER_PROFILE):
        store.add(owner, [BODY])
    assert not store.pending_exists(ME)
    assert store.pending_exists(OTHER_KEY)
    store.add(ME, [BODY] * 2)
    assert store.pending_exists(ME)
    assert [row.id for row in store.take(ME, lease="l", limit=1)] + taken(store) == [3, 4]


def test_adopting_takes_the_profiles_others_and_they_stay_with_their_new_key(store: Outbox) -> None:
    for owner in (OTHER_KEY, ME, OTHER_PROFILE):
        store.add(owner, [BODY])
    rows = store.take(ME, lease="l", limit=10, adopt=True)
    assert [(row.id, row.owner, row.state) for row in rows] == [(1, ME, "leased"), (2, ME, "leased")]
    store.release([1, 2], "l")
    assert taken(store) == [1, 2]


def test_what_another_process_delivers_is_not_adopted(store: Outbox) -> None:
    store.add(OTHER_KEY, [BODY], lease="theirs")
    assert store.take(ME, lease="l", limit=10, adopt=True) == []
    store.release([1], "theirs")
    assert ids(store.take(OTHER_KEY, lease="l", limit=10)) == [1]


def test_named_events_alone_are_taken_when_ids_are_given_and_those_tried_or_not(store: Outbox) -> None:
    store.add(ME, [BODY] * 5, lease="l")
    fail(store, 1)
    store.release([2, 3, 4, 5], "l")
    assert ids(store.take(ME, lease="l", limit=10, ids=[4, 2, 2, 77])) == [2, 4]
    assert ids(store.take(ME, lease="l", limit=1, ids=[5, 3])) == [3]
    assert taken(store, tried=True) == [1]
    assert taken(store, tried=False) == [5]


def test_the_newest_event_can_be_asked_for(store: Outbox, clock: Clock) -> None:
    assert (store.newest_id(), store.newest_pending_at(ME)) == (0, None)
    store.add(ME, [BODY], lease="l")
    clock.time += 5
    store.add(OTHER_KEY, [BODY])
    assert (store.newest_id(), store.newest_pending_at(ME)) == (2, clock.time - 5)
    reject(store, 1)
    assert store.newest_pending_at(ME) is None


def test_any_text_can_name_a_profile_or_be_an_error(store: Outbox) -> None:
    owner = Owner("🦊 nul\x00inside bytes\udcff ' OR 1 --", "a" * 16)
    store.add(owner, [BODY])
    assert store.pending_exists(owner)
    assert not store.pending_exists(ME)
    assert taken(store, owner=owner) == [1]
    fail(store, 1, message="it said \x00 🦊 \udcff")
    assert only(store, 1).error_message == "it said \x00 🦊 ?"


# Leases


def test_an_event_is_held_by_one_at_a_time_until_its_lease_ends_within_a_minute(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY], lease="first")
    store.add(ME, [BODY])
    assert taken(store, lease="second") == [2]
    assert taken(store, lease="third") == []
    clock.time += 59
    assert not store.pending_exists(ME)
    clock.time += 1
    assert store.pending_exists(ME)
    assert taken(store) == [1, 2]


def test_a_renewed_lease_lasts_another_minute_and_one_that_ended_untaken_can_be_renewed(
    store: Outbox, clock: Clock
) -> None:
    store.add(ME, [BODY], lease="l")
    clock.time += 50
    assert store.renew([1], "l") == {1}
    clock.time += 50
    assert taken(store, lease="other") == []
    clock.time += 3600
    assert store.renew([1], "l") == {1}


def test_who_lost_a_lease_learns_it_and_can_change_nothing(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY] * 2, lease="slow")
    clock.time += 61
    assert ids(store.take(ME, lease="quick", limit=1)) == [1]
    assert store.renew([1, 2], "slow") == {2}
    before = only(store, 1)
    fail(store, 1, "slow")
    reject(store, 1, "slow")
    store.release([1], "slow")
    store.delivered([1], "slow")
    assert only(store, 1) == before
    assert store.renew([1], "quick") == {1}


def test_a_step_of_the_only_clock_there_is_holds_no_event_up(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY], lease="holder")
    clock.time -= 1
    assert taken(store) == [], "a correction takes no lease away"
    clock.time -= DAY
    assert store.pending_exists(ME)
    assert taken(store, lease="other") == [1]
    clock.time += 30 * DAY
    assert taken(store, lease="third") == [1]
    assert store.renew([1], "holder") == store.renew([1], "other") == set()


def test_a_delivered_event_is_gone_and_a_released_one_as_before_and_anybodys(store: Outbox) -> None:
    store.add(ME, [BODY] * 2)
    before = only(store, 2)
    assert taken(store) == [1, 2]
    store.delivered([1], "l")
    store.release([2], "l")
    assert store.get(1) is None
    assert only(store, 2) == before
    assert store.counts() == Counts(1, 0, 0)


# Waits


def test_a_failed_event_waits_and_remembers_why(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY], lease="l")
    fail(store, 1, not_before=clock.time + 300)
    row = only(store, 1)
    assert (row.state, row.attempts, row.not_before) == ("pending", 3, clock.time + 300)
    assert (row.error_name, row.error_message, row.http_status) == ("unreachable", "no route", None)
    assert not store.pending_exists(ME)
    assert taken(store) == []
    assert taken(store, ignore_wait=True) == [1], "a flush does not wait"
    store.release([1], "l")
    clock.time += 300
    assert store.pending_exists(ME)
    assert taken(store) == [1]


def test_a_walk_sees_every_event_once_though_all_fail(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY] * 25)
    seen: list[int] = []
    while rows := store.take(ME, lease="l", limit=10, after=seen[-1] if seen else 0, ignore_wait=True):
        for row in rows:
            seen.append(row.id)
            fail(store, row.id, not_before=clock.time + 300)
    assert seen == list(range(1, 26))


def test_no_event_waits_longer_than_a_day_nor_until_a_clock_that_was_set_back(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY], lease="l")
    fail(store, 1, not_before=clock.time + 365 * DAY)
    clock.time += DAY - 1
    assert not store.pending_exists(ME)
    clock.time += 1
    assert store.pending_exists(ME)
    assert taken(store) == [1]
    fail(store, 1, not_before=clock.time + 300)
    clock.time -= 2 * DAY
    assert store.pending_exists(ME)
    assert taken(store) == [1]


# The rejected shelf


def test_a_rejected_event_is_shelved_and_never_taken(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY], lease="l")
    reject(store, 1)
    row = only(store, 1)
    assert (row.state, row.rejected_at, row.http_status, row.attempts) == ("rejected", clock.time, 403, 1)
    assert not store.pending_exists(ME)
    assert taken(store, ignore_wait=True) == []
    assert store.counts(ME) == Counts(0, 0, 1)
    assert store.counts(OTHER_KEY) == Counts(0, 0, 0)


def test_the_shelf_keeps_the_newest_thousand_whatever_the_clock_and_counts_what_it_drops(clock: Clock) -> None:
    store = MemoryOutbox(now=clock)
    row_ids = store.add(ME, [BODY] * 1003, lease="l")
    for row_id in reversed(row_ids):
        clock.time += 40 * DAY * (-1) ** row_id
        reject(store, row_id)
    assert ids(list(store.rows(state="rejected"))) == row_ids[3:]
    assert store.counts() == Counts(0, 0, 1000, dropped=3)
    store.drop([1003])
    assert store.counts().dropped == 3, "what somebody removes is not dropped"


# Looking and changing by hand


def test_events_are_listed_in_order_by_state_and_while_they_are_delivered(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY] * 1200, lease="l")
    store.add(OTHER_KEY, [BODY])
    assert ids(list(store.rows())) == list(range(1, 1202))
    reject(store, 1)
    fail(store, 2, not_before=clock.time + 300)
    assert ids(list(store.rows(state="rejected"))) == [1]
    assert ids(list(store.rows(state="pending"))) == [2, 1201]
    assert ids(list(store.rows(state="leased"))) == list(range(3, 1201))
    listing = store.rows()
    assert next(listing).id == 1
    store.delivered(range(3, 1101), "l")
    assert len(list(listing)) < 1100


def test_retry_puts_rejected_events_back_and_ends_waits(store: Outbox, clock: Clock) -> None:
    store.add(ME, [BODY] * 4, lease="l")
    reject(store, 1)
    reject(store, 2)
    fail(store, 3, not_before=clock.time + 300)
    assert store.retry([1, 3, 4, 9, 1]) == Changed(2, leased=(4,), missing=(9,))
    assert taken(store, lease="m") == [1, 3]
    assert store.retry() == Changed(1)
    assert taken(store, lease="m") == [2]


def test_drop_leaves_alone_what_is_being_delivered(store: Outbox) -> None:
    store.add(ME, [BODY] * 3)
    store.add(ME, [BODY], lease="l")
    assert store.drop([1, 4, 9]) == Changed(1, leased=(4,), missing=(9,))
    assert store.drop() == Changed(2, leased=(4,))
    store.release([4], "l")
    assert store.drop([]) == Changed(0)
    assert store.drop() == Changed(1)
    assert store.counts() == Counts(0, 0, 0)


def test_an_id_that_can_not_be_is_missing(store: Outbox) -> None:
    for absurd in (0, -1, 2**63, 10**30):
        assert store.get(absurd) is None
        assert store.drop([absurd]) == store.retry([absurd]) == Changed(0, missing=(absurd,))


# Outcomes


def test_the_last_outcome_is_remembered_for_each_profile_workspace_and_event(store: Outbox) -> None:
    assert store.last_outcome("default", "Acme", "backup") is None
    store.remember_outcome("default", "Acme", "backup", "failed")
    store.remember_outcome("default", "ACME", "backup", "succeeded")
    store.remember_outcome("default", "acme", "restore", "killed")
    assert store.last_outcome("default", "acme", "backup") == "succeeded"
    assert store.last_outcome("work", "acme", "backup") is None


def test_outcomes_are_bounded_and_the_one_not_heard_of_for_longest_goes() -> None:
    store = MemoryOutbox()
    for number in range(10_000):
        store.remember_outcome("default", "acme", f"job {number}", "failed")
    store.remember_outcome("default", "acme", "job 0", "succeeded")
    store.remember_outcome("default", "acme", "one more", "failed")
    assert store.last_outcome("default", "acme", "job 0") == "succeeded"
    assert store.last_outcome("default", "acme", "job 1") is None


# Disk or memory


def test_where_there_can_be_no_store_memory_says_why(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    for place in (file, file / "below", Path("/proc/logsh")):
        store = open_store(lambda place=place: place)  # type: ignore[misc]
        assert store.unkept_because is not None
        assert str(place) in store.unkept_because
        assert store.add(ME, [BODY]) == [1]
        assert (store.notices, store.tightened, store.set_aside()) == ([], [], [])
        store.check_writable()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = open_store(lambda: tmp_path / "state", create=False)
    assert list(store.rows()) == []
    assert store.unkept_because is None
    assert not (tmp_path / "state").exists()
    Outbox.open(tmp_path / "state").add(ME, [BODY])
    assert len(list(open_store(lambda: tmp_path / "state", create=False).rows())) == 1
    assert open_store(lambda: tmp_path / "state").unkept_because is None
