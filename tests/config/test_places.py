"""The places of configuration and state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logsh_cli.config import HOMELESS, config_dir, state_dir

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variable", "find"), [("LOGSH_CONFIG_DIR", config_dir), ("LOGSH_STATE_DIR", state_dir)], ids=["config", "state"]
)
def test_the_variable_names_the_directory(variable: str, find: object, tmp_path: Path) -> None:
    assert callable(find)
    assert find({variable: f" {tmp_path} "}) == tmp_path
    assert find({variable: "here"}) == Path.cwd() / "here"
    assert find({variable: "~/there"}) == Path(os.environ["HOME"]) / "there"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert config_dir({"LOGSH_CONFIG_DIR": "  ", "HOME": "/home/someone"}) == config_dir({"HOME": "/home/someone"})


@pytest.mark.skipif(sys.platform != "linux", reason="the shortcut is taken on Linux only")
@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/home/someone"},
        {"HOME": "/home/someone", "XDG_CONFIG_HOME": "/x/config", "XDG_STATE_HOME": "/x/state"},
        {"HOME": "/home/someone", "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": ""},
        {"HOME": "relative"},
        {"HOME": ""},
        {},
    ],
    ids=["home", "xdg", "relative-xdg", "relative-home", "empty-home", "nothing"],
)
def test_the_shortcut_on_linux_agrees_with_platformdirs(env: dict[str, str]) -> None:
    program = (
        "import os, platformdirs, logsh_cli.config as paths\n"
        "print(platformdirs.user_config_path('logsh') == paths.config_dir(os.environ),"
        " platformdirs.user_state_path('logsh') == paths.state_dir(os.environ))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=REPOSITORY, capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"True"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to become a user without a home")
def test_a_user_without_any_home_gets_a_directory_that_can_not_exist() -> None:
    # The process changes its own identity, since another user need not be allowed to start this interpreter.
    program = (
        "import os, platformdirs, logsh_cli.config as paths\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "print(paths.config_dir({}), paths.state_dir({}))"
    )
    done = subprocess.run([sys.executable, "-c", program], env={}, cwd=REPOSITORY, capture_output=True, check=True)
    assert done.stdout.decode().split() == [str(HOMELESS)] * 2
    assert not HOMELESS.exists()
