"""The list of emoji, ``logsh_cli/event/icons.txt``, which ``logsh_cli/event/icons.py`` searches.

Source: the data of the ``emoji`` package (New BSD License; its notice is in
``LICENSE-emoji``), which takes the emoji and their English names from Unicode's emoji-test.txt and the aliases from
GitHub and Slack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import emoji

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAST_NAMED_STATUS = 2
"""Components and fully-qualified emoji: of the forms that share a name, the one it stands for."""


def table() -> str:
    """A line for each emoji in each of its forms, sorted: the emoji, then every shortcode that stands for it."""
    names: dict[str, list[str]] = {form: [] for form in emoji.EMOJI_DATA}
    seen: set[str] = set()
    for name, form in _by_rank():
        if name.lower() not in seen:
            seen.add(name.lower())
            names[form].append(name.lower())
    head = f"# Made by `python -m completions` from the emoji package {emoji.__version__}; see LICENSE-emoji.\n"
    return head + "".join("\t".join((form, *names[form])) + "\t\n" for form in sorted(names))


def _by_rank() -> Iterator[tuple[str, str]]:
    """Each name with its emoji, the better claim first.

    An alias goes before what Unicode itself calls an emoji, and either as it is written (``:turkey:``) before the same
    in capitals (``:Turkey:``, a flag).
    """
    named = [(form, entry) for form, entry in emoji.EMOJI_DATA.items() if entry["status"] <= _LAST_NAMED_STATUS]
    claims = [(False, name, form) for form, entry in named for name in entry.get("alias", ())]
    claims += [(True, entry["en"], form) for form, entry in named]
    # The sort is stable: among equal claims the list's own order decides.
    for _, _, name, form in sorted(
        ((name != name.lower(), is_own, name, form) for is_own, name, form in claims), key=lambda claim: claim[:2]
    ):
        yield name, form
