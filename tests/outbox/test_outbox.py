"""The queue: whose events, who holds them, for how long, and how many. On disk and in memory alike."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from logsh_cli.outbox import MAX_PENDING, Changed, Counts, MemoryOutbox, Outbox, OutboxFull, Owner, Row, open_store

ME = Owner("default", "a" * 16)
OTHER_KEY = Owner("default", "b" * 16)
OTHER_PROFILE = Owner("work", "a" * 16)
DAY = 86_400.0


class Clock:
    """Epoch seconds that pass when told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Outbox:
    return (
        MemoryOutbox(now=clock)
        if request.param == "memory"
        else Outbox.open(tmp_path / "state", now=clock, boot=lambda: None)
    )


def body(name: str) -> bytes:
    return b'{"event":"%s"}' % name.encode()


def ids(rows: list[Row]) -> list[int]:
    return [row.id for row in rows]


def fail(store: Outbox, row_id: int, lease: str, not_before: float = 0.0, message: str = "no route") -> None:
    store.failed(
        row_id,
        lease,
        attempts=3,
        error_name="unreachable",
        error_message=message,
        http_status=None,
        not_before=not_before,
    )


def reject(store: Outbox, row_id: int, lease: str) -> None:
    store.rejected(row_id, lease, attempts=1, error_name="refused", error_message="bad icon", http_status=403)


def only(store: Outbox, row_id: int) -> Row:
    row = store.get(row_id)
    assert row is not None
    return row


# -- accepting ---------------------------------------------------------------------------------------------------------


def test_an_accepted_event_is_there_as_it_was_given(store: Outbox, clock: Clock) -> None:
    event = '{"event":"nul\\u0000","description":"👩‍🚀"}'.encode()
    (row_id,) = store.add(ME, [event])
    assert only(store, row_id) == Row(row_id, "pending", ME, event, clock.time, 0, 0, None, None, None, None)


def test_a_batch_gets_ids_in_its_order(store: Outbox) -> None:
    first = store.add(ME, [body("1"), body("2"), body("3")])
    second = store.add(ME, [body("4")])
    assert first + second == [1, 2, 3, 4]
    assert [row.body for row in store.rows()] == [body("1"), body("2"), body("3"), body("4")]
    assert store.add(ME, []) == []


def test_the_id_of_an_event_that_is_gone_never_comes_back(store: Outbox) -> None:
    (row_id,) = store.add(ME, [body("x")])
    store.drop([row_id])
    assert store.add(ME, [body("y")]) == [row_id + 1]


def test_at_the_bound_a_batch_is_kept_whole_or_not_at_all(store: Outbox) -> None:
    store.add(ME, [body("x")] * (MAX_PENDING - 2))
    store.drop([1, 2])
    with pytest.raises(OutboxFull) as full:
        store.add(OTHER_PROFILE, [body("y")] * 5)
    assert full.value.room == 4
    assert full.value.exit_code == 69
    store.add(OTHER_PROFILE, [body("y")] * 4)
    with pytest.raises(OutboxFull):
        store.add(ME, [body("z")])
    assert store.counts() == Counts(MAX_PENDING, 0, 0)


def test_a_key_has_the_same_fingerprint_tomorrow_and_another_on_another_machine(tmp_path: Path) -> None:
    here = Outbox.open(tmp_path / "here")
    fingerprint = here.fingerprint("logsh_canary")
    assert Outbox.open(tmp_path / "here").fingerprint("logsh_canary") == fingerprint
    assert here.fingerprint("logsh_other") != fingerprint
    assert Outbox.open(tmp_path / "there").fingerprint("logsh_canary") != fingerprint


