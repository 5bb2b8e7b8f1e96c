"""The places of configuration and state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logsh_cli.config import HOMELESS, config_dir, state_dir

REPOSITORY = Path(__file__).parents[2]


def test_the_variable_names_the_directory(tmp_path: Path) -> None:
    for variable, find in (("LOGSH_CONFIG_DIR", config_dir), ("LOGSH_STATE_DIR", state_dir)):
        assert find({variable: f" {tmp_path} "}) == tmp_path
        assert find({variable: "here"}) == Path.cwd() / "here"
        assert find({variable: "~/there"}) == Path(os.environ["HOME"]) / "there"
        assert find({variable: "  ", "HOME": "/home/someone"}) == find({"HOME": "/home/someone"})


@pytest.mark.skipif(sys.platform != "linux", reason="the shortcut is taken on Linux only")
def test_the_shortcut_on_linux_agrees_with_platformdirs() -> None:
    program = (
        "import os, platformdirs, logsh_cli.config as paths\n"
        "for env in (\n"
        "    {'HOME': '/home/x'}, {'HOME': 'relative'}, {'HOME': ''}, {},\n"
        "    {'HOME': '/home/x', 'XDG_CONFIG_HOME': '/x/config', 'XDG_STATE_HOME': '/x/state'},\n"
        "    {'HOME': '/home/x', 'XDG_CONFIG_HOME': 'relative', 'XDG_STATE_HOME': ''},\n"
        "):\n"
        "    os.environ.clear()\n"
        "    os.environ.update(env)\n"
        "    assert platformdirs.user_config_path('logsh') == paths.config_dir(os.environ), env\n"
        "    assert platformdirs.user_state_path('logsh') == paths.state_dir(os.environ), env\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


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
