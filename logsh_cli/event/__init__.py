"""The event, and the rules that the API reference gives for it. Pure.

Limits are the documented ones, in characters. The service counts UTF-16 code units and has other limits for two
fields (event 150, description 250), so what logsh itself writes or shortens stays within ``SAFE_LENGTH`` of those.
The metadata rules are the service's own: the reference has none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from logsh_cli import Record
from logsh_cli.errors import InvalidEvent, MissingWorkspace
from logsh_cli.output.text import excerpt, nearest

Scalar: TypeAlias = str | int | float | bool
Labels: TypeAlias = Mapping[str, str]

MAX_WORKSPACE = 35
MAX_META_KEY = 100
MAX_META_VALUE = 500
SAFE_LENGTH = 150
"""UTF-16 code units that the documented and the observed limits of event and description both allow."""

FIELD_LABELS: Labels = {name: name for name in ("workspace", "event", "description", "icon", "notify", "metadata")}
"""The subject of a problem with a field, for those who wrote JSON."""

FLAG_LABELS: Labels = {name: f"--{name}" for name in FIELD_LABELS} | {"description": "--desc", "metadata": "--meta"}
"""The same for those who gave it on a command line."""

WHITE_SPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""All that Python or JavaScript strips: the service trims by JavaScript's idea, in which U+FEFF is white space."""

_EXCERPT = 40
_LIMITS = {"workspace": MAX_WORKSPACE, "event": 250, "description": 150, "icon": sys.maxsize}
_REQUIRED = ("event", "description")  # and they are what may be shortened
_NO_OBJECT = "expected a JSON object; got "
_FIELD_TYPES: Mapping[str, tuple[type, str]] = {
    **dict.fromkeys(("workspace", "event", "description", "icon"), (str, "a string")),
    "notify": (bool, "true or false"),
    "metadata": (dict, "an object"),
}


class Draft(Record):
    """An event as it was given, unchecked. ``None``: not given."""

    workspace: str | None = None
    event: str | None = None
    description: str | None = None
    icon: str | None = None
    notify: bool | None = None
    metadata: Mapping[str, Scalar] = MappingProxyType({})


class Event(Record):
    """An event that may be sent: it keeps the documented rules, or the user had them not checked.

    Strings are stripped, the icon is an emoji. ``event`` and ``description`` are ``None`` only in an unchecked one.
    """

    workspace: str
    event: str | None
    description: str | None
    icon: str | None = None
    notify: bool | None = None
    metadata: Mapping[str, Scalar] = MappingProxyType({})

    def body(self) -> dict[str, Any]:
        """Return the fields given, in the API reference's order; any other field makes the service refuse the whole."""
        fields = self._asdict() | {"metadata": dict(self.metadata) or None}
        return {name: value for name, value in fields.items() if value is not None}


def build_event(
    draft: Draft,
    *,
    labels: Labels = FLAG_LABELS,
    validate: bool = True,
    truncate: bool = False,
    extra_problems: Sequence[str] = (),
) -> Event:
    """Check everything at once and make the event; ``labels`` say what each field is called in a problem.

    Without ``validate`` judging is left to the service: only what can't be sent at all is a problem. ``truncate``
    shortens an event or a description of more than ``SAFE_LENGTH`` UTF-16 units. ``extra_problems`` were found while
    parsing; a field that one of them begins with is not called missing as well.

    Raises ``InvalidEvent`` with every problem, or ``MissingWorkspace`` where that alone is wrong.
    """
    check = _Check(labels, extra_problems, validate=validate, truncate=truncate)
    workspace, event, description = (check.text(name, getattr(draft, name)) for name in ("workspace", *_REQUIRED))
    icon = check.icon(draft.icon)
    metadata = check.metadata(draft.metadata)
    if problems := [*check.problems, *extra_problems]:
        raise InvalidEvent(problems)
    if workspace is None:
        raise MissingWorkspace(
            "no workspace given",
            hint='pass --workspace, set LOGSH_WORKSPACE, put `workspace = "…"` in .logsh.toml, '
            "or run `logsh config set workspace NAME`",
        )
    return Event(workspace, event, description, icon, draft.notify, metadata)


def parse_metadata(pairs: Sequence[str]) -> tuple[dict[str, Scalar], list[str]]:
    """Read ``KEY=VALUE`` and ``KEY:=JSON`` arguments; the separator that comes first decides (HTTPie's convention).

    Returns the values, without the faulty ones, and a sentence for each fault. Only the form is judged here: what the
    rules say of keys and values is left to ``build_event``, and with ``--no-validate`` to the service.
    """
    label = FLAG_LABELS["metadata"]
    values: dict[str, Scalar] = {}
    problems: list[str] = []
    for pair in pairs:
        before, separator, text = pair.partition("=")
        key = before.removesuffix(":").strip(WHITE_SPACE)
        value: object = text
        problem = None
        if not separator:
            problem = f"{label} must be KEY=VALUE, or KEY:=JSON for a number or a boolean; got {_shown(pair)}"
        elif key in values:
            problem = f"{label} must give each key once; {_shown(key)} comes again"
        elif before.endswith(":"):
            try:
                value = json.loads(text)
                problem = _value_problem(label, key, value)
            except (ValueError, RecursionError):  # ValueError also for an integer of more digits than Python converts
                instead = f"(for text, write {_shown(f'{key}={text}')})"
                problem = f"{label} {_shown(key)} must be JSON after :=; got {_shown(text)} {instead}"
        if problem is not None:
            problems.append(problem)
        elif isinstance(value, Scalar):
            values[key] = value
    return values, problems


