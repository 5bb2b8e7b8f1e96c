"""The campaigns against a delivery, small: nothing is lost without a word, and nothing is doubled without a bound."""

from __future__ import annotations

import random
from importlib import import_module

import pytest

COPIES_OF_LOST_ANSWERS = 8
"""Two tries each at once, and after one, three and seven minutes."""


@pytest.mark.parametrize(
    ("name", "size", "doubled"),
    [
        ("signals", 9, 0),
        ("no_threads", 3, 0),
        ("choking", 200, 0),
        ("lapsed_plan", 300, 0),
        ("lost_answers", 11, 3 * COPIES_OF_LOST_ANSWERS),
        ("clock_waits", 100, 0),
    ],
)
def test_nothing_is_lost(name: str, size: int, doubled: int) -> None:
    toll = import_module(f"tests.benchmarks.campaigns.{name}").campaign(random.Random(7), size)
    assert (toll.accepted > 0, toll.lost) == (True, 0), toll
    assert toll.doubled <= doubled, toll
