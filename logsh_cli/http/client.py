"""Posts events over HTTP: the only module that knows httpx and, with ``network``, httpcore, its engine.

One ``post`` is one attempt. It gives the service's answer, or raises what became of the event; whether to try again is
decided elsewhere. Every exception of httpx, httpcore and ssl is translated here: nothing foreign gets out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpcore
import httpx

from logsh_cli.clock import Budget
from logsh_cli.config import DEFAULT_API_URL, EVENT_PATH, clean_api_url
from logsh_cli.errors import BadConfig, InternalError, LogshError, Unanswered, Unreachable
from logsh_cli.http import PROXY_VARIABLES, wire
from logsh_cli.http.network import Network, ProxySocket, system_lookup
from logsh_cli.http.tls import make_context
from logsh_cli.output.text import Redactor

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from logsh_cli.http.network import Lookup
    from logsh_cli.http.proxies import Proxy

REUSE_WITHIN_S = 3.0
"""An idle connection is not used again after this. Many servers close it after 5 s (Node's default), and a POST that
crosses with the close would have to be counted as unanswered."""

PATIENCE_AFTER_SUCCESS_S = 0.5
"""The wait for the body of a success: time enough for one that denies the success, and no more."""

_KEY = re.compile(r"[!-~]+")
_SENT_HINT = "the service may have the event or not: sending it again can make a second one"
_UNSENT_HINT = "nothing was sent; check the network, or try again later"


class Client:
    """Posts events to one service with one key over one connection, for one thread at a time.

    Raises ``BadConfig`` where the URL, the key, the proxy or a certificate file can't be used. ``env`` names a proxy
    and certificates; ``context`` is what ``make_context`` made of those and ``ca_file``, if that was done already.
    ``connect_timeout`` is for connecting and again for TLS. ``tell`` takes the lines about a post; none holds the key.
    """

    exchange: wire.Exchange | None = None
    """The record of the last post, whatever came of it."""

    def __init__(
        self,
        api_url: str,
        key: str | None,
        *,
        ca_file: str | None = None,
        env: Mapping[str, str],
        context: ssl.SSLContext | None = None,
        connect_timeout: float = 5.0,
        lookup: Lookup = system_lookup,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if key is not None and not _KEY.fullmatch(key):
            hint = "copy it again, without white space"
            raise BadConfig("the API key holds characters that can't be sent", hint=hint)
        self._key = key
        self._tell = tell
        self._redact = Redactor([key] if key else ())
        self._url = _endpoint(api_url)
        self._api_url = str(self._url).removesuffix(EVENT_PATH)
        secure = self._url.scheme == "https"
        host = self._url.netloc.decode().removesuffix(f":{self._url.port}")
        port = self._url.port or (443 if secure else 80)
        self._host = f"{host}:{port}"
        self._proxy: Proxy | None = None
        if secure and any(map(env.get, PROXY_VARIABLES)):
            from logsh_cli.http.proxies import proxy_for  # noqa: PLC0415 - few have one

            self._proxy = proxy_for(host, port, env)
        trust = (context or make_context(ca_file, env)) if secure else None
        proxy, tls_layers = None, int(secure)
        if self._proxy is not None:
            proxy = _engine_proxy(self._proxy, trust if ca_file is None else make_context(None, env))
            tls_layers += self._proxy.scheme == "https"
        self._network = Network(connect_timeout, tls_layers, lookup)
        self._transport = _Transport(self._network, trust, proxy)

    def post(self, body: bytes, budget: Budget) -> wire.Answer:
        """Send one event and wait for the answer, all within ``budget``.

        The body of a success is waited for briefly, that of any other answer as long as the budget lasts; one that is
        cut off leaves just the status.

        Raises:
            Unreachable, TlsFailure: nothing was sent.
            Unanswered: the request went out, at least in part, and no answer came back.
            BadConfig: the proxy asks for credentials.
        """
        request = wire.build_request(self._api_url, self._key, body)
        exchange = wire.Exchange(request, self._host, self._proxy.url if self._proxy else None)
        self.exchange = self._network.exchange = exchange
        self._network.budget = budget
        try:
            # The transport is used bare: an httpx.Client above it would keep cookies, add headers, and fail on a
            # redirect that it can't parse although none is followed.
            response = self._transport.handle_request(
                httpx.Request(request.method, self._url, headers=request.headers, content=body)
            )
            exchange.answer = answer = self._read(response, exchange)
        except LogshError as failure:
            exchange.failure = failure
            raise
        except Exception as error:
            exchange.failure = translate(error, exchange)
            raise exchange.failure from error
        finally:
            if exchange.answer is None:
                self.close()  # a failed tunnel would otherwise hold the pool's only place
            exchange.note_end()
            if self._tell is not None:
                for line in exchange.told():
                    self._tell(line)
        return answer

    def _read(self, response: httpx.Response, exchange: wire.Exchange) -> wire.Answer:
        exchange.status = response.status_code
        exchange.http_version = response.extensions["http_version"].decode()
        if (location := response.headers.get("location")) is not None:
            exchange.location = wire.cut(self._redact(location))
        if response.is_success:
            self._network.budget = Budget(min(PATIENCE_AFTER_SUCCESS_S, self._network.budget.remaining()))
        body = bytearray()
        try:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > wire.MAX_ANSWER_BYTES:
                    break
        except (httpx.TransportError, TimeoutError):
            body.clear()
        finally:
            response.close()
        start = bytes(body[: wire.MAX_ANSWER_BYTES])
        return wire.read_answer(response.status_code, response.headers, start, self._redact)

    def close(self) -> None:
        """Close the connection; a later post opens a new one."""
        self._transport.close()


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over a pool with our network, for which its constructor has no parameter."""

    def __init__(self, network: Network, context: ssl.SSLContext | None, proxy: httpcore.Proxy | None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            proxy=proxy,
            max_connections=1,
            keepalive_expiry=REUSE_WITHIN_S,
            network_backend=network,
        )


def _endpoint(api_url: str) -> httpx.URL:
    # Settings have judged it before, with a better word about where it came from. This is the last gate to the wire.
    try:
        return httpx.URL(clean_api_url(api_url) + EVENT_PATH)
    except (ValueError, httpx.InvalidURL) as error:
        raise BadConfig(f"api_url {error}", hint=f"it takes a base URL such as {DEFAULT_API_URL}") from error


def _engine_proxy(proxy: Proxy, trust: ssl.SSLContext | None) -> httpcore.Proxy:
    if proxy.scheme.startswith("socks"):
        from importlib.util import find_spec  # noqa: PLC0415 - hardly anybody has one

        if find_spec("socksio") is None:
            hint = "install httpx[socks] beside logsh, or name an http:// proxy"
            raise BadConfig(f"{proxy.variable} names a SOCKS proxy, and support for those is not installed", hint=hint)
    url = httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/")
    if trust is None or proxy.scheme != "https":
        return httpcore.Proxy(url, auth=proxy.auth)
    trust.sslsocket_class = ProxySocket
    return httpcore.Proxy(url, auth=proxy.auth, ssl_context=trust)


def translate(error: Exception, exchange: wire.Exchange) -> LogshError:
    """Return what an exception from below means for the event: not sent, unanswered, or a fault of ours."""
    begun = exchange.first_byte_ms is not None
    if isinstance(error, httpx.ProxyError):
        return _explain_proxy(error, exchange)
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):  # the latter from Network.patience
        what = "the answer did not end in time" if begun else "no answer in time"
        what = what if exchange.sent else "the deadline passed before anything was sent"
    elif isinstance(error, httpx.RemoteProtocolError):
        what = "the answer is cut off, or is not HTTP" if begun else "the connection was closed without an answer"
    elif isinstance(error, httpx.NetworkError):
        what = f"the connection broke: {error}" if str(error) else "the connection broke"
    else:
        return InternalError(f"the HTTP client failed: {type(error).__name__}")
    if exchange.sent:
        return Unanswered(f"{exchange.host}: {what}", hint=_SENT_HINT)
    through = "" if exchange.proxy is None else f"the proxy {exchange.proxy}: "
    return Unreachable(f"{exchange.host}: {through}{what}", hint=_UNSENT_HINT)


def _explain_proxy(error: Exception, exchange: wire.Exchange) -> LogshError:
    # httpx has only a text here: "407 Proxy Authentication Required" for HTTP, words for SOCKS.
    status = str(error)[:3]
    if status == "407":
        hint = "put them into the proxy's address: http://USER:PASSWORD@HOST:PORT"
        what = f"the proxy {exchange.proxy} asks for a user name and password, or refuses those given"
        return BadConfig(what, hint=hint)
    what = f"answered {status}" if status.isdigit() else "refused"
    hint = "check that the proxy may connect to it, or name it in no_proxy"
    return Unreachable(f"{exchange.host}: the proxy {exchange.proxy} {what}", hint=hint)
