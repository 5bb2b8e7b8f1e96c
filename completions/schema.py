"""The JSON Schema of what ``--json`` prints: from the result types, or from the tables below where there is no type."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from logsh_cli.errors import ExitCode, LogshError
from logsh_cli.output import Result, Tally, to_json

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}


def ref(name: str) -> Schema:
    """Return a reference to a part of the schema."""
    return {"$ref": f"#/$defs/{name}"}


def nullable(schema: Schema) -> Schema:
    """Return a schema that also takes null."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(properties: Mapping[str, Schema], description: str, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has these members and no others."""
    return {
        "description": description,
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


ENDED = {"exit_code": ref("exit_code"), "error": nullable(ref("error"))}
"""The fields that tell of a failure, in every form that has them."""

HANDWRITTEN: Mapping[str, Schema] = {
    "outbox_event": closed(
        {
            "id": COUNT,
            "state": {"enum": ["pending", "leased", "rejected"]},
            "event": nullable(ref("event")),
            "profile": TEXT,
            "accepted_at": TIME,
            "attempts": COUNT,
            "not_before": nullable(TIME),
            "rejected_at": nullable(TIME),
            "http_status": nullable(COUNT),
            "error": nullable(closed({"name": TEXT, "message": nullable(TEXT)}, "The last failure.")),
        },
        "logsh outbox list (one a line), outbox show",
    ),
    "outbox_change": closed(
        {"done": COUNT, "leased": {"type": "array", "items": COUNT}, "missing": {"type": "array", "items": COUNT}},
        "logsh outbox retry, outbox drop",
    ),
    "settings": {
        "description": "logsh config list, config get: by setting, its value and where that came from",
        "type": "object",
        "additionalProperties": closed(
            {"value": {"type": ["string", "number", "boolean", "null"]}, "source": nullable(TEXT)}, "One setting."
        ),
    },
    "setting_change": closed(
        {"profile": TEXT, "key": TEXT, "value": {"type": ["string", "number", "boolean", "null"]}, **ENDED},
        "logsh config set, config unset",
    ),
    "path": closed({"path": TEXT}, "logsh config path"),
    "login": closed(
        {"profile": TEXT, "api_url": TEXT, "api_key": TEXT, "verified": FLAG, "config": TEXT, **ENDED}, "logsh login"
    ),
    "logout": closed({"profile": TEXT, "removed": FLAG, "config": TEXT, **ENDED}, "logsh logout"),
    "doctor": closed(
        {
            "ok": FLAG,
            "checks": {
                "type": "array",
                "items": closed({"name": TEXT, "ok": nullable(FLAG), "detail": TEXT}, "One check."),
            },
        },
        "logsh doctor",
    ),
    "received": closed(
        {"event": ref("event"), "received_at": TIME, "status": COUNT}, "logsh sandbox: one received event a line"
    ),
}
"""Forms that are no type of their own; ``tests/test_schema.py`` holds each of them to what its command prints."""

PARTS: Mapping[str, Schema] = {
    "event": {
        "description": "The body of a request; after --no-validate it may be anything but has these names.",
        "type": "object",
        "properties": {name: {} for name in ("workspace", "event", "description", "icon", "notify", "metadata")},
        "additionalProperties": False,
    },
    "request": closed(
        {
            "method": TEXT,
            "url": TEXT,
            "headers": {"type": "object", "additionalProperties": TEXT},
            "body": ref("event"),
        },
        "The request that would be made, the key hidden.",
    ),
    "error": closed({"name": TEXT, "message": TEXT, "hint": nullable(TEXT)}, "What went wrong and what to do."),
    "exit_code": {"description": "See `logsh help exit-codes`.", "enum": sorted(int(code) for code in ExitCode)},
}

BY_NAME = {"event": ref("event"), "request": ref("request"), "exit_code": ref("exit_code")}
"""Members whose type says less than their name."""


def schema() -> Schema:
    """Return the whole schema: an output of any command matches it, and each form has a name under ``$defs``."""
    forms = {
        "result": of_type(Result("failed"), "logsh send; any other command that fails, with status failed"),
        "tally": of_type(Tally(), "logsh batch, outbox flush"),
        **HANDWRITTEN,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What logsh prints with --json, line by line",
        "anyOf": [ref(name) for name in forms],
        "$defs": {**forms, **PARTS},
    }


def page() -> str:
    """Return the schema's file."""
    return json.dumps(schema(), indent=2) + "\n"


def of_type(least: Result | Tally, description: str) -> Schema:
    """Return the schema of a result type; members that ``least`` does not print are there only sometimes."""
    hints = get_type_hints(type(least), None, {**vars(typing), "Mapping": Mapping})
    printed = to_json(least)
    properties = {name: of_hint(name, hints[name]) for name in least._fields}
    return closed(properties, description, tuple(name for name in properties if name not in printed))


def of_hint(name: str, hint: Any) -> Schema:
    """Return the schema of one annotation."""
    if NoneType in get_args(hint):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        # What is left out when there is none is never null.
        return of_hint(name, inner) if name == "request" else nullable(of_hint(name, inner))
    if name in BY_NAME:
        return BY_NAME[name]
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if isinstance(hint, type) and issubclass(hint, LogshError):
        return ref("error")
    return {int: COUNT, str: TEXT, bool: FLAG}[hint]
