"""The house has floors: which module stands where, who may call whom, and what a command may load."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import logsh_cli
from tests.support.command import environment
from tests.support.sending import EVENT, settings_for, wait_for_background
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(logsh_cli.__file__).parent

FLOORS: dict[str, tuple[str, ...]] = {
    "errors": ("__init__", "errors"),
    "pure": (
        *("budget", "child.ending", "ci", "clock", "completion", "completion.scripts", "event", "icons"),
        *("network.exchange", "outcome", "paths", "redact", "result", "retry", "run_options", "settings.destination"),
        *("stop", "text", "urls", "wire"),
    ),
    "adapters": (
        *("outbox", "outbox.database", "outbox.faults", "outbox.file", "outbox.place", "outbox.queue", "outbox.rows"),
        *("outbox.schema", "outbox.shelves", "locks"),
        *("client", "network", "network.backend", "network.dialing", "network.proxies", "tls"),
        *(
            "child",
            "child.arrivals",
            "child.process_tree",
            "child.spawn",
            "child.tail",
            "child.windows",
            "child.witness",
        ),
        *("config_file", "config_file.toml_edit", "config_file.toml_file"),
        *("settings", "settings.values", "settings.project_file", "settings.stored_profile"),
        *("sandbox", "sandbox.home", "sandbox.rules", "sandbox.server"),
        *("background", "detached", "lines", "streams"),
    ),
    "delivery": ("batch_job", "connector", "delivery", "drain", "flushing", "key_check", "narration", "pacing"),
    "output": ("outbox.view", "output", "rich_output", "settings.view"),
    "context": ("context",),
    "work": (
        *("dispatch", "job_report", "sandbox.session"),
        *("doctor", "doctor.outbox", "doctor.service", "doctor.settings", "doctor.versions"),
    ),
    "commands": ("commands", "help", "options"),
    "cli": ("cli", "__main__"),
    "generated": (
        *("completion.__main__", "completion.generate", "completion.manpage", "completion.tree"),
        *("completion.bash", "completion.fish", "completion.powershell", "completion.zsh"),
    ),
}
"""From the ground up. A module may import from its own floor and from those below. ``commands`` is the whole folder;
``generated`` makes the shells' scripts and the man page when somebody changes a command, and never runs with one."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "outbox": tuple(name for name in FLOORS["adapters"] if name.startswith("outbox") or name == "locks"),
    "client": ("client", "network", "network.backend", "network.dialing", "network.proxies", "tls"),
    "child": tuple(name for name in FLOORS["adapters"] if name.startswith("child")),
    "configuration": tuple(name for name in FLOORS["adapters"] if name.startswith(("config_file", "settings"))),
    "sandbox": tuple(name for name in FLOORS["adapters"] if name.startswith("sandbox")),
    "background": ("background",),
    "detached": ("detached",),
    "lines": ("lines",),
    "streams": ("streams",),
}
"""The adapters: each family talks to one thing outside, and none to another family."""

NEIGHBOURS = {("sandbox.home", "config_file")}
"""The sandbox writes a configuration for the command that runs in it."""

ONLY_IN: dict[str, set[str]] = {
    "rich": {"rich_output"},
    "httpx": {"client"},
    "httpcore": {"client", "network.backend"},
    "sqlite3": {*(name for name in FAMILIES["outbox"] if name.startswith("outbox")), "doctor.versions"},
    "tomlkit": {"config_file.toml_edit", "config_file"},
    "tomllib": {"config_file.toml_file"},
    "emoji": {"icons"},
    "platformdirs": {"paths"},
    "http.server": {"sandbox.server"},
    "http.client": set(),
    "socketserver": {"sandbox.server"},
    "typer": {"cli", "commands", "help", "options", "completion.tree", "completion.generate", "completion.manpage"},
    "asyncio": set(),
    "logging": set(),
    "requests": set(),
    "urllib.request": set(),
}
"""Libraries that cost something, or that the rest must not depend on, each with the modules that may know it."""


class Import(NamedTuple):
    """One import: the name of the module, and whether it is for annotations only."""

    target: str
    typing_only: bool


