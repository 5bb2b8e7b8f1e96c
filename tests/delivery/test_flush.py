"""``logsh outbox flush``, and the flush that follows a success: everything that waits goes out, once, to its owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import logsh_cli
from logsh_cli.outbox import Outbox
from tests.support import answers as says
from tests.support.command import environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import finish, start_logsh, wait_until, wait_until_none_is_left
from tests.support.sending import EVENT, KEY, LATER, kept_rows, settings_for

if TYPE_CHECKING:
    from tests.support.answers import Wire
    from tests.support.command import Completed
    from tests.support.server import Server

OTHER_KEY = "logsh_another_2b9c41"
ROOT = Path(logsh_cli.__file__).parent.parent
DAY = 86_400.0
TALLY = ("accepted", "delivered", "queued", "rejected", "invalid")


def flush(service: Server, *args: str, **env: str) -> Completed:
    return call_main("outbox", "flush", "--json", *args, env=settings_for(service, **env))


def tally(done: Completed, **expected: int) -> dict[str, Any]:
    """That these are the counts, all others being 0, and that the exit code is the process's."""
    result: dict[str, Any] = done.json
    assert result["exit_code"] == done.code
    assert {name: result[name] for name in TALLY} == {**dict.fromkeys(TALLY, 0), **expected}, done.stderr
    return result


def keep_waiting(tmp_path: Path, name: str, *, until: float, at: float | None = None) -> None:
    """An event that was tried, and is not due before ``until``."""
    (event_id,) = keep(tmp_path, name, at=at, lease="l")
    store = Outbox.open(tmp_path / "state", now=lambda: time.time() if at is None else at)
    facts: dict[str, Any] = {"attempts": 1, "error_name": "unavailable", "error_message": "m", "http_status": 503}
    store.failed(event_id, "l", **facts, not_before=until)
    store.close()


def kept_names(tmp_path: Path) -> list[str]:
    return [json.loads(row.body)["event"] for row in kept_rows(tmp_path)]


# What a flush does


def test_everything_that_waits_goes_out_whatever_wait_was_stored(service: Server, tmp_path: Path) -> None:
    service.script(says.error(503, headers=LATER))
    assert call_main("send", *EVENT, env=settings_for(service)).code == 75
    assert kept_rows(tmp_path)[0].not_before > time.time() + 3000
    names = [f"e{number}" for number in range(300)]
    keep(tmp_path, *names)
    tally(flush(service), accepted=301, delivered=301)
    assert arrived(service) == sorted([*names, "deploy.done"])
    assert kept_rows(tmp_path) == []


def test_what_was_never_tried_goes_first_and_each_kind_in_the_order_of_acceptance(
    service: Server, tmp_path: Path
) -> None:
    keep(tmp_path, "tried before")
    service.default = says.error(402, "payment_required")
    assert flush(service).code == 75
    names = [f"new {number}" for number in range(10)]
    keep(tmp_path, *names)
    service.default = says.ok()
    done = call_main("outbox", "flush", "--jobs", "1", env=settings_for(service))
    assert (done.code, done.stdout[:14]) == (0, "11 delivered (")
    assert [body["event"] for body in service.events] == [*names, "tried before"]


def test_what_can_not_be_delivered_stays_and_the_exit_code_says_why(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, *[f"e{number}" for number in range(10)])
    for answer, code, name in (
        (says.error(503, headers=LATER), 75, "unavailable"),
        (says.OBSERVED.unauthorized, 77, "unauthorized"),
        (says.html404(), 78, "unexpected_answer"),
    ):
        service.default = answer
        service.requests.clear()
        done = flush(service)
        result = tally(done, accepted=10, queued=10)
        assert (done.code, result["error"]["name"]) == (code, name)
        assert len(service.requests) < 10
        assert [row.state for row in kept_rows(tmp_path)] == ["pending"] * 10


def test_nothing_is_left_pending_when_the_service_refuses_an_event(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "bad", "good")
    service.script(says.error(403, "validation_error", "Icon must be a valid emoji."))
    done = flush(service, "--jobs", "1")
    tally(done, accepted=2, delivered=1, rejected=1)
    assert done.code == 0
    assert "logsh: 1 refused, see `logsh outbox list`: " in done.stderr
    assert [row.state for row in kept_rows(tmp_path)] == ["rejected"]
    tally(flush(service))


def test_events_that_the_service_chokes_on_do_not_hold_up_the_others(service: Server, tmp_path: Path) -> None:
    def play(wire: Wire) -> None:
        answer = says.error(500) if service.requests[-1].json["event"].startswith("bad") else says.ok()
        answer.play(wire)

    service.default = says.Answer("chokes on bad ones", play)
    keep(tmp_path, *[f"bad{number}" for number in range(30)], *[f"e{number}" for number in range(200)])
    done = flush(service, "--deadline", "4", "--jobs", "1")
    result = tally(done, accepted=230, delivered=200, queued=30)
    assert (done.code, result["error"]["name"]) == (75, "unavailable")
    assert {name[:3] for name in kept_names(tmp_path)} == {"bad"}


