"""Where the configuration and the state of this user live. No I/O.

The directories are platformdirs' ones. On Linux they are worked out here, because importing platformdirs costs 5 ms
at every call and its rule there is the XDG one, which is two lines; a test holds the two together.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOMELESS = Path(os.devnull) / "logsh"
"""The directory of a user who has none: it never exists and can't be made, so nothing is read or kept, and nobody
else can plant a file there (as they could under ``/tmp``)."""


def config_dir(env: Mapping[str, str]) -> Path:
    """The directory of ``config.toml``: ``LOGSH_CONFIG_DIR``, else the user's configuration directory."""
    return _directory(env, "LOGSH_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")


def state_dir(env: Mapping[str, str]) -> Path:
    """The directory of the outbox: ``LOGSH_STATE_DIR``, else the user's state directory."""
    return _directory(env, "LOGSH_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _directory(env: Mapping[str, str], override: str, xdg: str, below_home: str) -> Path:
    if given := env.get(override, "").strip():
        return _absolute(Path(os.path.expanduser(given)))  # noqa: PTH111 - Path.expanduser raises without a home
    if sys.platform == "linux" and not hasattr(sys, "getandroidapilevel"):
        if (base := Path(env.get(xdg, ""))).is_absolute():
            return base / "logsh"
        if (home := Path(env.get("HOME", ""))).is_absolute():
            return home / below_home / "logsh"
    import platformdirs  # noqa: PLC0415 - for the other systems, and a Linux without HOME

    find = platformdirs.user_config_path if override == "LOGSH_CONFIG_DIR" else platformdirs.user_state_path
    try:
        return find("logsh", appauthor=False)
    except RuntimeError:  # neither HOME nor an entry in the user database, as in some containers
        return HOMELESS


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:  # the working directory was deleted
        return path
