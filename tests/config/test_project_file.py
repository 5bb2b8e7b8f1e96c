"""Which project file counts, and what it may say."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from logsh_cli.config.files import find_project_file as find
from logsh_cli.config.files import read_project_file as read
from logsh_cli.errors import BadConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    return tmp_path / "repo"


def test_the_nearest_one_up_to_the_repository_root_counts_and_outside_only_the_working_directorys(tree: Path) -> None:
    here = tree / "a" / "b"
    (tree / ".logsh.toml").touch()
    assert (find(here), find(tree / "a"), find(tree)) == (None, None, tree / ".logsh.toml")
    (tree / ".git").mkdir()
    assert find(here) == tree / ".logsh.toml"
    (tree / "a" / ".git").touch()  # a file, as in a worktree or a submodule
    assert find(here) is None
    (tree / "a" / ".logsh.toml").touch()
    assert find(here) == tree / "a" / ".logsh.toml"
    (here / ".logsh.toml").touch()
    assert find(here) == here / ".logsh.toml"


def test_a_working_directory_that_was_deleted_is_no_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tree / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find(gone) is None
    assert find(type(gone)()) is None


def test_it_sets_what_belongs_to_an_event(tree: Path) -> None:
    path = tree / ".logsh.toml"
    path.write_text(
        'workspace = "shop"\nicon = ":rocket:"\nnotify = false\n[metadata]\nteam = "a"\nn = 1\nx = 1.5\nb = true\n'
    )
    metadata = {"team": "a", "n": 1, "x": 1.5, "b": True}
    values = {"workspace": "shop", "icon": ":rocket:", "notify": False, "metadata": metadata}
    assert read(path) == (values, None)


def test_what_is_wrong_with_it_is_said_with_its_path(tree: Path) -> None:
    path = tree / ".logsh.toml"
    for text, said in (
        *((f'{key} = "x"', f'"{key}" is not allowed') for key in ("api_key", "api_url", "ca_file")),
        ('workspaces = "x"', 'unknown key "workspaces"'),
        ("[profiles.work]", 'unknown key "profiles"'),
        ("deadline = 3", 'unknown key "deadline"'),
        ("workspace = 3", '"workspace" must be a string'),
        ("notify = 'yes'", '"notify" must be true or false'),
        ("metadata = 3", '"metadata" must be a table'),
        ("[metadata]\na = [1]", 'metadata "a" must be a string, a number, true or false'),
        ("[metadata]\na = {b = 1}", 'metadata "a" must be'),
        ("[metadata]\na = 2020-01-01", 'metadata "a" must be'),
        ("[metadata]\na = nan", 'metadata "a" must be'),
        ("[metadata]\n'' = 1", "metadata must have no empty key"),
        (f"[metadata]\n{'k' * 101} = 1", "must be at most 100 characters; yours has 101"),
        (f"[metadata]\na = '{'v' * 501}'", "at most 500 characters; yours has 501"),
        ("workspace =\n", "line 1"),
        # What would take the parser forever is refused before it is parsed.
        ("#" * 4097, "too large: at most 4 KiB"),
        ("x." * 65 + "x = 1", "more than 64 dots in a line"),
        ("[" + "x." * 65 + "x]", "more than 64 dots in a line"),
        ('a = [ """\n""", {' + "x." * 65 + "x = 1}]", "more than 64 dots in a line"),
    ):
        path.write_text(text)
        with pytest.raises(BadConfig) as caught:
            read(path)
        assert str(path) in caught.value.message
        assert said in caught.value.message


def test_one_that_is_just_large_enough_is_read(tree: Path) -> None:
    path = tree / ".logsh.toml"
    path.write_text('workspace = "' + "." * 64 + '"\n' + "#" * (4096 - 79))
    assert path.stat().st_size == 4096
    assert read(path) == ({"workspace": "." * 64}, None)


def test_one_that_can_not_be_read_is_an_error(tree: Path) -> None:
    link, directory = tree / ".logsh.toml", tree / "a" / ".logsh.toml"
    link.symlink_to("nowhere")
    directory.mkdir()
    for path in (link, directory):
        assert find(path.parent) == path
        with pytest.raises(BadConfig, match=r"\.logsh\.toml"):
            read(path)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("what", ["file", "link", "target"])
def test_another_users_is_ignored_with_a_warning(what: str, tree: Path) -> None:
    path, target = tree / ".logsh.toml", tree / "target.toml"
    target.write_text('workspace = "theirs"\n')
    if what == "file":
        target.rename(path)
        os.chown(path, 54321, 54321)
    else:
        path.symlink_to(target)
        os.chown(path if what == "link" else target, 54321, 54321, follow_symlinks=False)
    assert read(path) == ({}, f"{path} is ignored: it belongs to another user")
