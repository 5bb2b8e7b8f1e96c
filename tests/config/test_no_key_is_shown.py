"""No key is in any output, wherever somebody put it: an argument, a variable, a file, a name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.inprocess import call_main

KEYS = st.from_regex(r"logsh_[A-Za-z0-9][A-Za-z0-9_-]{10,40}", fullmatch=True)
NOWHERE = "http://127.0.0.1:1"

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("send", "-e", "deploy.done", "-d", "v1", "--deadline", "0.2"),
    ("send", "-e", "deploy.done", "-d", "v1", "--dry-run"),
    ("batch", "-", "--deadline", "0.2"),
    ("outbox", "list"),
    ("outbox", "flush", "--deadline", "0.2"),
    ("outbox", "show", "1"),
    ("config", "list"),
    ("config", "get", "api_key"),
    ("config", "get", "api_url"),
    ("config", "set", "notify", "true"),
    ("config", "path"),
    ("doctor", "--deadline", "0.2"),
    ("login", "--key-stdin", "--no-verify"),
    ("logout",),
    ("help",),
)
VARIABLES = (
    *("API_KEY", "API_KEY_FILE", "API_URL", "CA_FILE", "PROFILE", "WORKSPACE", "ICON", "NOTIFY", "DEADLINE"),
    *("BEST_EFFORT", "ON_MISSING_KEY", "CONFIG_DIR", "STATE_DIR", "KEY", "DEBUG"),
)
OPTIONS = (
    "--profile",
    "--api-url",
    "--workspace",
    "--icon",
    "--meta",
    "--desc",
    "--deadline",
    "--api-key",
    "--event",
    "-z",
)
FILES = (
    'api_key = "{}"',
    'api_url = "{}"',
    'api_url = "https://{}@logsh.example"',
    'workspace = "{}"',
    '{} = "x"',
    "[profiles.{}]",
    "{}",
    '"{}',
)
FORMS = ((), ("--json",), ("-v",), ("-q",))


def put(kind: str, which: int, key: str) -> tuple[list[str], dict[str, str]]:
    """Put the key somewhere; return what that adds to the arguments and to the environment."""
    if kind == "argument":
        return [key], {}
    if kind == "option":
        option = OPTIONS[which % len(OPTIONS)]
        return ([f"{option}={key}"] if which % 2 else [option, key]), {}
    if kind == "variable":
        name = f"LOGSH_{VARIABLES[which % len(VARIABLES)]}"
        return [], {name: key if which % 3 else f"https://logsh.example/?api_key={key}"}
    directory = Path(os.environ["LOGSH_CONFIG_DIR"]) if kind == "config" else Path.cwd()
    directory.mkdir(mode=0o700, exist_ok=True)
    file = directory / ("config.toml" if kind == "config" else ".logsh.toml")
    file.write_text(FILES[which % len(FILES)].format(key) + "\n")
    file.chmod(0o600)
    return [], {}


@given(
    command=st.sampled_from(COMMANDS),
    form=st.sampled_from(FORMS),
    kind=st.sampled_from(["argument", "option", "variable", "config", "project"]),
    which=st.integers(0, 59),
    key=KEYS,
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_key_is_in_any_output_wherever_it_was_put(
    tmp_path: Path, command: tuple[str, ...], form: tuple[str, ...], kind: str, which: int, key: str
) -> None:
    for name in ("config", "state", "home"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / "home").mkdir()
    os.chdir(tmp_path / "home")
    arguments, variables = put(kind, which, key)
    env = {
        "LOGSH_API_URL": NOWHERE,
        "LOGSH_API_KEY": "logsh_of_the_environment",
        "LOGSH_WORKSPACE": "shop",
        **variables,
    }
    done = call_main(*command, *arguments, *form, env=env, stdin=f"{key}\n".encode())
    shown = done.raw_stdout + done.raw_stderr
    assert key.encode() not in shown
    assert b"logsh_of_the" not in shown
    assert done.code in {0, 2, 65, 69, 75, 77, 78}
