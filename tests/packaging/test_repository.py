"""The files around the code: what they say about each other holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.command import environment
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def headings(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    titles = (title.replace("`", "").lower() for title in re.findall(r"(?m)^#+ (.+)$", text))
    return {re.sub(r"[^\w -]", "", title).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


def test_every_promise_of_security_names_tests_that_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = text.split("## What is promised")[1].split("## What is not promised")[0]
    for promise in re.findall(r"(?ms)^- (.*?)(?=^- |^\*\*|\Z)", promises):
        named = re.findall(r"`(test_\w+)`", promise)
        assert named, promise
        for name in named:
            assert f"def {name}(" in sources, name


CHANGES = """\
# Changelog

## {version} (2026-01-31)

- It works.

## 0.0.9 (2025-12-31)

- It does not work yet.
"""


class Checkout:
    """A copy of what a release is judged by, ready for one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / ".ci", root / ".ci")
        (root / "docs").mkdir()
        (root / "logsh_cli").mkdir()
        for name in ("README.md", "SECURITY.md", "pyproject.toml", "docs/recipes.md", "logsh_cli/__init__.py"):
            text = (ROOT / name).read_text(encoding="utf-8").replace("OWNER/logsh-cli", "somebody/logsh-cli")
            (root / name).write_text(text, encoding="utf-8")
        found = re.search(r'__version__ = "(.+)"', (root / "logsh_cli" / "__init__.py").read_text())
        assert found
        self.version = found[1]
        (root / "CHANGELOG.md").write_text(CHANGES.format(version=self.version))

    def notes(self, tag: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.root / ".ci" / "release-notes"), tag]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_a_release_shows_the_changes_of_its_version(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    done = checkout.notes(f"v{checkout.version}")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "- It works.", "")


def test_a_tag_that_is_not_the_version_is_no_release(tmp_path: Path) -> None:
    done = Checkout(tmp_path).notes("v9.9.9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the tag is v9.9.9, but the version" in done.stderr


def test_a_changelog_that_does_not_date_the_version_is_no_release(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES.format(version="0.0.10"))
    done = checkout.notes(f"v{checkout.version}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "CHANGELOG.md has no section" in done.stderr


@pytest.mark.parametrize("name", ["README.md", "pyproject.toml", "docs/recipes.md"])
def test_an_owner_that_is_not_filled_in_is_no_release(tmp_path: Path, name: str) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / name).write_text("OWNER/logsh-cli")
    done = checkout.notes(f"v{checkout.version}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{name} still says OWNER/logsh-cli" in done.stderr


def test_the_owner_is_filled_in_by_the_command_that_contributing_shows(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(r"(?m)^(grep -rlF OWNER/logsh-cli .+)$", text)
    assert found
    shutil.copytree(
        ROOT,
        tmp_path / "copy",
        ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "PKG-INFO", "__pycache__"),
    )
    subprocess.run(["sh", "-euc", found[1].replace("YOU/", "somebody/")], cwd=tmp_path / "copy", check=True)
    left = subprocess.run(
        ["grep", "-rlF", "OWNER/logsh-cli", "."], cwd=tmp_path / "copy", capture_output=True, text=True, check=False
    )
    assert sorted(left.stdout.split()) == [
        "./.ci/release-notes",
        "./CONTRIBUTING.md",
        "./tests/packaging/test_repository.py",
        "./tests/test_recipes.py",
    ]


def test_each_python_that_is_claimed_is_run_on_every_system() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    claimed = {each.rsplit(" ", 1)[1] for each in classifiers if re.search(r"Python :: 3\.\d+$", each)}
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert claimed <= set(jobs["elsewhere"]["strategy"]["matrix"]["python"])
    assert claimed <= set(jobs["linux"]["steps"][1]["with"]["python-version"].split())


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github" / "workflows").iterdir()), ids=lambda path: path.name)
def test_workflows_use_other_peoples_code_by_its_full_commit_and_ask_for_little(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    for used in re.findall(r"uses: (\S+)", text):
        assert used == "./" or re.search(r"@[0-9a-f]{40}$", used), used
    parsed = yaml.safe_load(text)
    assert parsed["permissions"] == {"contents": "read"}
    for job in parsed["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "an expression in a script is a place to inject shell"