def short(path: Path) -> str:
    """A module's name within the package; ``commands.send`` and the like for what is in the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


SOURCES = {short(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name: str) -> set[Import]:
    """Everything that a module imports, wherever in it the import stands."""
    found: set[Import] = set()

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                visit(statement, True)
            for statement in node.orelse:
                visit(statement, typing_only)
            return
        if isinstance(node, ast.Import):
            found.update(Import(alias.name, typing_only) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(Import(whole if whole.removeprefix("logsh_cli.") in SOURCES else node.module, typing_only))
        for child in ast.iter_child_nodes(node):
            visit(child, typing_only)

    visit(ast.parse(SOURCES[name].read_text(encoding="utf-8")), False)
    return found


IMPORTS = {name: imports_of(name) for name in SOURCES}


def own_imports(name: str) -> set[str]:
    """The modules of this package that one needs when it runs."""
    ours = (imported.target for imported in IMPORTS[name] if not imported.typing_only)
    targets = {target for target in ours if target.split(".")[0] == "logsh_cli"}
    return {target.removeprefix("logsh_cli").removeprefix(".") or "__init__" for target in targets} - {name}


def room(name: str) -> str:
    """What stands for a module in the tables."""
    return name if name in FLOOR_OF else name.partition(".")[0]


FLOOR_OF = {name: floor for floor, (_, names) in enumerate(FLOORS.items()) for name in names}
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}


def test_every_module_has_a_place_and_every_place_a_module() -> None:
    assert {room(name) for name in SOURCES} == set(FLOOR_OF)
    assert len(FLOOR_OF) == sum(len(names) for names in FLOORS.values())
    assert set(FAMILY_OF) == set(FLOORS["adapters"])


@pytest.mark.parametrize("name", SOURCES)
def test_imports_only_go_down(name: str) -> None:
    above = {other for other in own_imports(name) if FLOOR_OF[room(other)] > FLOOR_OF[room(name)]}
    assert above == set()


@pytest.mark.parametrize("name", FLOORS["adapters"])
def test_adapters_do_not_know_each_other(name: str) -> None:
    others = {other for other in own_imports(name) if FAMILY_OF.get(other, FAMILY_OF[name]) != FAMILY_OF[name]}
    assert {(name, other) for other in others} <= NEIGHBOURS


def test_commands_do_not_know_each_other() -> None:
    for name in SOURCES:
        if name.startswith("commands."):
            assert {other for other in own_imports(name) if other.startswith("commands.")} == set(), name


def test_nothing_imports_itself_by_way_of_others() -> None:
    order = graphlib.TopologicalSorter({name: own_imports(name) for name in SOURCES})
    order.prepare()  # raises CycleError with the circle in it


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_known_where_the_table_says_and_nowhere_else(library: str) -> None:
    users = {
        room(name)
        for name in SOURCES
        for imported in IMPORTS[name]
        if not imported.typing_only and (imported.target == library or imported.target.startswith(f"{library}."))
    }
    assert users <= ONLY_IN[library]


def test_the_pure_modules_start_no_process_and_open_no_connection() -> None:
    for name in (*FLOORS["errors"], *FLOORS["pure"]):
        used = {imported.target for imported in IMPORTS[name] if not imported.typing_only}
        assert used.isdisjoint({"socket", "ssl", "subprocess", "sqlite3", "select", "selectors", "http.client"}), name


def test_no_module_is_so_long_that_it_must_do_two_things() -> None:
    longest = max(SOURCES.values(), key=lambda path: len(path.read_text(encoding="utf-8").splitlines()))
    assert len(longest.read_text(encoding="utf-8").splitlines()) <= 400, longest


# What is loaded

HEAVY = {
    *("rich", "emoji", "tomlkit", "platformdirs", "pygments", "markdown_it", "click", "h2", "http.server"),
    *("urllib.request", "multiprocessing", "unittest", "xml", "pydantic", "tomllib"),
}
NETWORK = {"httpx", "httpcore", "h11", "ssl", "_ssl", "certifi", "idna", "anyio", "http.client", "email", "socket"}
STORE = {"sqlite3", "_sqlite3", "hashlib", "_hashlib"}


def loaded_by(*argv: str, env: dict[str, str] | None = None) -> set[str]:
    """The modules that a process has loaded when ``logsh ARGV`` ends."""
    script = (
        "import json, sys; from logsh_cli.cli import main; main(sys.argv[1:]); json.dump([*sys.modules], sys.stderr)"
    )
    command = [sys.executable, "-c", script, *argv]
    done = subprocess.run(command, env=environment(env), capture_output=True, text=True, check=True, timeout=60)
    modules: list[str] = json.loads(done.stderr.splitlines()[-1])
    return set(modules)


def loaded_by_python(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, check=True)
    return set(json.loads(done.stdout))


@pytest.fixture
def service() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def httpx_alone() -> set[str]:
    """What the smallest httpx script has loaded; it pays for this anyway."""
    return loaded_by_python(
        "import httpx\ntry: httpx.post('http://127.0.0.1:1', trust_env=False)\nexcept httpx.ConnectError: pass"
    )


def test_a_plain_send_loads_nothing_heavy_but_httpx(service: Server, httpx_alone: set[str]) -> None:
    loaded = loaded_by("send", *EVENT, "-m", "a=1", env=settings_for(service))
    assert len(service.events) == 1
    assert (loaded - httpx_alone) & HEAVY == set()
    assert {room(name) for name in loaded - httpx_alone}.isdisjoint({"asyncio", "email", "logging", "http", "xml"})
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


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if FLOOR_OF.get(room(name), 2) <= 1))
def test_a_pure_module_costs_nothing_to_import(module: str) -> None:
    code = f"import logsh_cli.{module.removesuffix('__init__')}".rstrip(".")
    assert loaded_by_python(code) & (HEAVY | NETWORK | STORE | {"typer", "subprocess", "asyncio"}) == set()
