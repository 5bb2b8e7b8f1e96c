"""One key, given in every way there is and led through every command and outcome: it must come out nowhere.

And its counterpart: what others write, the service or whoever wrote the event, must not get at the terminal.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logsh_cli.errors import ExitCode
from tests.support import answers as says
from tests.support.certs import authority
from tests.support.inprocess import call_main
from tests.support.processes import finish, processes_with, running
from tests.support.proxy import ConnectProxy
from tests.support.sending import EVENT, KEY, LATER, Logsh, kept_rows, wait_for_background
from tests.support.server import Server

if TYPE_CHECKING:
    from tests.support.command import Completed

ODD_KEY = r"""logsh_a"b\c'd<e>%41&{}$HOME[bold]"""
"""Characters that change their form in JSON, in shells, in URLs and in markup."""

PART = 8
"""So much of a key, from its beginning after the prefix or from its end, is a leak as well."""


def leaks(text: str, key: str = KEY) -> list[str]:
    """Return the part of the key that is in a text: the whole, or a piece of it."""
    tail = key.removeprefix("logsh_")
    forms = {key, tail[:PART], tail[-PART:], json.dumps(key)[1:-1], key.encode().hex()}
    return [form for form in forms if form in text]


def check(done: Completed, key: str = KEY) -> Completed:
    """That neither stream has the key, and that the command got far enough to have it."""
    assert leaks(done.stdout + done.stderr, key) == []
    assert done.stdout or done.stderr
    assert done.code not in (2, 70), done.stderr
    return done


