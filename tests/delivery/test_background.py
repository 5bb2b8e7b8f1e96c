"""``send --background`` and the courier behind it: at once for the caller, for certain in the end, and then gone."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from logsh_cli.delivery import courier_environment
from logsh_cli.outbox import MAX_PENDING, Outbox, Owner
from tests.support import answers as says
from tests.support.command import LOGSH, Completed, environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import finish, processes_with, start_logsh, wait_until, wait_until_none_is_left
from tests.support.sending import BODY, EVENT, KEY, LATER, Logsh, check_result, kept_rows, settings_for
from tests.support.server import Server

OTHER_KEY = "logsh_another_2b9c41"

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="processes that nobody waits for are found in /proc")


@pytest.fixture
def gate(service: Server) -> threading.Event:
    """Until it is set, the service takes requests and answers none."""
    gate = threading.Event()
    service.default = says.gated(gate)
    return gate


def send(name: str, service: Server, **env: str) -> None:
    done = call_main("send", "-b", "-e", name, "-d", "d", env=settings_for(service, **env))
    assert (done.code, done.stderr) == (0, "")


def courier_of(tmp_path: Path) -> int:
    """The one process that is at work for this test's state directory."""
    (pid,) = processes_with(tmp_path / "state")
    return pid


def given_up_for_now(service: Server, tmp_path: Path) -> None:
    """A courier that waits for its second round with one event, the service being away."""
    service.stop()
    send("e", service, LOGSH_DEADLINE="0.3")
    wait_until(
        lambda: all(row.state == "pending" and row.attempts for row in kept_rows(tmp_path)), "the first round ends"
    )


def all_is_done(service: Server, tmp_path: Path, *names: str) -> None:
    """That these arrive, once each, nothing is kept, and the courier goes."""
    service.wait_for_events(len(names))
    wait_until_none_is_left(tmp_path / "state")
    assert (arrived(service), kept_rows(tmp_path)) == (sorted(names), [])


# For the caller


def test_the_courier_stands_in_no_directory_of_the_callers_and_knows_no_secrets_but_its_own(
    logsh: Logsh, service: Server, gate: threading.Event, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    env: dict[str, str | None] = {
        **settings_for(service),
        "LOGSH_STATE_DIR": "../state",
        "LOGSH_API_KEY": None,
        "LOGSH_API_KEY_FILE": "../key",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "https_proxy": "http://127.0.0.1:1",
        "LC_ALL": "C.UTF-8",
    }
    assert logsh("send", "-b", *EVENT, env=env, cwd=tmp_path / "home").code == 0
    service.wait_for(1)
    process = Path("/proc") / str(courier_of(tmp_path))
    assert (process / "cwd").readlink() == Path("/")
    known = dict(os.fsdecode(pair).split("=", 1) for pair in (process / "environ").read_bytes().split(b"\0") if pair)
    assert known["LOGSH_API_KEY_FILE"] == str(tmp_path / "key")
    assert (known["https_proxy"], known["LC_ALL"]) == ("http://127.0.0.1:1", "C.UTF-8")
    assert "AWS_SECRET_ACCESS_KEY" not in known
    gate.set()
    all_is_done(service, tmp_path, "deploy.done")


def test_paths_mean_the_same_to_a_courier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    home = os.environ["HOME"]
    for name, given, seen in (
        ("LOGSH_CONFIG_DIR", "c", f"{tmp_path}/c"),
        ("LOGSH_CA_FILE", "/a:b", "/a:b"),
        ("LOGSH_API_KEY_FILE", "~/key", f"{home}/key"),
        ("SSL_CERT_FILE", "ca.pem", f"{tmp_path}/ca.pem"),
        ("SSL_CERT_DIR", "one:/two", f"{tmp_path}/one:/two"),
        ("CREDENTIALS_DIRECTORY", "/run/c", "/run/c"),
        ("LOGSH_STATE_DIR", "", ""),
        ("XDG_STATE_HOME", "relative ones are ignored", "relative ones are ignored"),
    ):
        assert courier_environment({name: given}) == {name: seen}
    assert courier_environment({"GITHUB_TOKEN": "x", "PGPASSWORD": "y"}) == {}


def test_no_descriptor_of_the_callers_is_kept_open(service: Server, gate: threading.Event, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [str(LOGSH), "send", "-b", *EVENT, "--json"]
    env = environment(settings_for(service))
    done = subprocess.run(command, env=env, pass_fds=[writing], capture_output=True, check=True)
    result = Completed(0, done.stdout, done.stderr)
    check_result(result, status="stored", exit_code=0, id=1, attempts=0, http_status=None, error=None)
    service.wait_for(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""
    gate.set()
    all_is_done(service, tmp_path, "deploy.done")


def test_a_courier_that_can_not_be_started_is_said(
    service: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "uninstalled" / "python"))
    done = call_main("send", "-b", *EVENT, env=settings_for(service))
    assert (done.code, done.stdout[:7]) == (0, "stored:")
    assert "warning: could not start a delivery process: No such file" in done.stderr
    assert len(kept_rows(tmp_path)) == 1


def test_closed_standard_streams_are_no_obstacle(service: Server) -> None:
    command = shlex.join([str(LOGSH), "send", *EVENT, "--background"])
    subprocess.run(
        ["sh", "-c", f"{command} <&- >&- 2>&-"], env=environment(settings_for(service)), check=True, timeout=60
    )
    assert service.wait_for_events(1) == [BODY]


def test_the_courier_has_no_stream_no_terminal_no_group_of_the_callers_and_no_key_in_its_arguments(
    service: Server, gate: threading.Event, tmp_path: Path
) -> None:
    sender = start_logsh("send", *EVENT, "-b", env=settings_for(service), start_new_session=True)
    assert finish(sender).code == 0
    assert service.wait_for(1)[0].headers["authorization"] == f"Bearer {KEY}"
    ((pid, argv),) = processes_with(tmp_path / "state").items()
    assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)} == {os.devnull}
    assert os.getsid(pid) == pid
    with pytest.raises(ProcessLookupError):
        os.killpg(sender.pid, signal.SIGKILL)
    assert "courier" in argv
    assert KEY not in " ".join(argv)
    gate.set()
    all_is_done(service, tmp_path, "deploy.done")


