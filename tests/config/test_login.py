"""``logsh login`` and ``logsh logout``: a key is kept only when it is good, and shown to nobody."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logsh_cli.outbox import Outbox, Owner
from tests.support import server as scripted
from tests.support.certs import authority
from tests.support.command import LOGSH, Completed, environment
from tests.support.sending import kept_rows, wait_for_background
from tests.support.server import COLUMNS, Server

KEY = "logsh_CANARY0123456789wxyz"
pytestmark = pytest.mark.service(key=KEY, validate=True)
MASKED = "logsh_…wxyz"
Logsh = Callable[..., Completed]


@pytest.fixture
def config() -> Path:
    return Path(os.environ["LOGSH_CONFIG_DIR"]) / "config.toml"


def saved(config: Path) -> Any:
    return tomllib.loads(config.read_text()) if config.exists() else None


def login(logsh: Logsh, *args: str, key: str = KEY, **env: str | None) -> Completed:
    done = logsh("login", "--key-stdin", *args, stdin=key.encode() + b"\n", env=env)
    assert "CANARY" not in done.stdout + done.stderr
    return done


def test_a_good_key_is_verified_without_creating_an_event_and_saved_with_its_url(
    logsh: Logsh, service: Server, config: Path
) -> None:
    done = login(logsh, "--api-url", service.url + "/api/event", "--workspace", " shop ")
    where = f"logsh: the key is for {service.url} (profile default); keys are made at {service.url}/dashboard\n"
    assert (done.code, done.stderr) == (0, where)
    assert done.stdout.splitlines() == [
        f"saved {MASKED} for {service.url} in {config} (profile default, verified)",
        'try it: logsh send -e hello -d "it works"',
    ]
    assert saved(config) == {"api_key": KEY, "workspace": "shop", "api_url": service.url}
    assert [request.json for request in service.requests] == [{}]
    assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert service.events == []


def test_json_is_one_line_with_the_key_masked_and_quiet_success_says_nothing(logsh: Logsh, config: Path) -> None:
    shown = {"profile": "default", "api_url": "https://logsh.co", "api_key": MASKED, "verified": False}
    done = login(logsh, "--json", "--no-verify", LOGSH_API_KEY="logsh_CANARY_of_the_environment")
    assert done.json == {**shown, "config": str(config), "exit_code": 0, "error": None}
    assert "LOGSH_API_KEY is set and comes before this key" in done.stderr
    assert login(logsh, "-q", "--no-verify") == Completed(0, b"", b"")


def test_every_answer_that_comes_after_the_key_was_read_means_that_it_is_good(logsh: Logsh, config: Path) -> None:
    with Server() as service:
        for column in COLUMNS.values():
            for answer in (column.accepted, column.refused, column.limited, column.quota_spent):
                service.script(answer)
                assert login(logsh, "--api-url", service.url).code == 0, answer
                assert saved(config)["api_key"] == KEY
                config.unlink()


def test_a_key_that_nobody_vouches_for_is_not_saved(logsh: Logsh, config: Path) -> None:
    config.parent.mkdir()
    config.write_text("workspace = 'kept'\n")
    config.chmod(0o600)
    with Server() as service:
        for answer, code in (
            (scripted.error(401, "unauthorized", "Your Bearer Token is missing, invalid or expired."), 77),
            (scripted.error(403, "forbidden", "no"), 77),
            (scripted.html404(), 78),
            (scripted.empty(400), 78),
            (scripted.redirect("https://elsewhere.example"), 78),
            (scripted.error(500), 69),
            (scripted.error(503), 69),
            (scripted.drop(), 69),
            (scripted.raw(b"SSH-2.0-x\r\n", hang_up=True), 69),
        ):
            service.default = answer
            done = login(logsh, "--api-url", service.url)
            assert (done.code, done.stdout) == (code, ""), answer
    assert config.read_text() == "workspace = 'kept'\n"


def test_without_a_service_it_says_how_to_save_the_key_all_the_same(logsh: Logsh, config: Path) -> None:
    with Server() as service:
        url = service.url
    done = login(logsh, "--api-url", url)
    assert done.code == 69
    assert "--no-verify" in done.stderr
    assert saved(config) is None
    done = login(logsh, "--api-url", url, "--no-verify")
    assert done.code == 0
    assert "not verified" in done.stdout
    assert saved(config) == {"api_key": KEY, "api_url": url}


def test_a_profile_is_made_when_it_is_not_there_and_its_next_key_is_verified_at_its_own_url(
    logsh: Logsh, service: Server, config: Path
) -> None:
    assert login(logsh, "--no-verify").code == 0
    assert login(logsh, "--profile", "work", "--api-url", service.url).code == 0
    with Server() as elsewhere:
        assert login(logsh, "-p", "work", LOGSH_API_URL=elsewhere.url).code == 0
        assert elsewhere.requests == []
    assert len(service.requests) == 2
    assert saved(config) == {"api_key": KEY, "profiles": {"work": {"api_key": KEY, "api_url": service.url}}}


def test_the_environments_url_is_saved_with_its_key_and_two_different_urls_are_a_question(
    logsh: Logsh, service: Server, config: Path
) -> None:
    assert login(logsh, LOGSH_API_URL=service.url).code == 0
    assert saved(config) == {"api_key": KEY, "api_url": service.url}
    done = login(logsh, key="logsh_CANARY_another", LOGSH_API_URL="https://elsewhere.example")
    assert done.code == 78
    assert "--api-url" in done.stderr
    assert saved(config)["api_key"] == KEY


def test_a_private_authority_is_trusted_where_the_profile_says_so(logsh: Logsh, config: Path, tmp_path: Path) -> None:
    ca_file = authority().write_ca(tmp_path)
    with Server(key=KEY, validate=True, tls=authority().server_context()) as service:
        assert login(logsh, "--api-url", service.url).code == 69
        assert saved(config) is None
        assert logsh("config", "set", "ca_file", str(ca_file)).code == 0
        assert login(logsh, "--api-url", service.url).code == 0


def test_what_can_not_be_a_key_is_wrong_usage(logsh: Logsh, config: Path) -> None:
    for stdin, said in (
        (b"", "first line of standard input is empty"),
        (b"\nlogsh_CANARY\n", "first line of standard input is empty"),
        (b"logsh CANARY\n", "must not contain white space"),
        (b"logsh_CANARY\xff\n", "plain ASCII"),
        (b"logsh_CANARY\x1b[0m\n", "without control characters"),
        (b'"logsh_CANARY"\n', "quotation marks around it"),
        (b"x" * 100_000 + b"CANARY", "at most 1024 characters"),
    ):
        done = logsh("login", "--key-stdin", "--no-verify", stdin=stdin)
        assert done.code == 2
        assert said in done.stderr
        assert "CANARY" not in done.stdout + done.stderr
    assert saved(config) is None
    assert "--key-stdin" in logsh("login").stderr


def test_only_the_first_line_counts_and_white_space_around_it_does_not(logsh: Logsh, config: Path) -> None:
    done = logsh("login", "--key-stdin", "--no-verify", stdin=f"\ufeff  {KEY} \r\nuser: me\n".encode())
    assert (done.code, saved(config)) == (0, {"api_key": KEY})


def test_what_is_wrong_with_the_options_is_said_before_the_key_is_read(logsh: Logsh) -> None:
    for option, value, said in (
        ("--workspace", "x" * 36, "--workspace must be at most 35 characters; yours has 36"),
        ("--workspace", " ", "--workspace must not be empty"),
        ("--api-url", "http://logsh.example", "--api-url must start with https://"),
        ("--api-url", "logsh_CANARY0123456789", "(that looks like an API key, which goes into LOGSH_API_KEY, or to"),
        ("--api-url", "https://me:secret@logsh.example", "--api-url must not contain a user name or password"),
        ("--profile", "", "--profile: a profile's name must not be empty"),
        ("--profile", "logsh_CANARY0123456789", "--profile: a profile's name must not look like an API key (that"),
        ("--profile", "a\tb", "--profile: a profile's name must be printable"),
    ):
        done = logsh("login", "--key-stdin", option, value, stdin=b"")
        assert done.code == 2
        assert said in done.stderr
        assert not re.search("secret|CANARY", done.stderr)


def test_a_file_that_is_wrong_or_can_not_be_written_is_an_error_and_stays_as_it_is(logsh: Logsh, config: Path) -> None:
    config.parent.mkdir()
    config.write_text("workspace = \n")
    assert login(logsh, "--no-verify").code == 78
    assert config.read_text() == "workspace = \n"
    done = login(logsh, "--no-verify", LOGSH_CONFIG_DIR="/dev/null/logsh")
    assert done.code == 78
    assert "LOGSH_CONFIG_DIR" in done.stderr


def at_terminal(*args: str, answers: dict[bytes, bytes], env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run ``logsh login ARGS`` at a terminal of its own, giving each answer once what it is to has been asked."""
    manager, terminal = pty.openpty()
    # A session of its own with this terminal: the prompt goes to /dev/tty.
    starter = (
        "import os, sys, fcntl, termios\n"
        "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", starter, str(LOGSH), "login", *args]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment(env)) as process:
        os.close(terminal)
        seen = b""
        for question, answer in answers.items():
            # The space comes once the echo is off, which throws away what was typed before.
            while question not in seen and (chunk := read_or_end(manager)):
                seen += chunk
            os.write(manager, answer + b"\n")
        while chunk := read_or_end(manager):
            seen += chunk
    os.close(manager)
    assert b"CANARY" not in seen
    return process.returncode, seen.decode()


