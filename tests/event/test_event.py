from __future__ import annotations

import json
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logsh_cli.errors import InvalidEvent, MissingWorkspace
from logsh_cli.event import (
    FIELD_LABELS,
    FLAG_LABELS,
    SAFE_LENGTH,
    WHITE_SPACE,
    Draft,
    Event,
    Scalar,
    build_event,
    draft_from_json,
    parse_metadata,
    shorten,
    utf16_length,
)
from logsh_cli.http.wire import encode_body

if TYPE_CHECKING:
    from collections.abc import Mapping


def draft(**given: Any) -> Draft:
    """A good event, but for what is given."""
    return Draft(**{"workspace": "shop", "event": "user.signup", "description": "Ada signed up", **given})


def problems_of(wrong: Draft, **options: Any) -> list[str]:
    with pytest.raises(InvalidEvent) as caught:
        build_event(wrong, **options)
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_the_body_has_the_fields_given_in_the_order_of_the_reference() -> None:
    full = draft(workspace="Logsh", metadata={"plan": "pro", "seats": 3}, notify=False, icon=":tada:")
    assert json.dumps(build_event(full).body(), ensure_ascii=False) == (
        '{"workspace": "Logsh", "event": "user.signup", "description": "Ada signed up", "icon": "🎉", "notify": false, '
        '"metadata": {"plan": "pro", "seats": 3}}'
    )
    assert list(build_event(draft()).body()) == ["workspace", "event", "description"]
    assert list(Event._fields) == list(FLAG_LABELS) == list(FIELD_LABELS)


def test_texts_are_stripped_of_what_python_or_javascript_calls_white_space() -> None:
    assert set(WHITE_SPACE) == {chr(n) for n in range(sys.maxunicode + 1) if chr(n).isspace()} | {"\ufeff"}
    padded = build_event(Draft("\ufeff shop\n", "\x85user.signup\u3000", "\tAda \ufeff ", " 🚀\u2028"))
    assert padded == Event("shop", "user.signup", "Ada", "🚀")


def test_a_limit_is_counted_in_characters_and_may_be_reached() -> None:
    for name, limit in (("workspace", 35), ("event", 250), ("description", 150)):
        for char in "xé🚀":
            assert build_event(draft(**{name: f" {char * limit} "})).body()[name] == char * limit
            assert problems_of(draft(**{name: char * (limit + 1)}), labels=FIELD_LABELS) == [
                f"{name} must be at most {limit} characters; yours has {limit + 1}"
            ]


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"event": None}, "--event is required"),
    ({"description": None}, "--desc is required"),
    ({"event": ""}, "--event must not be empty"),
    ({"description": " \t\ufeff\n"}, "--desc must not be empty"),
    ({"workspace": " "}, "--workspace must not be empty"),
    ({"icon": ""}, "--icon must not be empty"),
    ({"workspace": "w" * 36}, "--workspace must be at most 35 characters; yours has 36"),
    ({"event": "e" * 251}, "--event must be at most 250 characters; yours has 251 (use --truncate to shorten it)"),
    ({"description": "d" * 163}, "--desc must be at most 150 characters; yours has 163 (use --truncate to shorten it)"),
    ({"description": "a\0b"}, "--desc must not contain NUL characters; yours looks like binary data"),
    ({"event": "caf\udce9"}, '--event is not valid UTF-8 text: "caf\\udce9"'),
    ({"event": "x" * 100 + "\udcff" + "y" * 100}, f'--event is not valid UTF-8 text: "{"x" * 20}\\udcff{"y" * 13}…"'),
    ({"icon": ":rokcet:"}, '--icon is not an emoji or a known shortcode: ":rokcet:" (did you mean :rocket:?)'),
    ({"icon": "nope"}, '--icon is not an emoji or a known shortcode: "nope"'),
    ({"icon": "\udcf0"}, '--icon is not valid UTF-8 text: "\\udcf0"'),
    ({"metadata": {"": 1}}, "--meta must have no empty key"),
    ({"metadata": {"k" * 101: 1}}, f'--meta key "{"k" * 39}…" must be at most 100 characters; yours has 101'),
    ({"metadata": {"k": "v" * 501}}, '--meta "k" must be at most 500 characters; yours has 501'),
    ({"metadata": {"k": "\0"}}, '--meta "k" must not contain NUL characters; yours looks like binary data'),
    ({"metadata": {"k": "\udc80"}}, '--meta "k" is not valid UTF-8 text: "\\udc80"'),
    ({"metadata": {"\udc80": 1}}, '--meta key "\\udc80" is not valid UTF-8 text: "\\udc80"'),
    ({"metadata": {"k": 1, " k": 2}}, '--meta must give each key once; "k" comes again'),
    ({"metadata": {"k": None}}, '--meta "k" must be a string, a number, true or false; got null'),
    ({"metadata": {"k": [1]}}, '--meta "k" must be a string, a number, true or false; got an array'),
    ({"metadata": {"k": {}}}, '--meta "k" must be a string, a number, true or false; got an object'),
    (
        {"metadata": {"k": datetime(2026, 1, 1, tzinfo=UTC)}},
        '--meta "k" must be a string, a number, true or false; got "2026-01-01 00:00:00+00:00"',
    ),
    *(
        ({"metadata": {"k": number}}, '--meta "k" must be a number that fits 64-bit floating point; yours does not')
        for number in (float("nan"), float("inf"), -float("inf"), 10**400, -(10**5000))
    ),
]


