from __future__ import annotations

import contextlib
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.errors import UsageError
from logsh_cli.event import utf16_length
from logsh_cli.job.ending import Ending, Kind
from logsh_cli.job.outcome import (
    STATUSES,
    NotifyOn,
    On,
    Outcome,
    Status,
    default_event_name,
    describe,
    duration_in_words,
    judge,
    metadata,
    parse_duration,
    parse_success_codes,
    wants_push,
    wants_report,
)
from logsh_cli.job.redact import scrub_output


def ending(
    kind: Kind, code: int | None = None, number: int | None = None, seconds: float = 192.0, reason: str | None = None
) -> Ending:
    return Ending(kind, code, number, seconds, started=kind != "not_started", reason=reason)


def outcome(status: Status, seconds: float = 192.0) -> Outcome:
    return Outcome(status, 0 if status == "succeeded" else 2, None, seconds)


# --- judging and telling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "status", "description"),
    [
        pytest.param(ending("exited", 0), "succeeded", "succeeded in 3m 12s", id="code 0"),
        pytest.param(ending("exited", 24), "succeeded", "succeeded in 3m 12s", id="a success code"),
        pytest.param(ending("exited", 2), "failed", "failed with exit code 2 after 3m 12s", id="another code"),
        pytest.param(ending("signaled", None, 15), "killed", "killed by SIGTERM after 3m 12s", id="TERM"),
        pytest.param(ending("signaled", None, 34), "killed", "killed by SIGRTMIN after 3m 12s", id="real-time"),
        pytest.param(ending("signaled", None, 37), "killed", "killed by SIGRTMIN+3 after 3m 12s", id="nameless"),
        pytest.param(ending("timed_out", None, 15), "timed_out", "timed out after 3m 12s", id="timeout"),
        pytest.param(ending("timed_out", 0), "timed_out", "timed out after 3m 12s", id="timeout, then code 0"),
        pytest.param(
            ending("not_started", 127, reason="x: not found"),
            "not_started",
            "could not start: x: not found",
            id="missing",
        ),
    ],
)
def test_an_ending_is_judged_and_told(ended: Ending, status: Status, description: str) -> None:
    judged = judge(ended, frozenset({0, 24}))
    assert judged.status == status
    assert judged.succeeded == (status == "succeeded")
    assert describe(judged) == description
    assert describe(judged, "Nightly backup") == f"Nightly backup: {description}"


def test_code_0_is_a_failure_where_it_is_not_among_the_success_codes() -> None:
    assert judge(ending("exited", 0), frozenset({1})).status == "failed"


@pytest.mark.parametrize("prefix", [None, "", "  "], ids=["none", "empty", "blank"])
def test_a_description_without_a_prefix_has_no_colon(prefix: str | None) -> None:
    assert describe(outcome("succeeded"), prefix) == "succeeded in 3m 12s"


def test_an_overlong_prefix_is_shortened_and_the_ending_is_kept() -> None:
    told = describe(judge(ending("signaled", None, 9)), "💥" * 200)
    assert told.endswith("…: killed by SIGKILL after 3m 12s")
    assert utf16_length(told) in (149, 150)


def test_an_overlong_reason_is_shortened() -> None:
    told = describe(judge(ending("not_started", 127, reason="x" * 500)), "Backup")
    assert told.startswith("could not start: xxx")
    assert utf16_length(told) == 150


