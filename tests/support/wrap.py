"""A wrapper with nothing in it but the child process engine, as a process of its own.

``wrap.py REPORT OPTIONS COMMAND [ARG]...`` runs the command and writes the ending to the file REPORT as JSON. OPTIONS
is JSON: what ``start`` takes. Exits as a shell would.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from logsh_cli.job.child import shell_status, start


def main() -> int:
    report, options, *argv = sys.argv[1:]
    child = start(argv, **json.loads(options))
    ending = child.wait()
    child.release_signals()
    values = {**ending._asdict(), "tail": base64.b64encode(ending.tail).decode(), "ordered": sorted(ending.ordered)}
    whole = Path(report + ".part")
    whole.write_text(json.dumps(values))
    whole.rename(report)
    return shell_status(ending)


if __name__ == "__main__":
    os._exit(main())
