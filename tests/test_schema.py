"""``docs/result.schema.json`` describes every line that ``--json`` prints, whatever the outcome."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest

from logsh_cli.output import ResultStatus
from tests.support import answers as says
from tests.support.documents import ROOT
from tests.support.inprocess import call_main
from tests.support.sending import KEY, settings_for

if TYPE_CHECKING:
    from tests.support.command import Completed
    from tests.support.server import Server

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

pytestmark = pytest.mark.service(key=KEY, validate=True)

SCHEMA = json.loads((ROOT / "docs" / "result.schema.json").read_text(encoding="utf-8"))
FORMS = [each["$ref"].rsplit("/", 1)[1] for each in SCHEMA["anyOf"]]


VALIDATORS = {
    form: jsonschema.Draft202012Validator({"$ref": f"#/$defs/{form}", "$defs": SCHEMA["$defs"]}) for form in FORMS
}


class Caller:
    """Runs commands with ``--json`` and holds what they print to the schema."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.forms: set[str] = set()
        self.statuses: set[str] = set()

    def __call__(self, form: str, *args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Completed:
        """Run a command whose lines have this form and no other."""
        ours = args[: args.index("--")] if "--" in args else args
        settings = self.env if env is None else env
        done = call_main(*ours, "--json", *args[len(ours) :], env=settings, stdin=stdin)
        assert done.stdout, (args, done.stderr)
        for line in done.stdout.splitlines():
            value = json.loads(line)
            VALIDATORS[form].validate(value)
            matching = [each for each, validator in VALIDATORS.items() if validator.is_valid(value)]
            assert matching == [form] or form == "settings", f"{value} could be any of {matching}"
            self.forms.add(form)
            self.statuses.add(value.get("status", "")) if form == "result" else None
        return done


EVENT = ("-e", "x", "-d", "y")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_outcome_is_as_the_schema_says(service: Server) -> None:
    given = settings_for(service)
    call = Caller(given)
    down = {**given, "LOGSH_API_URL": "http://127.0.0.1:1", "LOGSH_DEADLINE": "0.1"}
    no_key = {**given, "LOGSH_API_KEY": ""}
    service.script(says.error(422, "validation_error"))
    assert call("result", "send", *EVENT).code == 65
    assert call("result", "send", *EVENT, "-i", ":rocket:", "-m", "a=1").code == 0
    assert call("result", "send", *EVENT, "--dry-run").code == 0
    assert call("result", "send", *EVENT, "-i", "no icon").code == 2
    assert call("result", "send", "--no-such-option").code == 2
    assert call("result", "send", *EVENT, env=no_key).code == 78
    assert call("result", "send", *EVENT, "--on-missing-key", "skip", env=no_key).code == 0
    assert call("result", "send", *EVENT, env=down).code == 75
    assert call("outbox_event", "outbox", "list").code == 0
    assert call("tally", "outbox", "flush", env=down).code == 75
    assert call("tally", "outbox", "flush").code == 0
    assert call("result", "send", "-b", *EVENT).code == 0
    lines = b'{"event": "x", "description": "y"}\n{"event": ""}\n'
    assert call("tally", "batch", "-", stdin=lines).code == 65
    assert call("tally", "batch", "no such file").code
    assert call("result", "outbox", "show", "999").code == 2
    assert call("outbox_event", "outbox", "show", "1").code == 0
    assert call("outbox_change", "outbox", "retry", "1").code == 0
    assert call("result", "send", *EVENT, env=down).code == 75
    assert call("outbox_change", "outbox", "drop", "--all", "--yes").code == 0
    assert call("received", "sandbox", "--", "logsh", "send", *EVENT, "-q").code == 0
    assert call("setting_change", "config", "set", "workspace", "shop").code == 0
    assert call("setting_change", "config", "unset", "workspace").code == 0
    assert call("settings", "config", "list").code == 0
    assert call("settings", "config", "get", "workspace").code == 0
    assert call("path", "config", "path").code == 0
    assert call("login", "login", "--key-stdin", "--api-url", service.url, stdin=KEY.encode(), env={}).code == 0
    call("doctor", "doctor")
    assert call("logout", "logout", env={}).code == 0
    assert call.statuses == set(get_args(ResultStatus))
    assert call.forms == set(FORMS), "each form is printed by some command"


def test_what_is_missing_or_more_is_noticed() -> None:
    good = call_main("send", *EVENT, "-w", "w", "--dry-run", "--json").json
    jsonschema.validate(good, SCHEMA)
    for bad in ({**good, "more": 1}, {**good, "status": "sent"}, {key: good[key] for key in good if key != "error"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)


def test_the_help_names_it() -> None:
    assert "docs/result.schema.json" in call_main("help", "json").stdout
