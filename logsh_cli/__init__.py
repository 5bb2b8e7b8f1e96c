"""logsh: send events to Logsh from shell one-liners, cron jobs and CI steps."""

import os
import sys

__version__ = "0.1.0"

ENTRY = "from logsh_cli.__main__ import run; run()"
"""The Python code that is ``logsh``; what stands behind it on a command line are its arguments."""


def own_command() -> list[str]:
    """Return what starts this logsh once more, from the same modules: installed, in a zipapp or a wrapped Python.

    ``python -m logsh_cli`` would look for them in this Python's own folders only. The working directory is left out,
    where a ``httpx.py`` may lie, unless it is the one that logsh itself was loaded from.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib costs 3 ms
    except OSError:  # it has been deleted
        here = ""
    home = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - as above
    modules = [os.path.abspath(place) for place in sys.path if place == home or place not in {"", here}]  # noqa: PTH100
    # Isolated (-I), where this process is: nothing that PYTHONPATH names, such as a sitecustomize.py, is run either.
    option = "-Ic" if sys.flags.isolated else "-c"
    return [sys.executable, option, f"import sys; sys.path[:] = {modules!r}; {ENTRY}"]
