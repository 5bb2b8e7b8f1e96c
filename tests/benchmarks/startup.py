"""The time that a cold ``logsh send`` takes, as a ratio to the smallest httpx script, to HTTPie and to curl.

``python tests/benchmarks/startup.py [--runs N] [--peers] [--venv PATH]``; ``python -m tests.benchmarks`` does the rest.
"""

from __future__ import annotations

import sys
from pathlib import Path

# As a script, this directory is where modules are looked for; they are packaged below the repository's root.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.benchmarks.__main__ import main  # noqa: E402 - after the line above

if __name__ == "__main__":
    sys.exit(main(["--only", "startup", *sys.argv[1:]]))
