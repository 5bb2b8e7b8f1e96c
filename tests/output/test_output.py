"""Results made visible: the machine form, the plain line, and what rich draws."""

from __future__ import annotations

import json
import re
import shlex
from itertools import product
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.errors import EventRefused, ExitCode, InvalidEvent, MissingKey, NotDelivered, NotKept
from logsh_cli.output import Result, Tally
from logsh_cli.output.printer import Printer, plain_tally
from logsh_cli.output.streams import Streams
from logsh_cli.output.text import REDACTED, Redactor, excerpt, nearest, printable
from tests.support.inprocess import text_stream, written
from tests.support.sending import BODY, KEY, RESULT_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

SGR = re.compile(r"\x1b\[[0-9;]*m")
EVENT = {**BODY, "icon": "🚀", "notify": True, "metadata": {"version": "1.2.3", "seats": 3}}


class Shown:
    """A printer on streams in memory."""

    def __init__(
        self,
        *,
        env: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        secrets: tuple[str, ...] = (),
        **how: bool,
    ) -> None:
        self._out, self._err = text_stream(encoding), text_stream(encoding)
        self.printer = Printer(Streams(None, self._out, self._err, env or {}), Redactor(secrets))
        for name, value in how.items():
            setattr(self.printer, name, value)

    @property
    def out(self) -> str:
        return written(self._out).decode(self._out.encoding)

    @property
    def err(self) -> str:
        return written(self._err).decode(self._err.encoding)


RESULTS: dict[str, tuple[Result, str, str]] = {
    "delivered": (Result("delivered", EVENT, 7, 201, 1, 142), "delivered: deploy.done -> shop (HTTP 201, 142 ms)", ""),
    "delivered after retries": (
        Result("delivered", EVENT, 7, 200, 3, 1500),
        "delivered: deploy.done -> shop (HTTP 200, 3 attempts, 1500 ms)",
        "",
    ),
    "stored": (Result("stored", EVENT, 7, elapsed_ms=3), "stored: deploy.done -> shop (#7, 3 ms)", ""),
    "queued": (
        Result("queued", EVENT, 7, 503, 2, 10, ExitCode.KEPT, NotDelivered("no answer", hint="wait")),
        "",
        "logsh: not delivered, kept as #7: no answer (wait)",
    ),
    "rejected": (
        Result("rejected", EVENT, 7, 400, 1, 10, ExitCode.REFUSED, EventRefused("too loud")),
        "",
        "logsh: refused: too loud",
    ),
    "failed": (Result("failed", EVENT, exit_code=ExitCode.NOT_KEPT, error=NotKept("gone")), "", "logsh: gone"),
    "skipped": (
        Result("skipped", EVENT, error=MissingKey("there is no API key", hint="login")),
        "",
        "logsh: skipped: there is no API key (login)",
    ),
    "forgiven, kept": (
        Result("queued", EVENT, 7, 503, 2, 10, ExitCode.OK, NotDelivered("no answer")),
        "",
        "logsh: warning: not delivered, kept as #7: no answer",
    ),
    "forgiven, lost": (
        Result("failed", EVENT, exit_code=ExitCode.OK, error=NotKept("gone")),
        "",
        "logsh: warning: gone",
    ),
}


def test_a_result_is_one_plain_line_on_the_stream_where_it_belongs() -> None:
    for name, (result, out, err) in RESULTS.items():
        for quiet in (False, True):
            shown = Shown(quiet=quiet)
            shown.printer.show(result)
            assert (shown.out.rstrip("\n"), shown.err.rstrip("\n")) == ("" if quiet else out, err), name


def test_the_machine_form_is_the_contract_whatever_else_is_asked_for() -> None:
    for result, _, _ in RESULTS.values():
        for quiet, env in ((False, {}), (True, {}), (False, {"FORCE_COLOR": "1"})):
            shown = Shown(json=True, quiet=quiet, env=env)
            shown.printer.show(result)
            assert (shown.err, shown.out.count("\n")) == ("", 1)
            parsed = json.loads(shown.out)
            assert list(parsed) == RESULT_KEYS
            assert (parsed["status"], parsed["event"]) == (result.status, EVENT)
            assert parsed["exit_code"] == result.exit_code
            assert (parsed["error"] is None) == (result.error is None)


