"""The configuration file: reading it, and changing it without losing anything."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logsh_cli.config.edit import update
from logsh_cli.config.files import KEYS
from logsh_cli.config.files import read_config as read
from logsh_cli.errors import BadConfig

REPOSITORY = Path(__file__).parents[2]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="file modes and owners are POSIX")
as_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root to become another user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_top_level_keys_are_the_default_profile_and_tables_the_others(path: Path) -> None:
    assert read(path) == ({"default": {}}, None)
    written(path, '\ufeffapi_key = "k"\ndeadline = 5\n[profiles.work]\napi_url = "https://x"\nnotify = true\n')
    work = {"api_url": "https://x", "notify": True}
    assert read(path) == ({"default": {"api_key": "k", "deadline": 5}, "work": work}, None)


def test_what_is_wrong_with_the_file_is_said_with_its_path(path: Path) -> None:
    for content, said, hint in (
        ('workspace = "a"\napi-key = "x"', 'unknown key "api-key"', "did you mean api_key?"),
        ('[profiles.work]\nworkspce = "x"', 'unknown key "profiles.work.workspce"', "did you mean workspace?"),
        ("zzz = 1", 'unknown key "zzz"', "known are api_key"),
        ("[metadata]\na = 1", 'unknown key "metadata"', "known are"),
        ("workspace = 3", '"workspace" must be a string', ""),
        ("notify = 1", '"notify" must be true or false', ""),
        ("deadline = true", '"deadline" must be a duration', ""),
        ("[profiles.a.api_key]", '"profiles.a.api_key" must be a string', ""),
        ("profiles = 3", '"profiles" must be tables', ""),
        ("[profiles]\nwork = 3", '"profiles" must be tables', ""),
        ("[profiles.default]\nworkspace = 'x'", "the default profile is the keys at the top", ""),
        ("[profiles.'']", "must not be empty", ""),
        ('[profiles."a\\u001b"]', "must be printable", ""),
        ("workspace = 'a'\nicon =\n", "line 2", "by hand"),
        (b"workspace = 'a'\nicon = '\xff'\n", "not valid TOML: 'utf-8' codec", "by hand"),
        ("workspace = 'a'\nworkspace = 'b'", "not valid TOML", "by hand"),
        ("deadline = " + "9" * 5000, "not valid TOML: Exceeds the limit", "by hand"),
        ("a = " + "[" * 5000, "recursion", "by hand"),
        ("#" * (64 * 1024 + 1), "too large: at most 64 KiB", ""),
        ("\n" + "a." * 2000 + "a = 1", "more than 64 dots in a line", ""),
    ):
        with pytest.raises(BadConfig) as caught:
            read(written(path, content))
        assert str(path) in caught.value.message
        assert said in caught.value.message
        assert hint in str(caught.value.hint)


@posix_only
def test_a_directory_in_its_place_is_an_error_and_a_pipe_does_not_hang(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(BadConfig, match="Is a directory"):
        read(path)
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert read(path)[0] == {"default": {}}


@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_content_gives_anything_but_profiles_or_an_error_that_names_the_file(content: bytes, path: Path) -> None:
    written(path, content)
    for act in (lambda: read(path), lambda: update(path, "work", {"workspace": "w"})):
        complaint = str(path)
        try:
            act()
        except BadConfig as error:
            complaint = error.message
        assert str(path) in complaint


@posix_only
def test_a_file_that_others_can_read_is_tightened_with_a_warning_once(path: Path) -> None:
    for loose in (0o644, 0o640, 0o604, 0o666):
        written(path, "workspace = 'a'").chmod(loose)
        assert read(path)[1] == f"{path} could be read by others (mode {loose:04o}); tightened to 0600"
        assert mode(path) == 0o600
        assert read(path)[1] is None


@as_root
@pytest.mark.parametrize("what", ["file", "directory", "target"])
def test_a_file_that_somebody_else_could_have_written_is_neither_read_nor_changed(
    what: str, path: Path, tmp_path: Path
) -> None:
    written(path, "api_url = 'https://elsewhere.example'").chmod(0o644)
    if what == "target":
        path.rename(tmp_path / "theirs.toml")
        path.symlink_to(tmp_path / "theirs.toml")
    os.chown(path.parent if what == "directory" else path, 54321, 54321)
    for act in (lambda: read(path), lambda: update(path, "default", {"workspace": "w"})):
        with pytest.raises(BadConfig, match="it belongs to user 54321, not to root") as caught:
            act()
        assert "LOGSH_CONFIG_DIR" in str(caught.value.hint)
    assert mode(path) == 0o644
    assert path.read_text() == "api_url = 'https://elsewhere.example'"


@as_root
def test_a_file_that_can_not_be_read_is_an_error_and_a_directory_that_can_not_be_searched_a_warning() -> None:
    import tempfile  # noqa: PLC0415 - pytest's own tmp_path can't be entered by another user

    # The process changes its own identity, since another user need not be allowed to start this interpreter.
    program = (
        "import os, sys, pathlib, tomllib; from logsh_cli.config.files import read_config as read\n"
        "from logsh_cli.errors import BadConfig\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "try: print(read(pathlib.Path(sys.argv[1]))[1])\n"
        "except BadConfig as error: print(error.name, error.message)"
    )
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = written(Path(name) / "c" / "config.toml", "workspace = 'a'")
        for mode, said in ((0o755, f"bad_config can't read {path}"), (0o700, f"can't look into {path.parent}")):
            path.parent.chmod(mode)
            command = [sys.executable, "-c", program, str(path)]
            done = subprocess.run(command, cwd=REPOSITORY, env={}, capture_output=True, check=True, text=True)
            assert done.stdout.startswith(said)


def test_an_update_sets_removes_and_keeps_the_rest_even_an_empty_profile_in_a_private_file(path: Path) -> None:
    before = os.umask(0)
    try:
        update(path, "default", {"api_key": "k", "workspace": "a"})
    finally:
        os.umask(before)
    assert sys.platform == "win32" or (mode(path), mode(path.parent)) == (0o600, 0o700)
    update(path, "work", {"api_key": "w", "notify": True, "deadline": 2.5})
    update(path, "bare", {"api_key": "w"})
    update(path, "default", {"api_key": None, "icon": None})
    update(path, "bare", {"api_key": None})
    work = {"api_key": "w", "notify": True, "deadline": 2.5}
    assert read(path)[0] == {"default": {"workspace": "a"}, "work": work, "bare": {}}


COMMENTED = """\
# mine, by hand