def draft_from_json(obj: object) -> tuple[Draft, list[str]]:
    """Read one parsed JSON value as an event with the API's field names; what is faulty is left out of the draft.

    Returns it with a sentence for each wrong type and unknown field, for ``build_event``'s ``extra_problems``.
    """
    if not isinstance(obj, dict):
        return Draft(), [_NO_OBJECT + _kind(obj)]
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in obj.items():
        kind, words = _FIELD_TYPES.get(name, (None, ""))
        if kind is None:
            close = nearest(name, FIELD_LABELS, cutoff=0.65)
            advice = f"did you mean {close}?" if close else f"these are: {', '.join(FIELD_LABELS)}"
            problems.append(f"{_shown(name)} is not a field of an event ({advice})")
        elif not isinstance(value, kind):
            problems.append(f"{name} must be {words}; got {_kind(value)}")
        else:
            given[name] = value
    return Draft(**given), problems


def problems_of(field: str, value: Any) -> list[str]:
    """Return what the rules have against a value of this field, which the sentences call by its own name."""
    try:
        build_event(Draft("any", "any", "any")._replace(**{field: value}), labels=FIELD_LABELS)
    except InvalidEvent as error:
        return error.problems
    return []


def utf16_length(text: str) -> int:
    """Return the length as JavaScript counts it: characters beyond U+FFFF are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def shorten(text: str, limit: int = SAFE_LENGTH) -> str:
    """Return the text, or as much of its beginning as fits ``limit`` UTF-16 code units together with a final ``…``."""
    if utf16_length(text) <= limit:
        return text
    if limit < 1:
        return ""
    end, left = 0, limit - 1
    while (left := left - utf16_length(text[end])) >= 0:
        end += 1
    return text[:end].rstrip(WHITE_SPACE) + "…"


class _Check:
    """Collects the problems of one event; each method returns the value as it is to be sent."""

    def __init__(self, labels: Labels, known: Sequence[str], *, validate: bool, truncate: bool) -> None:
        self.labels = labels
        self.known = known
        self.validate = validate
        self.truncate = truncate
        self.problems: list[str] = []

    def text(self, name: str, given: str | None) -> str | None:
        label = self.labels[name]
        if given is None:
            is_known = any(problem.startswith((f"{label} ", _NO_OBJECT)) for problem in self.known)
            if self.validate and name in _REQUIRED and not is_known:
                self.problems.append(f"{label} is required")
            return None
        text = given.strip(WHITE_SPACE)
        if self.truncate and name in _REQUIRED:
            text = shorten(text)
        if self.validate and not text:
            self.problems.append(f"{label} must not be empty")
        advice = " (use --truncate to shorten it)" if name in _REQUIRED and label.startswith("--") else ""
        self._judge(label, text, _LIMITS[name], advice)
        return text

    def icon(self, given: str | None) -> str | None:
        before = len(self.problems)
        text = self.text("icon", given)
        if not text or len(self.problems) > before:
            return text
        from logsh_cli.event.icons import resolve_icon  # noqa: PLC0415 - most events have none

        try:
            return resolve_icon(text)
        except ValueError as error:
            if self.validate:
                self.problems.append(f"{self.labels['icon']} {error}")
            return text

    def metadata(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        label = self.labels["metadata"]
        values: dict[str, Scalar] = {}
        for raw_key, value in given.items():
            key = raw_key.strip(WHITE_SPACE)
            if key in values:
                self.problems.append(f"{label} must give each key once; {_shown(key)} comes again")
            values[key] = value
            if self.validate and not key:
                self.problems.append(f"{label} must have no empty key")
            self._judge(f"{label} key {_shown(key)}", key, MAX_META_KEY)
            if isinstance(value, str):
                self._judge(f"{label} {_shown(key)}", value, MAX_META_VALUE)
            elif problem := _value_problem(label, key, value):
                self.problems.append(problem)
        return values

    def _judge(self, subject: str, text: str, limit: int, advice: str = "") -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # a lone surrogate: a byte that is not UTF-8, or half a character in JSON
            self.problems.append(f"{subject} is not valid UTF-8 text: {_shown(text[max(error.start - 20, 0) :])}")
        if self.validate and "\0" in text:
            self.problems.append(f"{subject} must not contain NUL characters; yours looks like binary data")
        if self.validate and len(text) > limit:
            self.problems.append(f"{subject} must be at most {limit} characters; yours has {len(text)}{advice}")


def _value_problem(label: str, key: str, value: object) -> str | None:
    """Return why a metadata value is not a scalar that any JSON reader understands, or ``None``."""
    if isinstance(value, str | bool):
        return None
    if not isinstance(value, int | float):
        return f"{label} {_shown(key)} must be a string, a number, true or false; got {_kind(value)}"
    if not abs(value) <= sys.float_info.max:  # NaN is neither
        return f"{label} {_shown(key)} must be a number that fits 64-bit floating point; yours does not"
    return None


def _kind(value: object) -> str:
    """Return what a value is in the words of JSON."""
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return json.dumps(value, default=str)[:_EXCERPT]  # a date, in a project file, has no form in JSON


def _shown(text: str) -> str:
    return excerpt(text, _EXCERPT)
