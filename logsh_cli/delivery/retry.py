"""What to do with an answer, or with the lack of one. Pure: no clock, no sleep, no network.

The rules come from the documented statuses and from the service's observed behaviour: a validation error is a 403,
a per-second limit a 429 with ``Retry-After``, a spent monthly quota a 429 without one (a 402 in older versions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.errors import (
    EventRefused,
    KeyRefused,
    LogshError,
    NeverSent,
    ServiceUnavailable,
    Unanswered,
    UnexpectedAnswer,
)
from logsh_cli.output.text import printable

if TYPE_CHECKING:
    from logsh_cli.http.wire import Answer

RETRYABLE_STATUSES = (408, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed within seconds."""

REFUSED_STATUSES = (400, 413, 422)
"""Answers that judge the event itself; a 403 does too, when it is named ``validation_error``."""

MAX_ATTEMPTS = 5
FIRST_DELAY_S = 0.5
LONGEST_STORED_WAIT_S = 3600.0

_STATUS_OF_NAME = {
    "validation_error": 422,
    "invalid_parameter": 422,
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "payment_required": 402,
    "rate_limit_exceeded": 429,
    "internal_server_error": 500,
    "application_error": 500,
    "not_found": 404,
    "method_not_allowed": 405,
}
"""What a name in an error body means, as the status that says the same. The name is the service's own word; a proxy
or an older version may have changed the number."""

LIMIT_STATUS = 429
_PAYMENT, _TIMEOUT = 402, 408


class Failure(NamedTuple):
    """Why an attempt failed, and what that means for the next one.

    ``retries`` is how many more attempts failures of this kind are worth, ``wait_s`` the pause the service asked for.
    """

    error: LogshError
    http_status: int | None = None
    retries: int = 0
    wait_s: float | None = None


def failure_of_answer(answer: Answer, now: float) -> Failure | None:
    """Judge an answer; ``None`` means that the service has the event. ``now`` is epoch seconds, for ``Retry-After``."""
    if 200 <= answer.status < 300:  # noqa: PLR2004 - the success class of RFC 9110
        return None
    meaning = _STATUS_OF_NAME.get(answer.name or "", answer.status)
    said = _what_was_said(answer)
    if meaning in REFUSED_STATUSES:
        return Failure(EventRefused(f"the service refused the event: {said}"), answer.status)
    if meaning in (401, 403):
        return Failure(KeyRefused(f"the service refused the key: {said}", hint=_KEY_HINT), answer.status)
    if meaning in (_PAYMENT, _TIMEOUT, LIMIT_STATUS) or meaning >= 500:  # noqa: PLR2004 - the server-error class
        return _unavailable(answer, meaning, said, now)
    return Failure(UnexpectedAnswer(f"no Logsh answers like this: {said}", hint=_URL_HINT), answer.status)


def failure_of_error(error: LogshError) -> Failure:
    """Judge a request that got no answer: what never left may be tried again freely, what left only once."""
    if isinstance(error, NeverSent):
        return Failure(error, retries=MAX_ATTEMPTS - 1)
    if isinstance(error, Unanswered):
        return Failure(error, retries=1)
    return Failure(error)


def pause_before_next(failure: Failure, attempts: int, alike: int, remaining_s: float, jitter: float) -> float | None:
    """Seconds to wait before one more attempt, or ``None`` when there should be none.

    ``attempts`` have been made, ``alike`` of them ended with a failure of this kind, ``remaining_s`` is what is left of
    the budget, ``jitter`` is drawn from [0, 1): full jitter, so that a fleet of cron jobs does not come back in step.
    """
    if alike > failure.retries or attempts >= MAX_ATTEMPTS:
        return None
    pause = failure.wait_s if failure.wait_s is not None else FIRST_DELAY_S * 2 ** (attempts - 1) * jitter
    return pause if pause < remaining_s else None


def stored_wait(failure: Failure, attempts: int) -> float:
    """Seconds for which a kept event is left alone by automatic deliveries.

    What the service asked for; after an error answer a doubling pause, so that one event it always chokes on is not
    sent with every success; none after a network failure, which says nothing about the event.
    """
    if failure.wait_s is not None:
        return min(failure.wait_s, LONGEST_STORED_WAIT_S * 24)
    if failure.http_status is None:
        return 0.0
    return min(2.0 ** min(attempts, 20), LONGEST_STORED_WAIT_S)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """``Retry-After`` in seconds from ``now``, from either of its two forms (RFC 9110, 10.2.3); ``None`` if neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only for the rare date form

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _unavailable(answer: Answer, meaning: int, said: str, now: float) -> Failure:
    wait = parse_retry_after(answer.retry_after, now)
    if meaning == LIMIT_STATUS:
        # Without Retry-After it is the monthly quota, which seconds of waiting won't refill.
        error = ServiceUnavailable(f"the service's limit is reached: {said}", hint=None if wait is not None else _QUOTA)
        return Failure(error, answer.status, MAX_ATTEMPTS - 1 if wait is not None else 1, wait)
    if meaning == _PAYMENT:
        return Failure(ServiceUnavailable(f"the plan does not allow it: {said}", hint=_QUOTA), answer.status)
    retries = MAX_ATTEMPTS - 1 if meaning in RETRYABLE_STATUSES else 0
    return Failure(ServiceUnavailable(f"the service is not available: {said}"), answer.status, retries, wait)


def _what_was_said(answer: Answer) -> str:
    """The service's own words where it used any, else what kind of answer came."""
    if answer.message:
        return f"{printable(answer.message)} (HTTP {answer.status})"
    kind = (answer.content_type or "").split(";")[0].strip()
    return f"HTTP {answer.status}" + (f" with {printable(kind[:60])}" if kind else "")


_KEY_HINT = "check the key with `logsh doctor`, or store another with `logsh login`"
_URL_HINT = "check the API URL (`logsh config get api_url`): it should be the base, without /api/event"
_QUOTA = "a spent quota or a plan's limit does not pass by waiting seconds; see your plan at the service"
