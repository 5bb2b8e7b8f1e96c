"""Which proxy the environment names for a host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.errors import BadConfig
from logsh_cli.http.proxies import proxy_for

PROXY = "http://proxy.example:3128"


def test_the_usual_variables_name_a_proxy() -> None:
    for env, expected in (
        ({}, None),
        *(({name: PROXY}, PROXY) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")),
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
    ):
        proxy = proxy_for("logsh.co", 443, env)
        assert (None if proxy is None else proxy.url) == expected, env
        assert "secret" not in repr(proxy)


def test_no_proxy_names_the_hosts_that_are_reached_directly_and_loopback_always_is() -> None:
    for no_proxy, host, direct in (
        *(("", host, True) for host in ("localhost", "127.0.0.1", "127.8.9.10", "[::1]")),
        *((entry, "logsh.co", True) for entry in ("*", "logsh.co", "LOGSH.CO", "logsh.co.", "logsh.co:443")),
        *((entry, "eu.logsh.co", True) for entry in (".logsh.co", "*.logsh.co", "logsh.co")),
        *((entry, "logsh.co", True) for entry in ("a.example, logsh.co", "a.example logsh.co")),
        ("logsh.co", "notlogsh.co", False),
        ("logsh.co", "logsh.com", False),
        ("logsh.co:8443", "logsh.co", False),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("[2001:db8::1]:443", "[2001:db8::1]", True),
        ("2001:db8::/32", "[2001:db8::7]", True),
        *((entry, "logsh.co", False) for entry in ("10.0.0.0/8", "nonsense/99", "", ",", ".")),
    ):
        for name in ("no_proxy", "NO_PROXY"):
            env = {"https_proxy": PROXY, name: no_proxy}
            assert (proxy_for(host, 443, env) is None) is direct, (no_proxy, host)


def test_an_unusable_proxy_is_named_by_its_variable_and_not_repeated() -> None:
    for value in ("http://", "ftp://me:secret@proxy", "http://me:secret@", "http://me:secret@proxy:port",
                  "http://proxy:99999", "http://[::1:secret", "http://pro xy", "http://prö.xy", "://"):  # fmt: skip
        with pytest.raises(BadConfig) as caught:
            proxy_for("logsh.co", 443, {"https_proxy": value})
        assert caught.value.message.startswith("https_proxy ")
        assert "secret" not in caught.value.message + str(caught.value.hint)
        assert proxy_for("localhost", 443, {"https_proxy": value}) is None


@given(st.text(), st.text())
def test_no_value_of_the_variables_is_a_crash(value: str, no_proxy: str) -> None:
    try:
        proxy = proxy_for("logsh.co", 443, {"https_proxy": value, "no_proxy": no_proxy})
    except BadConfig:
        return
    assert proxy is None or proxy.host
