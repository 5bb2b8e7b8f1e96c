"""The modules that a command loads: every user pays for them at every call."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import environment
from tests.support.sending import EVENT, settings_for, wait_for_background

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

pytest.importorskip("logsh_cli.argv", reason="without it Typer reads every line, and loads what it likes")

HEAVY = {
    *("rich", "emoji", "tomlkit", "platformdirs", "pygments", "markdown_it", "click", "h2", "http.server"),
    *("urllib.request", "multiprocessing", "unittest", "xml", "pydantic", "tomllib"),
}
UNUSED = {"httpx._main", "anyio", "trio", "bz2", "lzma", "encodings.idna", "certifi", "idna", "mimetypes"}
"""Modules that httpx and a request load, and that logsh has no use for."""
NETWORK = {"httpx", "httpcore", "h11", "ssl", "_ssl", "certifi", "idna", "anyio", "http.client", "email", "socket"}
STORE = {"sqlite3", "_sqlite3", "hashlib", "_hashlib"}


def loaded_by(*argv: str, env: dict[str, str] | None = None) -> set[str]:
    """The modules that a process has loaded when ``logsh ARGV`` ends."""
    script = (
        "import json, sys; from logsh_cli.cli import main; main(sys.argv[1:]); "
        "json.dump([name for name, module in sys.modules.items() if getattr(module, '__spec__', None)], sys.stderr)"
    )
    command = [sys.executable, "-c", script, *argv]
    done = subprocess.run(command, env=environment(env), capture_output=True, text=True, check=True, timeout=60)
    modules: list[str] = json.loads(done.stderr.splitlines()[-1])
    return set(modules)


def loaded_by_python(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(); print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def httpx_alone() -> set[str]:
    """Return the modules of the smallest httpx script, which are paid for anyway."""
    return loaded_by_python(
        "import httpx\ntry: httpx.post('http://127.0.0.1:1', trust_env=False)\nexcept httpx.ConnectError: pass"
    )


def test_httpx_does_not_load_its_own_command_line_where_click_is_installed(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('loaded')")
    argv = [sys.executable, "-c", "import logsh_cli.http.client"]
    subprocess.run(argv, env=environment({"PYTHONPATH": str(tmp_path)}), check=True, timeout=60)


def test_a_plain_send_loads_nothing_heavy_but_httpx(service: Server, httpx_alone: set[str]) -> None:
    loaded = loaded_by("send", *EVENT, "-m", "a=1", env=settings_for(service))
    assert len(service.events) == 1
    assert (loaded - httpx_alone) & HEAVY == set()
    assert loaded & UNUSED == set()
    assert {name.split(".")[0] for name in loaded - httpx_alone}.isdisjoint(
        {"asyncio", "email", "logging", "http", "xml"}
    )
    assert {name for name in loaded if name.startswith("logsh_cli.commands.")} == {"logsh_cli.commands.send"}


def test_a_send_with_a_configuration_file_reads_it_and_no_more(
    service: Server, httpx_alone: set[str], tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir(mode=0o700)
    file = tmp_path / "config" / "config.toml"
    file.write_text(f'api_key = "k"\napi_url = "{service.url}"\nworkspace = "w"\n')
    file.chmod(0o600)
    loaded = loaded_by("send", *EVENT)
    assert len(service.events) == 1
    assert (loaded - httpx_alone) & HEAVY == {"tomllib"}


def test_a_stored_event_loads_no_http_client(service: Server, tmp_path: Path) -> None:
    loaded = loaded_by("send", *EVENT, "--background", env=settings_for(service))
    assert loaded & (HEAVY | NETWORK) == set()
    assert wait_for_background(service, 1, tmp_path)


def test_a_dry_run_loads_neither_store_nor_client() -> None:
    assert loaded_by("send", *EVENT, "-w", "w", "--dry-run") & (HEAVY | NETWORK | STORE) == set()


def test_a_run_that_has_nothing_to_report_loads_nothing_of_logsh(service: Server) -> None:
    loaded = loaded_by("run", "--on", "failure", "-e", "job", "--", "true", env=settings_for(service))
    assert loaded & (HEAVY | NETWORK) == set()
    assert service.requests == []


def test_the_version_costs_no_command_no_store_and_no_client() -> None:
    loaded = loaded_by("--version")
    assert loaded & (HEAVY | NETWORK | STORE) == set()
    assert not any(name.startswith("logsh_cli.commands.") for name in loaded)


def test_until_ctrl_c_has_an_answer_next_to_nothing_is_loaded() -> None:
    program = "import sys; before = set(sys.modules); import logsh_cli; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert set(done.stdout.split()) <= {"logsh_cli", "__future__", "operator", "_operator"}
