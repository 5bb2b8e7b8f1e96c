"""``logsh config``: what is set, where it comes from, and changing it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import authority
from tests.support.command import Completed

KEY = "logsh_CANARY0123456789wxyz"
MASKED = "logsh_…wxyz"
SETTINGS = [
    *("profile", "api_url", "api_key", "workspace", "icon", "notify", "deadline", "ca_file", "metadata"),
    *("best_effort", "on_missing_key"),
]
Logsh = Callable[..., Completed]


@pytest.fixture
def config() -> Path:
    path = Path(os.environ["LOGSH_CONFIG_DIR"]) / "config.toml"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    return path


def saved(config: Path) -> Any:
    return tomllib.loads(config.read_text())


def test_list_shows_each_value_and_where_it_comes_from(logsh: Logsh, config: Path) -> None:
    config.write_text(f'api_key = "{KEY}"\nworkspace = "shop"\ndeadline = 5\n')
    Path(".logsh.toml").write_text('icon = "🚀"\n[metadata]\nteam = "a"\n')
    done = logsh("config", "list", env={"LOGSH_NOTIFY": "yes"})
    profile, project = f"profile default ({config})", str(Path(".logsh.toml").absolute())
    assert done.code == 0
    assert done.stderr == ""
    assert [tuple(line.split("\t")) for line in done.stdout.splitlines()] == [
        ("profile", "default", "built-in"),
        ("api_url", "https://logsh.co", "built-in"),
        ("api_key", MASKED, profile),
        ("workspace", "shop", profile),
        ("icon", "🚀", project),
        ("notify", "true", "LOGSH_NOTIFY"),
        ("deadline", "5", profile),
        ("ca_file", "", "not set"),
        ("metadata", '{"team": "a"}', project),
    ]
    everything = logsh("config", "list", "-v").stdout
    assert "best_effort\tfalse\tbuilt-in\non_missing_key\tfail\tbuilt-in\n" in everything


def test_list_as_json_has_every_setting_in_one_line(logsh: Logsh) -> None:
    shown = logsh("config", "list", "--json", env={"LOGSH_API_KEY": KEY}).json
    assert list(shown) == SETTINGS
    assert shown["api_key"] == {"value": MASKED, "source": "LOGSH_API_KEY"}
    assert shown["workspace"] == {"value": None, "source": None}
    assert shown["deadline"] == {"value": 10.0, "source": "built-in"}


def test_list_works_without_a_usable_key_or_url(logsh: Logsh) -> None:
    done = logsh("config", "list", env={"LOGSH_API_KEY": KEY, "LOGSH_API_URL": "https://me:secret@x"})
    assert (done.code, done.stderr) == (0, "")
    assert "secret" not in done.stdout
    assert logsh("config", "list").code == 0


def test_the_key_is_shown_only_when_it_is_asked_for_and_nothing_of_a_short_one(logsh: Logsh) -> None:
    env = {"LOGSH_API_KEY": KEY}
    assert logsh("config", "get", "api_key", env=env).stdout == f"{MASKED}\n"
    assert logsh("config", "get", "api_key", "--reveal", env=env).stdout == f"{KEY}\n"
    revealed = logsh("config", "get", "api_key", "--reveal", "--json", env=env).json
    assert revealed == {"api_key": {"value": KEY, "source": "LOGSH_API_KEY"}}
    for short in ("short", "x" * 19, "logsh_" + "x" * 13):
        assert logsh("config", "get", "api_key", env={"LOGSH_API_KEY": short}).stdout == "****\n"


def test_get_prints_one_value(logsh: Logsh, config: Path) -> None:
    config.write_text('workspace = "shop"\n[profiles.work]\nworkspace = "office"\n')
    assert logsh("config", "get", "workspace").stdout == "shop\n"
    assert logsh("config", "get", "workspace", "-p", "work").stdout == "office\n"
    assert logsh("config", "get", "deadline").stdout == "10\n"
    assert logsh("config", "get", "profile", env={"LOGSH_PROFILE": "work"}).stdout == "work\n"


def test_get_of_what_is_not_set_is_78_and_of_what_is_no_setting_2(logsh: Logsh) -> None:
    done = logsh("config", "get", "workspace")
    assert (done.code, done.stdout) == (78, "")
    assert "workspace is not set" in done.stderr
    done = logsh("config", "get", "work-space")
    assert done.code == 2
    assert "did you mean workspace?" in done.stderr


def test_set_keeps_a_value_as_it_will_be_used(logsh: Logsh, config: Path) -> None:
    for key, given, kept in (
        ("workspace", " shop ", "shop"),
        ("api_url", "HTTPS://Logsh.Example:443/api/event", "https://logsh.example"),
        ("icon", ":rocket:", "🚀"),
        ("icon", "✅", "✅"),
        ("notify", "Yes", True),
        ("notify", "off", False),
        ("deadline", "5", 5.0),
        ("deadline", "2.5", 2.5),
    ):
        done = logsh("config", "set", key, given)
        assert (done.code, done.stderr) == (0, "")
        assert saved(config)[key] == kept
        assert type(saved(config)[key]) is type(kept)


def test_set_refuses_what_reading_would_refuse(logsh: Logsh, config: Path) -> None:
    for key, value, said in (
        ("workspace", "", "workspace must not be empty"),
        ("workspace", "x" * 36, "workspace must be at most 35 characters; yours has 36"),
        ("icon", "rocket", "icon is not an emoji"),
        ("notify", "perhaps", 'notify must be true or false (or 1/0, yes/no, on/off); got "perhaps"'),
        ("deadline", "10x", 'deadline must be a duration such as 90s, 15m or 2h; got "10x"'),
        ("deadline", "nan", "deadline must be a duration"),
        ("deadline", "0", "above 0"),
        ("api_url", "http://logsh.example", "api_url must start with https://"),
        ("api_url", "https://me:secret@logsh.example", "api_url must not contain a user name or password"),
        ("api_url", "me:secret@logsh.example", "api_url must start with https://"),
        ("ca_file", "/nonexistent.pem", "must be a file with certificates in PEM format (No such file or directory)"),
        ("ca_file", "/etc/passwd", "ca_file must be a file with certificates in PEM format"),
        ("api_key", "logsh_secret", "an API key is not set on the command line"),
        ("workspce", "x", "did you mean workspace?"),
        ("profile", "work", "profile is not kept in a profile (pass --profile, or set LOGSH_PROFILE)"),
        ("best_effort", "yes", "LOGSH_BEST_EFFORT"),
        ("metadata", "x", ".logsh.toml"),
    ):
        done = logsh("config", "set", key, value)
        assert done.code == 2, key
        assert said in done.stderr
        assert "secret" not in done.stderr
    assert "LOGSH_PROFILE" in logsh("config", "unset", "profile").stderr
    assert config.read_text() == ""


def test_a_ca_file_is_kept_as_an_absolute_path(logsh: Logsh, config: Path) -> None:
    path = authority().write_ca(Path.cwd())
    assert logsh("config", "set", "ca_file", path.name).code == 0
    assert saved(config) == {"ca_file": str(path)}


def test_set_and_unset_change_one_profile_and_keep_comments(logsh: Logsh, config: Path) -> None:
    config.write_text("# mine\nworkspace = 'shop'\n")
    done = logsh("config", "set", "workspace", "office", "--profile", "work")
    assert done.stdout == "workspace = office (profile work)\n"
    assert config.read_text() == "# mine\nworkspace = 'shop'\n\n[profiles.work]\nworkspace = \"office\"\n"
    done = logsh("config", "unset", "workspace", env={"LOGSH_PROFILE": "work"})
    assert done.stdout == "workspace is not set (profile work)\n"
    done = logsh("config", "set", "notify", "on", "--json")
    assert done.json == {"profile": "default", "key": "notify", "value": True, "exit_code": 0, "error": None}
    assert logsh("config", "set", "notify", "off", "-q").stdout == ""
    assert logsh("config", "unset", "notify", "--json").json["value"] is None
    assert saved(config) == {"workspace": "shop", "profiles": {"work": {}}}


def test_unset_of_what_is_not_set_changes_nothing(logsh: Logsh, config: Path) -> None:
    config.unlink()
    assert logsh("config", "unset", "workspace").code == 0
    assert not config.exists()
    assert logsh("config", "unset", "work").code == 2
    assert logsh("config", "unset", "workspace", "-p", "nope").code == 78


def test_a_change_that_something_else_overrules_says_so(logsh: Logsh) -> None:
    done = logsh("config", "set", "workspace", "shop", env={"LOGSH_WORKSPACE": "other"})
    assert "LOGSH_WORKSPACE sets workspace to other here, and goes before the profile" in done.stderr
    Path(".logsh.toml").write_text('icon = "🚀"\n')
    assert ".logsh.toml sets icon to 🚀 here" in logsh("config", "set", "icon", ":tada:").stderr
    assert ".logsh.toml sets icon to 🚀 here" in logsh("config", "unset", "icon").stderr
    done = logsh("config", "set", "workspace", "shop", "-p", "default", env={"LOGSH_WORKSPACE": "other"})
    assert done.stderr == ""


def test_path_is_printed_whether_or_not_there_is_a_file_or_a_good_one(logsh: Logsh, config: Path) -> None:
    config.write_text("nonsense")
    assert logsh("config", "path").stdout == f"{config}\n"
    config.unlink()
    assert logsh("config", "path", "--json").json == {"path": str(config)}


def test_an_argument_that_is_no_text_is_refused_clearly(logsh: Logsh, config: Path) -> None:
    for argument in (b"\xff", b"\xed\xb2\x80"):
        for command in (("set", "workspace", argument), ("set", argument, "x"), ("get", argument)):
            done = logsh("config", *command)
            assert done.code == 2, done.stderr
            assert "fault in logsh" not in done.stderr
        assert logsh("config", "list", "--profile", argument).code == 2
    assert config.read_text() == ""