def test_a_module_in_the_working_directory_is_not_mistaken_for_a_library(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    for name in ("httpx", "sqlite3", "typer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    done = logsh("send", *EVENT, "-b", env=settings_for(service), cwd=tmp_path)
    assert done.code == 0
    assert service.wait_for_events(1) == [BODY]


def test_with_a_full_outbox_it_is_delivered_in_the_foreground(service: Server, tmp_path: Path) -> None:
    full = Outbox.open(tmp_path / "state")
    full.add(Owner("another", "0" * 16), [b"{}"] * MAX_PENDING)
    full.close()
    done = call_main("send", *EVENT, "-b", "--json", env=settings_for(service))
    check_result(done, status="delivered", exit_code=0, id=None, attempts=1)
    service.default = says.error(503, headers=LATER)
    done = call_main("send", *EVENT, "-b", "--json", env=settings_for(service))
    result = check_result(done, status="failed", exit_code=69, id=None, error="not_kept")
    assert "the outbox is full" in result["error"]["message"]


# In the end


def test_an_event_arrives_when_the_service_comes_up_later(service: Server, tmp_path: Path) -> None:
    given_up_for_now(service, tmp_path)
    service.start()
    all_is_done(service, tmp_path, "e")


def test_a_new_event_wakes_a_courier_that_waits_for_its_next_round(service: Server, tmp_path: Path) -> None:
    given_up_for_now(service, tmp_path)
    service.start()
    send("second", service)
    all_is_done(service, tmp_path, "e", "second")


def test_many_at_once_arrive_once_each_and_leave_no_process(service: Server, tmp_path: Path) -> None:
    names = [f"e{number:02}" for number in range(16)]
    senders = [start_logsh("send", "-b", "-e", name, "-d", "d", env=settings_for(service)) for name in names]
    done = [finish(sender) for sender in senders]
    assert [(end.code, end.stderr) for end in done] == [(0, "")] * len(names)
    all_is_done(service, tmp_path, *names)


def test_a_refused_key_ends_the_courier_and_the_event_is_kept(service: Server, tmp_path: Path) -> None:
    service.default = says.OBSERVED.unauthorized
    send("e", service)
    service.wait_for(1)
    wait_until_none_is_left(tmp_path / "state")
    assert [(row.state, row.http_status) for row in kept_rows(tmp_path)] == [("pending", 401)]
    assert len(service.requests) == 1


def test_the_courier_goes_to_the_profile_that_was_named_and_leaves_other_keys_events_alone(tmp_path: Path) -> None:
    with Server(key=OTHER_KEY) as work, Server(key=KEY) as default:
        config = tmp_path / "config"
        config.mkdir(mode=0o700)
        (config / "config.toml").write_text(
            f'workspace = "shop"\n[profiles.work]\napi_key = "{OTHER_KEY}"\napi_url = "{work.url}"\nworkspace = "w"\n'
        )
        (config / "config.toml").chmod(0o600)
        keep(tmp_path, "mine", key=KEY)
        keep(tmp_path, "of a former key", key=KEY, profile="work")
        assert call_main("send", *EVENT, "-b", "-p", "work", env=settings_for(default)).code == 0
        assert work.wait_for_events(1) == [{**BODY, "workspace": "w"}]
        wait_until_none_is_left(tmp_path / "state")
        assert default.requests == []
        assert len(kept_rows(tmp_path)) == 2


# Being stopped


def test_terminated_between_rounds_it_goes_and_the_event_is_kept(service: Server, tmp_path: Path) -> None:
    given_up_for_now(service, tmp_path)
    os.kill(courier_of(tmp_path), signal.SIGTERM)
    wait_until_none_is_left(tmp_path / "state")
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]


def test_terminated_in_mid_flight_it_ends_what_it_began(service: Server, gate: threading.Event, tmp_path: Path) -> None:
    send("e", service)
    service.wait_for(1)
    os.kill(courier_of(tmp_path), signal.SIGTERM)
    gate.set()
    all_is_done(service, tmp_path, "e")


def test_a_throw_away_state_directory_takes_its_courier_along(service: Server, tmp_path: Path) -> None:
    given_up_for_now(service, tmp_path)
    (tmp_path / "state").rename(tmp_path / "gone")
    wait_until_none_is_left(tmp_path / "state")
