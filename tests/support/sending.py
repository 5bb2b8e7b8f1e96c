"""Shared by the tests of ``logsh send``: an event, a key, and the environment that leads to a test's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from logsh_cli.outbox import open_store
from tests.support.processes import kill_what_is_left, wait_until, wait_until_none_is_left

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from logsh_cli.outbox import Row
    from tests.support.command import Completed
    from tests.support.server import Server

KEY = "logsh_canary_8c1f4e7a92b35d60"
EVENT = ("--event", "deploy.done", "--desc", "v1 is live")
BODY = {"workspace": "shop", "event": "deploy.done", "description": "v1 is live"}
"""``EVENT`` on the wire."""

RESULT_KEYS = ["status", "event", "id", "http_status", "attempts", "elapsed_ms", "exit_code", "error"]
"""The machine form of every result of one event, in this order."""

LATER = {"Retry-After": "3600"}
"""Longer than any deadline here, so that an answer with it is final at once."""


class Logsh(Protocol):
    """The fixture ``logsh``."""

    def __call__(
        self,
        *args: str | bytes,
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        timeout: float = 60.0,
    ) -> Completed: ...


def settings_for(server: Server, **more: str) -> dict[str, str]:
    """Environment variables that make a server the service."""
    return {"LOGSH_API_URL": server.url, "LOGSH_API_KEY": KEY, "LOGSH_WORKSPACE": "shop", **more}


def kept_rows(tmp_path: Path) -> list[Row]:
    """Return the events in the outbox of this test's machine."""
    store = open_store(lambda: tmp_path / "state", create=False)
    assert store.unkept_because is None, store.unkept_because
    try:
        return list(store.rows())
    finally:
        store.close()


def wait_for_background(service: Server, count: int, tmp_path: Path) -> list[Any]:
    """The events that detached deliveries brought, once these have nothing left to do.

    One that a test leaves behind would go on trying, and find the port in the hands of another test's server.
    """
    try:
        events = service.wait_for_events(count)
        wait_until(lambda: not kept_rows(tmp_path), "the outbox does not become empty")
    finally:
        if not kept_rows(tmp_path):
            wait_until_none_is_left(tmp_path / "state")
        kill_what_is_left(tmp_path / "state")
    return events


def check_result(done: Completed, **expected: Any) -> dict[str, Any]:
    """That standard output is one line in the machine form, with these values, and agrees with the exit code."""
    result: dict[str, Any] = done.json
    assert list(result) == RESULT_KEYS
    assert result["exit_code"] == done.code
    assert isinstance(result["elapsed_ms"], int)
    error = result["error"]
    if error is not None:
        assert list(error) == ["name", "message", "hint"]
        assert error["message"]
        assert "\n" not in error["message"]
    assert {name: result[name] for name in expected if name != "error"} == {
        name: value for name, value in expected.items() if name != "error"
    }
    if "error" in expected:
        assert (error and error["name"]) == expected["error"], error
    return result
