"""Which proxy the environment names for a host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.errors import BadConfig
from logsh_cli.http.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"all_proxy": PROXY}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        ({"https_proxy": PROXY, "all_proxy": "http://other"}, PROXY),
        ({"https_proxy": "", "all_proxy": PROXY}, PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": PROXY}, None),
        ({"https_proxy": "proxy.example:3128"}, PROXY),
        ({"https_proxy": " http://PROXY.example:3128/ "}, PROXY),
        ({"https_proxy": "http://me:secret@proxy.example:3128"}, PROXY),
        ({"https_proxy": "https://proxy.example"}, "https://proxy.example"),
        ({"https_proxy": "http://[2001:db8::1]:8080"}, "http://[2001:db8::1]:8080"),
        ({"all_proxy": "socks5://proxy.example:1080"}, "socks5://proxy.example:1080"),
    ],
    ids=str,
)
def test_the_usual_variables_name_a_proxy(env: dict[str, str], expected: str | None) -> None:
    proxy = proxy_for("logsh.co", 443, env)
    assert (None if proxy is None else proxy.url) == expected
    assert "secret" not in repr(proxy)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_loopback_has_no_proxy(host: str) -> None:
    assert proxy_for(host, 443, {"https_proxy": PROXY, "all_proxy": "not a proxy"}) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "logsh.co", True),
        ("logsh.co", "logsh.co", True),
        ("LOGSH.CO", "logsh.co", True),
        ("logsh.co.", "logsh.co", True),
        (".logsh.co", "eu.logsh.co", True),
        ("*.logsh.co", "eu.logsh.co", True),
        ("logsh.co", "eu.logsh.co", True),
        ("logsh.co", "notlogsh.co", False),
        ("logsh.co", "logsh.com", False),
        ("a.example, logsh.co", "logsh.co", True),
        ("a.example logsh.co", "logsh.co", True),
        ("logsh.co:443", "logsh.co", True),
        ("logsh.co:8443", "logsh.co", False),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "logsh.co", False),
        ("nonsense/99", "logsh.co", False),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("[2001:db8::1]:443", "[2001:db8::1]", True),
        ("2001:db8::/32", "[2001:db8::7]", True),
        ("", "logsh.co", False),
        (",", "logsh.co", False),
        (".", "logsh.co", False),
    ],
)
def test_no_proxy_names_the_hosts_that_are_reached_directly(no_proxy: str, host: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(host, 443, {"https_proxy": PROXY, name: no_proxy}) is None) is direct


@pytest.mark.parametrize(
    "value",
    ["http://", "ftp://me:secret@proxy", "http://me:secret@", "http://me:secret@proxy:port", "http://proxy:99999",
     "http://[::1:secret", "http://pro xy", "http://prö.xy", "://", "gopher://x"],
)  # fmt: skip
def test_an_unusable_proxy_is_named_by_its_variable_and_not_repeated(value: str) -> None:
    with pytest.raises(BadConfig) as caught:
        proxy_for("logsh.co", 443, {"https_proxy": value})
    assert caught.value.message.startswith("https_proxy ")
    assert "secret" not in caught.value.message + str(caught.value.hint)


@given(st.text(), st.text())
def test_no_value_of_the_variables_is_a_crash(value: str, no_proxy: str) -> None:
    try:
        proxy = proxy_for("logsh.co", 443, {"https_proxy": value, "no_proxy": no_proxy})
    except BadConfig:
        return
    assert proxy is None or proxy.host
