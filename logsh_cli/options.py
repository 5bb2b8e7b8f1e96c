"""Options that several commands share, each declared once, in the same words wherever it appears.

Typer evaluates signatures at run time, so the types named here must be real imports.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from logsh_cli.config.files import KEYS

JOB, EVENT, DELIVERY, OUTPUT, ADVANCED = "Run and report", "Event", "Delivery", "Output", "Advanced"
"""The headings under which long help lists options; ``--help`` itself stands at the end of the first."""

SETTABLE = ", ".join(key for key in KEYS if key != "api_key")


def option(usage: str, sentence: str, heading: str | None = None, **rules: Any) -> Any:
    """Return an option; ``usage`` is its names and, if it takes a value, that one's, as help shows them."""
    names = [word for word in usage.split() if word.startswith("-")]
    metavar = next((word for word in usage.split() if word not in names), None)
    return typer.Option(*names, metavar=metavar, help=sentence, rich_help_panel=heading, **rules)


def argument(metavar: str, sentence: str) -> Any:
    """Return an argument, as help shows it."""
    return typer.Argument(metavar=metavar, help=sentence)


Profile = Annotated[str | None, option("--profile -p NAME", "Use this profile, not the default one.", DELIVERY)]
Json = Annotated[bool, option("--json", "Print the result as one line of JSON.", OUTPUT)]
Quiet = Annotated[bool, option("--quiet -q", "Print nothing on success.", OUTPUT)]
Verbose = Annotated[bool, option("--verbose -v", "Show what happens, on standard error.", OUTPUT)]
Workspace = Annotated[str | None, option("--workspace -w NAME", "The workspace; created on first use.", EVENT)]
Icon = Annotated[str | None, option("--icon -i EMOJI", "An emoji, or :rocket: and the like.", EVENT)]
Notify = Annotated[bool | None, option("--notify/--no-notify", "Send a push notification, or don't.", EVENT)]
Meta = Annotated[list[str] | None, option("--meta -m KEY=VALUE", "Metadata; KEY:=JSON a number or boolean.", EVENT)]
Background = Annotated[bool, option("--background -b", "Return once stored; deliver in background.", DELIVERY)]
Deadline = Annotated[str | None, option("--deadline TIME", "For all attempts and waits.  [default: 10s]", DELIVERY)]
EventDeadline = Annotated[
    str | None, option("--deadline TIME", "For all attempts of an event.  [default: 10s]", DELIVERY)
]
BestEffort = Annotated[bool, option("--best-effort", "Warn and exit 0 if delivery fails.", DELIVERY)]
OnMissingKey = Annotated[
    Literal["fail", "skip"] | None,
    option("--on-missing-key fail|skip", "Without a key: fail, or skip and exit 0.", DELIVERY),
]
Ci = Annotated[bool, option("--ci", "Add the CI's repository, commit and run.", EVENT)]
Jobs = Annotated[int, option("--jobs N", "Requests under way at once.", ADVANCED, min=1, max=64)]
Truncate = Annotated[bool, option("--truncate", "Shorten long texts to 150 characters.", EVENT)]
NoValidate = Annotated[bool, option("--no-validate", "Let the service judge the event.", ADVANCED)]
Key = Annotated[str, argument("KEY", f"One of {', '.join(KEYS)}.")]
KeyToSet = Annotated[str, argument("KEY", f"One of {SETTABLE}. An API key is kept by `logsh login`.")]
Ids = Annotated[list[int] | None, argument("[ID...]", "The events' numbers, as `list` shows them.")]
All = Annotated[bool, option("--all", "Every event that the command applies to.")]
JsonLines = Annotated[bool, option("--json", "Print a line of JSON for each.", OUTPUT)]
Yes = Annotated[bool, option("--yes -y", "Don't ask; needed with --all where there is no terminal.")]
SetAsideFile = Annotated[Path | None, argument("[FILE]", "A damaged file; else every one that was set aside.")]