def test_a_broken_rule_is_named_with_the_flag_and_what_was_given() -> None:
    for fields, problem in BROKEN:
        assert problems_of(draft(**fields)) == [problem]


def test_all_problems_are_reported_at_once_those_found_while_parsing_too() -> None:
    wrong = Draft(workspace="", event="e" * 251, icon="x", metadata={"k": float("nan")})
    found = problems_of(wrong, extra_problems=["--notify is odd"])
    names = [problem.split()[0] for problem in found]
    assert names == ["--workspace", "--event", "--desc", "--icon", "--meta", "--notify"]
    with pytest.raises(InvalidEvent, match=r"^--workspace must not be empty; --event .*; --notify is odd$"):
        build_event(wrong, extra_problems=["--notify is odd"])
    assert problems_of(draft(), extra_problems=["--meta is odd"]) == ["--meta is odd"]


def test_a_missing_workspace_is_a_matter_of_configuration_and_waits_for_the_other_problems() -> None:
    with pytest.raises(MissingWorkspace) as caught:
        build_event(draft(workspace=None))
    assert caught.value.exit_code == 78
    for way in ("--workspace", "LOGSH_WORKSPACE", ".logsh.toml", "logsh config set workspace"):
        assert way in (caught.value.hint or "")
    assert problems_of(Draft()) == ["--event is required", "--desc is required"]


def test_without_validation_the_service_is_left_to_judge_but_not_what_has_no_form_on_the_wire() -> None:
    for fields, body in (
        ({"event": None, "description": None}, {}),
        ({"event": "e" * 999}, {"event": "e" * 999, "description": "Ada signed up"}),
        ({"event": " "}, {"event": "", "description": "Ada signed up"}),
        ({"event": "a\0"}, {"event": "a\0", "description": "Ada signed up"}),
        ({"event": None, "icon": "x"}, {"description": "Ada signed up", "icon": "x"}),
        ({"event": None, "icon": ":fire:"}, {"description": "Ada signed up", "icon": "🔥"}),
        ({"event": None, "description": None, "metadata": {"": "v" * 501}}, {"metadata": {"": "v" * 501}}),
    ):
        assert build_event(draft(**fields), validate=False).body() == {"workspace": "shop", **body}
    metadata: tuple[dict[str, Any], ...] = ({"\udc80": 1}, {"k": "\udc80"}, {"k": None}, {"k": float("inf")})
    wrong: list[dict[str, Any]] = [{name: "\udc80"} for name in ("workspace", "event", "description", "icon")]
    for one in (*wrong, *({"metadata": values} for values in metadata)):
        assert len(problems_of(draft(**one), validate=False)) == 1, one


def test_truncating_shortens_event_and_description_to_what_any_limit_allows_and_nothing_else() -> None:
    event = build_event(draft(event="e" * 151, description="🚀" * 200), truncate=True)
    assert (event.event, event.description) == ("e" * 149 + "…", "🚀" * 74 + "…")
    fits = draft(event="e" * 150, description="d" * 150)
    assert build_event(fits, truncate=True) == build_event(fits)
    too_long = "--workspace must be at most 35 characters; yours has 36"
    assert problems_of(draft(workspace="w" * 36), truncate=True) == [too_long]


def test_a_pair_is_read_by_the_separator_that_comes_first() -> None:
    pairs: dict[str, tuple[str, Scalar]] = {
        "a=1": ("a", "1"),
        "a=": ("a", ""),
        "a= b ": ("a", " b "),
        " a =b": ("a", "b"),
        "a==b": ("a", "=b"),
        "a=b:=c": ("a", "b:=c"),
        "a:b=c": ("a:b", "c"),
        "url=https://example.com/?q=1": ("url", "https://example.com/?q=1"),
        "a:=1": ("a", 1),
        "a :=1": ("a", 1),
        "a:=-1.5e3": ("a", -1500.0),
        "a:=true": ("a", True),
        "a:= false ": ("a", False),
        'a:="x=y"': ("a", "x=y"),
        'a:="\\u00e9"': ("a", "é"),
        "clé=été 🚀": ("clé", "été 🚀"),
    }
    for pair, (key, value) in pairs.items():
        values, problems = parse_metadata([pair])
        assert problems == []
        assert [(k, type(v), v) for k, v in values.items()] == [(key, type(value), value)], pair


