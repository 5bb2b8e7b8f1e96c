"""The campaign of signals, small; ``python -m tests.benchmarks.campaigns job-signals`` is the large one."""

from __future__ import annotations

import random
import sys

import pytest

from tests.benchmarks.campaigns import job_signals


@pytest.mark.skipif(sys.platform != "linux", reason="the bystander's evidence is in /proc")
def test_no_signal_is_lost_however_it_is_sent() -> None:
    toll = job_signals.campaign(random.Random(3), 8)
    assert toll.lost == 0, str(toll)