def test_a_flush_from_a_timer_waits_as_the_service_asked_and_for_nobody(service: Server, tmp_path: Path) -> None:
    service.script(says.error(503, headers=LATER))
    assert call_main("send", *EVENT, env=settings_for(service)).code == 75
    keep(tmp_path, "held by another", lease="l")
    done = flush(service, "-q")
    result = tally(done, queued=2)
    assert (done.code, result["error"]["name"]) == (75, "not_delivered")
    assert len(service.requests) == 1


def test_an_event_whose_answers_are_lost_waits_twice_as_long_each_time(service: Server, tmp_path: Path) -> None:
    service.default = says.accept_then_drop()
    began = time.time()
    assert call_main("send", *EVENT, env=settings_for(service)).code == 75
    waits = [kept_rows(tmp_path)[0].not_before]
    for _ in range(2):
        assert flush(service).code == 75
        waits.append(kept_rows(tmp_path)[0].not_before)
    now = time.time()
    assert all(began + wait <= until <= now + wait for until, wait in zip(waits, (60, 120, 240), strict=True))
    assert flush(service, "-q").code == 75
    assert len(service.requests) == kept_rows(tmp_path)[0].attempts == 6, "a timer leaves it alone"


def test_an_event_that_never_left_waits_a_minute_after_its_first_lost_answer(service: Server, tmp_path: Path) -> None:
    service.stop()
    assert call_main("send", *EVENT, "--deadline", "0.3", env=settings_for(service)).code == 75
    service.start()
    service.default = says.accept_then_drop()
    began = time.time()
    assert flush(service).code == 75
    assert began + 60 <= kept_rows(tmp_path)[0].not_before <= time.time() + 60