def test_a_dry_run_adds_the_request_and_nothing_else_does() -> None:
    shown = Shown(json=True)
    request = {"method": "POST", "url": "https://logsh.co/api/event", "headers": {}, "body": BODY}
    shown.printer.show(Result("dry_run", BODY, request=request))
    parsed = json.loads(shown.out)
    assert list(parsed) == [*RESULT_KEYS, "request"]
    assert parsed["request"] == request


def test_many_results_are_counted_in_words_and_in_the_machine_form() -> None:
    tally = Tally(12, 9, 2, 1, 3, 1234, ExitCode.REFUSED)
    assert plain_tally(tally) == "9 delivered, 2 kept, 1 refused, 3 invalid (1.2 s)"
    assert plain_tally(Tally()) == "nothing to deliver (0.0 s)"
    assert plain_tally(Tally(3, 2, exit_code=ExitCode.NOT_KEPT)) == "2 delivered, 1 lost (0.0 s)"
    assert plain_tally(Tally(3, exit_code=ExitCode.NOT_KEPT)) == "3 lost (0.0 s)"
    shown = Shown(json=True)
    shown.printer.show(tally)
    keys = ["accepted", "delivered", "queued", "rejected", "invalid", "elapsed_ms", "exit_code", "error"]
    assert list(json.loads(shown.out)) == keys
    for quiet in (False, True):
        failed = Shown(quiet=quiet)
        failed.printer.show(tally)
        assert failed.out == ""
        assert "9 delivered" in failed.err


# Secrets and text from outside


def test_a_secret_is_hidden_in_every_form_of_output() -> None:
    event = {**BODY, "description": f"<{KEY}>", "metadata": {KEY: [f"x{KEY}"]}}
    error = NotDelivered(f"the key {KEY} is bad", hint=f"not {KEY}")
    for env in ({}, {"FORCE_COLOR": "1"}):
        for machine, verbose in ((False, False), (True, False), (False, True)):
            shown = Shown(env=env, secrets=(KEY,), json=machine, verbose=verbose)
            shown.printer.show(Result("delivered", event, http_status=201))
            shown.printer.show(Result("queued", event, 1, error=error, exit_code=75))
            shown.printer.warn(KEY)
            shown.printer.detail(KEY)
            shown.printer.note(KEY)
            shown.printer.columns(("A", "B"), [(f"a {KEY}", KEY)])
            assert KEY not in shown.out + shown.err
            assert REDACTED in shown.out + shown.err


def test_a_secret_that_looks_like_json_does_not_break_the_line() -> None:
    for secret in ('": "', '"event"', "null", '", "', "}{][", "status", 'a"b\\c'):
        shown = Shown(json=True, secrets=(secret,))
        shown.printer.show(Result("delivered", {**BODY, "description": secret}, http_status=201))
        parsed = json.loads(shown.out)
        assert len(parsed) == len(RESULT_KEYS)
        assert secret not in json.dumps(parsed["event"] and list(parsed["event"].values())) or secret in '", "'


def test_an_excerpt_does_not_show_the_beginning_or_the_end_of_a_secret() -> None:
    redact = Redactor([KEY])
    assert KEY[:8] not in redact(excerpt(f"see {KEY} there", 20))
    assert KEY[-8:] not in redact(f"…{KEY[-12:]} is what is left")
    assert redact("logsh_ca") == "logsh_ca"  # an innocent word, not cut


@given(st.integers(0, 40), st.integers(12, 40), st.text("ab_…", max_size=5))
def test_any_piece_of_a_secret_of_twelve_characters_or_more_is_hidden(start: int, length: int, between: str) -> None:
    secret = "hk-0123456789-abcdefghij-KLMNOPQRSTUVWXYZ"
    piece = secret[start : start + length]
    shown = Redactor([secret])(f"{piece}{between}{piece} said {piece}")
    if len(piece) >= 12:
        assert shown.endswith(f"{REDACTED} said {REDACTED}")
        assert not any(secret[at : at + 12] in shown for at in range(len(secret) - 11))
    else:
        assert shown.endswith(f" said {piece}")


