"""Options that several commands share, each declared once, in the same words wherever it appears.

Typer evaluates signatures at run time, so the types named here must be real imports.
"""

from typing import Annotated, Literal

import typer

from logsh_cli.config.files import KEYS

JOB, REPORT, EVENT, DELIVERY, OUTPUT = "Command", "Report", "Event", "Delivery", "Output"
"""The headings under which long help lists options."""

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", "-p", metavar="NAME", help="Use this profile's key, URL and defaults.", rich_help_panel=DELIVERY
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
        "--workspace",
        "-w",
        metavar="NAME",
        help="The workspace; created by the service on first use.",
        rich_help_panel=EVENT,
    ),
]
Icon = Annotated[
    str | None,
    typer.Option(
        "--icon", "-i", metavar="EMOJI", help="An emoji, or a shortcode such as :rocket:.", rich_help_panel=EVENT
    ),
]
Notify = Annotated[
    bool | None, typer.Option("--notify/--no-notify", help="Send a push notification, or don't.", rich_help_panel=EVENT)
]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        "--meta",
        "-m",
        metavar="KEY=VALUE",
        help="Metadata; KEY=VALUE is a string, KEY:=JSON a number or boolean.",
        rich_help_panel=EVENT,
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Time for all attempts and waits together, e.g. 30 or 2m.  [default: 10s]",
        rich_help_panel=DELIVERY,
    ),
]
BestEffort = Annotated[
    bool,
    typer.Option(
        "--best-effort", help="Make a delivery that fails a warning, with exit code 0.", rich_help_panel=DELIVERY
    ),
]
OnMissingKey = Annotated[
    Literal["fail", "skip"] | None,
    typer.Option(
        "--on-missing-key",
        metavar="fail|skip",
        help="Without an API key: fail, or skip with exit code 0.",
        rich_help_panel=DELIVERY,
    ),
]
Ci = Annotated[
    bool,
    typer.Option("--ci", help="Add repository, branch, commit and run from the CI environment.", rich_help_panel=EVENT),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", min=1, max=64, metavar="N", help="Requests under way at once.", rich_help_panel=DELIVERY),
]
Truncate = Annotated[
    bool,
    typer.Option(
        "--truncate", help="Shorten an over-long description or event to 150 characters.", rich_help_panel=EVENT
    ),
]
NoValidate = Annotated[
    bool, typer.Option("--no-validate", help="Let the service judge the event.", rich_help_panel=EVENT)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help=f"One of {', '.join(KEYS)}.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", help="The events' numbers, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every event that the command applies to.")]
