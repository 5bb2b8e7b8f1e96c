"""The share of small faults that tests see: ``python -m tests.benchmarks.mutation [--share 0.2] [--seed 1] [ROOM]...``.

cosmic-ray makes the faults, one at a time, in a copy of the repository; the tests of the room that holds the fault must
fail. Each worker has a copy and an environment of its own, so that installed commands run the faulty code, too. With
``--share`` a part of the faults is drawn by the seed. What survived is listed with its place and its change.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("event", "delivery", "outbox", "http", "config")
PATIENCE_S = 120

OPERATORS = (
    *("NumberReplacer", "AddNot", "ReplaceOrWithAnd", "ReplaceAndWithOr", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ExceptionReplacer", "ZeroIterationForLoop"),
    *("ReplaceContinueWithBreak", "ReplaceBreakWithContinue", "ReplaceBinaryOperator_Add_Sub"),
    *("ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul"),
    *("ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq", "ReplaceComparisonOperator_Is_IsNot"),
    *("ReplaceComparisonOperator_IsNot_Is", "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt"),
    *("ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Lt_GtE"),
    *("ReplaceComparisonOperator_Gt_LtE",),
)
"""One fault of each kind a place. The rest of cosmic-ray's vary these, or change annotations, which never run."""


JOB = "module_path, operator_name, occurrence, operator_args, job_id"


class Count(NamedTuple):
    """The faults of one room: how many were made, and a description of each that no test saw."""

    made: int
    survivors: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", default=ROOMS, metavar="ROOM")
    parser.add_argument("--share", type=float, default=1.0, help="the part of all faults to make")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        places = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(given.jobs)]
        for place in places:
            copy_repository(place)
        made = seen = 0
        for room in given.rooms:
            count = run_room(room, places, given.share, given.seed)
            made, seen = made + count.made, seen + count.made - len(count.survivors)
            print(f"{room}: {count.made - len(count.survivors)} of {count.made} seen", flush=True)
            print(*(f"  {survivor}" for survivor in count.survivors), sep="\n", flush=True)
    print(f"all: {seen} of {made} seen ({seen / made:.1%})" if made else "nothing to change")
    return 0


def copy_repository(place: Path) -> None:
    """A copy with an environment beside it that has this one's packages, but this copy's ``logsh``."""
    ignored = shutil.ignore_patterns(".venv", ".git", ".mypy_cache", ".ruff_cache", "__pycache__", "mutants")
    shutil.copytree(ROOT, place / "repository", ignore=ignored)
    # By time and size, a fault that is as long as what it replaces in the same second would not be noticed.
    by_hash = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([*by_hash, str(place / "repository" / "logsh_cli")], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    (packages,) = place.glob("venv/lib/python*/site-packages")
    paths = [str(place / "repository"), sysconfig.get_path("purelib")]
    packages.joinpath("mutation.pth").write_text("\n".join(paths) + "\n")
    script = place / "venv" / "bin" / "logsh"
    script.write_text(f"#!{place}/venv/bin/python\nfrom logsh_cli.__main__ import run\nrun()\n")
    script.chmod(0o755)


def run_room(room: str, places: list[Path], share: float, seed: int) -> Count:
    """Make the faults of a room, divided among the workers."""
    sessions = [prepare(room, place) for place in places]
    with sqlite3.connect(sessions[0]) as db:
        jobs = sorted(db.execute(f"SELECT {JOB}, start_pos_row FROM mutation_specs"))
    wanted = [job for job in jobs if str(job[1]).removeprefix("core/") in OPERATORS and runs(places[0], job[0], job[5])]
    chosen = random.Random(seed).sample(wanted, round(len(wanted) * share))
    for number, session in enumerate(sessions):
        keep_only({job[:4] for job in chosen[number :: len(sessions)]}, session)
    with ThreadPoolExecutor(len(sessions)) as pool:
        list(pool.map(execute, places, sessions))
    return Count(len(chosen), [survivor for session in sessions for survivor in survivors_of(session)])


def runs(place: Path, module: str, row: int) -> bool:
    """Tell if a line does anything that a test could see: not what is for the type checker, nor a signature's ``*``."""
    line = (place / "repository" / module).read_text(encoding="utf-8").splitlines()[row - 1].strip()
    return line not in ("if TYPE_CHECKING:", "*,") and not (line.startswith("def ") and "*, " in line)


def prepare(room: str, place: Path) -> Path:
    """A session of cosmic-ray for one room in one copy, with every fault that it can make."""
    python = place / "venv" / "bin" / "python"
    config, session = place / f"{room}.toml", place / f"{room}.sqlite"
    config.write_text(
        f"""[cosmic-ray]
module-path = "logsh_cli/{room}"
timeout = {PATIENCE_S}
excluded-modules = []
test-command = "{python} -m pytest -x -q -n 0 -p no:cacheprovider tests/{room}"
[cosmic-ray.distributor]
name = "local"
"""
    )
    cosmic_ray("init", config, session, place)
    return session


def execute(place: Path, session: Path) -> None:
    """Make the session's faults, one after the other."""
    cosmic_ray("exec", session.with_suffix(".toml"), session, place)


def cosmic_ray(command: str, config: Path, session: Path, place: Path) -> None:
    argv = [sys.executable, "-m", "cosmic_ray.cli", command, str(config), str(session)]
    subprocess.run(argv, cwd=place / "repository", check=True, stdout=subprocess.DEVNULL)


def keep_only(wanted: set[tuple[object, ...]], session: Path) -> None:
    """Take the other faults out of a session."""
    with sqlite3.connect(session) as db:
        jobs = db.execute(f"SELECT {JOB} FROM mutation_specs")
        others = [(job[4],) for job in jobs.fetchall() if job[:4] not in wanted]
        for table in ("mutation_specs", "work_items"):
            db.executemany(f"DELETE FROM {table} WHERE job_id = ?", others)


def survivors_of(session: Path) -> list[str]:
    """The faults that the tests did not see: module, line, and the changed lines."""
    select = (
        "SELECT module_path, start_pos_row, diff FROM work_results JOIN mutation_specs USING (job_id) "
        "WHERE test_outcome = 'SURVIVED' ORDER BY 1, 2"
    )
    with sqlite3.connect(session) as db:
        rows = db.execute(select).fetchall()
    return [f"{module}:{row} {changed(diff)}" for module, row, diff in rows]


def changed(diff: str) -> str:
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return " => ".join(line[1:].strip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
