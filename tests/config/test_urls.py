"""Which API URLs are accepted, and in which form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.config import clean_api_url
from logsh_cli.output.text import without_userinfo


def test_a_url_has_one_form() -> None:
    for url, clean in (
        ("https://logsh.co", "https://logsh.co"),
        ("https://logsh.co/", "https://logsh.co"),
        ("HTTPS://Logsh.CO:443/", "https://logsh.co"),
        ("https://logsh.co:8443", "https://logsh.co:8443"),
        ("https://logsh.co:", "https://logsh.co"),
        ("https://logsh.co:1", "https://logsh.co:1"),
        ("https://logsh.co:65535", "https://logsh.co:65535"),
        ("https://example.org/logsh/", "https://example.org/logsh"),
        ("https://logsh.co/api/event", "https://logsh.co"),
        ("https://example.org/logsh/api/event/", "https://example.org/logsh"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.255.0.9", "http://127.255.0.9"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("http://[::1]:9/", "http://[::1]:9"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[0:0:0:0:0:0:0:1]"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("https://bücher.example", "https://bücher.example"),
    ):
        assert clean_api_url(url) == clean
        assert clean_api_url(clean) == clean


def test_plain_http_goes_only_to_this_machine() -> None:
    for host in (
        *("logsh.co", "10.0.0.1", "0.0.0.0", "127.0.0.1.example.org", "127.300.0.1", "127.1", "2130706433"),
        *("0177.0.0.1", "localhost.example.org", "evil.localhost", "localhost.", "[::ffff:127.0.0.1]"),
        *("[2001:db8::1]", "\uff11\uff12\uff17.0.0.1", "127.0.0.01", "[127.0.0.1]"),
    ):
        with pytest.raises(ValueError, match=r"plain http only to this machine|valid host"):
            pytest.fail(f"{host} became {clean_api_url(f'http://{host}')}")


def test_a_url_that_could_mean_something_else_is_refused() -> None:
    for url in (
        *("", "logsh.co", "ftp://logsh.co", "file:///etc/passwd", "https://", "https:///api", "https://:443"),
        *("https://logsh.co:0", "https://logsh.co:65536", "https://logsh.co:x", "https://user@logsh.co"),
        *("https://user:secret@logsh.co", "https://@logsh.co", "https://logsh.co?x=1", "https://logsh.co/#x"),
        *("https://logsh.co\\@evil.example", "https://logsh.co/a b", "https://logsh.co\n", "https://lo\tgsh.co"),
        *("https://logsh.co\x00", "https://lo%67sh.co", "https://[::1", "https://[zz]", "https://a<b>"),
        "https://\udc80",
    ):
        with pytest.raises(ValueError, match=r"^must ") as caught:
            pytest.fail(f"{url!r} became {clean_api_url(url)}")
        assert "secret" not in str(caught.value)


@given(st.one_of(st.text(), st.from_regex(r"https?://[a-z0-9.:@\[\]%/?#\\]{0,30}", fullmatch=True)))
def test_no_text_at_all_gives_anything_but_a_clean_url_or_a_sentence(text: str) -> None:
    complaint, clean = "must be said", "https://logsh.co"
    try:
        clean = clean_api_url(text)
    except ValueError as error:
        complaint = str(error)
    assert complaint.startswith("must ")
    assert clean_api_url(clean) == clean


def test_a_password_is_not_shown() -> None:
    for url in ("https://u:secret@x", "https://u:sec/ret@x", "u:secret@x", "https://u:secret@@x"):
        assert "sec" not in without_userinfo(url)
