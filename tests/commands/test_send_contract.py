"""The installed ``logsh send`` against a real service: both columns of the contract, every answer, every road to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli import __version__
from tests.support import answers as says
from tests.support.answers import COLUMNS
from tests.support.certs import authority
from tests.support.inprocess import call_main
from tests.support.proxy import ConnectProxy
from tests.support.sending import BODY, EVENT, KEY, LATER, Logsh, check_result, kept_rows, settings_for
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.answers import Answer, Column

STATE_OF_STATUS = {"delivered": [], "queued": ["pending"], "rejected": ["rejected"]}
"""The content of the outbox afterwards."""


def error(status: int, name: str = "", message: str = "Said the service.") -> Answer:
    """An error that is final at once: what would be tried again asks for more time than there is."""
    return says.error(status, name, message, LATER)


# Every answer, and what becomes of the event

DELIVERED: dict[str, Any] = {"code": 0, "status": "delivered", "error": None}
REFUSED: dict[str, Any] = {"code": 65, "status": "rejected", "error": "refused"}
UNAVAILABLE: dict[str, Any] = {"code": 75, "status": "queued", "error": "unavailable"}
UNANSWERED: dict[str, Any] = {"code": 75, "status": "queued", "error": "unanswered"}
KEY_REFUSED: dict[str, Any] = {"code": 77, "status": "queued", "error": "unauthorized"}
UNEXPECTED: dict[str, Any] = {"code": 78, "status": "queued", "error": "unexpected_answer"}

ANSWERS: dict[str, tuple[Answer, dict[str, Any]]] = {
    "200": (says.ok(200), DELIVERED),
    "201": (says.ok(201), DELIVERED),
    "202": (says.ok(202), DELIVERED),
    "204 without a body": (says.empty(204), DELIVERED),
    "400 bad_request": (error(400, "bad_request"), REFUSED),
    "400 without a name": (error(400), REFUSED),
    "403 validation_error": (error(403, "validation_error"), REFUSED),
    "413": (error(413), REFUSED),
    "422": (error(422), REFUSED),
    "401 unauthorized": (error(401, "unauthorized"), KEY_REFUSED),
    "401 without a body": (says.empty(401), KEY_REFUSED),
    "403 forbidden": (error(403, "forbidden"), KEY_REFUSED),
    "403 without a name": (error(403), KEY_REFUSED),
    "402 payment_required": (error(402, "payment_required"), UNAVAILABLE),
    "408": (error(408), UNAVAILABLE),
    "429 rate_limit_exceeded": (error(429, "rate_limit_exceeded"), UNAVAILABLE),
    "500 internal_server_error": (error(500, "internal_server_error"), UNAVAILABLE),
    "501": (error(501), UNAVAILABLE),
    "502": (error(502), UNANSWERED),
    "503": (error(503), UNAVAILABLE),
    "504": (error(504), UNANSWERED),
    "599": (error(599), UNAVAILABLE),
    "301": (says.redirect("https://elsewhere.invalid/api/event", 301), UNEXPECTED),
    "304": (says.empty(304), UNEXPECTED),
    "307": (says.redirect("/api/event/", 307), UNEXPECTED),
    "404 as a page": (says.html404(), UNEXPECTED),
    "405": (error(405, "method_not_allowed"), UNEXPECTED),
    "418": (error(418), UNEXPECTED),
    # The name is the service's own word; a proxy may have changed the number.
    "name before status: 400 unauthorized": (error(400, "unauthorized"), KEY_REFUSED),
    "name before status: 500 validation_error": (error(500, "validation_error"), REFUSED),
    "name before status: 401 validation_error": (error(401, "validation_error"), REFUSED),
    "name before status: 403 rate_limit_exceeded": (error(403, "rate_limit_exceeded"), UNAVAILABLE),
    "name before status: 404 unauthorized": (error(404, "unauthorized"), KEY_REFUSED),
    "unknown name: the status decides": (error(400, "something_new"), REFUSED),
    "a success that says it is none": (says.error(201, "unauthorized", "hm"), UNEXPECTED),
    "400 about the plan": (error(400, "bad_request", "Your current plan does not allow this."), UNAVAILABLE),
    # Malformed
    "a page with 200": (says.raw(says.http(200, says.HTML_404, {"Content-Type": "text/html"})), UNEXPECTED),
    "a page with 403": (says.raw(says.http(403, says.HTML_404, {"Content-Type": "text/html"})), KEY_REFUSED),
    "a page with 503": (says.raw(says.http(503, says.HTML_404, {"Content-Type": "text/html", **LATER})), UNAVAILABLE),
    "empty 400": (says.empty(400), REFUSED),
    "empty 501": (says.empty(501), UNAVAILABLE),
    "wrong charset": (says.wrong_charset(403), REFUSED),
    "success cut off": (says.cut_off(201), DELIVERED),
    "chunked success cut off": (says.cut_off(201, chunked=True), DELIVERED),
    "error cut off": (says.cut_off(501), UNAVAILABLE),
    "50 MB of success": (says.huge(50, 200), DELIVERED),
    "50 MB of error": (says.huge(50, 501), UNAVAILABLE),
    "an endless error": (says.endless(501), UNAVAILABLE),
    "a success that drips and never ends": (says.drip_body(status=201), DELIVERED),
    "an error that drips": (says.drip_body(0.001, 403, b'{"name": "validation_error", "message": "No."}'), REFUSED),
    "JSON that is no object": (says.raw(says.http(400, b"[1, 2]")), REFUSED),
    "JSON nested too deep": (says.raw(says.http(400, b"[" * 60_000)), REFUSED),
    "fields of the wrong type": (says.raw(says.http(400, b'{"name": 7, "message": {"a": []}}')), REFUSED),
}


@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_has_its_exit_code_its_json_and_its_place(
    service: Server, answer: Answer, expected: dict[str, Any], tmp_path: Path
) -> None:
    service.default = answer
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    sent = service.requests[0]
    status = int(answer.name.partition("(")[2][:3]) if answer.name[:2] in ("ok", "er", "em", "re") else None
    result = check_result(done, **{name: value for name, value in expected.items() if name != "code"})
    assert done.code == expected["code"]
    assert done.stderr == ""
    assert result["event"] == BODY == sent.json
    assert result["attempts"] == len(service.requests) == 1
    assert result["id"] == 1
    assert status in (None, result["http_status"])
    assert [row.state for row in kept_rows(tmp_path)] == STATE_OF_STATUS[expected["status"]]


NO_ANSWERS = {
    "dropped": says.drop(),
    "accepted and dropped": says.accept_then_drop(),
    "headers cut off": says.cut_off_headers(),
    "not HTTP": says.raw(b"220 mail.example ESMTP\r\n", hang_up=True),
    "half a status line": says.raw(b"HTTP/1.1 2", hang_up=True),
    "headers of 200 KB": says.raw(b"HTTP/1.1 201 Created\r\nX: " + b"x" * 200_000, hang_up=True),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_a_request_without_an_answer_is_sent_exactly_once_more(service: Server, answer: Answer, tmp_path: Path) -> None:
    service.default = answer
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="queued", exit_code=75, http_status=None, attempts=2, error="unanswered")
    assert len(service.requests) == 2
    assert done.stderr == ""
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]


def test_a_service_that_is_not_there_keeps_the_event(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    service.stop()
    done = logsh("send", *EVENT, "--json", "--deadline", "0.5", env=settings_for(service))
    result = check_result(done, status="queued", exit_code=75, http_status=None, error="unreachable", event=BODY)
    assert result["attempts"] >= 1
    assert done.stderr == ""
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]


# Both columns, on every road


@pytest.mark.parametrize(
    ("road", "which"),
    [
        *(("http", which) for which in COLUMNS),
        *((f"https {how}", "observed") for how in ("with ca_file", "with SSL_CERT_FILE", "through a proxy")),
    ],
)
def test_both_columns_hold_and_so_does_every_road(logsh: Logsh, road: str, which: str, tmp_path: Path) -> None:
    column = COLUMNS[which]
    secure = road.startswith("https")
    with Server(key=KEY, column=column, validate=True, tls=authority().server_context() if secure else None) as server:
        env = settings_for(server)
        if secure:
            variable = "SSL_CERT_FILE" if road.endswith("SSL_CERT_FILE") else "LOGSH_CA_FILE"
            env[variable] = str(authority().write_ca(tmp_path))
        with ConnectProxy({"logsh.test:443": server.address}) as proxy:
            if road.endswith("proxy"):
                env |= {"LOGSH_API_URL": "https://logsh.test", "HTTPS_PROXY": proxy.url}

            taken = logsh("send", *EVENT, "--json", env=env)
            check_result(taken, status="delivered", exit_code=0, http_status=int(column.accepted.name[3:6]))
            assert server.events == [BODY]

            refused = logsh("send", "-e", "e", "-d", "", "--no-validate", "--json", env=env)
            check_result(refused, status="rejected", exit_code=65, error="refused")

            unauthorized = logsh("send", *EVENT, "--json", env={**env, "LOGSH_API_KEY": "logsh_another"})
            check_result(unauthorized, status="queued", exit_code=77, http_status=401, error="unauthorized")

            assert (taken.stderr, refused.stderr, unauthorized.stderr) == ("", "", "")
            assert bool(proxy.lines) == road.endswith("proxy")
            assert KEY not in f"{proxy.lines} {proxy.headers}"


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_a_limit_and_a_spent_quota_are_understood_in_both_columns(
    logsh: Logsh, service: Server, column: Column
) -> None:
    seconds_limit = column is COLUMNS["observed"]
    service.script(column.limited)
    done = logsh("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", attempts=2)
    apart = service.requests[1].at - service.requests[0].at
    assert apart >= (1.0 if seconds_limit else 0.0)

    service.default = column.quota_spent
    done = logsh("send", *EVENT, "--json", env=settings_for(service))
    # A 402 is final; a 429 that names no time gets one more chance, and no third.
    check_result(done, status="queued", exit_code=75, error="unavailable", attempts=2 if seconds_limit else 1)


def test_a_server_that_nobody_vouches_for_gets_nothing(logsh: Logsh, tmp_path: Path) -> None:
    with Server(tls=authority().server_context()) as server:
        done = logsh("send", *EVENT, "--json", "--deadline", "2", env=settings_for(server))
        check_result(done, status="queued", exit_code=75, http_status=None, error="tls")
        assert server.requests == []
        assert [row.state for row in kept_rows(tmp_path)] == ["pending"]


def test_a_redirect_is_never_followed_and_the_key_stays(logsh: Logsh, service: Server) -> None:
    with Server() as elsewhere:
        service.default = says.redirect(f"{elsewhere.url}/api/event", 308)
        done = logsh("send", *EVENT, env=settings_for(service))
        assert (done.code, elsewhere.connections, len(service.requests)) == (78, 0, 1)


# The request


def test_the_request_is_the_documented_one_and_nothing_more(logsh: Logsh, service: Server) -> None:
    assert logsh("send", *EVENT, env=settings_for(service)).code == 0
    request = service.requests[0]
    assert (request.method, request.path) == ("POST", "/api/event")
    assert request.headers == {
        "host": f"127.0.0.1:{service.port}",
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
        "user-agent": f"logsh-cli/{__version__}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-length": str(len(request.body)),
    }
    assert request.body == json.dumps(BODY, separators=(",", ":")).encode()


def test_all_six_fields_go_out_stripped_in_the_order_of_the_reference(logsh: Logsh, service: Server) -> None:
    options = ("-i", " :rocket: ", "--notify", "-m", "version=1.2.3", "-m", "seats:=3", "-m", "beta:=true")
    given = ("send", "-e", "  user.signup\n", "-d", "\tGrüße, 世界 👋 ", "-w", " Shop ")
    assert logsh(*given, *options, env=settings_for(service)).code == 0
    body = service.requests[0].json
    assert list(body.items()) == [
        ("workspace", "Shop"),
        ("event", "user.signup"),
        ("description", "Grüße, 世界 👋"),
        ("icon", "🚀"),
        ("notify", True),
        ("metadata", {"version": "1.2.3", "seats": 3, "beta": True}),
    ]
    assert "Grüße, 世界 👋".encode() in service.requests[0].body


def test_only_what_was_given_is_sent(logsh: Logsh, service: Server) -> None:
    assert logsh("send", *EVENT, "--no-notify", env=settings_for(service)).code == 0
    assert service.requests[0].json == {**BODY, "notify": False}


def test_a_base_url_may_have_a_path_and_the_endpoint_may_be_given_whole(logsh: Logsh, service: Server) -> None:
    for url in (f"{service.url}/", f"{service.url}/api/event"):
        assert logsh("send", *EVENT, env=settings_for(service, LOGSH_API_URL=url)).code == 0
    done = logsh("send", *EVENT, "--json", env=settings_for(service, LOGSH_API_URL=f"{service.url}/below"))
    check_result(done, exit_code=78, error="unexpected_answer", http_status=404)
    assert [request.path for request in service.requests] == ["/api/event", "/api/event", "/below/api/event"]


def test_results_go_to_standard_output_and_everything_else_to_standard_error(service: Server) -> None:
    for flags in ((), ("--json",), ("-v",), ("-q",)):
        service.default = says.ok()
        good = call_main("send", *EVENT, *flags, env=settings_for(service))
        service.default = error(403, "validation_error")
        bad = call_main("send", *EVENT, *flags, env=settings_for(service))
        assert bool(good.stdout) == (flags != ("-q",)), flags
        assert bool(good.stderr) == (flags == ("-v",)), flags
        assert bool(bad.stdout) == (flags == ("--json",)), flags
        assert bool(bad.stderr) == (flags != ("--json",)), flags
