"""The end of a job's output, made fit to be sent."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.event import utf16_length
from logsh_cli.job.redact import scrub_output, secret_values
from logsh_cli.output.text import REDACTED
from tests.job.corpus import SECRET, contexts, ordinary_lines, tokens

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
        pytest.param(b"noise \x1bP the reason", "noise  the reason", id="a title without an end"),
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


def test_a_cut_never_leaves_a_part_of_a_secret() -> None:
    secret = "c0rrect-h0rse-battery"
    for limit in range(1, 60):
        text = scrub_output(f"start token={secret} {secret} password: {secret}\nend".encode(), limit, [secret])
        assert utf16_length(text) <= limit
        assert not any(secret[i : i + 4] in text for i in range(len(secret) - 3)), limit


def test_a_cut_keeps_surrogate_pairs_whole() -> None:
    assert scrub_output("💥💥💥".encode(), 3) == "💥"
    assert scrub_output("💥💥💥".encode(), 4) == "💥💥"


@given(st.binary(), st.integers(1, 500))
def test_any_bytes_make_a_text_that_can_be_sent(raw: bytes, limit: int) -> None:
    text = scrub_output(raw, limit)
    text.encode()
    assert utf16_length(text) <= limit
    assert all(char.isprintable() or char in "\n\t" or ord(char) > 0x9F for char in text)


def test_a_long_line_does_not_take_for_ever() -> None:
    for unit in ("a.", "secret", "://", "eyJa-", "key=", "-----BEGIN PRIVATE KEY-----", "\x1b]", "'"):
        raw = (unit * 65536)[:65536].encode()
        assert len(scrub_output(raw, 500, ["0123456789" * 5])) <= 500


def test_nine_of_ten_secrets_are_hidden_by_their_shape_or_by_what_stands_around_them() -> None:
    seen = [token for token in tokens() if token in scrub_output(f"got {token} here".encode(), 500)]
    seen += [text for text in contexts() if SECRET in scrub_output(f"before\n{text}\nafter\n".encode(), 500)]
    total = len(list(tokens())) + len(list(contexts()))
    assert total >= 150
    assert len(seen) <= total * 0.1, seen


def test_what_stands_around_a_secret_is_left_to_be_read() -> None:
    for text in contexts():
        shown = scrub_output(f"before\n{text}\n\nafter\n".encode(), 500)
        assert shown.startswith("before")
        assert shown.endswith("after") or "BEGIN" in text or "Lines" in text, text


def test_one_ordinary_line_in_fifty_at_most_is_touched() -> None:
    lines = ordinary_lines(10_000)
    touched = [line for line in lines if scrub_output(line.encode(), 500) != line.strip()]
    assert len(touched) <= 200, touched[:20]


def test_values_of_variables_that_are_secret_by_name_are_known() -> None:
    env = {
        "GH_TOKEN": "12345678",
        "DB_PASSWORD": "hunter2x",
        "apiKey": "k" * 8,
        "SECRET": "short",
        "PATH": "/usr/bin:/bin",
    }
    assert secret_values(env) == ["12345678", "hunter2x", "k" * 8]


def test_a_known_secret_is_hidden_percent_encoded_and_in_base64_wherever_it_stands() -> None:
    for secret in ("pa ss/wo+rd=1", "logsh_abcdefghijk", "zwölf Küken", "12345678"):
        assert_hidden_in_each_form(secret)


def assert_hidden_in_each_form(secret: str) -> None:
    forms = [secret, quote(secret, safe="")]
    for before in ("", "u", "us", "user:"):
        raw = f"{before}{secret}:tail".encode()
        forms += [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    for form in forms:
        shown = scrub_output(f"x {form} y".encode(), 500, [secret])
        # Of base64 the characters at the secret's edges stay: they are made of its neighbours, too.
        assert REDACTED in shown, form
        assert len(shown) <= len(f"x {form} y") - len(secret) + len(REDACTED) + 2, (form, shown)
