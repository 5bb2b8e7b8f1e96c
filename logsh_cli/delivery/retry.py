"""Rules about an answer, or the lack of one. Pure: no clock, no sleep, no network.

As observed, a validation error is a 403, a limit a 429 with ``Retry-After``, a spent quota a 429 without (or a 402).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from logsh_cli import Record, errors
from logsh_cli.errors import LogshError
from logsh_cli.output.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from logsh_cli.http.wire import Answer

RETRYABLE_STATUSES = (408, 429, 500, 503)
"""Answers after which the same request may succeed within seconds."""

GATEWAY_STATUSES = (502, 504)
"""A gateway's word that it had no answer: the service behind it may have the event."""

REFUSED_STATUSES = (400, 413, 422)
"""Answers that judge the event itself; a 403 does too, when it is named ``validation_error``."""

MAX_ATTEMPTS = 5
FIRST_DELAY_S = 0.5
SHORTEST_RETRY_AFTER_S = 1.0
FIRST_UNANSWERED_WAIT_S = 60.0
LONGEST_STORED_WAIT_S = 3600.0

_SUCCESS, _SERVER_ERROR = range(200, 300), range(500, 1000)
_PAYMENT, LIMIT_STATUS = 402, 429

_ABOUT_THE_PLAN = (
    r"\b(your|the) (current |monthly |free )*(plan|quota|subscription)\b"
    r"|\b(quota|plan limit|event limit)\b.{0,20}\b(exceeded|reached|spent|used up)\b|\bupgrade (your|to)\b"
)
"""A refusal that says this is not about the event. Never looked for in a ``validation_error``, whose words repeat the
event's own fields, such as a metadata key named ``plan``."""

_STATUS_OF_NAME = {
    "validation_error": 422,
    "invalid_parameter": 422,
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "payment_required": _PAYMENT,
    "rate_limit_exceeded": LIMIT_STATUS,
    "internal_server_error": 500,
    "application_error": 500,
    "not_found": 404,
    "method_not_allowed": 405,
}
"""Names in an error body, each as the status that says the same: a proxy may have changed the number."""

_AFTER_THE_KEY = (*REFUSED_STATUSES, _PAYMENT, 403, LIMIT_STATUS)
"""Subjects of a "not available" that a service answers only once it has accepted the key: plan, quota, limit."""


class Failure(Record):
    """Why an attempt failed, and what that means for the next one.

    ``retries`` is how many more attempts failures of this kind are worth, ``wait_s`` the pause the service asked for.
    """

    error: LogshError
    http_status: int | None = None
    retries: int = 0
    wait_s: float | None = None


def failure_of_answer(answer: Answer, now: float) -> Failure | None:
    """Judge an answer; ``None`` means that the service has the event. ``now`` is epoch seconds, for ``Retry-After``."""
    said = _what_was_said(answer)
    if answer.status in _SUCCESS:
        if not answer.denies_success:
            return None
        return Failure(errors.UnexpectedAnswer(f"a success that is not Logsh's: {said}", hint=_URL_HINT), answer.status)
    meaning = _meaning(answer)
    kind, words, hint, retries = next((row for statuses, row in _MEANINGS if meaning in statuses), _NOT_LOGSHS)
    wait = parse_retry_after(answer.retry_after, now) if issubclass(kind, errors.NotDelivered) else None
    if wait is not None:
        wait = max(wait, SHORTEST_RETRY_AFTER_S)
    elif meaning == LIMIT_STATUS:
        hint, retries = _QUOTA_HINT, 1  # it is the monthly quota, which seconds of waiting won't refill
    return Failure(kind(f"{words}: {said}", hint=hint), answer.status, retries, wait)


def failure_of_error(error: LogshError | KeyboardInterrupt) -> Failure:
    """Judge a request that got no answer: what never left may be tried again freely, what left only once."""
    if isinstance(error, KeyboardInterrupt):
        error = errors.interruption(error)
    never_sent = isinstance(error, errors.NeverSent)
    return Failure(error, retries=MAX_ATTEMPTS - 1 if never_sent else int(isinstance(error, errors.Unanswered)))


def check_key_taken(answer: Answer, now: float) -> Answer:
    """Return the answer to an empty event, which creates none, if it shows that the service takes the key; else raise.

    The service looks at the key first, so that every complaint about plan, limits or body says that the key is good.
    """
    failure = failure_of_answer(answer, now)
    if failure is None:
        return answer
    if isinstance(failure.error, errors.EventRefused):
        if answer.name or answer.message:
            return answer
        # Many a web server has a 400 page of its own.
        raise errors.UnexpectedAnswer(f"the answer is not Logsh's: HTTP {answer.status}", hint="check the URL")
    if isinstance(failure.error, errors.ServiceUnavailable) and answer.status in _AFTER_THE_KEY:
        return answer
    raise failure.error


