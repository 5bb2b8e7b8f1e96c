"""``logsh doctor``: what it finds, that nothing hides anything else, and the exit code that scripts go by."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logsh_cli
from logsh_cli.commands.doctor import HELP
from logsh_cli.config import HOMELESS
from logsh_cli.doctor import Check, exit_code_of, failed, passed, plain, shielded, skipped, to_json, warned
from logsh_cli.doctor.local import outbox_checks
from logsh_cli.errors import (
    EXIT_CODE_MEANINGS,
    BadConfig,
    KeyRefused,
    LogshError,
    MissingKey,
    NotKept,
    ServiceUnavailable,
    Unreachable,
)
from logsh_cli.outbox import MAX_PENDING, Outbox, Owner
from tests.support import server as says
from tests.support.blackhole import blackhole
from tests.support.certs import authority
from tests.support.command import LOGSH, Completed, environment
from tests.support.proxy import ConnectProxy
from tests.support.server import COLUMNS, Listener, Server

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator


Logsh = Callable[..., Completed]

KEY = "logsh_canary_a81c52f0e6d94b73"
NETWORK = ("proxy", "dns", "tcp", "tls", "service", "key")
OUTBOX = ("outbox", "waiting", "refused")
FAR_BEYOND_S = 30.0
BODY = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(key=KEY, validate=True) as running:
        yield running


def at(url: str, **more: str) -> dict[str, str]:
    """The environment of somebody whose events go there."""
    return {"LOGSH_API_URL": url, "LOGSH_API_KEY": KEY, "LOGSH_WORKSPACE": "shop", **more}


def details(done: Completed) -> dict[str, str]:
    """Name to detail; holds that the machine form is as documented."""
    report = done.json
    assert list(report) == ["ok", "checks"]
    assert report["ok"] is (done.code == 0)
    assert done.stderr == ""
    for check in report["checks"]:
        assert list(check) == ["name", "ok", "detail"]
        assert isinstance(check["ok"], bool)
        assert check["detail"]
        assert "\n" not in check["detail"]
    names = [check["name"] for check in report["checks"]]
    assert len(set(names)) == len(names)
    return {check["name"]: check["detail"] for check in report["checks"]}


def not_ok(done: Completed) -> set[str]:
    return {check["name"] for check in done.json["checks"] if not check["ok"]}


def network(done: Completed) -> str:
    """The levels of the steps to the service, in their order."""
    shown = levels(done)
    return " ".join(shown[name] for name in NETWORK)


def levels(done: Completed) -> dict[str, str]:
    """Name to level, from the plain form; holds that it is aligned."""
    found = {}
    for line in done.stdout.splitlines():
        matched = re.fullmatch(r"(ok|warn|FAIL|skip) +(\S+) +(\S.*)", line)
        assert matched, line
        assert matched.start(2) == len("warn  ")
        assert matched.start(3) == len("warn  on_missing_key  ")
        found[matched[2]] = matched[1]
    return found


def write_config(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


# All is well


def test_all_is_well_where_a_delivery_would_succeed_over_tls_too(logsh: Logsh, tmp_path: Path) -> None:
    trusted = {"LOGSH_CA_FILE": str(authority().write_ca(tmp_path))}
    for column, tls in zip(COLUMNS.values(), (None, authority().server_context()), strict=True):
        with Server(key=KEY, column=column, validate=True, tls=tls) as server:
            done = logsh("doctor", "--json", env=at(server.url, **trusted))
            found = details(done)
            assert (done.code, not_ok(done), found["key"]) == (0, set(), "accepted")
            assert column.refused.name.split("(")[1].split(",")[0] in found["service"]
            assert server.events == []
            assert [request.body for request in server.requests] == [b"{}"]
        assert set(NETWORK) | set(OUTBOX) <= set(found)
        assert found["outbox"] == f"{tmp_path / 'state'} can be written"
        assert re.search(r"TLSv1\.\d in .* ms" if tls else "not needed", found["tls"])


def test_each_setting_is_shown_with_where_it_comes_from_and_the_key_masked(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    path = write_config(tmp_path, f'api_key = "{KEY}"\napi_url = "{server.url}"\nicon = ":rocket:"\n')
    done = logsh("doctor", "--json", env={"LOGSH_WORKSPACE": "shop", "LOGSH_DEADLINE": "7"})
    found = details(done)
    assert done.code == 0
    assert found["config_file"] == f"{path}, mode 0600"
    assert found["profile"] == "default, built-in"
    assert found["api_url"] == f"{server.url}, from profile default"
    assert found["api_key"] == "logsh_…4b73, from profile default"
    assert found["workspace"] == "shop, from LOGSH_WORKSPACE"
    assert found["icon"] == ":rocket:, from profile default"
    assert found["deadline"] == "7, from LOGSH_DEADLINE"
    assert found["on_missing_key"] == "fail, built-in"


def test_off_a_terminal_each_check_is_one_aligned_line_and_quiet_shows_problems_only(
    logsh: Logsh, server: Server
) -> None:
    done = logsh("doctor", env=at(server.url))
    assert (done.code, done.stderr) == (0, "")
    assert set(levels(done).values()) == {"ok"}
    assert logsh("doctor", "-q", env=at(server.url)) == Completed(0, b"", b"")
    assert levels(logsh("doctor", "-q", env=at(server.url, LOGSH_WORKSPACE=""))) == {"workspace": "warn"}
    wrong = logsh("doctor", "-q", env=at(server.url, LOGSH_API_KEY="logsh_another"))
    assert levels(wrong) == {"key": "FAIL"}


def test_verbose_adds_the_versions(logsh: Logsh) -> None:
    found = details(logsh("doctor", "-v", "--json"))
    assert found["logsh"] == logsh_cli.__version__
    assert {"python", "httpx", "typer", "rich", "openssl", "sqlite"} <= set(found)
    assert "httpx" not in details(logsh("doctor", "--json"))


def test_a_named_profile_is_examined_alone(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    write_config(tmp_path, f'api_key = "logsh_default"\n[profiles.work]\napi_key = "{KEY}"\napi_url = "{server.url}"\n')
    done = logsh("doctor", "--profile", "work", "--json", env=at("http://127.0.0.1:1", LOGSH_API_KEY="logsh_other"))
    found = details(done)
    assert done.code == 0
    assert found["profile"] == "work, from --profile"
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"]


# The way to the service


def test_the_first_step_that_fails_is_told_from_those_after_it(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    ca_file = str(authority().write_ca(tmp_path))
    refused = f"127.0.0.1:{free_port()}"
    with (
        blackhole() as (host, port),
        PlainServer() as plain,
        Server(tls=authority().server_context()) as unknown,
        Server(tls=authority().expired_context()) as expired,
    ):
        for env, steps, said in (
            (at("https://nowhere.invalid"), "ok FAIL skip skip skip skip", "name look-up failed"),
            (at(f"http://{refused}"), "ok ok FAIL ok skip skip", "refused"),
            (at(f"https://{refused}"), "ok ok FAIL skip skip skip", "refused"),
            (at("https://logsh.test", https_proxy=f"http://{refused}"), "ok ok FAIL skip skip skip", "refused"),
            (at(f"http://{host}:{port}", LOGSH_DEADLINE="0.3"), "ok ok FAIL ok skip skip", ""),
            (at(unknown.url), "ok ok ok FAIL skip skip", "ca_file"),
            (at(expired.url, LOGSH_CA_FILE=ca_file), "ok ok ok FAIL skip skip", "expired"),
            (at(f"https://127.0.0.1:{plain.port}"), "ok ok ok FAIL skip skip", "does not speak TLS"),
        ):
            done = logsh("doctor", "-v", env=env)
            assert (done.code, network(done)) == (75, steps), env
            assert said in done.stdout
            assert [levels(done)[name] for name in OUTBOX] == ["ok"] * 3
        assert unknown.requests == expired.requests == []
    for answer in (says.drip_headers(), says.slow(120), says.drop()):
        server.script(answer)
        done = logsh("doctor", "-v", "--deadline", "0.3", env=at(server.url))
        assert (done.code, network(done)) == (75, "ok ok ok ok FAIL skip"), answer


class PlainServer(Listener):
    """Answers a TLS greeting as web servers do on their plain port."""

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        sock.recv(65536)
        sock.sendall(says.http(400, b"", {"Connection": "close"}))


def test_with_a_certificate_file_that_can_not_be_used_nothing_is_sent(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    bad, url = tmp_path / "bad.pem", server.url.replace("http:", "https:")
    bad.write_text("no certificate")
    profile = f'api_key = "{KEY}"\napi_url = "{url}"\nca_file = "{bad}"\n'
    for content, env in (
        ("", at(url, LOGSH_CA_FILE=str(tmp_path / "none.pem"))),
        ("", at(url, LOGSH_CA_FILE=str(bad))),
        ("", at(url, SSL_CERT_FILE=str(bad))),
        (profile, {}),
    ):
        write_config(tmp_path, content)
        done = logsh("doctor", "-v", env=env)
        assert (done.code, network(done)) == (78, "skip skip skip FAIL skip skip")
        assert re.search(r"FAIL +tls .*/(none|bad)\.pem", done.stdout)
    assert server.connections == 0


# Proxies


def test_a_proxy_is_named_without_its_password_and_one_that_leads_nowhere_is_the_failure(
    logsh: Logsh, tmp_path: Path
) -> None:
    ca_file = str(authority().write_ca(tmp_path))
    with (
        Server(key=KEY, validate=True, tls=authority().server_context()) as server,
        ConnectProxy({"logsh.test:443": server.address}, credentials="me:pr0xy-passw0rd") as proxy,
    ):
        address = proxy.url.replace("://", "://me:pr0xy-passw0rd@")
        env = at("https://logsh.test", LOGSH_CA_FILE=ca_file, https_proxy=address)
        done = logsh("doctor", "--json", env=env)
        found = details(done)
        assert (done.code, not_ok(done)) == (0, set())
        assert found["proxy"] == proxy.url
        assert found["tcp"].startswith(f"connected to 127.0.0.1:{proxy.port} in ")
        assert "pr0xy" not in done.stdout
        for change, code, said in (
            ({"https_proxy": f"http://me:pr0xy-wrong@127.0.0.1:{proxy.port}"}, 78, "user name and password"),
            ({"LOGSH_API_URL": "https://elsewhere.test"}, 75, "answered 502"),
            ({"https_proxy": "ftp://me:pr0xy-wrong@127.0.0.1:1"}, 78, "kind of proxy"),
            ({"https_proxy": "http://me:pr0xy-wrong@:::"}, 78, "no usable proxy address"),
        ):
            done = logsh("doctor", "--json", env={**env, **change})
            assert done.code == code
            assert said in details(done)["proxy"]
            assert {"proxy", "tls", "service", "key"} <= not_ok(done)
            assert "pr0xy" not in done.stdout


# What the service says


def test_a_refused_key_is_told_from_a_missing_service(logsh: Logsh) -> None:
    for column in COLUMNS.values():
        with Server(key="logsh_another", column=column, validate=True) as server:
            done = logsh("doctor", "--json", env=at(server.url))
        assert (done.code, not_ok(done)) == (77, {"key"})
        assert details(done)["service"].startswith("answers HTTP 401")
        assert "this one is from LOGSH_API_KEY" in details(done)["key"]


def test_every_answer_says_something_about_service_and_key(logsh: Logsh, server: Server) -> None:
    for answer, code, service, key in (
        (says.ok(200), 0, "ok", "ok"),
        (says.error(400, "bad_request", "Your current plan does not allow you to create events."), 0, "warn", "ok"),
        (says.error(422, "invalid_parameter", "No."), 0, "ok", "ok"),
        (COLUMNS["observed"].limited, 0, "warn", "ok"),
        (COLUMNS["documented"].quota_spent, 0, "warn", "ok"),
        (says.error(403, "forbidden", "No."), 77, "ok", "FAIL"),
        (says.error(500), 75, "FAIL", "skip"),
        (says.empty(503), 75, "FAIL", "skip"),
        (says.huge(1), 75, "FAIL", "skip"),
        (says.html404(), 78, "FAIL", "skip"),
        (says.empty(405), 78, "FAIL", "skip"),
        (says.empty(400), 78, "FAIL", "skip"),
        (says.redirect("https://elsewhere.example/login"), 78, "FAIL", "skip"),
    ):
        server.requests.clear()
        server.script(answer)
        done = logsh("doctor", env=at(server.url))
        shown = levels(done)
        assert (done.code, shown["service"], shown["key"]) == (code, service, key), answer
        assert len(server.requests) == 1, answer


# Settings that are wrong hide nothing


def test_without_a_key_the_service_is_still_looked_for(logsh: Logsh, server: Server) -> None:
    done = logsh("doctor", "-v", env=at(server.url, LOGSH_API_KEY=""))
    assert (done.code, network(done)) == (78, "ok ok ok ok ok skip")
    assert {name for name, level in levels(done).items() if level == "FAIL"} == {"api_key"}
    assert "logsh login" in done.stdout
    assert "authorization" not in server.requests[0].headers


def test_a_key_is_never_tried_where_it_does_not_belong(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    write_config(tmp_path, f'api_key = "{KEY}"\n')
    done = logsh("doctor", "--json", env={"LOGSH_API_URL": server.url})
    assert done.code == 78
    assert "does not belong" in details(done)["api_key"]
    assert {"api_key", "key"} == not_ok(done)
    assert [request.headers.get("authorization") for request in server.requests] == [None]


def test_a_broken_configuration_file_hides_nothing_else_and_is_not_guessed_at(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    write_config(tmp_path, "broken")
    done = logsh("doctor", "--json", env=at(server.url))
    assert (done.code, not_ok(done)) == (78, {"config_file"})
    assert details(done)["key"] == "accepted"
    done = logsh("doctor", "-v", env={"LOGSH_API_KEY": KEY})  # where it goes, the file may have said
    shown = levels(done)
    assert (done.code, network(done)) == (78, " ".join(["skip"] * 6))
    assert shown["api_key"] == "ok"
    assert server.connections == 1


def test_an_unknown_profile_is_never_replaced_by_another(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    write_config(tmp_path, f'api_key = "{KEY}"\napi_url = "{server.url}"\n')
    for given, env in ((["--profile", "nope"], {}), ([], {"LOGSH_PROFILE": "nope"})):
        done = logsh("doctor", *given, env=env)
        shown = levels(done)
        assert done.code == 78
        assert (shown["profile"], shown["api_key"], shown["key"]) == ("FAIL", "FAIL", "skip")
        assert [shown[name] for name in OUTBOX] == ["ok"] * 3
    assert server.connections == 0


def test_a_bad_variable_fails_its_own_check_and_all_are_found_at_once(logsh: Logsh, tmp_path: Path) -> None:
    for variable, value, check in (
        ("LOGSH_DEADLINE", "-1", "deadline"),
        ("LOGSH_ON_MISSING_KEY", "panic", "on_missing_key"),
        ("LOGSH_ICON", ":no_such_thing:", "icon"),
        ("LOGSH_WORKSPACE", "x" * 36, "workspace"),
        ("LOGSH_API_URL", "https://me:hunter22@logsh.example", "api_url"),
        ("LOGSH_API_KEY", "two words", "api_key"),
    ):
        done = logsh("doctor", env=at(f"http://127.0.0.1:{free_port()}", **{variable: value}))
        failures = {name for name, level in levels(done).items() if level == "FAIL"}
        assert (done.code, failures - {"tcp"}) == (78, {check}), variable
        assert "hunter22" not in done.stdout
    write_config(tmp_path, "deadline = -3\n")
    several = at("http://127.0.0.1:1", LOGSH_NOTIFY="maybe", LOGSH_BEST_EFFORT="perhaps")
    assert {"deadline", "notify", "best_effort"} < not_ok(logsh("doctor", "--json", env=several))


def test_a_key_from_a_pipe_is_read_once(logsh: Logsh, server: Server) -> None:
    pipe = Path("key")
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)  # a writer must be there before logsh opens it
    os.write(holder, KEY.encode() + b"\n" * 2000)  # more than is read of a key file, which has no end here
    try:
        env = at(server.url, LOGSH_API_KEY="", LOGSH_API_KEY_FILE=str(pipe), LOGSH_NOTIFY="maybe")
        done = logsh("doctor", "--json", env=env)
    finally:
        os.close(holder)
    assert (done.code, not_ok(done)) == (78, {"notify"})
    assert details(done)["key"] == "accepted"


def test_an_impossible_flag_is_a_usage_error(logsh: Logsh) -> None:
    for flags in (["--deadline", "0"], ["--profile", ""]):
        done = logsh("doctor", *flags, env=at("http://127.0.0.1:1"))
        assert (done.code, done.stdout) == (2, "")


# Files


def test_a_key_file_is_shown_with_its_mode(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    for mode, warning in ((0o600, ""), (0o400, ""), (0o644, "warning: ")):
        path.chmod(mode)
        done = logsh("doctor", "--json", env=at(server.url, LOGSH_API_KEY="", LOGSH_API_KEY_FILE=str(path)))
        detail = details(done)["api_key"]
        assert detail.startswith(f"{warning}logsh_…")
        assert f"mode {mode:04o}" in detail
        assert str(path) in detail
    credential = tmp_path / "logsh-api-key"
    path.rename(credential)
    done = logsh("doctor", "--json", env=at(server.url, LOGSH_API_KEY="", CREDENTIALS_DIRECTORY=str(tmp_path)))
    assert details(done)["api_key"] == "logsh_…4b73, from $CREDENTIALS_DIRECTORY/logsh-api-key, mode 0644"


def test_a_project_file_is_named_and_what_is_wrong_with_it_hides_nothing_else(logsh: Logsh, server: Server) -> None:
    path = Path.cwd() / ".logsh.toml"
    path.write_text('workspace = "web"\n[metadata]\nteam = "core"\n')
    found = details(logsh("doctor", "--json", env=at(server.url, LOGSH_WORKSPACE="")))
    assert found["project_file"].startswith(f"{path}, mode ")
    assert found["workspace"] == f"web, from {path}"
    assert found["metadata"] == f'{{"team": "core"}}, from {path}'
    path.write_text('api_url = "https://evil.example"\n')
    broken = logsh("doctor", "--json", env=at(server.url))
    assert (broken.code, not_ok(broken)) == (78, {"project_file"})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_what_is_wrong_with_the_mode_or_the_owner_of_a_file_is_said(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    project, config = Path.cwd() / ".logsh.toml", write_config(tmp_path, "", mode=0o644)
    project.write_text('workspace = "web"\n')
    fill(tmp_path / "state")
    (tmp_path / "state").chmod(0o755)
    found = details(logsh("doctor", "--json", env=at(server.url)))
    assert re.match("warning: .*tightened to 0600", found["config_file"])
    assert "could be read by others (mode 0755); tightened to 0700" in found["outbox"]
    for path in (project, config):
        os.chown(path, 12345, 12345)
    done = logsh("doctor", "--json", env=at(server.url))
    assert (done.code, not_ok(done)) == (78, {"config_file"})
    assert re.match("warning: .*belongs to another user", details(done)["project_file"])
    assert f"{config} is not used: it belongs to user 12345" in details(done)["config_file"]


# The outbox


def fill(
    directory: Path,
    *,
    pending: int = 0,
    refused: int = 0,
    hours_ago: float = 0,
    profile: str = "default",
    key: str = KEY,
) -> None:
    def then() -> float:
        return time.time() - hours_ago * 3600

    store = Outbox.open(directory, now=then)
    owner = Owner(profile, store.fingerprint(key))
    if refused:
        for row_id in store.add(owner, [BODY] * refused, lease="me"):
            why = "Icon must be a valid emoji"
            store.rejected(row_id, "me", attempts=1, error_name="refused", error_message=why, http_status=403)
    store.add(owner, [BODY] * pending)
    store.close()


def test_the_backlog_is_counted_and_an_old_one_is_a_warning_that_says_whose_and_what_sends_it(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    def found(state: str) -> dict[str, str]:
        done = logsh("doctor", "--json", env=at(server.url, LOGSH_STATE_DIR=str(tmp_path / state)))
        assert done.code == 0
        return details(done)

    fill(tmp_path / "fresh", pending=2)
    assert (found("fresh")["waiting"], found("fresh")["refused"]) == ("2 events, the oldest for 0s", "no events")
    fill(tmp_path / "fresh", pending=2, key="logsh_former")
    waiting = found("fresh")["waiting"]
    assert re.match(r"warning: 4 events, .*; 2 events accepted under another key \(", waiting)
    assert "logsh outbox flush --adopt" in waiting
    fill(tmp_path / "old", pending=2, refused=1, hours_ago=3)
    fill(tmp_path / "old", pending=1, profile="work")
    waiting = found("old")["waiting"]
    assert waiting.startswith("warning: 3 events, the oldest for 3h (")
    assert "logsh outbox flush" in waiting
    with contextlib.closing(sqlite3.connect(tmp_path / "old" / "outbox.db")) as db, db:
        db.execute("UPDATE store SET dropped = 2")
    assert found("old")["refused"].startswith("warning: 1 event refused by the service; 2 dropped so far")
    assert server.events == []


def test_an_outbox_that_is_full_is_a_failure(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    fill(tmp_path / "state", pending=MAX_PENDING)
    done = logsh("doctor", "--json", env=at(server.url))
    assert (done.code, not_ok(done)) == (69, {"waiting"})
    assert details(done)["waiting"].startswith("the outbox is full: 100,000 events, the oldest for ")


def test_a_damaged_outbox_is_set_aside_which_is_a_failure_until_somebody_has_read_it(
    logsh: Logsh, tmp_path: Path, server: Server
) -> None:
    fill(tmp_path / "state", pending=1)
    for path in (tmp_path / "state").glob("outbox.db*"):
        path.write_bytes(b"nonsense" * 1000)
    done = logsh("doctor", "--json", env=at(server.url))
    assert (done.code, not_ok(done)) == (75, {"set_aside"})
    assert "damaged" in details(done)["outbox"]
    assert str(tmp_path / "state/outbox.db.corrupt-") in details(done)["set_aside"]
    (tmp_path / "state/outbox.db.corrupt-20261125-010203").write_bytes(b"nonsense" * 1000)
    done = logsh("doctor", "--json", env=at(server.url))
    assert (done.code, not_ok(done)) == (75, {"set_aside"})
    assert "logsh outbox recover" in details(done)["set_aside"]


def test_an_outbox_that_cannot_be_made_is_a_failure(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    (tmp_path / "state").write_text("a file in its place")
    done = logsh("doctor", env=at(server.url))
    shown = levels(done)
    assert done.code == 69
    assert [shown[name] for name in (*OUTBOX, "key")] == ["FAIL", "skip", "skip", "ok"]
    assert "LOGSH_STATE_DIR" in done.stdout


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    found = list(outbox_checks(HOMELESS, None, time.time))
    assert [check.level for check in found] == ["fail", "skip", "skip"]
    assert "LOGSH_STATE_DIR" in str(found[0].hint)


# At a terminal, and what must never be shown


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_drawn_off_a_terminal_no_line_is_broken_and_what_the_service_says_is_only_text(
    logsh: Logsh, server: Server
) -> None:
    env = at(server.url, LOGSH_WORKSPACE="", FORCE_COLOR="1")
    done = logsh("doctor", env=env)
    shown = without_styles(done.stdout)
    assert done.code == 0
    assert "\x1b[32m" in done.stdout
    assert re.search(r"^ +✓ +key +accepted *$", shown, re.MULTILINE)
    assert not re.search(r"config_file|built-in", shown)
    assert re.search(r"^ +! +workspace +not set.*\n +→ `logsh config set workspace NAME` *$", shown, re.MULTILINE)
    server.script(says.error(403, "validation_error", "\x1b]0;owned\x07[red]no[/red]"))
    done = logsh("doctor", "-v", env=env)
    everything = without_styles(done.stdout)
    assert re.search(r"^ +✓ +config_file +/.*/config.toml, not there *$", everything, re.MULTILINE)
    assert re.search(r"^ +✓ +deadline +10, built-in *$", everything, re.MULTILINE)
    assert "\x1b]0" not in done.stdout
    assert "[red]no[/red]" in everything
    broken = without_styles(logsh("doctor", env={**env, "LOGSH_API_KEY": "logsh_another"}).stdout)
    assert re.search(r"^ +✗ +key .*\n +→ copy it again", broken, re.MULTILINE)


def test_at_a_terminal_the_table_fits(server: Server) -> None:
    columns = 60
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    env = environment(at(server.url, LOGSH_WORKSPACE="", TERM="xterm", COLUMNS=""))
    written = bytearray()
    with subprocess.Popen([LOGSH, "doctor"], stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # Linux says EIO at the end
            while data := os.read(ours, 65536):
                written += data
    os.close(ours)
    assert process.returncode == 0
    lines = without_styles(written.decode()).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert any(re.match(r"  ✓  key +accepted", line) for line in lines)
    assert "\x1b[?25h" in written.decode()  # the spinner gave the cursor back


def test_the_key_is_never_shown_even_if_the_service_says_it(logsh: Logsh, tmp_path: Path, server: Server) -> None:
    write_config(tmp_path, f'api_key = "{KEY}"\napi_url = "{server.url}"\nworkspace = "shop"\n')
    for form, drawn in (("-v", ""), ("-v", "1"), ("--json", "")):
        for answer in (says.error(401, "unauthorized", f"Bearer {KEY} is unknown"), says.error(500, "x", KEY)):
            server.script(answer)
            done = logsh("doctor", form, env={"FORCE_COLOR": drawn})
            assert KEY not in done.stdout + done.stderr
    for path in (tmp_path / "state").iterdir():
        assert KEY.encode() not in path.read_bytes()


# The values


def test_the_exit_code_is_that_of_the_gravest_failure() -> None:
    errors: list[LogshError] = [Unreachable("u"), NotKept("n"), KeyRefused("k"), MissingKey("m")]
    checks: list[Check] = [passed("a", "a"), warned("b", "b"), skipped("c", "c")]
    assert exit_code_of(checks) == 0
    for error in errors:
        checks.append(failed(error.name, error))
        assert exit_code_of(checks) == error.exit_code
        assert exit_code_of(reversed(checks)) == error.exit_code
    assert exit_code_of([]) == 0


def test_a_section_that_breaks_is_one_failed_check() -> None:
    def checks() -> Iterator[Check]:
        yield passed("first", "fine")
        raise BadConfig("wrong", hint="right")

    found = [(check.name, check.level, check.exit_code) for check in shielded("part", checks())]
    assert found == [("first", "ok", 0), ("part", "fail", 78)]


def test_a_warning_is_in_order_and_what_is_unknown_is_not() -> None:
    checks = [passed("a", "fine"), warned("b", "odd", "look"), skipped("c", "unknown")]
    assert to_json(checks) == {
        "ok": True,
        "checks": [
            {"name": "a", "ok": True, "detail": "fine"},
            {"name": "b", "ok": True, "detail": "warning: odd (look)"},
            {"name": "c", "ok": False, "detail": "unknown"},
        ],
    }
    assert to_json([failed("d", ServiceUnavailable("no"))])["ok"] is False


def test_every_level_has_its_word_in_the_plain_form() -> None:
    checks = [passed("a", "x"), warned("b", "x"), failed("c", NotKept("x", hint="y")), skipped("d", "x")]
    assert [" ".join(plain(check).split()) for check in checks] == ["ok a x", "warn b x", "FAIL c x (y)", "skip d x"]


def test_the_help_explains_the_exit_codes() -> None:
    told = {int(code) for code in re.findall(r"^ +(\d+) +\S", HELP, re.MULTILINE)}
    assert told == {0, 69, 75, 77, 78}
    assert told <= {int(code) for code in EXIT_CODE_MEANINGS}
