"""This machine's part of ``logsh doctor``: each source of settings by itself, and the outbox."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from logsh_cli.config.edit import effective, plain
from logsh_cli.config.resolve import BUILT_IN, Destination, Setting, Settings
from logsh_cli.delivery.flush import under_other_keys
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.errors import BadConfig, NotDelivered, NotKept
from logsh_cli.event import problems_of
from logsh_cli.outbox import MAX_PENDING, Outbox, OutboxFull, Owner, StoreUnavailable
from logsh_cli.outbox.rows import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OLD_S = 3600.0
"""A network fault is rarely longer: what has waited for an hour needs somebody to look at it."""

_JUDGED_BY_THE_EVENT = ("workspace", "icon", "metadata")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def settings_checks(found: Settings, env: Mapping[str, str]) -> Iterator[Check]:
    """Check the two files, then each setting, as ``config list`` shows them."""
    yield _file_check("config_file", found.config_path, found)
    yield _file_check("project_file", found.project_path, found)
    for name, setting in effective(found).items():
        if problem := found.problems.get(name):
            yield failed(name, problem)
        elif setting.value is not None:
            yield _setting_check(name, setting, found, env)
        elif name == "workspace":
            detail = "not set, so that every call has to say --workspace"
            yield warned(name, detail, "`logsh config set workspace NAME`")


def profile_is_known(found: Settings) -> bool:
    """Return whether the profile was there and could be read."""
    return found.problems.keys().isdisjoint(("config_file", "profile"))


def _file_check(name: str, path: Path | None, found: Settings) -> Check:
    if name in found.problems:
        return failed(name, found.problems[name], hint="correct the file by hand, or move it out of the way")
    if name in found.warnings:
        return warned(name, found.warnings[name])
    if path is None:
        return passed(name, "none", minor=True)
    mode = _mode(path)
    return passed(name, f"{path}, {'not there' if mode is None else f'mode {mode:04o}'}", minor=mode is None)


def _setting_check(name: str, setting: Setting, found: Settings, env: Mapping[str, str]) -> Check:
    if name in _JUDGED_BY_THE_EVENT and (problems := problems_of(name, setting.value)):
        return failed(name, BadConfig("; ".join(problems), hint=f"correct it: it comes from {setting.source}"))
    # The file has a check of its own, with its path.
    source = setting.source.removesuffix(f" ({found.config_path})")
    detail = f"{plain(setting.value)}, {source if source == BUILT_IN else f'from {source}'}"
    file = None
    if name == "api_key" and source.startswith("LOGSH_API_KEY_FILE"):
        file = os.path.expanduser(env["LOGSH_API_KEY_FILE"].strip())  # noqa: PTH111 - raises nothing
    elif source.startswith("$CREDENTIALS_DIRECTORY"):
        file = source.replace("$CREDENTIALS_DIRECTORY", env["CREDENTIALS_DIRECTORY"].strip())
    mode = None if file is None else _mode(Path(file))
    if mode is None:
        return passed(name, detail, minor=source == BUILT_IN)
    # A credential of systemd is guarded by its directory.
    if mode & _OTHERS and sys.platform != "win32" and not source.startswith("$"):
        return warned(name, f"{detail}, which others can read (mode {mode:04o})", f"chmod 600 {file}")
    return passed(name, f"{detail}, mode {mode:04o}")


def _mode(path: Path) -> int | None:
    """Return the permission bits of a regular file, ``None`` where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else None


def outbox_checks(directory: Path, place: Destination | None, clock: Callable[[], float]) -> Iterator[Check]:
    """Open the outbox as ``send`` does, which makes one where there is none, and look into it for the present key."""
    try:
        store = Outbox.open(directory, now=clock)
        store.check_writable()
    except StoreUnavailable as error:
        hint = f"make {directory} a directory that you can write, or set LOGSH_STATE_DIR to another"
        message = f"{error.message}; events that can't be delivered at once are lost"
        yield failed("outbox", NotKept(message, hint=error.hint or hint))
        yield from (skipped(name, "not known, since there is no outbox") for name in ("waiting", "refused"))
        return
    try:
        if found := [*store.notices, *store.tightened]:
            yield warned("outbox", "; ".join(found))
        else:
            yield passed("outbox", f"{directory} can be written")
        yield from _set_aside_checks(store)
        mine = None if place is None else Owner(place.profile, store.fingerprint(place.key))
        yield _waiting_check(store, mine, clock())
        counts = store.counts()
        dropped = f"; {counts.dropped:,} dropped so far, since only the newest are kept" if counts.dropped else ""
        if counts.rejected:
            detail = f"{_events(counts.rejected)} refused by the service{dropped}"
            yield warned("refused", detail, "`logsh outbox list` shows them")
        else:
            yield passed("refused", f"no events{dropped}")
    finally:
        store.close()


def _set_aside_checks(store: Outbox) -> Iterator[Check]:
    """Fail as long as a damaged file holds events that nobody has read: they are kept, and not delivered."""
    if files := store.set_aside():
        unread = "; ".join(f"{file.path} still holds events: {file.unread}" for file in files)
        new = any(file.read is None for file in files)
        hint = "`logsh outbox recover` reads what can be read" if new else "move it away when you no longer need it"
        yield failed("set_aside", NotDelivered(f"a damaged outbox was set aside: {unread}", hint=hint))


def _waiting_check(store: Outbox, mine: Owner | None, now: float) -> Check:
    counts = store.counts()
    if not counts.pending:
        return passed("waiting", "no events")
    oldest = next(store.rows(state="pending"), None)
    waited = now - oldest.accepted_at if oldest else 0.0
    detail, hint = f"{_events(counts.pending)}, the oldest for {age(waited)}", "`logsh outbox flush` sends them now"
    if oldest and oldest.error_message:
        detail += f", last because {oldest.error_message}"
    stuck = 0 if mine is None else under_other_keys(store, mine)
    if stuck:
        detail += f"; {_events(stuck)} accepted under another key"
        hint = "`logsh outbox flush --adopt` sends them, those of the other key too"
    if counts.pending >= MAX_PENDING:
        return failed("waiting", OutboxFull(f"the outbox is full: {detail}", hint=hint))
    return warned("waiting", detail, hint) if waited > OLD_S or stuck else passed("waiting", detail)


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"