def check_files(directory: Path, key: str = KEY) -> None:
    """That no file of the state directory has the key."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert leaks(path.read_bytes().decode("latin-1"), key) == [], path


# Ways to give a key


GIVE = ("in a variable", "in a file", "as a credential", "in the profile", "in a named profile")


def give(way: str, service: Server, tmp_path: Path, key: str) -> dict[str, str]:
    """Put the key there, for this service; returns the variables that lead to it."""
    url = {"LOGSH_API_URL": service.url}
    if way == "in a variable":
        return {"LOGSH_API_KEY": key, **url}
    directory = tmp_path / ("config" if "profile" in way else "credentials")
    directory.mkdir(mode=0o700)
    if "profile" not in way:
        path = directory / "logsh-api-key"
        path.write_text(f"{key}\n")
        return {
            **url,
            **({"LOGSH_API_KEY_FILE": str(path)} if "file" in way else {"CREDENTIALS_DIRECTORY": str(directory)}),
        }
    table = "[profiles.work]\n" if "named" in way else ""
    file = directory / "config.toml"
    file.write_text(f"{table}api_key = {json.dumps(key)}\napi_url = {json.dumps(service.url)}\n")
    file.chmod(0o600)
    return {"LOGSH_PROFILE": "work"} if table else {}


def echoes(key: str) -> dict[str, says.Answer]:
    """Services that repeat the key wherever a service can, so that every outcome has it at hand."""
    told = f"Authorization: Bearer {key}."
    cut = "x" * (500 - len(key) // 2)
    redirect = says.raw(says.http(302, b"", {"Location": f"https://x.invalid/?key={key}", "Content-Type": f"a/{key}"}))
    return {
        "delivered": says.ok(),
        "refused": says.error(400, "bad_request", told, details={"headers": {"authorization": [told]}}),
        "key refused": says.error(401, "unauthorized", cut + told, details=cut + told),
        "not available": says.error(503, key, told, LATER),
        "redirected": redirect,
        "a page": says.raw(says.http(404, told.encode(), {"Content-Type": f"text/{key}"})),
        "no HTTP": says.raw(f"{told}\r\n\r\n".encode(), hang_up=True),
    }


@pytest.mark.parametrize(
    ("way", "key"), [*((way, KEY) for way in GIVE), ("in a variable", ODD_KEY), ("in the profile", ODD_KEY)]
)
def test_no_outcome_of_send_shows_the_key_or_stores_it(service: Server, way: str, key: str, tmp_path: Path) -> None:
    env = {**give(way, service, tmp_path, key), "LOGSH_WORKSPACE": "shop", "LOGSH_DEADLINE": "0.1"}
    rich = {**env, "FORCE_COLOR": "1"}
    for service.default in echoes(key).values():
        for flags in ((), ("-v",), ("--json",)):
            done = call_main("send", *EVENT, *flags, env=env)
            assert leaks(done.stdout + done.stderr, key) == [], flags
            assert done.code not in (2, 70), done.stderr
        check(call_main("send", *EVENT, "-v", env=rich), key)
    assert {request.headers["authorization"] for request in service.requests} == {f"Bearer {key}"}
    service.stop()
    for gone in ((), ("-v",), ("--json",), ("--dry-run",), ("--dry-run", "--json"), ("--dry-run", "-v")):
        check(call_main("send", *EVENT, "--deadline", "0.05", *gone, env=env), key)
    first = str(kept_rows(tmp_path)[0].id)
    for args in (("outbox", "list"), ("outbox", "show", first), ("config", "list"), ("config", "get", "api_key")):
        for form, variables in (((), env), (("--json",), env), ((), rich)):
            check(call_main(*args, *form, env=variables), key)
    check_files(tmp_path / "state", key)


def test_no_other_command_shows_the_key(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    env = {**give("in a file", service, tmp_path, KEY), "LOGSH_WORKSPACE": "shop", "LOGSH_DEADLINE": "3"}
    service.default = echoes(KEY)["key refused"]
    line = json.dumps({"event": "e", "description": "d"}).encode()
    for flag in ("-v", "--json"):
        check(call_main("batch", flag, env=env, stdin=line))
        check(call_main("outbox", "flush", flag, env=env))
        check(call_main("doctor", flag, env=env))
    # What the job itself prints passes through; what is told of it does not hold the key.
    job = logsh("run", "-v", "-e", "job", "--tail", "400", "--", "sh", "-c", f"echo the key is {KEY}; exit 3", env=env)
    assert job.code == 3
    assert leaks(job.stderr) == []
    assert "the key is [redacted]" in service.requests[-1].json["metadata"]["output"]
    check(logsh("sandbox", "--json", "--", "sh", "-c", "logsh send -e e -d d -v; logsh config list", env=env))
    check_files(tmp_path / "state")


def test_a_login_shows_only_a_mask_and_keeps_the_key_to_one_file(service: Server, tmp_path: Path) -> None:
    def login(form: str, answer: says.Answer) -> Completed:
        service.default = answer
        return check(call_main("login", "--key-stdin", form, "--api-url", service.url, stdin=KEY.encode() + b"\n"))

    assert login("-v", echoes(KEY)["key refused"]).code == 77
    login("--json", echoes(KEY)["a page"])
    for form in ("-v", "--json"):
        assert login(form, says.error(403, "validation_error", f"not {KEY}")).code == 0
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holders == [tmp_path / "config" / "config.toml"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


# What a user mistakes for something else


SEND = ("send", *EVENT)
ARGUMENTS: tuple[tuple[str, ...], ...] = (
    *((*SEND, option) for option in ("-w", "-i", "-m", "-p", "--deadline", "--on-missing-key", "--api-key", "--")),
    *(SEND, ("send", "-d", "d", "-e"), ("send", "-e", "e", "-d", "\udcff"), (*SEND, "--no-validate", "-w")),
    *(("batch",), ("batch", "--rate"), ("batch", "-w"), ("batch", "--jobs"), ("batch", "-p")),
    *(("outbox",), ("outbox", "show"), ("outbox", "drop"), ("outbox", "flush", "-p"), ("outbox", "retry")),
    *(("config",), ("config", "get"), ("config", "unset"), ("config", "set", "api_key"), ("config", "set", "icon")),
    *(("config", "set", "api_url"), ("config", "set", "deadline"), ("config", "list", "-p"), ("config", "set")),
    *(("login",), ("login", "--api-url"), ("login", "-p"), ("login", "--key-stdin", "--api-url"), ("login", "--key")),
    *(("logout",), ("logout", "-p"), ("doctor",), ("doctor", "-p"), ("doctor", "--deadline"), ("sandbox", "--fail")),
    *(("sandbox", "--port"), ("completion",), ("help",), (), ("run", "--timeout"), ("run", "--on"), ("run", "--tail")),
)
"""Each takes one more word, which is the key."""

VARIABLES = (
    *("LOGSH_API_KEY_FILE", "LOGSH_PROFILE", "LOGSH_API_URL", "LOGSH_WORKSPACE", "LOGSH_ICON", "LOGSH_NOTIFY"),
    *("LOGSH_DEADLINE", "LOGSH_BEST_EFFORT", "LOGSH_ON_MISSING_KEY", "LOGSH_CA_FILE", "LOGSH_CONFIG_DIR", "LOGSH_KEY"),
    *("LOGSH_STATE_DIR", "CREDENTIALS_DIRECTORY", "HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE"),
)
COMMANDS = (
    *(SEND, (*SEND, "--dry-run"), ("batch", "-"), ("outbox", "list"), ("outbox", "flush"), ("outbox", "show", "1")),
    *(("config", "list"), ("config", "get", "api_key"), ("config", "get", "api_url"), ("config", "set", "icon", "🚀")),
    *(("config", "path"), ("doctor",), ("login", "--key-stdin", "--no-verify"), ("logout",)),
)
"""Commands that read variables and files."""

SETTINGS = ("workspace", "icon", "notify", "api_key", "api_url", "deadline", "x", "[metadata]\na", "[profiles.x]\nicon")
SHAPES = ("{}", " {} ", "https://x.invalid/?api_key={}", "http://127.0.0.1:1/{}", "https://{}@x.invalid", "Bearer {}")
"""Forms in which people paste a key."""

KEYS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=20, max_size=60)
PLACES = st.one_of(
    st.tuples(st.just("argument"), st.just(""), st.sampled_from(ARGUMENTS)),
    st.tuples(st.just("variable"), st.sampled_from(VARIABLES), st.sampled_from(COMMANDS)),
    st.tuples(st.sampled_from(["config.toml", ".logsh.toml"]), st.sampled_from(SETTINGS), st.sampled_from(COMMANDS)),
    st.tuples(st.just("input"), st.sampled_from(['"icon"', '"x"', '"metadata": {"a"', "{"]), st.just(("batch",))),
)
FORMS = st.sampled_from([(), ("--json",), ("-v",), ("-q",)])


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS.map("logsh_{}".format), place=PLACES, shape=st.sampled_from(SHAPES), form=FORMS)
def test_a_key_in_the_wrong_place_is_not_repeated_wherever_that_is(
    tmp_path: Path, key: str, place: tuple[str, str, tuple[str, ...]], shape: str, form: tuple[str, ...]
) -> None:
    """Nothing tells that it is a key but its shape, and the one that is in use is not shown either."""
    kind, where, args = place
    given, used = shape.format(key), "logsh_Vbq7ZpQx0wKt4Yhm"
    for directory in ("config", "state"):
        shutil.rmtree(tmp_path / directory, ignore_errors=True)
    (tmp_path / ".logsh.toml").unlink(missing_ok=True)
    (tmp_path / "config").mkdir(mode=0o700)
    env = {"LOGSH_API_KEY": used, "LOGSH_API_URL": "http://127.0.0.1:1", "LOGSH_WORKSPACE": "shop"}
    env |= {"LOGSH_DEADLINE": "0.05", "LOGSH_DEBUG": "1"}
    stdin = f"{key}\n".encode()
    if kind == "argument":
        args = (*args, given)
    elif kind == "variable":
        env = {**env, **({"LOGSH_API_KEY": ""} if where != "LOGSH_API_URL" else {}), where: given}
    elif kind == "input":
        stdin = f'{{"event": "e", "description": "d", {where}: {json.dumps(given)}'.encode()
    else:
        path = tmp_path / "config" / kind if kind == "config.toml" else tmp_path / kind
        path.write_text(f"{where} = {json.dumps(given)}\n")
        path.chmod(0o600)
        del env["LOGSH_WORKSPACE"]
    with contextlib.chdir(tmp_path):
        done = call_main(*args, *(form if args[:1] != ("run",) else ()), env=env, stdin=stdin)
    assert leaks(done.stdout + done.stderr, key) == [], args
    assert leaks(done.stdout + done.stderr, used) == [], args
    assert done.code != ExitCode.FAULT


def test_not_even_a_fault_that_is_traced_shows_the_key(logsh: Logsh, service: Server) -> None:
    env = {"LOGSH_API_KEY": f" {KEY} x", "LOGSH_API_URL": service.url, "LOGSH_WORKSPACE": "w", "LOGSH_DEBUG": "1"}
    done = logsh("send", *EVENT, "-v", env=env)
    assert done.code == 78
    assert leaks(done.stdout + done.stderr) == []


def test_the_password_of_a_proxy_is_not_shown(tmp_path: Path) -> None:
    with Server(tls=authority().server_context()) as server, ConnectProxy({}, credentials="u:other") as proxy:
        env = {
            "LOGSH_API_KEY": "logsh_other",
            "LOGSH_API_URL": f"https://logsh.test:{server.port}",
            "LOGSH_WORKSPACE": "w",
            "HTTPS_PROXY": proxy.url.replace("://", f"://user:{KEY}@"),
            "LOGSH_CA_FILE": str(authority().write_ca(tmp_path)),
        }
        for flags in (("-v",), ("--json",)):
            check(call_main("send", *EVENT, "--deadline", "1", *flags, env=env))
        proxy.stop()
        check(call_main("send", *EVENT, "--deadline", "0.2", "-v", env=env))
        check_files(tmp_path / "state")


# Processes


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc on this system")
def test_no_process_of_logsh_has_the_key_in_its_command_line(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    gate = Event()
    service.default = says.gated(gate)
    env = {**give("in a variable", service, tmp_path, KEY), "LOGSH_WORKSPACE": "shop"}
    with running("send", *EVENT, "--deadline", "60", env=env) as foreground:
        service.wait_for(1)
        assert logsh("send", *EVENT, "-b", "-q", env=env).code == 0
        service.wait_for(2)
        seen = processes_with(tmp_path / "state")
        assert foreground.pid in seen
        assert any("courier" in argv for argv in seen.values())
        assert leaks(repr(seen)) == []
        gate.set()
        assert finish(foreground).code == 0
        assert len(wait_for_background(service, 2, tmp_path)) == 2


# Text from outside

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred \x9b31m \u202eltr [bold red]b[/] [link=http://x]l[/link] [/no] :bomb:\r\n> x"
"""A title, a cleared screen, colours in both forms, reordered text, and rich's own markup."""

