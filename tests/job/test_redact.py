"""The end of a job's output, made fit to be sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.event import utf16_length
from logsh_cli.job.redact import scrub_output

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