def pause_before_next(failure: Failure, attempts: int, alike: int, remaining_s: float, jitter: float) -> float | None:
    """Return the seconds to wait before one more attempt, or ``None`` when there should be none.

    ``alike`` of the ``attempts`` failed in this way, ``remaining_s`` is left of the budget, ``jitter`` is in [0, 1).
    """
    if alike > failure.retries or attempts >= MAX_ATTEMPTS:
        return None
    asked = failure.wait_s
    pause = FIRST_DELAY_S * 2 ** (attempts - 1) * jitter if asked is None else asked_pause(asked, jitter)
    return pause if pause < remaining_s else None


def asked_pause(wait_s: float, jitter: float) -> float:
    """Return the pause that the service asked for, up to a quarter longer: a fleet must not come back in step."""
    return wait_s * (1 + jitter / 4)


def stored_wait(failure: Failure, attempts: int, unanswered_before: int, jitter: float) -> float:
    """Return the seconds for which automatic deliveries leave a kept event alone.

    What the service asked for; after an unanswered request, which it may have taken, a minute, doubled with every
    delivery (of two attempts) that was ``unanswered_before``; after an error answer 2 s, doubled with each of the
    ``attempts`` in all; none after a network failure, which says nothing about the event.
    """
    if failure.wait_s is not None:
        return min(asked_pause(failure.wait_s, jitter), LONGEST_STORED_WAIT_S * 24)
    if isinstance(failure.error, errors.Unanswered):
        return min(FIRST_UNANSWERED_WAIT_S * 2.0 ** min((unanswered_before + 1) // 2, 20), LONGEST_STORED_WAIT_S)
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


def _meaning(answer: Answer) -> int:
    """Return the status that says what the answer means: its name's, else its own; 402 for all about the plan."""
    meaning = _STATUS_OF_NAME.get(answer.name or "", answer.status)
    if meaning in (*REFUSED_STATUSES, 403) and answer.name != "validation_error":
        import re  # noqa: PLC0415 - for refusals only

        if re.search(_ABOUT_THE_PLAN, answer.message or "", re.IGNORECASE):
            return _PAYMENT
    return meaning


def _what_was_said(answer: Answer) -> str:
    """The service's own words where it used any, else what kind of answer came."""
    if answer.message:
        return f"{printable(answer.message)} (HTTP {answer.status})"
    kind = (answer.content_type or "").split(";")[0].strip()
    return f"HTTP {answer.status}" + (f" with {printable(kind[:60])}" if kind else "")


_KEY_HINT = "check the key with `logsh doctor`, or store another with `logsh login`"
_URL_HINT = "check the API URL (`logsh config get api_url`): it should be the base, without /api/event"
_SENT_HINT = "the service may have the event or not: sending it again can make a second one"
_QUOTA_HINT = "a spent quota or a plan's limit does not pass by waiting seconds; see your plan at the service"

_Row: TypeAlias = tuple[type[LogshError], str, str | None, int]

_NOT_LOGSHS: _Row = (errors.UnexpectedAnswer, "the answer is not Logsh's", _URL_HINT, 0)
_MEANINGS: tuple[tuple[Collection[int], _Row], ...] = (
    (REFUSED_STATUSES, (errors.EventRefused, "the service refused the event", None, 0)),
    ((401, 403), (errors.KeyRefused, "the service refused the key", _KEY_HINT, 0)),
    ((_PAYMENT,), (errors.ServiceUnavailable, "the plan does not allow it", _QUOTA_HINT, 0)),
    ((LIMIT_STATUS,), (errors.ServiceUnavailable, "the service's limit is reached", None, MAX_ATTEMPTS - 1)),
    (GATEWAY_STATUSES, (errors.Unanswered, "a gateway got no answer from the service", _SENT_HINT, 1)),
    (RETRYABLE_STATUSES, (errors.ServiceUnavailable, "the service is not available", None, MAX_ATTEMPTS - 1)),
    (_SERVER_ERROR, (errors.ServiceUnavailable, "the service is not available", None, 0)),
)
"""For each status its error, in words, with what to do, and how many more attempts it is worth; the first applies."""
