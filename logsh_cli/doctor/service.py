"""What ``logsh doctor`` finds about the service: one request with an empty body, judged step by step.

It goes the way of every event, through the same client, so that what is found here holds for events too.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.delivery.key_check import check_key_with_service
from logsh_cli.delivery.retry import failure_of_answer
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.errors import BadConfig, KeyRefused, LogshError, ServiceUnavailable, TlsFailure, UnexpectedAnswer
from logsh_cli.http.client import Client
from logsh_cli.http.network import system_lookup
from logsh_cli.http.proxies import proxy_for
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from logsh_cli.clock import Budget
    from logsh_cli.http.network import AddressInfo
    from logsh_cli.http.proxies import Proxy
    from logsh_cli.http.wire import Answer, Exchange

STEPS = ("proxy", "dns", "tcp", "tls", "service", "key")
EXPIRES_SOON_DAYS = 14
"""Certificates are commonly renewed a month before their end: one so close to it has been forgotten."""

_DAY_S = 86_400
_MOST_ADDRESSES = 4


class Target(NamedTuple):
    """Whom to ask. ``key`` is ``None`` where there is none that may go there, ``key_source`` where it came from."""

    api_url: str
    key: str | None
    key_source: str | None
    ca_file: str | None


class Visit(NamedTuple):
    """What came of the request: an answer that accepts the key, or an error.

    ``exchange`` tells how far it came, ``addresses`` what the name was found to mean; ``proxy`` is in between.
    ``trust_problem`` is a file with certificates that can't be used; then the system's were used, and no key.
    """

    target: Target
    proxy: Proxy | None
    exchange: Exchange
    addresses: list[str]
    answer: Answer | None = None
    error: LogshError | None = None
    trust_problem: LogshError | None = None

    @property
    def secure(self) -> bool:
        """Whether the way to the service is by TLS."""
        return self.target.api_url.startswith("https:")

    @property
    def proxy_failed(self) -> bool:
        """Whether the proxy was reached and led no further."""
        reached = self.exchange.connect_ms is not None and not self.exchange.sent
        return reached and self.proxy is not None and self.error is not None and not isinstance(self.error, TlsFailure)


def service_checks(target: Target | None, env: Mapping[str, str], budget: Budget, now: float) -> Iterator[Check]:
    """Each step to the service, and what it says; nothing is asked where there is no URL to ask at.

    ``budget`` bounds it all; ``now`` is epoch seconds.
    """
    if target is None:
        yield from (skipped(name, "not checked, since the URL is not known") for name in STEPS)
        return
    host, port = _host_and_port(target.api_url)
    try:
        proxy = proxy_for(host, port, env) if target.api_url.startswith("https:") else None
        visit = _visit(target, proxy, env, budget, now)
    except LogshError as error:
        # The proxy's address, or no support for its kind.
        yield failed("proxy", error)
        yield from (skipped(name, "not checked, since the proxy can't be used") for name in STEPS[1:])
        return
    yield _proxy_check(visit)
    yield _dns_check(visit)
    yield _tcp_check(visit)
    yield _tls_check(visit, now)
    yield _service_check(visit, now)
    yield _key_check(visit)


def _visit(target: Target, proxy: Proxy | None, env: Mapping[str, str], budget: Budget, now: float) -> Visit:
    addresses: list[str] = []

    def look_up(host: str, port: int) -> Sequence[AddressInfo]:
        found = system_lookup(host, port)
        addresses.extend(dict.fromkeys(str(where[0]) for *_, where in found))
        return found

    trust_problem = None
    try:
        client = Client(target.api_url, target.key, ca_file=target.ca_file, env=env, lookup=look_up)
    except BadConfig as error:
        # The way there can be tried without those certificates, though not with the key.
        others = {name: text for name, text in env.items() if not name.startswith("SSL_CERT_")}
        client = Client(target.api_url, None, env=others, lookup=look_up)
        trust_problem = error
    answer, failure = None, None
    try:
        answer = check_key_with_service(client, budget, now)
    except LogshError as error:
        failure = error
    finally:
        client.close()
    assert client.exchange is not None  # noqa: S101 - there is one as soon as anything is posted
    return Visit(target, proxy, client.exchange, addresses, answer, failure, trust_problem)


def _proxy_check(visit: Visit) -> Check:
    if visit.proxy is None:
        return passed("proxy", "none" if visit.secure else "none, as always for this machine itself")
    if visit.proxy_failed and visit.error is not None:
        return failed("proxy", visit.error)
    credentials = ", with a user name and password" if visit.proxy.auth else ""
    return passed("proxy", f"{visit.proxy.url}{credentials}, from {visit.proxy.variable}")


def _dns_check(visit: Visit) -> Check:
    took = visit.exchange.lookup_ms
    if took is None:
        return _stopped_at("dns", visit)
    host = visit.proxy.host if visit.proxy else _host_and_port(visit.target.api_url)[0].strip("[]")
    if visit.addresses == [host]:
        return passed("dns", f"not needed: {host} is an address")
    shown = visit.addresses[:_MOST_ADDRESSES]
    if more := len(visit.addresses) - len(shown):
        shown.append(f"{more} more")
    return passed("dns", f"{host}: {', '.join(shown)} ({_ms(took)})")


def _tcp_check(visit: Visit) -> Check:
    took = visit.exchange.connect_ms
    if visit.exchange.lookup_ms is None:
        return skipped("tcp", "not checked, since there is no address")
    if took is None:
        return _stopped_at("tcp", visit)
    through = ", the proxy" if visit.proxy else ""
    return passed("tcp", f"connected to {visit.exchange.peer or 'it'}{through} ({_ms(took)})")


def _tls_check(visit: Visit, now: float) -> Check:
    exchange = visit.exchange
    problem = visit.trust_problem or (visit.error if isinstance(visit.error, TlsFailure) else None)
    if not visit.secure:
        return passed("tls", "not needed: plain http to this machine itself")
    if problem is not None:
        return failed("tls", problem)
    if exchange.tls_ms is None or visit.proxy_failed:
        return skipped("tls", "not checked, since there is no connection")
    detail = f"{exchange.tls_version} ({_ms(exchange.tls_ms)})"
    return (
        passed("tls", detail) if exchange.certificate is None else _judge_certificate(detail, exchange.certificate, now)
    )


def _judge_certificate(detail: str, certificate: Mapping[str, Any], now: float) -> Check:
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - now) // _DAY_S)
    detail += f", certificate of {_issuer(certificate)} good for {days} more day{'' if days == 1 else 's'}"
    if days < EXPIRES_SOON_DAYS:
        return warned("tls", detail, "whoever runs the service should renew it")
    return passed("tls", detail)


def _service_check(visit: Visit, now: float) -> Check:
    exchange, error = visit.exchange, visit.error
    if exchange.status is None:
        if error is not None and (exchange.sent or _reached_the_end(visit)):
            return failed("service", error)
        return skipped("service", "not reached")
    if error is not None and not isinstance(error, KeyRefused):
        return failed("service", _with_location(error, exchange), hint="try again later")
    said = f"answers HTTP {exchange.status} ({_ms(_own_time(exchange))})"
    return passed("service", said) if visit.answer is None else _judge_answer(said, visit.answer, now)


def _judge_answer(said: str, answer: Answer, now: float) -> Check:
    """An answer that accepts the key: to an event without content it should be a refusal of that."""
    fault = failure_of_answer(answer, now)
    if fault is None:
        return passed("service", said)
    if isinstance(fault.error, ServiceUnavailable):
        return warned("service", fault.error.message, fault.error.hint or "events wait until it takes them")
    words = f": {excerpt(answer.message)}" if answer.message else ""
    return passed("service", f"{said}, refusing an empty event as it should{words}")


def _key_check(visit: Visit) -> Check:
    if visit.target.key is None:
        return skipped("key", "not checked, since there is none that may go there")
    if visit.trust_problem is None:
        if visit.answer is not None:
            return passed("key", "accepted")
        if isinstance(visit.error, KeyRefused):
            hint = "copy the key again from the Logsh dashboard"
            again = f"{hint}; this one is from {visit.target.key_source}"
            return failed("key", KeyRefused(visit.error.message, hint=again))
    return skipped("key", "not checked, since the service did not judge it")


def _stopped_at(name: str, visit: Visit) -> Check:
    if visit.error is None:
        return skipped(name, "not reached")
    return failed(name, visit.error)


def _reached_the_end(visit: Visit) -> bool:
    """Whether all was ready for the request, which then could not be sent."""
    steps = (_proxy_check, _dns_check, _tcp_check)
    if any(step(visit).level != "ok" for step in steps) or visit.trust_problem is not None:
        return False
    return not visit.secure or (visit.exchange.tls_ms is not None and not isinstance(visit.error, TlsFailure))


def _with_location(error: LogshError, exchange: Exchange) -> LogshError:
    if not isinstance(error, UnexpectedAnswer) or not exchange.location:
        return error
    return UnexpectedAnswer(f"{error.message}, which leads to {excerpt(exchange.location, 100)}", hint=error.hint)


def _own_time(exchange: Exchange) -> float:
    """Milliseconds that the service itself took: from a secured connection to the first byte of the answer."""
    before = (exchange.lookup_ms or 0) + (exchange.connect_ms or 0) + (exchange.tls_ms or 0)
    return max(0.0, (exchange.first_byte_ms or exchange.total_ms or 0) - before)


def _issuer(certificate: Mapping[str, Any]) -> str:
    """Who signed it: the organisation, else the common name."""
    names = dict(pair for group in certificate.get("issuer", ()) for pair in group)
    return names.get("organizationName") or names.get("commonName") or "an unnamed authority"


def _host_and_port(api_url: str) -> tuple[str, int]:
    scheme, _, rest = api_url.partition("://")
    host = rest.partition("/")[0]
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name, int(port)
    return host, 443 if scheme == "https" else 80


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
