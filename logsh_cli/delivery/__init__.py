"""The one road of every event: accept it (store), deliver it (send, try again), say what came of it (acknowledge).

Here: how it ends, and the courier, a delivery that outlives this process, of ``--background`` and of older events.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli import own_command
from logsh_cli.errors import NotKept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logsh_cli.app import AppContext
    from logsh_cli.config.resolve import Settings
    from logsh_cli.delivery.road import Road

COURIER = "courier"
_STREAMS = 3


def end_of_the_road(app: AppContext, settings: Settings, road: Road, *, takes_along: bool) -> None:
    """Say what could not be acknowledged; after a success have older events of the same owner delivered, if any."""
    if (words := road.last_words()) is not None:
        app.printer.warn(words)
    if takes_along:
        with suppress(NotKept):  # a store that can't be read now must not make a failure of a delivery
            if road.store.pending_exists(road.owner):
                leave_to_courier(app, settings)


def leave_to_courier(app: AppContext, settings: Settings) -> None:
    """Start a process that delivers what is stored; warn when there can be none."""
    try:
        start_courier(app.env, settings.profile.value if settings.profile.source == "--profile" else None)
    except OSError as error:
        # What it would have carried is stored, and goes out with the next success or flush.
        app.printer.warn(f"could not start a delivery process: {error.strerror}")


def start_courier(env: Mapping[str, str], profile: str | None) -> None:
    """Start ``logsh courier`` in a session of its own; ``OSError`` when no process can be started.

    It has no stream, terminal or pipe of ours: a caller that waits for those to close, ``$(…)``, is not held up. The
    key travels as it came, by environment or file, never in the arguments.
    """
    arguments = [*own_command(), COURIER, *(() if profile is None else ("--profile", profile))]
    detach = _spawn if sys.platform in ("linux", "darwin") else _popen
    detach(arguments, courier_environment(env))


def _spawn(arguments: list[str], env: Mapping[str, str]) -> None:
    """Start a process without loading ``subprocess``, which costs 2 ms."""
    # What we inherited beyond the streams, say a pipe that a script reads to its end, is not for a courier.
    others = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.posix_spawn(
            arguments[0],
            arguments,
            env,
            file_actions=[*((os.POSIX_SPAWN_DUP2, null, number) for number in range(_STREAMS)), *others],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them
        )
    finally:
        os.close(null)


def _inherited() -> Iterator[int]:
    """Give the descriptors, streams aside, that a new process would inherit; none where the system doesn't tell."""
    with suppress(OSError):
        for fd in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - names, not paths
            with suppress(OSError):  # the one by which the others were listed
                if fd >= _STREAMS and os.get_inheritable(fd):
                    yield fd


def _popen(arguments: list[str], env: Mapping[str, str]) -> None:
    """Start a process where there is no ``posix_spawn`` that makes a session."""
    import subprocess  # noqa: PLC0415 - 2 ms

    null, flags = subprocess.DEVNULL, 0
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    subprocess.Popen(
        arguments, env=env, creationflags=flags, start_new_session=True, stdin=null, stdout=null, stderr=null
    )


def courier_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return what a courier may know of the environment, with paths that mean the same from its directory.

    Raises ``OSError`` when one of them is relative to a directory that has been deleted.
    """
    known = {name: value for name, value in env.items() if name.upper().startswith(_FAMILIES) or name.upper() in _NAMES}
    for name in _PATHS.intersection(known):
        # As their readers do: only logsh's own may begin with a tilde, and only lists of folders have separators.
        places = known[name].split(os.pathsep) if name in _LISTS else [known[name].strip()]
        if name.startswith("LOGSH_"):
            places = [os.path.expanduser(place) for place in places]  # noqa: PTH111 - Path.expanduser may raise
        known[name] = os.pathsep.join(os.path.abspath(place) if place else "" for place in places)  # noqa: PTH100
    return known


_FAMILIES = ("LOGSH_", "SSL_", "XDG_", "LC_", "PYTHON")
_NAMES = frozenset(
    {
        *("HOME", "PATH", "LANG", "TZ", "TMPDIR", "CREDENTIALS_DIRECTORY", "LD_LIBRARY_PATH"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SYSTEMROOT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "TEMP", "TMP"),
    }
)
"""For settings, proxies, certificates and the start of Python; other secrets of a job are no business of a courier."""

_LISTS = frozenset({"SSL_CERT_DIR", "PYTHONPATH"})
_PATHS = _LISTS | {
    *("LOGSH_CONFIG_DIR", "LOGSH_STATE_DIR", "LOGSH_API_KEY_FILE", "LOGSH_CA_FILE"),
    *("CREDENTIALS_DIRECTORY", "SSL_CERT_FILE"),
}