HARMLESS = re.compile(r"\x1b\[[0-9;]*m")
"""Colours and weights, which rich itself writes."""


def check_harmless(text: str, *, colours: bool) -> None:
    """That nothing in a text moves a cursor, sets a title or reorders, and that EVIL's markup stands as it was."""
    left = HARMLESS.sub("", text.replace("\r\n", "\n")) if colours else text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", left), ascii(left)
    assert "\x1b[31m" not in text or "red " not in text.split("\x1b[31m")[1][:4]


def evil_answers() -> dict[str, says.Answer]:
    return {
        "delivered": says.ok(),
        "refused": says.error(400, EVIL, EVIL, details={EVIL: EVIL}),
        "key refused": says.error(401, "unauthorized", EVIL, details=EVIL),
        "not available": says.error(503, "x", EVIL, LATER),
        "a page": says.raw(says.http(404, EVIL.encode(), {"Content-Type": "text/\x1b[31mred"})),
    }


def evil_event() -> list[str]:
    clean = EVIL.replace("\r\n", " ")
    return ["-e", clean, "-d", EVIL, "-m", f"{EVIL}={EVIL}", "-m", "list=[red]x[/red]", "-i", "🔥", "--notify"]


def test_text_from_outside_is_only_ever_text(service: Server, tmp_path: Path) -> None:
    env: dict[str, Any] = {"LOGSH_API_KEY": KEY, "LOGSH_API_URL": service.url, "LOGSH_WORKSPACE": "[red]w[/red]"}
    shown = ""
    for service.default in evil_answers().values():
        for flags in ((), ("-v",), ("--dry-run",)):
            done = call_main("send", *evil_event(), *flags, env=env)
            check_harmless(done.stdout + done.stderr, colours=False)
            assert "-v" in flags or len((done.stdout + done.stderr).splitlines()) == 1
            forced = call_main("send", *evil_event(), *flags, env={**env, "FORCE_COLOR": "1"})
            check_harmless(forced.stdout + forced.stderr, colours=True)
            shown += forced.stdout + forced.stderr
    first = str(kept_rows(tmp_path)[0].id)
    for args in (("outbox", "list"), ("outbox", "show", first), ("config", "list")):
        check_harmless(call_main(*args, env=env).stdout, colours=False)
        check_harmless(call_main(*args, env={**env, "FORCE_COLOR": "1"}).stdout, colours=True)
    plain = HARMLESS.sub("", shown)
    assert "[bold red]b[/] [link=http://x]l[/link] [/no] :bomb:" in plain
    assert "[red]x[/red]" in plain
    assert r"\x1b]0;owned\x07" in plain


def test_an_argument_that_is_wrong_is_only_text_as_well() -> None:
    everywhere = ("send", "-e", EVIL, "-d", EVIL * 9, "-i", EVIL, "-m", EVIL)
    for args in (everywhere, ("send", f"--{EVIL}"), (EVIL,), ("send", *EVENT, "-p", EVIL)):
        for env in ({}, {"FORCE_COLOR": "1"}):
            done = call_main(*args, env=env)
            assert done.code in (2, 78)
            check_harmless(done.stdout + done.stderr, colours=bool(env))
