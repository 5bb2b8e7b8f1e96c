"""The last step of the action: its inputs made a command line, run here, and its outputs written.

One process from the runner's shell to the end, so that every signal of the runner reaches the wrapped command.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from logsh_cli.__main__ import leave
from logsh_cli.app import AppContext
from logsh_cli.cli import main
from logsh_cli.output import Result
from logsh_cli.output.printer import Printer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logsh_cli.output import Tally

SETTINGS = {
    "API_KEY": "LOGSH_API_KEY",
    "API_URL": "LOGSH_API_URL",
    "WORKSPACE": "LOGSH_WORKSPACE",
    "DEADLINE": "LOGSH_DEADLINE",
    "STATE_DIRECTORY": "LOGSH_STATE_DIR",
}
"""Inputs that are given by the environment; an empty one leaves what the job has set."""

RUN_OPTIONS = {
    "ON": "--on",
    "SUCCESS_CODES": "--success-codes",
    "TAIL": "--tail",
    "TIMEOUT": "--timeout",
    "LONGER_THAN": "--longer-than",
    "NOTIFY_AFTER": "--notify-after",
}


class Observer(Printer):
    """Shows results as usual and remembers the last one's status."""

    status = ""

    def show(self, result: Result | Tally) -> None:
        """Print the result."""
        if isinstance(result, Result):
            self.status = result.status
        super().show(result)


def command_line(given: Mapping[str, str]) -> list[str]:
    """Return what follows ``logsh``; no input can become an option but ``args``, which are options."""
    shared = ["--ci", f"--event={given['EVENT']}"]
    shared += [f"--meta={line}" for line in given.get("METADATA", "").splitlines() if line.strip()]
    more = given.get("ARGS", "").split()
    icon, pushes = given.get("ICON", ""), given.get("NOTIFY") == "true"
    if not given.get("RUN"):
        described = [f"--desc={given.get('DESCRIPTION', '')}"]
        described += [f"--icon={icon}"] * bool(icon) + ["--notify"] * pushes
        return ["send", *shared, *described, "--best-effort", *more]
    push = given.get("NOTIFY_ON") or ("failure" if pushes else "never")
    options = [f"--notify-on={push}"]
    options += [f"{option}={given[name]}" for name, option in RUN_OPTIONS.items() if given.get(name)]
    options += [f"--desc={given['DESCRIPTION']}"] * bool(given.get("DESCRIPTION"))
    options += [f"--icon={icon}"] * bool(icon) + ["--start"] * (given.get("START") == "true")
    options += ["--quiet-job"] * (given.get("QUIET_JOB") == "true")
    # The first bash on PATH, as the runner itself chooses it: on Windows the system's folder, with another one, is
    # searched first.
    bash = shutil.which("bash") or "bash"
    return ["run", *shared, *options, *more, "--", bash, "-eo", "pipefail", "-c", given["RUN"]]


def use() -> NoReturn:
    """Run the command line that the inputs make and end as it ends."""
    given = {name.removeprefix("INPUT_"): os.environ.pop(name) for name in list(os.environ) if name[:6] == "INPUT_"}
    for name in ("PROGRAM", "ACTION_PATH"):
        os.environ.pop(name, None)
    os.environ |= {setting: given[name] for name, setting in SETTINGS.items() if given.get(name)}
    os.environ.setdefault("LOGSH_ON_MISSING_KEY", "skip")
    os.environ.setdefault("LOGSH_STATE_DIR", str(Path(os.environ["RUNNER_TEMP"], "logsh-state")))
    context = AppContext.of_process()
    context.printer = printer = Observer(context.streams, context.redact)
    code = main(command_line(given), context)
    context.streams.flush()
    status = ("failed" if code else "succeeded") if given.get("RUN") else printer.status
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(f"status={status}\nexit-code={code}\n")
    leave(code, context.fatal_signal)


if __name__ == "__main__":
    use()
