"""Does the service take this key? Asked with an empty body, which creates no event.

The service looks at the key before the plan, the limits and the body, so every complaint about one of those says that
the key is good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.delivery.retry import LIMIT_STATUS, REFUSED_STATUSES, failure_of_answer
from logsh_cli.errors import EventRefused, ServiceUnavailable, UnexpectedAnswer

if TYPE_CHECKING:
    from logsh_cli.clock import Budget
    from logsh_cli.delivery.road import Poster
    from logsh_cli.http.wire import Answer

_AFTER_THE_KEY = (*REFUSED_STATUSES, 402, 403, LIMIT_STATUS)
"""What a service that is "not available" may answer only once it has accepted the key: plan, quota, limit."""


def check_key_with_service(client: Poster, budget: Budget, now: float) -> Answer:
    """Ask once; an answer that comes back means that the key is accepted. ``now`` is epoch seconds.

    Raises:
        KeyRefused: the service doesn't take the key.
        UnexpectedAnswer: something other than a Logsh answered.
        NotDelivered: no answer, or none that says anything about the key.
        BadConfig: the proxy or a certificate file can't be used.
    """
    answer = client.post(b"{}", budget)
    failure = failure_of_answer(answer, now)
    if failure is None:
        return answer
    if isinstance(failure.error, EventRefused):
        if answer.name or answer.message:
            return answer
        # Many a web server has a 400 page of its own.
        raise UnexpectedAnswer(f"the answer is not Logsh's: HTTP {answer.status}", hint="check the URL")
    if isinstance(failure.error, ServiceUnavailable) and answer.status in _AFTER_THE_KEY:
        return answer
    raise failure.error
