"""Every test gets a machine of its own: HOME, configuration, state, and an environment free of Logsh and of proxies."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support.clients import closing_clients
from tests.support.command import Completed, run_logsh
from tests.support.machine import Machine
from tests.support.sending import KEY
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.clients import Connect

# The suite says the same of the same code: what a property test happens to find at random is found by a longer run.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

FOREIGN_PREFIXES = ("LOGSH_", "GITHUB_", "GITLAB_", "CI_", "XDG_")
FOREIGN_NAMES = {
    *("CI", "NO_COLOR", "FORCE_COLOR", "CREDENTIALS_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONIOENCODING"),
    *(name for low in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (low, low.upper())),
}


# Hundreds of processes start from here: none is to compile the package anew, not even where Python keeps no byte code.
# The workers of xdist start after this, so that they find what pytest makes of the tests as well.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Whoever starts the tests may have signals ignored (`nohup`, a background job of a script), and what is ignored stays
# so in every process started from here: the tests about signals need the defaults.
for _name in ("SIGINT", "SIGHUP", "SIGQUIT"):
    if (_signum := getattr(signal, _name, None)) is not None and signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: most tests wait for processes, servers and clocks."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, start what takes long first, and spread each file over the whole run.

    Some files wait and others compute; side by side they keep the processors busy.
    """
    if not hasattr(config, "workerinput"):
        return
    sizes, seen = Counter(item.path for item in items), Counter[Path]()
    places = {}
    for item in items:
        seen[item.path] += 1
        places[item] = (item.get_closest_marker("long") is None, seen[item.path] / sizes[item.path])
    items.sort(key=places.__getitem__)


@pytest.fixture(autouse=True)
def isolated_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGSH_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("LOGSH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(home)


@pytest.fixture
def logsh() -> Callable[..., Completed]:
    """The installed command, run as a process of its own."""
    return run_logsh


@pytest.fixture
def connect() -> Iterator[Connect]:
    with closing_clients() as make:
        yield make


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The service, on a port of its own; ``pytest.mark.service(key=…, validate=True)`` says how strict it is."""
    marker = request.node.get_closest_marker("service")
    with Server(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, service: Server) -> Machine:
    """A place to run what the documents say, with a key for the service but no workspace."""
    return Machine(tmp_path, {"LOGSH_API_URL": service.url, "LOGSH_API_KEY": KEY, "LOGSH_DEADLINE": "30"})
