"""The benchmark suite itself: that it works, not what it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import BEGIN, END, Spread, Table, judged, with_figures

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="processes are measured as POSIX counts them")
@pytest.mark.parametrize(
    ("command", "titles"),
    [
        pytest.param(
            ["-m", "tests.benchmarks", "--only", "store", "--only", "throughput", "--only", "growth"],
            ["What keeping an event costs", "Throughput on loopback", "batch --dry-run", "The outbox"],
            id="keeping and sending many",
        ),
        pytest.param(
            ["tests/benchmarks/startup.py"], ["Whole process", "| logsh send", "| httpx script"], id="whole process"
        ),
    ],
)
def test_the_benchmarks_run_and_print_their_tables(command: list[str], titles: list[str]) -> None:
    argv = [sys.executable, *command, "--tiny", "--runs", "1", "--venv", sys.prefix]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert all(title in done.stdout for title in titles)


def test_a_spread_is_the_median_and_the_quartiles_of_the_paired_ratios() -> None:
    assert Spread.of_ratios([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == Spread(2.0, 1.5, 2.5)
    assert str(Spread.of([1234.0])) == "1,234 (1,234-1,234)"


def test_a_table_is_markdown_whose_columns_line_up() -> None:
    table = Table("Title", ("what", "ms"), [("a", "1.00"), ("longer", "12")], "A note.")
    assert str(table).splitlines() == [
        "**Title**",
        "",
        "| what   |   ms |",
        "| ------ | ---: |",
        "| a      | 1.00 |",
        "| longer |   12 |",
        "",
        "A note.",
    ]


def test_figures_replace_the_old_ones_and_touch_nothing_else_on_the_page() -> None:
    page = with_figures(f"# A\n{BEGIN}\nold\n{END}\nmore\n", "new\n")
    assert page == f"# A\n{BEGIN}\nnew\n{END}\nmore\n"
    assert with_figures(page, "new") == page


@pytest.mark.parametrize("page", [f"{BEGIN}\nold\n", f"old\n{END}\n", f"{END}\nold\n{BEGIN}\n"])
def test_a_page_with_a_marker_missing_is_not_written(page: str) -> None:
    with pytest.raises(ValueError, match=r"must have|not found"):
        with_figures(page, "new")


def test_a_missed_target_is_called_missed() -> None:
    assert judged("≤", 0.95, met=False) == "≤ 0.95, missed"