FORM = "--meta must be KEY=VALUE, or KEY:=JSON for a number or a boolean; got"
NOT_SCALAR = "must be a string, a number, true or false; got"


FAULTY_PAIRS = [
    ("plan", f'{FORM} "plan"'),
    ("", f'{FORM} ""'),
    ("plan:pro", f'{FORM} "plan:pro"'),
    ("x" * 99, f'{FORM} "{"x" * 39}…"'),
    ("\x1b[31mred", f'{FORM} "\\x1b[31mred"'),
    ("url:=x", '--meta "url" must be JSON after :=; got "x" (for text, write "url=x")'),
    ("k:=", '--meta "k" must be JSON after :=; got "" (for text, write "k=")'),
    ("k:=NaN", '--meta "k" must be a number that fits 64-bit floating point; yours does not'),
    ("k:=null", f'--meta "k" {NOT_SCALAR} null'),
    ("k:=[1]", f'--meta "k" {NOT_SCALAR} an array'),
    ('k:={"a": 1}', f'--meta "k" {NOT_SCALAR} an object'),
    ("k:=1e999", '--meta "k" must be a number that fits 64-bit floating point; yours does not'),
    ("k:=1" + "0" * 400, '--meta "k" must be a number that fits 64-bit floating point; yours does not'),
    ("k:=" + "9" * 5000, f'--meta "k" must be JSON after :=; got "{"9" * 39}…" (for text, write "k={"9" * 37}…")'),
    ("k:=" + "[" * 100_000, f'--meta "k" must be JSON after :=; got "{"[" * 39}…" (for text, write "k={"[" * 37}…")'),
]


def test_a_faulty_pair_is_a_sentence_and_no_value() -> None:
    for pair, problem in FAULTY_PAIRS:
        assert parse_metadata(["good=1", pair]) == ({"good": "1"}, [problem])
    twice = '--meta must give each key once; "a" comes again'
    assert parse_metadata(["a=1", " a=2", "a:=3"]) == ({"a": "1"}, [twice] * 2)


def test_a_batch_object_has_the_field_names_of_the_reference() -> None:
    given = {"event": "e", "description": "d", "icon": "✅", "notify": True, "metadata": {"a": 1.5, "b": False}}
    assert draft_from_json(given) == (Draft(None, "e", "d", "✅", True, {"a": 1.5, "b": False}), [])
    assert draft_from_json({**given, "workspace": "w"})[0].workspace == "w"


def test_a_faulty_batch_object_is_told_each_of_its_faults_once() -> None:
    good: dict[str, Any] = {"event": "e", "description": "d"}
    meant = {"Icon": "icon", "desc": "description", "meta": "metadata"}
    objects: list[tuple[object, list[str]]] = [
        *(
            (value, [f"expected a JSON object; got {words}"])
            for value, words in (([], "an array"), (None, "null"), (True, "true"), (5, "5"), ("text", '"text"'))
        ),
        ({**good, "event": 5}, ["event must be a string; got 5"]),
        ({**good, "description": None}, ["description must be a string; got null"]),
        ({**good, "description": ["d"]}, ["description must be a string; got an array"]),
        ({**good, "workspace": {}}, ["workspace must be a string; got an object"]),
        ({**good, "icon": None}, ["icon must be a string; got null"]),
        ({**good, "notify": "yes"}, ['notify must be true or false; got "yes"']),
        ({**good, "notify": 1}, ["notify must be true or false; got 1"]),
        ({**good, "metadata": [1]}, ["metadata must be an object; got an array"]),
        (
            {**good, "metadata": {"a": {"b": 1}, "c": None, "d": 1}},
            [f'metadata "a" {NOT_SCALAR} an object', f'metadata "c" {NOT_SCALAR} null'],
        ),
        *(
            ({**good, name: 1}, [f'"{name}" is not a field of an event (did you mean {near}?)'])
            for name, near in meant.items()
        ),
        ({**good, "urgency": 1}, [f'"urgency" is not a field of an event (these are: {", ".join(FIELD_LABELS)})']),
        ({}, ["event is required", "description is required"]),
    ]
    for obj, problems in objects:
        read, found = draft_from_json(obj)
        assert problems_of(read, labels=FIELD_LABELS, extra_problems=found) == problems


