"""Text from outside can't make a regular expression of ours work for seconds."""

from __future__ import annotations

import re

from tests.benchmarks import patterns

SIZE = 4 * 1024
"""Enough to see what would take 0.8 s for 64 KB: 16 times the text is 256 times the time."""


def test_no_pattern_takes_more_than_proportional_time_for_a_hostile_text() -> None:
    assert list(patterns.slow_ones(SIZE)) == []


def test_a_pattern_that_backtracks_would_be_noticed() -> None:
    backtracks = patterns.Use(re.compile(r":[^@]*@"), "search")
    assert next(patterns.slow_texts(backtracks, SIZE)).growth > patterns.MOST_GROWTH
    assert len(patterns.uses()) > 30