def test_what_looks_like_a_key_and_user_information_of_any_url_are_hidden_though_nobody_knows_them() -> None:
    redact = Redactor()
    for user in ("me:secret", "secret", "me:se@cret", ":secret"):
        assert redact(f"at http://{user}@proxy:1/x") == f"at http://{REDACTED}@proxy:1/x"
    for around in ("{}", "?api_key={}", "%3D{}&x", '"{}"', "/home/{}/x", "LOGSH_PROFILE={}:"):
        assert redact(around.format("logsh_unknown-Key_0123456789")) == around.format(REDACTED)
        for innocent in ("logsh_cli.errors", "logsh_…wxyz", "LOGSH_API_KEY_FILE"):
            assert redact(around.format(innocent)) == around.format(innocent)
    assert "0123" not in redact(excerpt("logsh_0123456789", 11))


def test_the_nearest_name_is_one_that_begins_so_or_a_similar_one() -> None:
    near = {"workspce": "workspace", "WORK": "workspace", "api-key": "api_key", "w": None, "": None, "zzz": None}
    assert {text: nearest(text, ("api_key", "workspace", "notify")) for text in near} == near


@given(st.text())
def test_whatever_a_text_holds_it_is_one_line_that_drives_no_terminal(text: str) -> None:
    shown = Shown()
    shown.printer.line(text)
    assert shown.out.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown.out)
    assert printable(printable(text)) == printable(text)


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON_VALUES, encoding=st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_a_json_line_is_what_it_was_made_of_in_any_encoding(value: object, encoding: str) -> None:
    shown = Shown(encoding=encoding)
    shown.printer.json_line(value)
    assert shown.out.count("\n") == 1
    assert json.loads(shown.out) == value


# Rich


def test_force_color_draws_and_no_color_takes_the_colours_and_a_dumb_terminal_gets_neither() -> None:
    result = Result("delivered", EVENT, 7, 201, 1, 142)
    drawn = {}
    for name, env in {
        "colours": {"FORCE_COLOR": "1"},
        "none": {"FORCE_COLOR": "1", "NO_COLOR": "1"},
        "dumb": {"FORCE_COLOR": "1", "TERM": "dumb"},
        "off a terminal": {},
    }.items():
        shown = Shown(env=env)
        shown.printer.show(result)
        drawn[name] = shown.out
    assert "\x1b[1;32m" in drawn["colours"]
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", drawn["none"])
    assert SGR.sub("", drawn["none"]) == SGR.sub("", drawn["colours"])
    assert "✓ delivered" in drawn["none"]
    assert drawn["dumb"] == drawn["off a terminal"] == "delivered: deploy.done -> shop (HTTP 201, 142 ms)\n"