def test_threads_share_a_store(store: Outbox) -> None:
    threads = [
        threading.Thread(target=lambda: [store.add(ME, [body("x")], lease="l") for _ in range(25)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts() == Counts(100, 100, 0)


# -- whose they are ----------------------------------------------------------------------------------------------------


def test_only_the_owners_events_are_taken_oldest_first(store: Outbox) -> None:
    for owner in (ME, OTHER_KEY, OTHER_PROFILE, ME):
        store.add(owner, [body("x")])
    assert ids(store.take(ME, lease="l", limit=10)) == [1, 4]


def test_adopting_takes_the_profiles_others_and_they_stay_with_their_new_key(store: Outbox) -> None:
    for owner in (OTHER_KEY, ME, OTHER_PROFILE):
        store.add(owner, [body("x")])
    taken = store.take(ME, lease="l", limit=10, adopt=True)
    assert [(row.id, row.owner, row.state) for row in taken] == [(1, ME, "leased"), (2, ME, "leased")]
    store.release([1, 2], "l")
    assert ids(store.take(ME, lease="l", limit=10)) == [1, 2]


def test_named_events_alone_are_taken_when_ids_are_given(store: Outbox) -> None:
    store.add(ME, [body("x")] * 5)
    assert ids(store.take(ME, lease="l", limit=10, ids=[4, 2, 2, 77])) == [2, 4]
    assert ids(store.take(ME, lease="l", limit=1, ids=[5, 3])) == [3]


def test_pending_events_are_seen_by_their_owner_only(store: Outbox) -> None:
    store.add(OTHER_KEY, [body("x")])
    assert not store.pending_exists(ME)
    assert store.pending_exists(OTHER_KEY)


def test_the_newest_event_can_be_asked_for(store: Outbox, clock: Clock) -> None:
    assert store.newest_id() == 0
    assert store.newest_pending_at(ME) is None
    store.add(ME, [body("x")], lease="l")
    clock.time += 5
    store.add(OTHER_KEY, [body("y")])
    assert store.newest_id() == 2
    assert store.newest_pending_at(ME) == clock.time - 5
    reject(store, 1, "l")
    assert store.newest_pending_at(ME) is None


@pytest.mark.parametrize("profile", ["🦊 emoji", "nul\x00inside", "bytes\udcff", "' OR 1 --"])
def test_any_text_can_name_a_profile(store: Outbox, profile: str) -> None:
    owner = Owner(profile, "a" * 16)
    store.add(owner, [body("x")])
    assert store.pending_exists(owner)
    assert not store.pending_exists(ME)
    assert ids(store.take(owner, lease="l", limit=9)) == [1]
    fail(store, 1, "l", message="it said \x00 🦊 \udcff")


# -- leases ------------------------------------------------------------------------------------------------------------


def test_an_event_is_held_by_one_at_a_time(store: Outbox) -> None:
    store.add(ME, [body("mine")], lease="first")
    store.add(ME, [body("free")])
    assert ids(store.take(ME, lease="second", limit=10)) == [2]
    assert store.take(ME, lease="third", limit=10) == []


def test_a_lease_ends_by_itself_within_a_minute(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="dead")
    clock.time += 59
    assert not store.pending_exists(ME)
    clock.time += 1
    assert store.pending_exists(ME)
    assert ids(store.take(ME, lease="alive", limit=1)) == [1]


def test_a_renewed_lease_lasts_another_minute(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    clock.time += 50
    assert store.renew([1], "l") == {1}
    clock.time += 50
    assert store.take(ME, lease="other", limit=1) == []


def test_a_lease_that_ended_untaken_can_be_renewed(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    clock.time += 3600
    assert store.renew([1], "l") == {1}


def test_who_lost_a_lease_learns_it_and_can_change_nothing(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x"), body("y")], lease="slow")
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


def test_a_clock_set_forward_ends_leases_and_the_holder_learns_it(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="holder")
    clock.time += 30 * DAY
    assert ids(store.take(ME, lease="other", limit=1)) == [1]
    assert store.renew([1], "holder") == set()


def test_a_clock_set_back_does_not_hold_up_leased_events(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="from tomorrow")
    clock.time -= DAY
    assert store.pending_exists(ME)
    assert ids(store.take(ME, lease="l", limit=1)) == [1]


def test_a_clock_corrected_by_a_second_takes_no_lease_away(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    clock.time -= 1
    assert store.take(ME, lease="other", limit=1) == []


def test_a_delivered_event_is_gone(store: Outbox) -> None:
    store.add(ME, [body("x"), body("y")], lease="l")
    store.delivered([1], "l")
    assert store.get(1) is None
    assert store.counts() == Counts(1, 1, 0)


def test_a_released_event_is_as_before_and_anybodys(store: Outbox) -> None:
    store.add(ME, [body("x")])
    before = only(store, 1)
    store.take(ME, lease="l", limit=1)
    assert only(store, 1).state == "leased"
    store.release([1], "l")
    assert only(store, 1) == before
    assert store.pending_exists(ME)


# -- waits -------------------------------------------------------------------------------------------------------------


def test_a_failed_event_waits_and_remembers_why(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    fail(store, 1, "l", clock.time + 300)
    row = only(store, 1)
    assert (row.state, row.attempts, row.not_before) == ("pending", 3, clock.time + 300)
    assert (row.error_name, row.error_message, row.http_status) == ("unreachable", "no route", None)
    assert not store.pending_exists(ME)
    assert store.take(ME, lease="l", limit=1) == []
    clock.time += 300
    assert store.pending_exists(ME)
    assert ids(store.take(ME, lease="l", limit=1)) == [1]


def test_a_flush_does_not_wait(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    fail(store, 1, "l", clock.time + 300)
    assert ids(store.take(ME, lease="l", limit=1, ignore_wait=True)) == [1]


def test_a_walk_sees_every_event_once_though_all_fail(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")] * 25)
    seen: list[int] = []
    while taken := store.take(ME, lease="l", limit=10, after=seen[-1] if seen else 0, ignore_wait=True):
        for row in taken:
            seen.append(row.id)
            fail(store, row.id, "l", clock.time + 300)
    assert seen == list(range(1, 26))


def test_no_event_waits_longer_than_a_day(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    fail(store, 1, "l", clock.time + 365 * DAY)
    clock.time += DAY - 1
    assert not store.pending_exists(ME)
    clock.time += 1
    assert store.pending_exists(ME)


def test_a_clock_set_back_does_not_hold_up_waiting_events(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    fail(store, 1, "l", clock.time + 300)
    clock.time -= 2 * DAY
    assert store.pending_exists(ME)
    assert ids(store.take(ME, lease="l", limit=1)) == [1]


# -- the rejected shelf ------------------------------------------------------------------------------------------------


def test_a_rejected_event_is_shelved_and_never_taken(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")], lease="l")
    reject(store, 1, "l")
    row = only(store, 1)
    assert (row.state, row.rejected_at, row.http_status, row.attempts) == ("rejected", clock.time, 403, 1)
    assert not store.pending_exists(ME)
    assert store.take(ME, lease="l", limit=1, ignore_wait=True) == []
    assert store.counts(ME) == Counts(0, 0, 1)
    assert store.counts(OTHER_KEY) == Counts(0, 0, 0)


def test_the_shelf_keeps_the_newest_thousand_whatever_the_clock_and_counts_what_it_drops(
    store: Outbox, clock: Clock
) -> None:
    row_ids = store.add(ME, [body("x")] * 1003, lease="l")
    for row_id in reversed(row_ids):
        clock.time += 40 * DAY * (-1) ** row_id
        reject(store, row_id, "l")
    assert ids(list(store.rows(state="rejected"))) == row_ids[3:]
    assert store.counts() == Counts(0, 0, 1000, dropped=3)
    store.drop([1003])
    assert store.counts().dropped == 3, "what somebody removes is not dropped"


# -- looking and changing by hand --------------------------------------------------------------------------------------


def test_all_events_are_listed_in_order_whatever_their_number(store: Outbox) -> None:
    store.add(ME, [body("x")] * 1200)
    store.add(OTHER_KEY, [body("y")])
    assert ids(list(store.rows())) == list(range(1, 1202))


def test_events_are_listed_by_state(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")] * 3, lease="l")
    reject(store, 1, "l")
    fail(store, 2, "l", clock.time + 300)
    assert ids(list(store.rows(state="rejected"))) == [1]
    assert ids(list(store.rows(state="pending"))) == [2]
    assert ids(list(store.rows(state="leased"))) == [3]


def test_events_may_be_delivered_while_they_are_listed(store: Outbox) -> None:
    store.add(ME, [body("x")] * 1100, lease="l")
    listing = store.rows()
    assert next(listing).id == 1
    store.delivered(range(1, 1101), "l")
    assert len(list(listing)) < 1100


def test_retry_puts_rejected_events_back_and_ends_waits(store: Outbox, clock: Clock) -> None:
    store.add(ME, [body("x")] * 4, lease="l")
    reject(store, 1, "l")
    reject(store, 2, "l")
    fail(store, 3, "l", clock.time + 300)
    assert store.retry([1, 3, 4, 9, 1]) == Changed(2, leased=(4,), missing=(9,))
    assert ids(store.take(ME, lease="m", limit=10)) == [1, 3]
    assert store.retry() == Changed(1)
    assert ids(store.take(ME, lease="m", limit=10)) == [2]


def test_retry_does_not_overfill_the_outbox(store: Outbox) -> None:
    store.add(ME, [body("x")], lease="l")
    reject(store, 1, "l")
    store.add(ME, [body("x")] * MAX_PENDING)
    for chosen in ([1], None):
        with pytest.raises(OutboxFull):
            store.retry(chosen)
    assert only(store, 1).state == "rejected"


def test_drop_leaves_alone_what_is_being_delivered(store: Outbox) -> None:
    store.add(ME, [body("x")] * 3)
    store.add(ME, [body("just accepted")], lease="l")
    assert store.drop([1, 4, 9]) == Changed(1, leased=(4,), missing=(9,))
    assert store.drop() == Changed(2, leased=(4,))
    store.release([4], "l")
    assert store.drop() == Changed(1)
    assert store.counts() == Counts(0, 0, 0)


def test_dropping_very_many_gives_the_space_back_and_keeps_counting_ids(tmp_path: Path) -> None:
    store = Outbox.open(tmp_path)
    store.add(ME, [body("x" * 300)] * 20_000)
    assert store.drop() == Changed(20_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if not path.name.endswith("-shm")) < 100_000
    assert store.add(ME, [body("x")]) == [20_001]


@pytest.mark.parametrize("absurd", [0, -1, 2**63, 10**30], ids=["zero", "negative", "over 64 bits", "huge"])
def test_an_id_that_can_not_be_is_missing(store: Outbox, absurd: int) -> None:
    assert store.get(absurd) is None
    assert store.take(ME, lease="l", limit=1, ids=[absurd]) == []
    assert store.drop([absurd]) == Changed(0, missing=(absurd,))
    assert store.retry([absurd]) == Changed(0, missing=(absurd,))


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_the_last_outcome_is_remembered_for_each_profile_workspace_and_event(store: Outbox) -> None:
    assert store.last_outcome("default", "Acme", "backup") is None
    store.remember_outcome("default", "Acme", "backup", "failed")
    store.remember_outcome("default", "ACME", "backup", "succeeded")
    store.remember_outcome("default", "acme", "restore", "killed")
    assert store.last_outcome("default", "acme", "backup") == "succeeded"
    assert store.last_outcome("work", "acme", "backup") is None


def test_outcomes_are_bounded_and_the_one_not_heard_of_for_longest_goes(clock: Clock) -> None:
    store = MemoryOutbox(now=clock)
    for number in range(10_000):
        store.remember_outcome("default", "acme", f"job {number}", "failed")
    store.remember_outcome("default", "acme", "job 0", "succeeded")
    store.remember_outcome("default", "acme", "one more", "failed")
    assert store.last_outcome("default", "acme", "job 0") == "succeeded"
    assert store.last_outcome("default", "acme", "job 1") is None


# -- disk or memory ----------------------------------------------------------------------------------------------------


def test_where_no_store_can_be_had_memory_says_why(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    for place in (file, file / "below", Path("/proc/logsh")):
        store = open_store(lambda place=place: place)  # type: ignore[misc]
        assert store.unkept_because is not None
        assert str(place) in store.unkept_because
        assert store.add(ME, [body("x")]) == [1]


def test_a_store_on_disk_is_kept(tmp_path: Path) -> None:
    assert open_store(lambda: tmp_path).unkept_because is None


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = open_store(lambda: tmp_path / "state", create=False)
    assert list(store.rows()) == []
    assert store.unkept_because is None
    assert not (tmp_path / "state").exists()
    Outbox.open(tmp_path / "state").add(ME, [body("x")])
    assert len(list(open_store(lambda: tmp_path / "state", create=False).rows())) == 1