@given(
    prefix=st.text(alphabet=st.characters(exclude_categories=())), reason=st.text(), status=st.sampled_from(STATUSES)
)
def test_a_description_always_fits(prefix: str, reason: str, status: Status) -> None:
    assert 0 < utf16_length(describe(Outcome(status, 1, "SIGTERM", 1.0, reason), prefix)) <= 150


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.04, "0s"),
        (0.4, "0.4s"),
        (0.96, "1s"),
        (1.25, "1.2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (12.4, "12s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (60, "1m"),
        (192, "3m 12s"),
        (3599.7, "1h"),
        (7500, "2h 5m"),
        (7559, "2h 5m"),
        (86400, "1d"),
        (3 * 86400 + 4 * 3600 + 59, "3d 4h"),
        (1000 * 86400, "1000d"),
        (-1, "0s"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


def test_metadata_has_what_is_known_and_nothing_empty() -> None:
    killed = judge(ending("signaled", None, signal.SIGTERM, seconds=1.23456))
    assert metadata(killed, "web1", "backup.sh") == {
        "status": "killed",
        "signal": "SIGTERM",
        "duration_s": 1.235,
        "host": "web1",
        "command": "backup.sh",
    }
    assert metadata(outcome("failed"), "", "x", "boom") == {
        "status": "failed",
        "exit_code": 2,
        "duration_s": 192.0,
        "command": "x",
        "output": "boom",
    }


def test_metadata_strings_fit_the_services_limit() -> None:
    values = metadata(outcome("failed"), "h" * 600, "💥" * 400, "o" * 600)
    assert all(utf16_length(value) <= 500 for value in values.values() if isinstance(value, str))


# --- what is worth telling ------------------------------------------------------------------------------------------

FAILURES: list[Status] = ["failed", "killed", "timed_out", "not_started"]
BEFORE: list[Status | None] = [None, "succeeded", *FAILURES]


@pytest.mark.parametrize("previous", BEFORE)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("on", "of_success", "of_failure"),
    [("always", True, True), ("failure", False, True), ("success", True, False), ("never", False, False)],
)
def test_what_does_not_depend_on_the_past(
    on: str, of_success: bool, of_failure: bool, status: Status, previous: Status | None
) -> None:
    wanted = of_success if status == "succeeded" else of_failure
    if on != "never":
        assert wants_report(on, outcome(status), previous) == wanted  # type: ignore[arg-type]
    if on != "success":
        assert wants_push(on, outcome(status), previous) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("previous", "of_success", "of_failure"),
    [
        pytest.param(None, False, True, id="nothing stored"),
        pytest.param("succeeded", False, True, id="it was well"),
        *(pytest.param(status, True, False, id=f"it was broken ({status})") for status in FAILURES),
    ],
)
def test_a_change_is_breaking_or_recovering(previous: Status | None, of_success: bool, of_failure: bool) -> None:
    on: On = "change"
    notify_on: NotifyOn = "change"
    for status in STATUSES:
        wanted = of_success if status == "succeeded" else of_failure
        assert wants_report(on, outcome(status), previous) == wanted
        assert wants_push(notify_on, outcome(status), previous) == wanted


def test_a_job_that_breaks_and_recovers_changes_twice() -> None:
    previous: Status | None = None
    changes = []
    for status in ("succeeded", "succeeded", "failed", "killed", "timed_out", "succeeded", "succeeded"):
        changes.append(wants_push("change", outcome(status), previous))
        previous = status
    assert changes == [False, False, True, False, False, True, False]


# --- parsing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1.5h", 5400),
        (".5", 0.5),
        ("1.", 1),
        ("0.25s", 0.25),
        ("1h30m", 5400),
        ("2d", 172800),
        (" 10S ", 10),
    ],
)
def test_a_duration_is_understood(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0s",
        "-5",
        "5x",
        "s",
        ".",
        "1e3",
        "inf",
        "nan",
        "1h30",
        "5 m",
        "1,5",
        "٣",
        "9" * 400,
        "1m-",
        "\x1b[31m",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout must be a duration such as 90s, 15m or 2h; yours is ") as caught:
        parse_duration(text)
    assert caught.value.message.isprintable()


def test_nothing_is_a_duration_where_it_is_allowed_to_be() -> None:
    assert parse_duration("0s", "--kill-after", allow_zero=True) == 0
    with pytest.raises(UsageError, match="--kill-after"):
        parse_duration("", "--kill-after", allow_zero=True)


@given(st.text())
def test_no_text_makes_a_parser_fail_in_another_way(text: str) -> None:
    for parse in (parse_duration, parse_success_codes):
        with contextlib.suppress(UsageError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "codes"), [("0", {0}), ("0,24", {0, 24}), (" 1 , 2,2", {1, 2}), ("255", {255}), ("007", {7})]
)
def test_success_codes_are_understood(text: str, codes: set[int]) -> None:
    assert parse_success_codes(text) == codes


@pytest.mark.parametrize("text", ["", ",", "0,", "256", "-1", "a", "1.0", "1 2", "²", "٣", "9" * 5000])
def test_anything_else_is_no_success_code(text: str) -> None:
    with pytest.raises(UsageError, match="--success-codes must be exit codes from 0 to 255"):
        parse_success_codes(text)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["./backup.sh", "--token", "x"], "backup.sh"),
        (["/usr/bin/rsync"], "rsync"),
        (["make"], "make"),
        (["dir/"], "dir"),
        (["/"], "command"),
        ([""], "command"),
        ([" "], "command"),
        ([], "command"),
        ([b"/bin/caf\xc3\xa9"], "café"),
        ([b"/bin/\xff"], "\ufffd"),
        (["/bin/\udcff"], "\ufffd"),
        (["a\nb\x1b"], "a\ufffdb\ufffd"),
    ],
)
def test_the_default_event_name_is_the_base_name_of_the_command(argv: list[str | bytes], name: str) -> None:
    assert default_event_name(argv) == name


# --- the end of the output ------------------------------------------------------------------------------------------

PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b"plain\ttext\n", "plain\ttext", id="plain"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b" \n\n", "", id="blank"),
        pytest.param(b"a\r\nb\rc", "a\nb\nc", id="carriage returns"),
        pytest.param(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07done\x1b(B\x07\x00\x08", "red done", id="terminal control"),
        pytest.param(b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", id="links"),
        pytest.param(b"caf\xe9 \xff", "caf\ufffd \ufffd", id="not UTF-8"),
        pytest.param("a\u202eb\u2028c".encode(), "abc", id="reordering"),
        pytest.param(b"Bearer abcdef123456", "Bearer [redacted]", id="bearer"),
        pytest.param(b"Authorization: Basic Zm9vOmJhcg== x", "Authorization: [redacted]", id="header"),
        pytest.param(b"cookie: a=b; c=d", "cookie: [redacted]", id="cookie"),
        pytest.param(b"AWS_SECRET_ACCESS_KEY=abc/def+g x", "AWS_SECRET_ACCESS_KEY=[redacted] x", id="variable"),
        pytest.param(b"api_key: xyz", "api_key: [redacted]", id="yaml"),
        pytest.param(b'{"password": "a \\" b", "n": 1}', '{"password": [redacted], "n": 1}', id="json"),
        pytest.param(b"password='two words' next", "password=[redacted] next", id="quoted"),
        pytest.param(b"Password: correct horse battery", "Password: [redacted]", id="passphrase"),
        pytest.param(b"tool --token abc --quiet", "tool --token [redacted] --quiet", id="flag"),
        pytest.param(b"?a=1&token=abc&b=2", "?a=1&token=[redacted]", id="query"),
        pytest.param(b"AKIAIOSFODNN7EXAMPLE", "[redacted]", id="aws"),
        pytest.param(b"use logsh_abcDEF123456 now", "use [redacted] now", id="logsh"),
        pytest.param(b"ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]", id="github"),
        pytest.param(b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-nature", "[redacted]", id="web token"),
        pytest.param(b"postgres://bob:p@ss/w@db:5432/x", "postgres://[redacted]@db:5432/x", id="url"),
        pytest.param(b"https://token@host/x", "https://[redacted]@host/x", id="url with a token"),
        pytest.param(f"a\n{PRIVATE_KEY}\nb".encode(), "a\n[redacted]\nb", id="private key"),
        pytest.param(PRIVATE_KEY[:60].encode(), "[redacted]", id="private key without an end"),
        pytest.param(PRIVATE_KEY[40:].encode() + b"\nb", "[redacted]\nb", id="private key without a beginning"),
        pytest.param(b"pass\x1b[0mword=hunter2", "password=[redacted]", id="name split by an escape"),
        pytest.param(b"commit 0123456789abcdef0123456789abcdef01234567", None, id="a commit is no secret"),
        pytest.param(b"author: Jane, KeyError: 'x', keyboard", None, id="words that only look like it"),
    ],
)
def test_output_is_cleaned_and_redacted(raw: bytes, text: str | None) -> None:
    assert scrub_output(raw, 500) == (raw.decode() if text is None else text)


def test_known_secrets_are_hidden_wherever_they_are() -> None:
    raw = b"xx-s3cr3t-value-yy s3cr3t-value-long s3cr3t abc"
    assert (
        scrub_output(raw, 500, ["s3cr3t-value", "s3cr3t-value-long", "abc", ""])
        == "xx-[redacted]-yy [redacted] s3cr3t abc"
    )


def test_the_rest_of_a_known_secret_at_the_beginning_is_hidden() -> None:
    assert scrub_output(b"ret-value and more", 500, ["secret-value"]) == "[redacted] and more"


@pytest.mark.parametrize("limit", range(1, 60))
def test_a_cut_never_leaves_a_part_of_a_secret(limit: int) -> None:
    secret = "c0rrect-h0rse-battery"
    text = scrub_output(f"start token={secret} {secret} password: {secret}\nend".encode(), limit, [secret])
    assert utf16_length(text) <= limit
    assert not any(secret[i : i + 4] in text for i in range(len(secret) - 3))


def test_a_cut_keeps_surrogate_pairs_whole() -> None:
    assert scrub_output("💥💥💥".encode(), 3) == "💥"
    assert scrub_output("💥💥💥".encode(), 4) == "💥💥"


@given(st.binary(), st.integers(1, 500))
def test_any_bytes_make_a_text_that_can_be_sent(raw: bytes, limit: int) -> None:
    text = scrub_output(raw, limit)
    text.encode()
    assert utf16_length(text) <= limit
    assert all(char.isprintable() or char in "\n\t" or ord(char) > 0x9F for char in text)


@pytest.mark.parametrize("unit", ["a.", "secret", "://", "eyJa-", "key=", "-----BEGIN PRIVATE KEY-----", "\x1b]", "'"])
def test_a_long_line_does_not_take_for_ever(unit: str) -> None:
    raw = (unit * 65536)[:65536].encode()
    assert len(scrub_output(raw, 500, ["0123456789" * 5])) <= 500
