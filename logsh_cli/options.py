"""Options that several commands share, each declared once, in the same words wherever it appears.

Typer evaluates signatures at run time, so the types named here must be real imports.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from logsh_cli.config.files import KEYS
from logsh_cli.help import ADVANCED, OUTPUT

JOB, EVENT, DELIVERY = "Run and report", "Event", "Delivery"
"""The other headings under which long help lists options."""

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", "-p", metavar="NAME", help="Use this profile's key and settings.", rich_help_panel=DELIVERY
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on success.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show what happens, on standard error.", rich_help_panel=OUTPUT)
]
Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", "-w", metavar="NAME", help="The workspace; created on first use.", rich_help_panel=EVENT
    ),
]
Icon = Annotated[
    str | None,
    typer.Option("--icon", "-i", metavar="EMOJI", help="An emoji, or :rocket: and the like.", rich_help_panel=EVENT),
]
Notify = Annotated[
    bool | None, typer.Option("--notify/--no-notify", help="Send a push notification, or don't.", rich_help_panel=EVENT)
]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        "--meta", "-m", metavar="KEY=VALUE", help="Metadata; KEY:=JSON a number or boolean.", rich_help_panel=EVENT
    ),
]
Background = Annotated[
    bool,
    typer.Option("--background", "-b", help="Return once stored; deliver in background.", rich_help_panel=DELIVERY),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline", metavar="TIME", help="For all attempts and waits.  [default: 10s]", rich_help_panel=DELIVERY
    ),
]
EventDeadline = Annotated[
    str | None,
    typer.Option(
        "--deadline", metavar="TIME", help="For all attempts of an event.  [default: 10s]", rich_help_panel=DELIVERY
    ),
]
BestEffort = Annotated[
    bool, typer.Option("--best-effort", help="Warn and exit 0 if delivery fails.", rich_help_panel=DELIVERY)
]
OnMissingKey = Annotated[
    Literal["fail", "skip"] | None,
    typer.Option(
        "--on-missing-key",
        metavar="fail|skip",
        help="Without a key: fail, or skip and exit 0.",
        rich_help_panel=DELIVERY,
    ),
]
Ci = Annotated[bool, typer.Option("--ci", help="Add the CI's repository, commit and run.", rich_help_panel=EVENT)]
Jobs = Annotated[
    int,
    typer.Option("--jobs", min=1, max=64, metavar="N", help="Requests under way at once.", rich_help_panel=ADVANCED),
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Shorten long texts to 150 characters.", rich_help_panel=EVENT)
]
NoValidate = Annotated[
    bool, typer.Option("--no-validate", help="Let the service judge the event.", rich_help_panel=ADVANCED)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help=f"One of {', '.join(KEYS)}.")]
KeyToSet = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help=f"One of {', '.join(key for key in KEYS if key != 'api_key')}. An API key is kept by `logsh login`.",
    ),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID...]", help="The events' numbers, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every event that the command applies to.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.", rich_help_panel=OUTPUT)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
SetAsideFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A damaged file; else every one that was set aside.")
]
