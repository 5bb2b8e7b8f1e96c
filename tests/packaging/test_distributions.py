"""The wheel and the source archive: what is in them, what an index shows of them, and that two builds are the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING

import pytest

from logsh_cli.commands.completion import FILES
from tests.support.archives import build, unpack
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path


@pytest.fixture
def wheel(archives: tuple[Path, Path]) -> Path:
    return archives[0]


@pytest.fixture
def unpacked(archives: tuple[Path, Path], tmp_path: Path) -> Path:
    """The source archive's contents."""
    return unpack(archives[1], tmp_path / "source")


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = {each.split("/")[0] for each in archive.namelist() if ".dist-info/" in each}
        found: Message = PathDistribution(zipfile.Path(archive, f"{name}/")).metadata  # type: ignore[assignment]
        return found


def test_the_wheel_puts_each_file_where_its_reader_looks(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {re.sub(r"^[^/]+\.data/data/", "", name): archive.read(name) for name in archive.namelist()}
    completions = ROOT / "completions"
    for file, place in {
        "logsh.bash": "share/bash-completion/completions/logsh",
        "_logsh": "share/zsh/site-functions/_logsh",
        "logsh.fish": "share/fish/vendor_completions.d/logsh.fish",
        "logsh.1": "share/man/man1/logsh.1",
    }.items():
        assert packed[place] == completions.joinpath(file).read_bytes()
    for file in FILES.values():
        assert packed[f"logsh_cli/completions/{file}"] == completions.joinpath(file).read_bytes()
    assert not [name for name in packed if name.startswith(("tests/", "completions/")) or name.endswith("py.typed")]


def test_a_second_build_elsewhere_makes_the_same_bytes(
    archives: tuple[Path, Path], unpacked: Path, tmp_path: Path
) -> None:
    """From the source archive, which is so shown to hold all that either of them is made of."""
    for path in unpacked.rglob("*"):
        os.utime(path, (10**9, 10**9))
    again = build(unpacked, tmp_path / "again", umask=0o077)
    assert [path.name for path in again] == [path.name for path in archives]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in archives]


def test_the_container_image_is_built_of_the_same_wheel(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """The image's first stage sees only the files that ``.dockerignore`` lets through."""
    let_through = re.findall(r"(?m)^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"))
    for path in (path for pattern in let_through for path in ROOT.glob(pattern)):
        place = tmp_path / "context" / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    assert (tmp_path / "context" / ".github" / "action" / "requirements.txt").is_file()
    wheel, _ = build(tmp_path / "context", tmp_path / "wheels")
    assert wheel.read_bytes() == archives[0].read_bytes()


def test_the_source_archive_holds_every_file_of_the_repository(unpacked: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    tracked = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert tracked - packed == set()


def test_an_index_shows_links_that_work_there_and_claims_what_is_tested(wheel: Path) -> None:
    shown = metadata(wheel)
    text = str(shown.get_payload())
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert re.search(r"!\[[^\]]*\]\(https://\S+/raw/v[\d.]+/docs/send\.svg\)", text)
    claimed = [each for each in shown.get_all("Classifier", []) if "Operating System" in each or "Typing" in each]
    assert claimed == ["Operating System :: POSIX :: Linux"]
    urls = dict(each.split(", ", 1) for each in shown.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} == set(urls)


def test_the_archives_pass_the_check_of_an_index(archives: tuple[Path, Path]) -> None:
    if shutil.which("twine") is None:
        pytest.skip("twine is not installed")
    done = subprocess.run(
        ["twine", "check", "--strict", *map(str, archives)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