def test_rich_shows_every_field_and_every_problem_off_a_terminal_unwrapped() -> None:
    long = "x" * 140
    shown = Shown(env={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    shown.printer.show(Result("delivered", {**EVENT, "description": long}, 7, 201, 1, 142))
    text = SGR.sub("", shown.out)
    for part in ("deploy.done", "🚀", "shop", "yes", "version", "1.2.3", "seats", "3", long):
        assert part in text
    shown.printer.show(
        Result("failed", exit_code=2, error=InvalidEvent([f"--event {long}", "--desc is required"], hint="see help"))
    )
    lines = SGR.sub("", shown.err).splitlines()
    assert [line.strip() for line in lines] == [
        "✗ this event can't be sent",
        f"--event {long}",
        "--desc is required",
        "→ see help",
    ]


def test_streams_that_are_closed_take_no_harm() -> None:
    for env in ({}, {"FORCE_COLOR": "1"}):
        printer = Printer(Streams(None, None, None, env), Redactor())
        for result, _, _ in RESULTS.values():
            printer.show(result)
        printer.columns(("A",), [("a",)])
        with printer.progress("x", 3) as move:
            move(1, {"delivered": 1})


def test_columns_are_as_wide_as_the_first_rows_need_and_the_last_may_be_as_long_as_it_is() -> None:
    shown = Shown(env={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    rows = [("1", "a", "x" * 200), ("22", "名前" * 20, "y"), *[("3", "b", "z")] * 200]
    shown.printer.columns(("ID", "EVENT", "ERROR"), iter(rows))
    lines = SGR.sub("", shown.out).splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].split() == ["ID", "EVENT", "ERROR"]
    assert {line.index(last) for line, last in ((lines[0], "ERROR"), (lines[1], "x"), (lines[-1], "z"))} == {38}
    assert lines[1].endswith("x" * 200)
    assert "…" in lines[2]


# What reads a log


RUNNERS = {"GITHUB_ACTIONS": "true"}, {"TF_BUILD": "True"}
COMMANDS = ("::error::x", "  ::set-output name=a::b", "a ##[command]x", "##vso[task.complete]x", "##VSO[x]")


def obeyed(line: str) -> bool:
    """Return whether a runner takes the line for a command, as GitHub's and Azure's sources say."""
    return line.lstrip().startswith("::") or "##[" in line or "##vso[" in line.lower()


def test_no_text_becomes_a_command_of_the_ci_runner_that_reads_the_log() -> None:
    for runner, look, text in product(RUNNERS, ({}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}), COMMANDS):
        shown = Shown(env={**runner, **look}, verbose=True)
        event = {**EVENT, "event": text, "description": text, "workspace": text, "metadata": {text: text}}
        error = InvalidEvent([text, text], hint=text)
        shown.printer.line(text)
        shown.printer.show(Result("delivered", event, 7, 201))
        shown.printer.show(Result("failed", exit_code=2, error=error))
        shown.printer.arrival("12:00:00", event)
        shown.printer.columns((text, text), [(text, text)])
        shown.printer.streams.err(f"first\n{text}")
        assert not [line for line in (shown.out + shown.err).splitlines() if obeyed(line)]
        shown.printer.json = True
        shown.printer.show(Result("delivered", event, 7, 201))
        last = shown.out.splitlines()[-1]
        assert json.loads(last)["event"] == event
        assert not obeyed(last)
    shown = Shown()  # elsewhere such texts are left as they are
    for text in COMMANDS:
        shown.printer.line(text)
    assert shown.out.splitlines() == [*COMMANDS]


def test_a_failed_delivery_is_the_one_command_that_a_workflow_gets() -> None:
    shown = Shown(env={"GITHUB_ACTIONS": "true"})
    error = NotDelivered("100 %\n::error::x ##[command]")
    shown.printer.show(Result("queued", EVENT, 7, exit_code=ExitCode.KEPT, error=error))
    (line,) = shown.err.splitlines()
    assert line.startswith("::warning title=logsh::not delivered, kept as #7: 100 %25")
    assert "##[" not in line


def test_a_json_line_has_no_character_that_breaks_reorders_or_drives_what_shows_it() -> None:
    shown = Shown()
    hostile = "caf\udce9 a\x7f\x85\x9b2J\u061c\u200e\u2028\u2029\u202e\u2066z"
    shown.printer.json_line({hostile: hostile})
    assert shown.out.isascii()
    assert all(len(lines) == 1 for lines in (shown.out.splitlines(), shown.out.split("\n")[:-1]))
    assert json.loads(shown.out) == {hostile: hostile}


# The rest


def test_a_dry_run_in_a_pipe_is_a_curl_command_that_a_shell_can_take_apart() -> None:
    shown = Shown()
    body = {**BODY, "description": 'it\'s "x" $HOME\n`id` ümläut \u202e'}
    request = {
        "method": "POST",
        "url": "https://logsh.co/api/event?a=b&c",
        "headers": {"Content-Type": "application/json", "Authorization": "Bearer [redacted]"},
        "body": body,
    }
    shown.printer.show(Result("dry_run", body, request=request))
    (line,) = shown.out.splitlines()
    words = shlex.split(line)
    assert words[:4] == ["curl", "-X", "POST", request["url"]]
    assert "Authorization: Bearer $LOGSH_API_KEY" in words
    assert "[redacted]" not in line
    assert json.loads(words[words.index("-d") + 1]) == body
