"""Compare what the sandbox received with what its user expects. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.errors import UsageError
from logsh_cli.output.text import nearest, shown_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FIELDS = ("workspace", "event", "description", "icon", "notify")
_METADATA = "metadata."
_HINT = "for example --expect event=backup.nightly --expect metadata.exit_code=0"


class Condition(Record):
    """One ``--expect FIELD=VALUE``; ``field`` is one of an event's, or ``metadata.KEY``."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}={self.value}"

    @property
    def is_about_metadata(self) -> bool:
        """True of ``metadata.KEY``."""
        return self.field.startswith(_METADATA) and self.field != _METADATA

    def holds(self, event: Mapping[str, Any]) -> bool:
        """Compare a string as it is, anything else as JSON: ``0`` is the number, and the string that looks like it."""
        actual = self.actual(event)
        if isinstance(actual, str) or actual is None:
            return actual == self.value
        try:
            value = json.loads(self.value)
        except (ValueError, RecursionError):
            return False
        # To Python, true equals 1.
        return bool(value == actual) and isinstance(value, bool) == isinstance(actual, bool)

    def actual(self, event: Mapping[str, Any]) -> Any:
        """Return what the event has there; ``None`` if nothing. Without ``notify`` nobody is notified."""
        if self.is_about_metadata:
            return event.get("metadata", {}).get(self.field.removeprefix(_METADATA))
        return event.get(self.field, False if self.field == "notify" else None)


class Expectations(Record):
    """``conditions`` that one event must meet together; ``number`` such events, or at least one if it is ``None``."""

    conditions: tuple[Condition, ...]
    number: int | None

    def complaint(self, events: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return lines that tell how what was received differs from what was expected; none if it doesn't."""
        found = [event for event in events if all(condition.holds(event) for condition in self.conditions)]
        if len(found) == self.number or (found and self.number is None):
            return []
        wanted = "an event" if self.number is None else f"{self.number or 'no'} event{'s' * (self.number != 1)}"
        if not self.conditions:
            return [f"expected {wanted}; {len(events) or 'none'} received"]
        matching = f"{len(found) or 'none'} of {len(events)} received match{'es' * (len(found) in {0, 1})}"
        lines = [f"expected {wanted} with {', '.join(map(str, self.conditions))}; {matching}"]
        if not found and events:
            lines += self._difference(events)
        return lines

    def _difference(self, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        met = [sum(condition.holds(event) for condition in self.conditions) for event in events]
        nearest_to = met.index(max(met))
        event = events[nearest_to]
        yield f"  - expected   + received, the nearest, number {nearest_to + 1}"
        for condition in self.conditions:
            if condition.holds(event):
                yield f"    {condition}"
                continue
            actual = condition.actual(event)
            yield f"  - {condition}"
            yield f"  + {condition.field}={shown_value(actual)}" if actual is not None else f"  + no {condition.field}"


def parse_expectations(given: Sequence[str], *, none: bool, count: int | None) -> Expectations | None:
    """Return what the options say; ``None`` if they say nothing.

    Raises ``UsageError`` for items without ``=`` or a field's name, all of which it names, and for a contradiction.
    """
    conditions = [Condition(*item.split("=", 1)) if "=" in item else Condition("", item) for item in given]
    if bad := [one for one in conditions if one.field not in _FIELDS and not one.is_about_metadata]:
        items = ", ".join(repr(str(condition).removeprefix("=")) for condition in bad)
        meant = nearest(bad[0].field, _FIELDS)
        raise UsageError(
            f"--expect takes FIELD=VALUE with {', '.join(_FIELDS)} or metadata.KEY as its field; got {items}",
            hint=f"did you mean {meant}=…?" if meant else _HINT,
        )
    if none and count is not None:
        raise UsageError("--expect-none and --expect-count contradict each other", hint="give one of them")
    if not (conditions or none or count is not None):
        return None
    return Expectations(tuple(conditions), 0 if none else count)