workspace = 'shop'  # the main one

# the day job
[profiles.work]
api_key = "old" # from the dashboard

# where the tests go
[profiles."two words"]
notify = false
"""


CHANGES: list[tuple[str, dict[str, str | bool | None], str, str]] = [
    ("default", {"workspace": "x"}, "'shop'", '"x"'),
    ("default", {"notify": True}, "main one\n", "main one\nnotify = true\n"),
    ("default", {"workspace": None}, "workspace = 'shop'  # the main one\n\n", ""),
    ("work", {"api_key": "new"}, '"old"', '"new"'),
    ("work", {"icon": "✅"}, "dashboard\n", 'dashboard\nicon = "✅"\n'),
    ("two words", {"notify": None}, "notify = false\n", ""),
    ("third", {"workspace": "z"}, "notify = false\n", 'notify = false\n\n[profiles.third]\nworkspace = "z"\n'),
]
"""A change, and what of COMMENTED it replaces by what."""


def test_every_comment_stays_where_it_is(path: Path) -> None:
    for profile, changes, replace, by in CHANGES:
        assert replace in COMMENTED
        for newline in ("\n", "\r\n"):
            written(path, COMMENTED.replace("\n", newline))
            update(path, profile, changes)
            assert path.read_bytes().decode() == COMMENTED.replace(replace, by).replace("\n", newline)
    written(path, "[profiles.work]\n")
    update(path, "default", {"icon": "✅"})
    assert path.read_text() == 'icon = "✅"\n\n[profiles.work]\n'


def test_a_profile_is_changed_however_it_is_spelled(path: Path) -> None:
    for content in (
        "profiles.work.api_key = 'a'\n",
        "profiles = {work = {api_key = 'a'}}\n",
        "[profiles]\nwork.api_key = 'a'\n",
        "[profiles]\nwork = {api_key = 'a'}\n",
        "[ profiles . 'work' ]\napi_key = 'a'\n[profiles.b]\nicon='x'",
    ):
        update(written(path, content), "work", {"api_key": "b", "notify": True})
        assert read(path)[0]["work"] == {"api_key": "b", "notify": True}


def test_a_file_that_can_not_be_changed_safely_is_left_alone(path: Path) -> None:
    for content in ("profiles = {work = {}}\n", 'workspace = """\n[profiles.new]\n"""\n'):
        written(path, content)
        with pytest.raises(BadConfig, match="without harming") as caught:
            update(path, "new", {"workspace": "w"})
        assert "by hand" in str(caught.value.hint)
        assert path.read_text() == content


@given(
    profile=st.one_of(
        st.just("default"), st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=9)
    ),
    changes=st.fixed_dictionaries(
        {},
        optional={
            name: {"true or false": st.booleans(), "a duration": st.floats(0.1, 1e5) | st.integers(1, 9)}.get(
                kind, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
            )
            for name, kind in KEYS.items()
        },
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_what_is_written_is_what_is_read(profile: str, changes: dict[str, str | bool | float], path: Path) -> None:
    written(path, COMMENTED)
    before = tomllib.loads(COMMENTED)
    update(path, profile, changes)
    after = read(path)[0]
    expected = before if profile == "default" else before["profiles"].get(profile, {})
    assert after[profile] == {key: value for key, value in expected.items() if key != "profiles"} | changes
    assert "# the day job\n[profiles.work]" in path.read_text()


@posix_only
def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    target = written(tmp_path / "dotfiles" / "logsh.toml", "# kept\n")
    path.parent.mkdir()
    path.symlink_to("../dotfiles/logsh.toml")
    update(path, "default", {"workspace": "a"})
    assert path.is_symlink()
    assert target.read_text() == '# kept\nworkspace = "a"\n'


def test_many_writers_at_once_lose_nothing(path: Path) -> None:
    names = [f"p{number}" for number in range(9)]
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(lambda name: update(path, name, {"workspace": name}), names))
    assert read(path)[0] == {"default": {}, **{name: {"workspace": name} for name in names}}
    assert {entry.name for entry in path.parent.iterdir()} == {"config.toml", "config.toml.lock"}


@posix_only
def test_a_place_that_can_not_be_written_is_said_with_a_way_out() -> None:
    for place in ("/proc/logsh/config.toml", "/dev/null/logsh/config.toml"):
        with pytest.raises(BadConfig, match=f"can't write {place}") as caught:
            update(Path(place), "default", {"workspace": "a"})
        assert "LOGSH_CONFIG_DIR" in str(caught.value.hint)
