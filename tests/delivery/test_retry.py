"""The rules of what an answer means: pure, so tables and properties say it all."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli import errors
from logsh_cli.delivery.retry import (
    GATEWAY_STATUSES,
    LONGEST_STORED_WAIT_S,
    MAX_ATTEMPTS,
    RETRYABLE_STATUSES,
    Failure,
    check_key_taken,
    failure_of_answer,
    failure_of_error,
    parse_retry_after,
    pause_before_next,
    stored_wait,
)
from logsh_cli.errors import EventRefused, ExitCode, KeyRefused, LogshError, ServiceUnavailable, Unanswered
from logsh_cli.http.wire import Answer
from logsh_cli.output.text import printable

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()
TOMORROW_S = 86_400.0


def failure(status: int, name: str | None = None, message: str | None = None, **more: Any) -> Failure:
    judged = failure_of_answer(Answer(status, name, message, **more), NOW)
    assert judged is not None
    assert judged.http_status == status
    return judged


def test_every_status_of_the_success_class_is_a_success_unless_its_body_denies_it() -> None:
    for status in range(200, 300):
        assert failure_of_answer(Answer(status), NOW) is None
        assert failure_of_answer(Answer(status, "unauthorized", "whatever it says"), NOW) is None
        denied = failure(status, content_type="text/html", denies_success=True)
        assert (type(denied.error), denied.retries) == (errors.UnexpectedAnswer, 0)


PLAN = (
    "Your current plan does not allow you to create events. Please upgrade your plan.",
    "The monthly quota has been reached.",
    "Event limit exceeded",
    "Upgrade to Pro to send more",
)
NO_PLAN = ("Invalid body parameters provided.", "Metadata plan must be a string.", "Description is too long.", None)


def test_a_refusal_about_the_plan_keeps_the_event_and_one_about_the_event_does_not() -> None:
    for status, name in ((400, "bad_request"), (400, None), (403, "forbidden"), (422, None)):
        for message in PLAN:
            judged = failure(status, name, message)
            assert (judged.error.exit_code, judged.retries) == (ExitCode.KEPT, 0), message
            assert message in judged.error.message
    for said in (*PLAN, *NO_PLAN):
        assert failure(403, "validation_error", said).error.exit_code == ExitCode.REFUSED, said
    for said in NO_PLAN:
        assert failure(400, "bad_request", said).error.exit_code == ExitCode.REFUSED, said


def test_a_complaint_about_anything_behind_the_key_means_that_the_key_is_good() -> None:
    plan = "Your current plan does not allow you to create events."
    good = [
        Answer(201),
        Answer(402),
        Answer(429),
        Answer(403, "forbidden", plan),
        Answer(403, "validation_error", "no"),
    ]
    for answer in (*good, Answer(400, "bad_request", plan), Answer(422, "invalid_parameter", "no")):
        assert check_key_taken(answer, NOW) is answer
    bad: dict[Answer, type[LogshError]] = {
        Answer(401): KeyRefused,
        Answer(403, "forbidden", "no"): KeyRefused,
        Answer(400): errors.UnexpectedAnswer,
        Answer(404): errors.UnexpectedAnswer,
        Answer(408): ServiceUnavailable,
        Answer(500, "application_error", plan): ServiceUnavailable,
        Answer(504): Unanswered,
    }
    for answer, kind in bad.items():
        with pytest.raises(kind):
            check_key_taken(answer, NOW)


def test_every_other_status_is_a_failure_of_a_known_kind() -> None:
    special: dict[int, type[LogshError]] = {
        **dict.fromkeys((400, 413, 422), EventRefused),
        **dict.fromkeys((401, 403), KeyRefused),
        **dict.fromkeys((402, 408, 429, *range(500, 600)), ServiceUnavailable),
        **dict.fromkeys((502, 504), Unanswered),
    }
    for status in (*range(100, 200), *range(300, 600)):
        judged = failure(status)
        assert type(judged.error) is special.get(status, errors.UnexpectedAnswer)
        assert str(status) in judged.error.message


def test_what_may_pass_within_seconds_is_tried_again_and_nothing_else() -> None:
    worth = {**dict.fromkeys(RETRYABLE_STATUSES, MAX_ATTEMPTS - 1), **dict.fromkeys(GATEWAY_STATUSES, 1)}
    assert sorted(worth) == [408, 429, 500, 502, 503, 504]
    for status in range(300, 600):
        assert failure(status, retry_after="1").retries == worth.get(status, 0), status


def test_a_limit_that_names_no_time_gets_one_more_chance() -> None:
    assert (failure(429).retries, failure(429).wait_s) == (1, None)
    assert (failure(429, retry_after="1").retries, failure(429, retry_after="1").wait_s) == (MAX_ATTEMPTS - 1, 1.0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("validation_error", ExitCode.REFUSED),
        ("invalid_parameter", ExitCode.REFUSED),
        ("bad_request", ExitCode.REFUSED),
        ("unauthorized", ExitCode.KEY_REFUSED),
        ("forbidden", ExitCode.KEY_REFUSED),
        ("payment_required", ExitCode.KEPT),
        ("rate_limit_exceeded", ExitCode.KEPT),
        ("internal_server_error", ExitCode.KEPT),
        ("application_error", ExitCode.KEPT),
        ("not_found", ExitCode.CONFIG),
        ("method_not_allowed", ExitCode.CONFIG),
    ],
)
def test_a_known_name_decides_whatever_the_status(name: str, code: ExitCode) -> None:
    for status in (301, 400, 401, 403, 404, 418, 429, 500, 503):
        assert failure(status, name).error.exit_code == code, status


def test_the_services_words_are_shown_and_where_there_are_none_the_kind_of_answer() -> None:
    said = failure(400, message="No \x1b[31mred\nplease").error.message
    assert said == r"the service refused the event: No \x1b[31mred\nplease (HTTP 400)"
    page = failure(404, content_type="text/html; charset=utf-8").error.message
    assert page.endswith("HTTP 404 with text/html")


def test_what_never_left_may_be_tried_freely_what_left_only_once_more() -> None:
    for error, retries in (
        (errors.Unreachable("x"), MAX_ATTEMPTS - 1),
        (errors.TlsFailure("x"), MAX_ATTEMPTS - 1),
        (Unanswered("x"), 1),
        (errors.NotDelivered("x"), 0),
        (errors.InternalError("x"), 0),
    ):
        assert failure_of_error(error) == Failure(error, retries=retries)
    assert isinstance(failure_of_error(KeyboardInterrupt()).error, errors.Interrupted)


# Pauses

REFUSED_CONNECTION = failure_of_error(errors.Unreachable("x"))


def test_pauses_double_and_end_with_the_fifth_attempt() -> None:
    pauses = [pause_before_next(REFUSED_CONNECTION, made, made, TOMORROW_S, 1.0) for made in range(1, 7)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, None, None]


def test_what_the_service_asks_for_replaces_the_doubling_if_it_fits() -> None:
    asked = failure(503, retry_after="3")
    assert pause_before_next(asked, 1, 1, 3.1, 0.0) == 3.0
    assert pause_before_next(asked, 1, 1, 3.0, 0.0) is None
    assert pause_before_next(asked, 1, 1, 9.0, 1.0) == 3.75, "jitter makes it up to a quarter longer"
    assert pause_before_next(failure(503, retry_after="0"), 1, 1, 9.0, 0.0) == 1.0, "a second at least"


@given(
    attempts=st.integers(1, 10),
    alike=st.integers(1, 10),
    remaining=st.floats(0, 100),
    jitter=st.floats(0, 1, exclude_max=True),
    wait=st.none() | st.floats(0, 1000),
)
def test_no_pause_is_negative_or_outlasts_the_budget(
    attempts: int, alike: int, remaining: float, jitter: float, wait: float | None
) -> None:
    judged = Failure(ServiceUnavailable("x"), 503, MAX_ATTEMPTS - 1, wait)
    pause = pause_before_next(judged, attempts, alike, remaining, jitter)
    assert pause is None or 0 <= pause < remaining
    if attempts >= MAX_ATTEMPTS:
        assert pause is None


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 400, float("9" * 12)),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


# What is stored


def test_a_network_fault_does_not_hold_an_event_back_an_answer_does_longer_each_time() -> None:
    assert stored_wait(REFUSED_CONNECTION, 9, 0, 0) == 0.0
    assert [stored_wait(failure(500), attempts, 0, 0) for attempts in (1, 2, 3, 10)] == [2.0, 4.0, 8.0, 1024.0]
    assert stored_wait(failure(500), 10_000, 0, 0) == LONGEST_STORED_WAIT_S


def test_what_the_service_asked_for_is_kept_to_a_day_at_most() -> None:
    assert stored_wait(failure(429, retry_after="80"), 1, 0, 0.0) == 80.0
    assert stored_wait(failure(429, retry_after="80"), 1, 0, 1.0) == 100.0
    assert stored_wait(failure(429, retry_after="9" * 12), 1, 0, 0.0) == LONGEST_STORED_WAIT_S * 24


@pytest.mark.parametrize("unanswered", [failure_of_error(Unanswered("x")), failure(502), failure(504)], ids=repr)
def test_after_unanswered_attempts_the_wait_doubles_from_a_minute_to_an_hour(unanswered: Failure) -> None:
    waits = [stored_wait(unanswered, 9, before, 0.5) for before in range(0, 16, 2)]
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert [stored_wait(unanswered, 9, before, 0.5) for before in (1, 3)] == [120, 240], "one attempt counts as well"


DATES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: format_datetime(moment, usegmt=True))


@given(st.integers(100, 999), st.none() | st.text(), st.none() | st.text(), st.text() | DATES)
def test_no_answer_is_a_crash_or_asks_for_less_than_a_second(
    status: int, name: str | None, message: str | None, after: str
) -> None:
    judged = failure_of_answer(Answer(status, name, message, None, after, name), NOW)
    assert (judged is None) == (200 <= status < 300)
    if judged is not None:
        assert judged.error.message == printable(judged.error.message)
        assert judged.wait_s is None or judged.wait_s >= 1