def test_shortening_counts_as_javascript_does_and_leaves_no_half_of_a_character() -> None:
    for text, limit, short in (
        ("hello", 5, "hello"),
        ("hello!", 5, "hell…"),
        ("hello world", 7, "hello…"),
        ("hello", 1, "…"),
        ("hello", 0, ""),
        ("", 0, ""),
        ("🚀🚀🚀", 6, "🚀🚀🚀"),
        ("🚀🚀🚀", 5, "🚀🚀…"),
        ("🚀🚀🚀", 4, "🚀…"),
        ("\udc80" * 4, 3, "\udc80\udc80…"),
    ):
        assert shorten(text, limit) == short, (text, limit)
    assert [utf16_length(text) for text in ("", "aé漢", "🚀", "\udc80")] == [0, 3, 2, 1]


# From here on: any text at all, lone surrogates and controls included.

text = st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from("🚀é \0\u200d🏽🇩\ufe0f\udc80:=x\u0301"))
long_text = text | st.builds(lambda part, times: part * times, text, st.integers(0, 200))
scalars: st.SearchStrategy[Any] = long_text | st.integers() | st.floats() | st.booleans()
json_values = st.recursive(
    st.none() | scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
drafts = st.builds(
    Draft,
    *[st.none() | long_text] * 3,
    st.none() | text | st.sampled_from(["🚀", ":tada:"]),
    st.none() | st.booleans(),
    st.dictionaries(text, scalars, max_size=3),
)
anything = settings(deadline=None, database=None, max_examples=100)


def outcome(given: Draft, **options: Any) -> Event | list[str]:
    """The event, or the problems (one, for a workspace that is missing); any other exception fails the test."""
    try:
        return build_event(given, **options)
    except InvalidEvent as error:
        return error.problems
    except MissingWorkspace as error:
        return [error.message]


def check_event(event: Event, *, validate: bool) -> None:
    """It can be sent, comes back the same, and keeps the rules."""
    body = event.body()
    assert json.loads(encode_body(body)) == body
    if validate:
        texts = [event.workspace, event.event or "", event.description or ""]
        assert all(1 <= len(text) <= limit for text, limit in zip(texts, (35, 250, 150), strict=True))
        assert all("\0" not in text and text == text.strip().strip("\ufeff") for text in texts)


def check_problems(problems: list[str]) -> None:
    """There are some, and none would upset a terminal."""
    assert problems
    assert not {unicodedata.category(char) for problem in problems for char in problem} & {"Cc", "Cs"}


@anything
@given(drafts, st.booleans(), st.booleans(), st.sampled_from([FLAG_LABELS, FIELD_LABELS]))
@example(draft(icon="🚀", metadata={"a": 1}), True, False, FLAG_LABELS)
def test_any_draft_becomes_a_sendable_event_or_a_list_of_problems(
    given: Draft, validate: bool, truncate: bool, labels: Mapping[str, str]
) -> None:
    result = outcome(given, labels=labels, validate=validate, truncate=truncate)

    if isinstance(result, Event):
        check_event(result, validate=validate)
        if truncate:
            assert utf16_length(result.event or "") <= SAFE_LENGTH >= utf16_length(result.description or "")
    else:
        check_problems(result)


@anything
@given(st.lists(text | st.builds("{}{}{}".format, text, st.sampled_from(["=", ":="]), text | json_values.map(repr))))
def test_any_metadata_arguments_become_values_or_problems(pairs: list[str]) -> None:
    values, problems = parse_metadata(pairs)

    assert len(values) + len(problems) == len(pairs)
    assert all(problem.startswith("--meta ") for problem in problems)
    assert all(isinstance(value, Scalar) for value in values.values())


@anything
@given(
    json_values
    | st.dictionaries(text | st.sampled_from(list(FIELD_LABELS)), json_values)
    | st.fixed_dictionaries({"workspace": text, "event": text, "description": text}, optional={"metadata": json_values})
)
def test_any_json_becomes_a_sendable_event_or_a_list_of_problems(obj: object) -> None:
    draft, problems = draft_from_json(obj)
    result = outcome(draft, labels=FIELD_LABELS, extra_problems=problems)

    if isinstance(result, Event):
        assert problems == []
        check_event(result, validate=True)
    else:
        check_problems(result)
        assert set(problems) <= set(result)


@anything
@given(long_text, st.integers(-1, 300))
def test_a_shortened_text_fits_and_ends_in_an_ellipsis(text: str, limit: int) -> None:
    short = shorten(text, limit)

    assert utf16_length(short) <= max(limit, 0)
    if utf16_length(text) <= limit:
        assert short == text
    elif limit >= 1:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
