"""The campaigns against a delivery, small: nothing is lost without a word, and nothing is doubled without a bound."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.campaigns.no_threads import without_threads
from tests.support.command import LOGSH, environment
from tests.support.kept import arrived
from tests.support.sending import settings_for

if TYPE_CHECKING:
    from tests.support.server import Server

COPIES_OF_LOST_ANSWERS = 8
"""Two tries each at once, and after one, three and seven minutes."""


@pytest.mark.parametrize(
    ("name", "size", "doubled"),
    [
        ("signals", 6, 0),
        ("no_threads", 2, 0),
        ("choking", 200, 0),
        ("lapsed_plan", 100, 0),
        ("lost_answers", 11, 3 * COPIES_OF_LOST_ANSWERS),
        ("clock_waits", 100, 0),
    ],
)
def test_nothing_is_lost(name: str, size: int, doubled: int) -> None:
    toll = import_module(f"tests.benchmarks.campaigns.{name}").campaign(random.Random(7), size)
    assert (toll.accepted > 0, toll.lost) == (True, 0), toll
    assert toll.doubled <= doubled, toll


def test_without_threads_a_job_is_reported_start_and_end(service: Server) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        env = environment(settings_for(service))
        return subprocess.run(
            command, env=env, preexec_fn=without_threads, capture_output=True, text=True, check=False, timeout=60
        )

    control = run(sys.executable, "-c", "import threading; threading.Thread(target=print).start()")
    assert "can't start new thread" in control.stderr
    assert run(str(LOGSH), "run", "--start", "--", "sh", "-c", "exit 3").returncode == 3
    assert "sh" in arrived(service)
