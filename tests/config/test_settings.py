"""Which source wins for each setting, and where a key may go."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from logsh_cli.config.resolve import NOT_SET, Destination, Flags, Settings, load_settings
from logsh_cli.errors import (
    BadConfig,
    ConfigError,
    MisplacedKey,
    MissingKey,
    MissingWorkspace,
    UnknownProfile,
    UsageError,
)

REPOSITORY = Path(__file__).parents[2]
KEY, OTHER_KEY = "logsh_CANARY_one", "logsh_CANARY_two"
LOGSH = "https://logsh.co"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "config"
    directory.mkdir(mode=0o700)
    path = directory / "config.toml"
    path.touch(mode=0o600)
    return path


def load(config: Path, env: dict[str, str] | None = None, **flags: Any) -> Settings:
    return load_settings(Flags(**flags), {"LOGSH_CONFIG_DIR": str(config.parent), **(env or {})}, Path.cwd())


def project(text: str) -> str:
    path = Path.cwd() / ".logsh.toml"
    path.write_text(text)
    return str(path)


ALL = """\
workspace = "from-default"
icon = "1"
notify = true
deadline = 1
[profiles.work]
workspace = "from-work"
icon = "2"
notify = false
deadline = 2.5
[profiles.bare]
"""


def test_with_nothing_set_there_are_only_built_in_values(config: Path) -> None:
    config.unlink()
    found = load(config)
    assert (found.profile.value, found.profile.source) == ("default", "built-in")
    assert (found.api_url.value, found.api_url.source) == (LOGSH, "built-in")
    assert (found.deadline.value, found.deadline.source) == (10.0, "built-in")
    assert {found.workspace, found.icon, found.notify, found.ca_file, found.api_key, found.metadata} == {NOT_SET}
    assert (found.warnings, found.project_path) == ({}, None)
    assert (found.best_effort, found.on_missing_key) == ((False, "built-in"), ("fail", "built-in"))
    assert found.config_path == config


def test_the_workspace_comes_from_the_first_source_that_has_it(config: Path) -> None:
    config.write_text(ALL)
    in_env, blank = {"LOGSH_WORKSPACE": " e "}, {"LOGSH_WORKSPACE": "  "}

    def check(flags: dict[str, Any], env: dict[str, str], value: str, source: str) -> None:
        places = {name: f"profile {name} ({config})" for name in ("default", "work")}
        places["project"] = str(Path.cwd() / ".logsh.toml")
        assert load(config, env, **flags).workspace == (value, places.get(source, source)), (flags, env)

    check({}, {"LOGSH_PROFILE": "work"}, "from-work", "work")
    check({}, {"LOGSH_PROFILE": ""}, "from-default", "default")
    project('workspace = "from-project"\n')
    check({"workspace": "f", "profile": "work"}, in_env, "f", "--workspace")
    check({"workspace": ""}, in_env, "", "--workspace")
    check({"profile": "work"}, in_env, "from-work", "work")
    check({"profile": "default"}, in_env, "from-default", "default")
    check({"profile": "bare"}, in_env, "e", "LOGSH_WORKSPACE")
    check({"profile": "bare"}, {}, "from-project", "project")
    check({}, in_env, "e", "LOGSH_WORKSPACE")
    check({}, blank, "from-project", "project")
    check({}, {"LOGSH_PROFILE": "work"}, "from-project", "project")


def test_every_other_setting_has_the_same_precedence(config: Path) -> None:
    config.write_text(ALL)
    env = {"LOGSH_ICON": "e", "LOGSH_NOTIFY": "off", "LOGSH_DEADLINE": "4"}

    def shown(found: Settings) -> list[Any]:
        return [found.icon.value, found.notify.value, found.deadline.value]

    assert shown(load(config, env, icon="f", notify=True, deadline=3)) == ["f", True, 3.0]
    assert load(config, {"LOGSH_NOTIFY": "1"}, notify=False).notify == (False, "--notify")
    assert shown(load(config, env, profile="work")) == ["2", False, 2.5]
    assert shown(load(config, env)) == ["e", False, 4.0]
    assert shown(load(config)) == ["1", True, 1.0]
    path = project('icon = "p"\nnotify = false\n[metadata]\nteam = "shop"\nlevel = 3\n')
    assert shown(load(config)) == ["p", False, 1.0]
    assert load(config).metadata == ({"team": "shop", "level": 3}, path)
    assert load(config, {"LOGSH_ON_MISSING_KEY": "Skip"}).on_missing_key == ("skip", "LOGSH_ON_MISSING_KEY")
    best_effort = load(config, {"LOGSH_BEST_EFFORT": "1"}, best_effort=False).best_effort
    assert best_effort == (True, "LOGSH_BEST_EFFORT")
    assert load(config, best_effort=True).best_effort == (True, "--best-effort")


def test_a_named_profile_inherits_nothing_and_one_that_does_not_exist_is_an_error_that_lists_the_others(
    config: Path,
) -> None:
    config.write_text(f'api_key = "{KEY}"\nworkspace = "mine"\nca_file = "/ca.pem"\n[profiles.work]\n')
    found = load(config, profile="work")
    assert (found.api_key, found.workspace, found.ca_file) == (NOT_SET,) * 3
    with pytest.raises(MissingKey, match="profile work has no API key"):
        found.destination()
    for flags, env in (({"profile": "nope"}, {}), ({}, {"LOGSH_PROFILE": "nope"})):
        with pytest.raises(UnknownProfile, match='there is no profile "nope"') as caught:
            load(config, {**env, "LOGSH_API_KEY": KEY}, **flags)
        assert "default, work" in str(caught.value.hint)
    with pytest.raises(UsageError, match="--profile: a profile's name must not be empty"):
        load(config, profile="")


def test_words_for_true_and_false(config: Path) -> None:
    for words, meant in ((("1", "true", "YES", "On"), True), (("0", "false", "No", "OFF"), False)):
        for word in words:
            found = load(config, {"LOGSH_BEST_EFFORT": word, "LOGSH_NOTIFY": word})
            assert (found.best_effort.value, found.notify.value) == (meant, meant), word


def test_a_variable_that_can_not_be_understood_is_named(config: Path) -> None:
    for name, value, said in (
        ("NOTIFY", "maybe", 'must be true or false (or 1/0, yes/no, on/off); got "maybe"'),
        ("BEST_EFFORT", "2", "must be true or false"),
        ("ON_MISSING_KEY", "ignore", 'must be "fail" or "skip"; got "ignore"'),
        ("DEADLINE", "10x", 'must be a duration such as 90s, 15m or 2h; got "10x"'),
        ("DEADLINE", "0", 'must be above 0 and at most 86400 seconds; got "0"'),
        ("DEADLINE", "86401", 'got "86401"'),
        ("NOTIFY", "\x1b[31m", r"\x1b[31m"),
    ):
        with pytest.raises(BadConfig) as caught:
            load(config, {f"LOGSH_{name}": value})
        assert f"LOGSH_{name}" in caught.value.message
        assert said in caught.value.message
        assert "\x1b" not in caught.value.message


def test_a_deadline_is_a_duration_wherever_it_is_set_and_an_impossible_one_is_said(config: Path) -> None:
    for text, seconds in (("90", 90.0), ("1h30m", 5400.0), (" 2.5s ", 2.5)):
        config.write_text(f"deadline = '{text}'\n")
        assert load(config).deadline.value == seconds
        assert load(config, {"LOGSH_DEADLINE": text}).deadline == (seconds, "LOGSH_DEADLINE")
    for bad in (0, -1, math.nan, math.inf, 86400.5):
        config.write_text(f"deadline = {bad}\n")
        with pytest.raises(UsageError, match="--deadline must be"):
            load(config, deadline=bad)
        with pytest.raises(BadConfig, match=r"the deadline from profile default \(.*config.toml\) must be"):
            load(config)
    config.write_text("deadline = 'soon'\n")
    with pytest.raises(BadConfig, match=r"the deadline from profile default .* must be a duration .*; got \"soon\""):
        load(config)


def test_the_first_source_of_a_key_wins(config: Path, tmp_path: Path) -> None:
    config.write_text('api_key = "from-profile"\n')
    file, credentials = tmp_path / "key", tmp_path / "credentials"
    file.write_text("from-file\n")
    credentials.mkdir()
    (credentials / "logsh-api-key").write_text("from-systemd\n")
    env = {
        "LOGSH_API_KEY": " from-variable\n",
        "LOGSH_API_KEY_FILE": str(file),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    seen = []
    for name in (*env, None):
        found = load(config, env)
        assert found.destination().key == found.api_key.value
        seen.append((found.api_key.value, found.api_key.source))
        env[name or ""] = ""
    assert seen == [
        ("from-variable", "LOGSH_API_KEY"),
        ("from-file", f"LOGSH_API_KEY_FILE ({file})"),
        ("from-systemd", "$CREDENTIALS_DIRECTORY/logsh-api-key"),
        ("from-profile", f"profile default ({config})"),
    ]


def test_other_credentials_of_a_unit_are_no_key(config: Path, tmp_path: Path) -> None:
    config.write_text(f'api_key = "{KEY}"\n')
    assert load(config, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).destination().key == KEY


def test_a_named_key_file_without_a_key_is_an_error_and_never_another_key(config: Path, tmp_path: Path) -> None:
    config.write_text(f'api_key = "{KEY}"\n')
    file = tmp_path / "logsh-api-key"
    file.symlink_to("nowhere")
    for content, error in ((None, BadConfig), ("", MissingKey), (" \n", MissingKey), ("a b", BadConfig)):
        if content is not None:
            file.unlink()
            file.write_text(content)
        for env in ({"LOGSH_API_KEY_FILE": str(file)}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}):
            with pytest.raises(error):
                load(config, env).destination()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_key_may_come_through_a_pipe_whose_writer_takes_its_time_but_is_not_waited_for_for_ever(
    config: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = load(config, {"LOGSH_API_KEY_FILE": str(pipe)}, key_patience_s=0.1)
    with pytest.raises(BadConfig, match="nobody writes to it"):
        found.destination()
    slowly = f"sleep 0.1; exec >{pipe}; sleep 0.1; printf logsh_; sleep 0.1; echo slow"
    with subprocess.Popen(["sh", "-c", slowly]):
        assert load(config, {"LOGSH_API_KEY_FILE": str(pipe)}).destination().key == "logsh_slow"


HERE, THERE = "https://here.example", "https://there.example"


# A profile's key ("k") and URL ("u") in the file, the environment, the flags, and where the key goes or why not.
PLACES: list[tuple[str, dict[str, str], dict[str, Any], tuple[str, str] | type[ConfigError]]] = [
    # the profile's key
    ("k", {}, {}, (KEY, LOGSH)),
    ("ku", {}, {}, (KEY, HERE)),
    ("k", {"LOGSH_API_URL": THERE}, {}, MisplacedKey),
    ("ku", {"LOGSH_API_URL": THERE}, {}, MisplacedKey),
    ("ku", {"LOGSH_API_URL": LOGSH}, {}, MisplacedKey),
    ("ku", {"LOGSH_API_URL": "HTTPS://Here.example:443/api/event"}, {}, (KEY, HERE)),
    ("k", {"LOGSH_API_URL": LOGSH + "/"}, {}, (KEY, LOGSH)),
    ("ku", {"LOGSH_API_URL": "  "}, {}, (KEY, HERE)),
    # the environment's key
    ("", {"LOGSH_API_KEY": OTHER_KEY}, {}, (OTHER_KEY, LOGSH)),
    ("", {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": THERE}, {}, (OTHER_KEY, THERE)),
    ("k", {"LOGSH_API_KEY": OTHER_KEY}, {}, (OTHER_KEY, LOGSH)),
    ("ku", {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": THERE}, {}, (OTHER_KEY, THERE)),
    ("ku", {"LOGSH_API_KEY": OTHER_KEY}, {}, MisplacedKey),
    ("u", {"LOGSH_API_KEY": OTHER_KEY}, {}, MisplacedKey),
    ("u", {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": HERE}, {}, (OTHER_KEY, HERE)),
    # an explicit profile takes both from the profile alone
    ("ku", {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": THERE}, {"profile": "default"}, (KEY, HERE)),
    ("k", {"LOGSH_API_URL": THERE}, {"profile": "default"}, (KEY, LOGSH)),
    ("u", {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": HERE}, {"profile": "default"}, MissingKey),
    # none
    ("u", {"LOGSH_API_URL": THERE}, {}, MissingKey),
    ("", {"LOGSH_API_KEY": ""}, {}, MissingKey),
]


def test_a_key_goes_only_where_it_belongs(config: Path) -> None:
    for file, env, flags, outcome in PLACES:
        config.write_text((f'api_key = "{KEY}"\n' * ("k" in file)) + (f'api_url = "{HERE}/"\n' * ("u" in file)))
        found = load(config, env, **flags)
        if isinstance(outcome, tuple):
            assert found.destination() == Destination("default", outcome[1], outcome[0], None)
            assert found.api_url.value == outcome[1]
            continue
        with pytest.raises(outcome) as caught:
            found.destination()
        assert caught.value.exit_code == 78
        hint = str(caught.value.hint)
        assert "CANARY" not in caught.value.message + hint
        if outcome is MisplacedKey:
            missing = "LOGSH_API_URL" if "LOGSH_API_KEY" in env else "LOGSH_API_KEY"
            assert re.search(f"set {missing} as well.*--profile default", hint)
        else:
            assert "logsh login" in hint


def test_what_mends_a_missing_key_and_workspace_is_for_the_profile_that_was_named(config: Path) -> None:
    config.write_text(f"[profiles.work]\n[profiles.other]\napi_key = '{KEY}'\n")
    without = MissingWorkspace("no workspace given")
    assert "`logsh login -p work`, then" in str(load(config, profile="work").missing(without).hint)
    assert "`logsh login`, then" in str(load(config).missing(without).hint)
    assert load(config, profile="other").missing(without) is without


def test_a_key_in_the_wrong_place_is_told_where_it_belongs(config: Path) -> None:
    given = "logsh_0123456789abcdef"
    for env in (
        {"LOGSH_API_KEY_FILE": given},
        {"LOGSH_PROFILE": given},
        {"LOGSH_API_URL": given, "LOGSH_API_KEY": KEY},
        {"LOGSH_API_URL": f"https://logsh.example?api_key={given}", "LOGSH_API_KEY": KEY},
    ):
        with pytest.raises(ConfigError) as caught:
            load(config, env).destination()
        assert "LOGSH_API_KEY" in str(caught.value.hint)
        assert "--key-stdin" in str(caught.value.hint)


def test_a_url_without_its_scheme_is_told_the_whole(config: Path) -> None:
    for given_url, meant in (
        ("localhost:1234", "http://localhost:1234"),
        ("logsh.example/x", "https://logsh.example/x"),
        ("??", LOGSH),
    ):
        with pytest.raises(BadConfig, match="must start with https://") as caught:
            load(config, {"LOGSH_API_URL": given_url, "LOGSH_API_KEY": KEY}).destination()
        assert caught.value.hint == f"it takes a base URL such as {meant}"


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(config: Path) -> None:
    for key in ("a b", "Bearer abc", "logsh_ä", "a\x7fb", "a\u2028b", "a\udc80", '"quoted"', "'quoted'", "x" * 1025):
        with pytest.raises(BadConfig, match="the API key from LOGSH_API_KEY must") as caught:
            load(config, {"LOGSH_API_KEY": key}).destination()
        assert key not in caught.value.message + str(caught.value.hint)
    assert load(config, {"LOGSH_API_KEY": "x" * 1024}).destination().key == "x" * 1024


def test_a_url_that_can_not_be_used_is_an_error_only_where_it_is_needed(config: Path) -> None:
    found = load(config, {"LOGSH_API_URL": "http://me:pass@host.example", "LOGSH_API_KEY": KEY})
    assert found.api_url.value == "http://[redacted]@host.example"
    with pytest.raises(BadConfig, match="LOGSH_API_URL must not contain a user name or password") as caught:
        found.destination()
    assert "pass@" not in caught.value.message


def test_certificates_are_trusted_only_at_the_url_they_are_for(config: Path) -> None:
    config.write_text(f'api_key = "{KEY}"\napi_url = "{HERE}"\nca_file = "ours.pem"\n')
    ours = str(config.parent / "ours.pem")
    assert load(config).destination().ca_file == ours
    assert load(config, {"LOGSH_CA_FILE": "/e.pem"}).destination().ca_file == "/e.pem"
    assert load(config, {"LOGSH_CA_FILE": "/e.pem"}, profile="default").destination().ca_file == ours
    elsewhere = {"LOGSH_API_KEY": OTHER_KEY, "LOGSH_API_URL": THERE}
    assert load(config, elsewhere).destination().ca_file is None
    assert load(config, {**elsewhere, "LOGSH_CA_FILE": "/e.pem"}).destination().ca_file == "/e.pem"
    assert load(config, {**elsewhere, "LOGSH_API_URL": HERE}).destination().ca_file == ours


def test_no_key_is_in_what_python_shows_of_the_values_and_warnings_about_files_are_handed_on(config: Path) -> None:
    config.chmod(0o644)
    found = load(config, {"LOGSH_API_KEY": KEY})
    assert "CANARY" not in repr(found) + repr(found.destination())
    if sys.platform != "win32":
        assert "tightened" in found.warnings["config_file"]


@given(
    env=st.dictionaries(
        st.sampled_from(
            [
                *("LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "LOGSH_API_URL", "LOGSH_WORKSPACE", "LOGSH_ICON"),
                *("LOGSH_DEADLINE", "LOGSH_CA_FILE", "LOGSH_PROFILE", "LOGSH_BEST_EFFORT", "CREDENTIALS_DIRECTORY"),
                "LOGSH_NOTIFY",
            ]
        ),
        # What an environment can hold: anything but NUL, undecodable bytes as surrogates.
        st.binary(max_size=20).map(lambda value: value.replace(b"\0", b"").decode("utf-8", "surrogateescape")),
    )
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_environment_gives_anything_but_settings_or_a_configuration_error(env: dict[str, str], config: Path) -> None:
    try:
        load(config, env).destination()
    except ConfigError as error:
        complaint = error.message
    else:
        complaint = "none"
    assert complaint