posix_terminal = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")


@posix_terminal
def test_at_a_terminal_the_key_is_asked_for_without_echo_and_then_a_workspace(service: Server, config: Path) -> None:
    answers = {b"API key: ": KEY.encode(), b"none): ": b"x" * 36, b"yours has 36": b" shop "}
    code, seen = at_terminal("--api-url", service.url, answers=answers)
    assert code == 0, seen
    assert saved(config) == {"api_key": KEY, "api_url": service.url, "workspace": "shop"}
    assert seen.index(f"the key is for {service.url}") < seen.index("API key: ")
    assert f"keys are made at {service.url}/dashboard" in seen
    assert 'try it: logsh send -e hello -d "it works"' in seen


@posix_terminal
def test_at_a_terminal_it_asks_whether_to_send_what_waits_under_another_key_but_for_no_workspace_that_is_set(
    service: Server, tmp_path: Path, config: Path
) -> None:
    keep_under_another_key(service, tmp_path)
    questions = {b"API key: ": KEY.encode(), b"with this one? [y/N] ": b"n"}
    code, seen = at_terminal("--api-url", service.url, "-w", "shop", answers=questions)
    assert (code, "2 events of profile default wait under another key" in seen) == (0, True)
    assert "logsh outbox flush --adopt" in seen
    assert len(kept_rows(tmp_path)) == 2
    code, again = at_terminal("--api-url", service.url, answers={**questions, b"with this one? [y/N] ": b"y"})
    assert (code, "Default workspace" in seen + again) == (0, False)
    assert saved(config)["workspace"] == "shop"
    assert wait_for_background(service, 2, tmp_path)


