"""The throw-away home that a command gets under ``logsh sandbox -- COMMAND``: nothing in it leads to the real Logsh."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logsh_cli import own_command
from logsh_cli.config.edit import update
from logsh_cli.config.files import CONFIG_FILE, DEFAULT_PROFILE
from logsh_cli.errors import BadConfig
from logsh_cli.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SANDBOX_KEY: Final = "logsh_sandbox_key"
"""Not a secret: the sandbox takes any key."""

DEFAULT_WORKSPACE: Final = "sandbox"
_KEPT_SETTINGS: Final = ("workspace", "icon", "notify", "deadline")
_REMOVED_VARIABLES: Final = ("LOGSH_API_KEY_FILE", "LOGSH_CA_FILE")


class SandboxHome(Record):
    """The place of the command's Logsh (``state_dir`` has its outbox) and the whole environment it is run with."""

    state_dir: Path
    env: dict[str, str]


@contextlib.contextmanager
def throwaway_home(
    api_url: str, *, env: Mapping[str, str], profiles: Mapping[str, Mapping[str, Any]]
) -> Iterator[SandboxHome]:
    """Set up the directories, the configuration and the environment; all of it is gone at the end.

    Args:
        api_url: the sandbox's URL, for the environment and for every profile.
        env: the environment to start from. ``LOGSH_PROFILE``, ``LOGSH_WORKSPACE`` and everything else that says what
            is sent stay as they are: what arrives is to be what would have been sent.
        profiles: the user's, by name, the top-level keys under ``default``. Their keys and URLs are not looked at.

    Raises:
        BadConfig: there is no temporary directory, or it can't be written.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix="logsh-sandbox-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BadConfig(
            f"the sandbox can't make a temporary directory: {error.strerror}",
            hint="set TMPDIR to a directory that can be written",
        ) from None
    with temporary as name:
        root = Path(name)
        for directory in ("config", "state", "bin"):
            (root / directory).mkdir(mode=0o700)
        for profile, settings in _redirected(api_url, profiles).items():
            update(root / "config" / CONFIG_FILE, profile, settings)
        _write_launcher(root / "bin")
        yield SandboxHome(root / "state", _environment(root, api_url, env))


def _redirected(api_url: str, profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the same profiles, each with the sandbox's URL and key and what it says about the events themselves."""
    # The default profile comes last of all sources, so a workspace set anywhere else still wins over this one.
    usable = {**profiles, DEFAULT_PROFILE: {"workspace": DEFAULT_WORKSPACE, **profiles.get(DEFAULT_PROFILE, {})}}
    return {
        name: {"api_url": api_url, "api_key": SANDBOX_KEY}
        | {setting: profile[setting] for setting in _KEPT_SETTINGS if setting in profile}
        for name, profile in usable.items()
    }


def _environment(root: Path, api_url: str, env: Mapping[str, str]) -> dict[str, str]:
    # CREDENTIALS_DIRECTORY stays: the command may need other credentials of its unit, and the key below wins.
    kept = {name: value for name, value in env.items() if name not in _REMOVED_VARIABLES}
    return kept | {
        "LOGSH_API_URL": api_url,
        "LOGSH_API_KEY": SANDBOX_KEY,
        "LOGSH_CONFIG_DIR": str(root / "config"),
        "LOGSH_STATE_DIR": str(root / "state"),
        "PATH": os.pathsep.join((str(root / "bin"), env.get("PATH") or os.defpath)),
    }


def _write_launcher(directory: Path) -> None:
    """Put a ``logsh`` there that is this very one, whatever else is installed."""
    if sys.platform == "win32":
        python, option, code = own_command()
        quoted = code.replace("%", "%%")
        (directory / "logsh.cmd").write_text(f'@"{python}" {option} "{quoted}" %*\r\n', encoding="utf-8")
        return
    launcher = directory / "logsh"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(own_command())} "$@"\n', encoding="utf-8")
    launcher.chmod(0o700)
