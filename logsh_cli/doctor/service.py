"""The way to the service, as ``logsh doctor`` shows it: one request with an empty body, judged step by step.

It goes the way of every event, through the same client, so that what is found here holds for events too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.clock import Budget
from logsh_cli.config.resolve import BUILT_IN, COPY_AGAIN
from logsh_cli.delivery.retry import check_key_taken, failure_of_answer
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.doctor.local import profile_is_known
from logsh_cli.errors import BadConfig, KeyRefused, LogshError, ServiceUnavailable, TlsFailure
from logsh_cli.http.client import Client
from logsh_cli.http.tls import make_context
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logsh_cli.clock import Clock
    from logsh_cli.config.resolve import Settings
    from logsh_cli.http.wire import Answer, Exchange

STEPS = ("proxy", "dns", "tcp", "tls", "service", "key")


def service_checks(found: Settings, env: Mapping[str, str], clock: Clock) -> Iterator[Check]:
    """Check each step to the service and its answer; where the URL or whom to trust is not known, nothing is sent."""
    if "api_url" in found.problems or (found.api_url.source == BUILT_IN and not profile_is_known(found)):
        yield from (skipped(name, "not checked, since the URL is not known") for name in STEPS)
        return
    step = "tls"
    key = None if found.place is None else found.place.key
    try:
        trust = make_context(found.ca_file.value, env) if _is_secure(found) else None
        step = "proxy"
        client = Client(found.api_url.value, key, ca_file=found.ca_file.value, env=env, context=trust)
    except BadConfig as error:
        checks = {step: failed(step, error)}
    else:
        checks = _visit(client, found, clock)
    broken = next((name for name in STEPS if name in checks and checks[name].level == "fail"), None)
    for name in STEPS:
        yield checks.get(name) or skipped(name, f"not checked, since {broken} failed" if broken else "not reached")


def _visit(client: Client, found: Settings, clock: Clock) -> dict[str, Check]:
    """Ask the service, and return the checks of the steps that were reached, by name."""
    answer = error = None
    try:
        answer = check_key_taken(client.post(b"{}", Budget(found.deadline.value, clock.monotonic)), clock.time())
    except LogshError as failure:
        error = failure
    finally:
        client.close()
    exchange = client.exchange
    assert exchange is not None  # noqa: S101 - there is one as soon as anything is posted
    checks = {check.name: check for check in _reached(exchange, answer, found, clock.time())}
    if error is None:
        return checks
    step = _failed_step(exchange, error, found)
    if isinstance(error, KeyRefused):
        if found.place is None:  # without a key, a refusal is as it should be
            return checks
        error = KeyRefused(error.message, hint=f"{COPY_AGAIN}; this one is from {found.api_key.source}")
    return checks | {step: failed(step, error, hint="try again later")}


def _is_secure(found: Settings) -> bool:
    return bool(found.api_url.value.startswith("https:"))


def _failed_step(exchange: Exchange, error: LogshError, found: Settings) -> str:
    if exchange.lookup_ms is None:
        return "dns"
    if exchange.connect_ms is None:
        return "tcp"
    if isinstance(error, TlsFailure):
        return "tls"
    if exchange.proxy is not None and not exchange.sent:
        return "proxy"
    if _is_secure(found) and exchange.tls_ms is None:
        return "tls"
    return "key" if isinstance(error, KeyRefused) else "service"


def _reached(exchange: Exchange, answer: Answer | None, found: Settings, now: float) -> Iterator[Check]:
    """Give what was found of each step that was reached."""
    yield passed("proxy", exchange.proxy or "none", minor=exchange.proxy is None)
    if exchange.lookup_ms is not None:
        yield passed("dns", f"found in {exchange.lookup_ms:.1f} ms")
    if exchange.connect_ms is not None:
        yield passed("tcp", f"connected to {exchange.peer} in {exchange.connect_ms:.1f} ms")
    if not _is_secure(found):
        yield passed("tls", "not needed: plain http to this machine itself", minor=True)
    elif exchange.tls_ms is not None:
        yield passed("tls", f"{exchange.tls_version} in {exchange.tls_ms:.1f} ms")
    if exchange.status is not None:
        said = f"answers HTTP {exchange.status} after {exchange.total_ms or 0:.0f} ms"
        failure = None if answer is None else failure_of_answer(answer, now)
        if answer is not None and failure is not None and isinstance(failure.error, ServiceUnavailable):
            yield warned("service", failure.error.message, failure.error.hint or "events wait until it takes them")
        elif answer is not None and failure is not None:
            yield passed("service", f"{said}, refusing an empty event as it should: {excerpt(answer.message or '')}")
        else:
            yield passed("service", said)
    if found.place is None:
        yield skipped("key", "not checked, since there is none that may go there")
    elif answer is not None:
        yield passed("key", "accepted")