@posix_terminal
def test_whoever_does_not_answer_is_taken_to_have_stopped_it(config: Path) -> None:
    for answers in ({b"API key: ": b"\x03"}, {b"API key: ": KEY.encode(), b"none): ": b"\x04"}):
        code, seen = at_terminal("--no-verify", answers=answers)
        assert (code, saved(config)) == (-signal.SIGINT, None)
        assert "interrupted" in seen


def test_adopt_sends_what_waits_under_the_former_key(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    keep_under_another_key(service, tmp_path)
    done = login(logsh, "--api-url", service.url, "-w", "shop")
    assert "2 events of profile default wait under another key; `logsh outbox flush --adopt`" in done.stderr
    assert len(kept_rows(tmp_path)) == 2
    done = login(logsh, "--api-url", service.url, "--adopt")
    assert "2 events of profile default waited under another key, and go out with this one now" in done.stderr
    assert wait_for_background(service, 2, tmp_path)


def keep_under_another_key(service: Server, tmp_path: Path) -> None:
    """Store two events of the default profile under a key that is not the service's."""
    store = Outbox.open(tmp_path / "state")
    body = b'{"workspace":"shop","event":"deploy.done","description":"v1"}'
    store.add(Owner("default", store.fingerprint("logsh_former_key_of_this_profile")), [body, body])
    store.close()
    assert service.events == []


def read_or_end(manager: int) -> bytes:
    try:
        return os.read(manager, 1024)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_logout_removes_the_key_and_nothing_else(logsh: Logsh, config: Path) -> None:
    login(logsh, "--no-verify", "--workspace", "shop")
    login(logsh, "--no-verify", "-p", "work")
    done = logsh("logout")
    assert (done.code, done.stdout) == (0, "removed the key of profile default\n")
    assert saved(config) == {"workspace": "shop", "profiles": {"work": {"api_key": KEY}}}
    assert logsh("logout", "-p", "work", "--json").json["removed"] is True
    assert saved(config) == {"workspace": "shop", "profiles": {"work": {}}}


def test_logout_without_a_key_changes_nothing_and_says_if_the_environment_still_has_one(
    logsh: Logsh, config: Path
) -> None:
    done = logsh("logout", env={"LOGSH_API_KEY": KEY})
    assert (done.code, done.stdout) == (0, "profile default has no key\n")
    assert "LOGSH_API_KEY is still set" in done.stderr
    assert not config.exists()
    assert logsh("logout", "-q") == Completed(0, b"", b"")
    assert logsh("logout", "-p", "nope").code == 78