def test_a_timer_that_does_its_best_is_silent_while_events_are_kept(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "e")
    best = ("outbox", "flush", "-q", "--best-effort")
    service.default = says.error(503, headers=LATER)
    done = call_main(*best, env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert call_main("outbox", "flush", "-q", env=settings_for(service)).code == 75
    with Outbox.open(tmp_path / "state").flush_lock():
        done = call_main(*best, env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    service.default = says.OBSERVED.unauthorized
    done = call_main("outbox", "flush", "--best-effort", env=settings_for(service))
    assert done.code == 0
    assert "the service refused the key" in done.stderr
    assert call_main(*best, "-p", "nobody", env=settings_for(service)).code == 78


def test_a_signal_lets_end_what_is_under_way_and_keeps_the_rest(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, *[f"e{number}" for number in range(30)])
    gate = threading.Event()
    service.default = says.gated(gate)
    process = start_logsh("outbox", "flush", "--jobs", "2", env=settings_for(service))
    service.wait_for(2)
    process.send_signal(signal.SIGHUP)
    threading.Timer(0.2, gate.set).start()
    done = finish(process)
    assert done.code == 143
    assert "the rest is kept" in done.stderr
    went_out = len(service.events)
    assert 2 <= went_out < 30
    assert f"{went_out} delivered, {30 - went_out} kept" in done.stderr
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"] * (30 - went_out)


# Whose events


def test_two_keys_never_mix(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "mine")
    keep(tmp_path, "theirs", key=OTHER_KEY)
    keep(tmp_path, "of another profile", profile="work")
    done = flush(service)
    tally(done, accepted=1, delivered=1)
    assert done.code == 0
    assert "2 more belong to another profile or key" in done.stderr
    assert arrived(service) == ["mine"]
    assert kept_names(tmp_path) == ["theirs", "of another profile"]
    done = call_main("outbox", "flush", "--json")
    assert (done.code, done.json["error"]["name"]) == (78, "missing_key")
    done = call_main("outbox", "flush", "-q", env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


def test_after_a_rotated_key_adopt_takes_the_profiles_own_for_good_and_no_others(
    service: Server, tmp_path: Path
) -> None:
    keep(tmp_path, "old", key=OTHER_KEY)
    keep(tmp_path, "of another profile", profile="work")
    tally(flush(service))
    service.script(says.error(503, headers=LATER))
    assert flush(service, "--adopt").code == 75
    tally(flush(service, LOGSH_API_KEY=OTHER_KEY))
    tally(flush(service), accepted=1, delivered=1)
    assert arrived(service) == ["old"]
    assert {request.headers["authorization"] for request in service.requests} == {f"Bearer {KEY}"}
    assert kept_names(tmp_path) == ["of another profile"]


# When it happened


def test_only_an_event_that_is_late_says_when_it_happened(service: Server, tmp_path: Path) -> None:
    now = time.time()
    ages = {"just over a minute": 61.0, "days": 3 * DAY, "at once": 0.0, "within a minute": 40.0, "tomorrow's": -DAY}
    for name, age in ages.items():
        keep(tmp_path, name, at=now - age)
    assert flush(service).code == 0
    said = {body["event"]: body["metadata"] for body in service.events if "metadata" in body}
    assert said == {
        name: {"occurred_at": datetime.fromtimestamp(int(now - ages[name]), UTC).isoformat()}
        for name in ("just over a minute", "days")
    }


def test_a_clock_set_back_by_a_day_holds_nothing_up(service: Server, tmp_path: Path) -> None:
    tomorrow = time.time() + DAY
    keep(tmp_path, "leased", at=tomorrow, lease="l")
    keep_waiting(tmp_path, "waiting", until=tomorrow + DAY, at=tomorrow)
    listed = call_main("outbox", "list")
    assert [line.split("\t")[1:3] for line in listed.stdout.splitlines()] == [["waiting", "0s"]] * 2
    tally(flush(service), accepted=2, delivered=2)


# Many at once


def test_two_flushes_at_once_never_send_an_event_twice(service: Server, tmp_path: Path) -> None:
    names = [f"e{number:03}" for number in range(200)]
    keep(tmp_path, *names)
    service.default = says.slow(0.005)
    flushes = [start_logsh("outbox", "flush", "--json", env=settings_for(service)) for _ in range(2)]
    results = [finish(process) for process in flushes]
    assert [done.code for done in results] == [0, 0], results
    assert sum(done.json["delivered"] for done in results) == 200
    assert arrived(service) == names


def test_a_flush_takes_over_what_others_give_back_and_leaves_alone_what_they_deliver(
    service: Server, tmp_path: Path
) -> None:
    given_back, delivered = keep(tmp_path, "given back", "delivered elsewhere", lease="l")
    keep(tmp_path, "free")
    process = start_logsh("outbox", "flush", "--json", env=settings_for(service))
    service.wait_for_events(1)
    store = Outbox.open(tmp_path / "state")
    store.release([given_back], "l")
    service.wait_for_events(2)
    assert process.poll() is None, "it waits for the other's lease"
    store.delivered([delivered], "l")
    store.close()
    done = finish(process)
    tally(done, accepted=2, delivered=2)
    assert done.code == 0
    assert arrived(service) == ["free", "given back"]


def test_the_lease_of_a_process_that_died_is_waited_out(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "orphan", lease="of a process that is gone", at=time.time() - 58.5)
    tally(flush(service), accepted=1, delivered=1)


AT_ONCE = """
import os, sys
import logsh_cli.http.client, logsh_cli.commands.send, logsh_cli.outbox  # once for all: what is at stake comes after
from logsh_cli.cli import main
gate, opener = os.pipe()
children = []
for number in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.close(opener)
        os.read(gate, 1)
        os._exit(main(["send", "-e", f"e{number:03}", "-d", "d", "--deadline", "1"]))
    children.append(child)
os.close(opener)
codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
print(*codes)
"""
"""So many processes that send an event each, all at the same moment, into a directory where no outbox is yet."""


def test_fifty_processes_at_once_keep_fifty_events(service: Server, tmp_path: Path) -> None:
    service.stop()
    count = 50
    command = [sys.executable, "-c", AT_ONCE, str(count)]
    env = environment(settings_for(service, PYTHONPATH=str(ROOT)))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "75\n"
    said = done.stderr.splitlines()
    assert len(said) == count
    assert not [line for line in said if not line.startswith("logsh: not delivered, kept as #")]
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"] * count
    service.start()
    tally(flush(service), accepted=count, delivered=count)
    assert arrived(service) == [f"e{number:03}" for number in range(count)]


# After a success


def test_a_success_takes_along_what_is_due_of_the_same_profile_and_key(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "older", "and another", at=time.time() - 7 * DAY)
    keep(tmp_path, "of another key", key=OTHER_KEY)
    keep(tmp_path, "of another profile", profile="work")
    keep_waiting(tmp_path, "not due", until=time.time() + DAY)
    done = call_main("send", "-e", "now", "-d", "d", env=settings_for(service))
    assert (done.code, done.stderr) == (0, "")
    service.wait_for_events(3)
    wait_until(lambda: len(kept_rows(tmp_path)) == 3, "the courier acknowledges")
    assert arrived(service) == ["and another", "now", "older"]
    assert kept_names(tmp_path) == ["of another key", "of another profile", "not due"]


def test_a_success_with_nothing_waiting_starts_no_process(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "of another key", key=OTHER_KEY)
    assert call_main("send", *EVENT, env=settings_for(service)).code == 0
    assert not list((tmp_path / "state").glob("courier-*"))


def test_old_events_that_fail_again_do_not_keep_a_process_trying(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "older", at=time.time() - DAY)
    service.script(says.ok(), says.drop(), says.drop())
    assert call_main("send", *EVENT, env=settings_for(service)).code == 0
    service.wait_for(3)
    wait_until_none_is_left(tmp_path / "state")
    assert kept_names(tmp_path) == ["older"]
    assert len(service.requests) == 3
