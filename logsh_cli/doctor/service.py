"""The way to the service, as ``logsh doctor`` shows it: one request with an empty body, judged step by step.

It goes the way of every event, through the same client, so that what is found here holds for events too.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.clock import Budget
from logsh_cli.config.key import COPY_AGAIN
from logsh_cli.config.resolve import BUILT_IN
from logsh_cli.delivery.retry import check_key_taken, failure_of_answer
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.doctor.local import profile_is_known
from logsh_cli.errors import BadConfig, KeyRefused, LogshError, ServiceUnavailable, TlsFailure, UnexpectedAnswer
from logsh_cli.http.client import Client
from logsh_cli.http.network import system_lookup
from logsh_cli.http.proxies import proxy_for
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from logsh_cli.clock import Clock
    from logsh_cli.config.resolve import Settings
    from logsh_cli.http.network import AddressInfo
    from logsh_cli.http.proxies import Proxy
    from logsh_cli.http.wire import Answer, Exchange

STEPS = ("proxy", "dns", "tcp", "tls", "service", "key")
EXPIRES_SOON_DAYS = 14
"""Certificates are commonly renewed a month before their end: one so close to it has been forgotten."""

_DAY_S = 86_400
_MOST_ADDRESSES = 4


class Visit(Record):
    """The outcome of the request: an answer that accepts the key, or an error.

    ``exchange`` tells how far it came, ``addresses`` what the name was found to mean; ``proxy`` is in between.
    ``trust_problem`` is a file with certificates that can't be used; then the system's were used, and no key.
    """

    proxy: Proxy | None
    exchange: Exchange
    addresses: list[str]
    answer: Answer | None
    error: LogshError | None
    trust_problem: LogshError | None


def service_checks(found: Settings, env: Mapping[str, str], clock: Clock) -> Iterator[Check]:
    """Check each step to the service, and what it says; without a URL nothing is asked."""
    if "api_url" in found.problems or (found.api_url.source == BUILT_IN and not profile_is_known(found)):
        yield from (skipped(name, "not checked, since the URL is not known") for name in STEPS)
        return
    try:
        visit = _visit(found, env, clock)
    except LogshError as error:  # the proxy's address, or no support for its kind
        yield failed("proxy", error)
        yield from (skipped(name, "not checked, since the proxy can't be used") for name in STEPS[1:])
        return
    failures = _failures(visit, found)
    reached = {check.name: check for check in _reached(visit, found, clock.time())}
    broken = next((step for step in STEPS if step in failures), None)
    for step in STEPS:
        if step in failures:
            yield failed(step, failures[step], hint="try again later")
        elif step in reached and not (step == "tls" and broken == "proxy"):
            yield reached[step]
        else:
            yield skipped(step, f"not checked, since the step {broken} failed" if broken else "not reached")


def _visit(found: Settings, env: Mapping[str, str], clock: Clock) -> Visit:
    api_url = found.api_url.value
    key = None if found.place is None else found.place.key
    addresses: list[str] = []

    def look_up(name: str, number: int) -> Sequence[AddressInfo]:
        infos = system_lookup(name, number)
        addresses.extend(dict.fromkeys(str(where[0]) for *_, where in infos))
        return infos

    trust_problem = answer = failure = None
    try:
        client = Client(api_url, key, ca_file=found.ca_file.value, env=env, lookup=look_up)
    except BadConfig as error:
        # The way there can be tried without those certificates, though not with the key.
        others = {name: text for name, text in env.items() if not name.startswith("SSL_CERT_")}
        client = Client(api_url, None, env=others, lookup=look_up)
        trust_problem = error
    try:
        answer = check_key_taken(client.post(b"{}", Budget(found.deadline.value, clock.monotonic)), clock.time())
    except LogshError as error:
        failure = error
    finally:
        client.close()
    assert client.exchange is not None  # noqa: S101 - there is one as soon as anything is posted
    host, _, port = client.exchange.host.rpartition(":")
    proxy = proxy_for(host, int(port), env) if client.exchange.proxy else None
    return Visit(proxy, client.exchange, addresses, answer, failure, trust_problem)


def _is_secure(found: Settings) -> bool:
    return bool(found.api_url.value.startswith("https:"))


def _failures(visit: Visit, found: Settings) -> dict[str, LogshError]:
    """Return what failed, by its step."""
    exchange, error = visit.exchange, visit.error
    step = "service"
    if exchange.lookup_ms is None:
        step = "dns"
    elif exchange.connect_ms is None:
        step = "tcp"
    elif isinstance(error, TlsFailure):
        step = "tls"
    elif visit.proxy is not None and not exchange.sent:
        step = "proxy"
    elif _is_secure(found) and exchange.tls_ms is None:
        step = "tls"
    elif isinstance(error, KeyRefused):
        step = "key"
        # Without a key that may go there, a refusal is as it should be.
        hint = f"{COPY_AGAIN}; this one is from {found.api_key.source}"
        error = KeyRefused(error.message, hint=hint) if found.place else None
    elif isinstance(error, UnexpectedAnswer) and exchange.location:
        error = UnexpectedAnswer(f"{error.message}, which leads to {excerpt(exchange.location, 100)}", hint=error.hint)
    if visit.trust_problem is not None:
        before = {step: error} if error is not None and step in STEPS[:3] else {}
        return {**before, "tls": visit.trust_problem}
    return {} if error is None else {step: error}


def _reached(visit: Visit, found: Settings, now: float) -> Iterator[Check]:
    """Give what was found of each step that was reached."""
    exchange, proxy = visit.exchange, visit.proxy
    if proxy is None:
        said = "none" if _is_secure(found) else "none, as always for this machine itself"
        yield passed("proxy", said, minor=True)
    else:
        credentials = ", with a user name and password" if proxy.auth else ""
        yield passed("proxy", f"{proxy.url}{credentials}, from {proxy.variable}")
    if exchange.lookup_ms is not None:
        host = proxy.host if proxy else exchange.host.rpartition(":")[0].strip("[]")
        yield _dns_check(host, visit.addresses, exchange.lookup_ms)
    if exchange.connect_ms is not None:
        through = ", the proxy" if proxy else ""
        yield passed("tcp", f"connected to {exchange.peer or 'it'}{through} ({_ms(exchange.connect_ms)})")
    if not _is_secure(found):
        yield passed("tls", "not needed: plain http to this machine itself", minor=True)
    elif exchange.tls_ms is not None:
        yield _tls_check(exchange, now)
    if exchange.status is not None and visit.trust_problem is None:
        yield _service_check(exchange, visit.answer, now)
    if found.place is None:
        yield skipped("key", "not checked, since there is none that may go there")
    elif visit.answer is not None and visit.trust_problem is None:
        yield passed("key", "accepted")


def _dns_check(host: str, addresses: list[str], took_ms: float) -> Check:
    if addresses == [host]:
        return passed("dns", f"not needed: {host} is an address", minor=True)
    shown = addresses[:_MOST_ADDRESSES]
    if more := len(addresses) - len(shown):
        shown.append(f"{more} more")
    return passed("dns", f"{host}: {', '.join(shown)} ({_ms(took_ms)})")


def _tls_check(exchange: Exchange, now: float) -> Check:
    detail = f"{exchange.tls_version} ({_ms(exchange.tls_ms or 0)})"
    if exchange.certificate is None:
        return passed("tls", detail)
    days = int((ssl.cert_time_to_seconds(exchange.certificate["notAfter"]) - now) // _DAY_S)
    detail += f", certificate of {_issuer(exchange.certificate)} good for {days} more day{'' if days == 1 else 's'}"
    if days < EXPIRES_SOON_DAYS:
        return warned("tls", detail, "whoever runs the service should renew it")
    return passed("tls", detail)


def _service_check(exchange: Exchange, answer: Answer | None, now: float) -> Check:
    """Judge an answer: to an event without content it should be a refusal of that."""
    before = (exchange.lookup_ms or 0) + (exchange.connect_ms or 0) + (exchange.tls_ms or 0)
    own_ms = max(0.0, (exchange.first_byte_ms or exchange.total_ms or 0) - before)
    said = f"answers HTTP {exchange.status} ({_ms(own_ms)})"
    failure = None if answer is None else failure_of_answer(answer, now)
    if answer is None or failure is None:
        return passed("service", said)
    if isinstance(failure.error, ServiceUnavailable):
        return warned("service", failure.error.message, failure.error.hint or "events wait until it takes them")
    words = f": {excerpt(answer.message)}" if answer.message else ""
    return passed("service", f"{said}, refusing an empty event as it should{words}")


def _issuer(certificate: Mapping[str, Any]) -> str:
    """Return who signed it: the organisation, else the common name."""
    names = dict(pair for group in certificate.get("issuer", ()) for pair in group)
    return names.get("organizationName") or names.get("commonName") or "an unnamed authority"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
