from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from completions.generate import files, write
from completions.tree import SHORTCODES, Command, read_tree
from logsh_cli.commands.completion import FILES
from logsh_cli.event.icons import resolve_icon
from logsh_cli.parser import build_app
from tests.support.command import Completed, environment
from tests.support.terminal import Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Shells = Callable[[str], tuple[Shell, Path]]

REPOSITORY = Path(__file__).parents[2]
COMPLETIONS = REPOSITORY / "completions"
PACKAGES = (
    Path("/usr/share/bash-completion/bash_completion"),
    Path("/opt/homebrew/share/bash-completion/bash_completion"),
)

SETUPS = {
    "bash": r"""
PS1='$ '
bind 'set show-all-if-ambiguous on'
bind 'set bell-style none'
bind 'set completion-query-items 0'
bind 'set page-completions off'
bind -x '"\C-g": echo "$READLINE_LINE" >"$REVEALED"'
_gizmo() { COMPREPLY=($(compgen -W 'polish' -- "$2")); }
complete -F _gizmo gizmo
. {completions}/logsh.bash
echo ready >"$REVEALED"
""",
    "zsh": r"""
PS1='$ '
fpath=({completions} $fpath)
autoload -Uz compinit
compinit -D -u
LISTMAX=10000
setopt no_beep no_list_ambiguous
reveal() { print -r -- "$BUFFER" >$REVEALED }
zle -N reveal
bindkey -e
bindkey '^G' reveal
_gizmo() { _arguments '1:verb:(polish)' }
compdef _gizmo gizmo
echo ready >$REVEALED
""",
    "fish": r"""
set -g fish_autosuggestion_enabled 0
function fish_prompt; echo '$ '; end
bind \cg 'commandline >$REVEALED'
complete -c gizmo -f -a polish
source {completions}/logsh.fish
echo ready >$REVEALED
""",
}
COMMANDS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "bash with bash-completion": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "-i"),
}
CONFIG = """\
workspace = "shop"
[profiles.work]
icon = ":tada:"
[ profiles . "two words" ]
#[profiles.commented]
[profiles.zweite] # comment
"""


@pytest.fixture(scope="session")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shells]:
    """Interactive shells, each started once, and the file that a Python or a logsh would leave if it were run."""
    started: dict[str, tuple[Shell, Path]] = {}

    def find(name: str) -> tuple[Shell, Path]:
        if name not in started:
            started[name] = start_shell(name, tmp_path_factory.mktemp("shell"))
        return started[name]

    yield find
    for shell, _ in started.values():
        shell.close()


def start_shell(name: str, directory: Path) -> tuple[Shell, Path]:
    program = COMMANDS[name][0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    setup = SETUPS[program]
    if name != program:
        package = next((path for path in PACKAGES if path.is_file()), None)
        if package is None:
            pytest.skip("the bash-completion package is not installed")
        setup = f". {package}\n{setup}"
    home, commands, record = directory / "home", directory / "bin", directory / "was run"
    # Without this directory, fish reads every manual page when it is first used, by means of Python.
    (home / ".local/share/fish/generated_completions").mkdir(parents=True)
    (home / ".config/logsh").mkdir(parents=True)
    (home / ".config/logsh/config.toml").write_text(CONFIG)
    commands.mkdir()
    for fake in ("logsh", "python", "python3", f"python3.{sys.version_info.minor}", "gizmo"):
        path = commands / fake
        path.write_text(f'#!/bin/sh\necho "$0 $*" >>"{record}"\n')
        path.chmod(0o755)
    (directory / "feed.jsonl").touch()
    env = {
        "HOME": str(home),
        "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "INPUTRC": "/dev/null",
    }
    return Shell(COMMANDS[name], setup.replace("{completions}", str(COMPLETIONS)), env, directory), record


every_shell = pytest.mark.parametrize("name", COMMANDS)

COMPLETED = {
    "a command": ("logsh se", "logsh send"),
    "a command in a group": ("logsh outbox fl", "logsh outbox flush"),
    "an option": ("logsh send --wo", "logsh send --workspace"),
    "the opposite of an option": ("logsh send --no-n", "logsh send --no-notify"),
    "an option of the program": ("logsh --ver", "logsh --version"),
    "an option after an argument": ("logsh batch feed.jsonl --ra", "logsh batch feed.jsonl --rate"),
    "an option after a value that is a command's name": ("logsh send -e run --trunc", "logsh send -e run --truncate"),
    "an option that may be repeated": ("logsh send -m a=1 --met", "logsh send -m a=1 --meta"),
    "an option after a value with a colon": ("logsh send -m a:=1 --best", "logsh send -m a:=1 --best-effort"),
    "a choice": ("logsh send --on-missing-key s", "logsh send --on-missing-key skip"),
    "a choice after an equals sign": ("logsh run --on=ch", "logsh run --on=change"),
    "a shell": ("logsh completion f", "logsh completion fish"),
    "a profile": ("logsh send -p wo", "logsh send -p work"),
    "a profile after an equals sign": ("logsh send --profile=wo", "logsh send --profile=work"),
    "a profile after letters in one word": ("logsh send -qp wo", "logsh send -qp work"),
    "a profile with a blank": ("logsh send -p two", "logsh send -p two\\ words"),
    "a profile with a comment behind it": ("logsh send -p zw", "logsh send -p zweite"),
    "a shortcode": ("logsh send --icon :rock", "logsh send --icon :rocket:"),
    "a shortcode in quotes": ('logsh send -i ":rock', 'logsh send -i ":rocket:"'),
    "a shortcode after an equals sign": ("logsh send --icon=:rock", "logsh send --icon=:rocket:"),
    "a file": ("logsh batch f", "logsh batch feed.jsonl"),
    "a file to read from": ("logsh batch - < f", "logsh batch - < feed.jsonl"),
    "a key to read": ("logsh config get on_m", "logsh config get on_missing_key"),
    "a key to set": ("logsh config set w", "logsh config set workspace"),
    "a file for a key": ("logsh config set ca_file f", "logsh config set ca_file feed.jsonl"),
    "a shortcode for a key": ("logsh config set icon :rock", "logsh config set icon :rocket:"),
    "a value for a key": ("logsh config set notify t", "logsh config set notify true"),
    "the command of run": ("logsh run -- giz", "logsh run -- gizmo"),
    "the command of run without --": ("logsh run giz", "logsh run gizmo"),
    "the command of run after options": ("logsh run -e x --ci -- giz", "logsh run -e x --ci -- gizmo"),
    "the command of sandbox": ("logsh sandbox --fail 503 -- giz", "logsh sandbox --fail 503 -- gizmo"),
    "an argument of run's command": ("logsh run -- gizmo pol", "logsh run -- gizmo polish"),
    "an argument of run's command without --": ("logsh run gizmo pol", "logsh run gizmo polish"),
    "an argument of sandbox's command": ("logsh sandbox --port 0 -- gizmo p", "logsh sandbox --port 0 -- gizmo polish"),
    "a file for run's command": ("logsh run -- cat f", "logsh run -- cat feed.jsonl"),
    "logsh itself in the sandbox": ("logsh sandbox -- logsh send --no-v", "logsh sandbox -- logsh send --no-validate"),
}


@every_shell
@pytest.mark.parametrize("case", COMPLETED)
def test_a_tab_completes(shells: Shells, name: str, case: str) -> None:
    line, wanted = COMPLETED[case]

    # Shells differ in what they put behind a completed word: a blank, an equals sign, the closing quote, or nothing.
    assert shells(name)[0].complete(line).line.rstrip(' ="') == wanted.rstrip('"')


UNCHANGED = {
    "an option that was given": "logsh send --quiet --qui",
    "an option whose short form was given": "logsh send -q --qui",
    "an option whose opposite was given": "logsh send --notify --no-n",
    "a command that is hidden": "logsh cour",
    "a second command": "logsh login sen",
    "an option of logsh behind the command that it runs": "logsh run -- gizmo --no",
    "the same without --": "logsh run gizmo --no",
    "an option behind --": "logsh batch -- --ra",
    "the key, which must not stand in a command line": "logsh config set api_k",
    "a profile that is commented out": "logsh send -p comm",
}


@every_shell
@pytest.mark.parametrize("case", UNCHANGED)
def test_a_tab_does_not_offer(shells: Shells, name: str, case: str) -> None:
    assert shells(name)[0].complete(UNCHANGED[case]).line.rstrip() == UNCHANGED[case]


OFFERED = {
    "logsh s": {"send", "sandbox"},
    "logsh send --no": {"--notify", "--no-notify", "--no-validate"},
    "logsh run -- gi": {"gizmo"},
    "logsh send -p ": {"default", "work", "zweite"},
    "logsh config ": {"list", "get", "set", "unset", "path"},
    "logsh send --icon ": {":rocket:", ":tada:", ":white_check_mark:"},
}


@every_shell
@pytest.mark.parametrize("line", OFFERED)
def test_a_tab_lists_what_is_possible(shells: Shells, name: str, line: str) -> None:
    done = shells(name)[0].complete(line)

    # Where all that is possible begins alike, a shell may complete that much first.
    assert done.line.startswith(line)
    assert OFFERED[line] <= done.offered


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_shells_that_show_descriptions_have_them(shells: Shells, name: str) -> None:
    shell, _ = shells(name)

    assert "Send one event" in shell.complete("logsh s").shown
    assert "Let the service judge the event" in shell.complete("logsh send --no").shown
    assert resolve_icon(":rocket:") in shell.complete("logsh send --icon :ro").shown


@every_shell
def test_a_tab_starts_no_python_and_no_logsh(shells: Shells, name: str) -> None:
    shell, record = shells(name)

    for line in (
        "logsh s",
        "logsh send --no",
        "logsh run -- gi",
        "logsh batch f",
        "logsh send -p ",
        "logsh send -i :r",
    ):
        shell.complete(line)

    assert not record.exists(), record.read_text()


CONFIG_PLACES = {
    "LOGSH_CONFIG_DIR": ({"LOGSH_CONFIG_DIR": "{directory}/own"}, "own/config.toml"),
    "LOGSH_CONFIG_DIR below the home directory": ({"LOGSH_CONFIG_DIR": "~/own"}, "own/config.toml"),
    "XDG_CONFIG_HOME": ({"XDG_CONFIG_HOME": "{directory}/xdg"}, "xdg/logsh/config.toml"),
    "a relative XDG_CONFIG_HOME, which does not count": ({"XDG_CONFIG_HOME": "xdg"}, ".config/logsh/config.toml"),
    "the home directory": ({}, ".config/logsh/config.toml"),
}


@pytest.mark.skipif(sys.platform == "darwin", reason="the last two lie elsewhere on macOS")
@pytest.mark.parametrize("case", CONFIG_PLACES)
@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_profiles_are_read_where_logsh_reads_them(tmp_path: Path, name: str, case: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    given, place = CONFIG_PLACES[case]
    config = tmp_path / place
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[profiles.found]\n")
    (tmp_path / ".local/share/fish/generated_completions").mkdir(parents=True)
    variables = {key: value.replace("{directory}", str(tmp_path)) for key, value in given.items()}
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables}
    shell = Shell(COMMANDS[name], SETUPS[name].replace("{completions}", str(COMPLETIONS)), env, tmp_path)
    try:
        assert shell.complete("logsh send -p fo").line.rstrip() == "logsh send -p found"
    finally:
        shell.close()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_what_logsh_prints_can_be_read_at_a_shells_start(
    logsh: Callable[..., Completed], tmp_path: Path, name: str
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    script = tmp_path / "printed"
    script.write_bytes(logsh("completion", name).raw_stdout)
    reading = {
        "bash": f'eval "$(cat {script})"; complete -p logsh',
        "zsh": f'autoload -Uz compinit; compinit -D -u; eval "$(cat {script})"; echo $_comps[logsh]',
        "fish": f"cat {script} | source; complete -C 'logsh comp' | cut -f1",
    }[name]

    done = subprocess.run([name, "-c", reading], env=environment(), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] in ("logsh", "_logsh", "completion")


def test_zsh_says_what_it_needs_when_it_reads_the_script_too_early() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")

    done = subprocess.run(
        ["zsh", "-f", "-c", f". {COMPLETIONS}/_logsh"], capture_output=True, text=True, check=False, env=environment()
    )

    assert done.stderr == "logsh: completion needs compinit first: autoload -Uz compinit && compinit\n"


@pytest.mark.parametrize("shell", FILES)
def test_logsh_completion_prints_the_file(logsh: Callable[..., Completed], shell: str) -> None:
    done = logsh("completion", shell, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})

    assert (done.code, done.stderr) == (0, "")
    assert done.raw_stdout == COMPLETIONS.joinpath(FILES[shell]).read_bytes()


@pytest.mark.parametrize("args", [(), ("tcsh",)], ids=["no shell", "an unknown shell"])
def test_logsh_completion_needs_the_name_of_a_shell(logsh: Callable[..., Completed], args: tuple[str, ...]) -> None:
    done = logsh("completion", *args)

    assert (done.code, done.stdout) == (2, "")
    assert re.search(r"zsh(, |\|)fish", done.stderr)


@pytest.fixture(scope="session")
def tree() -> Command:
    return read_tree(build_app())


def test_the_files_are_what_the_commands_give() -> None:
    made = files()

    listed = {f"completions/{path.name}" for path in COMPLETIONS.iterdir() if path.suffix != ".py" and path.is_file()}
    assert listed == {path for path in made if path.startswith("completions/")}
    for path, text in made.items():
        assert (REPOSITORY / path).read_text("utf-8") == text, f"{path}: run `python -m completions`"


def test_the_files_can_be_written_anywhere(tmp_path: Path) -> None:
    write(tmp_path / "new")

    assert {path: (tmp_path / "new" / path).read_bytes().decode() for path in files()} == files()


def test_every_common_shortcode_is_an_icon_and_named_once() -> None:
    assert {name: resolve_icon(name) for name in SHORTCODES} == SHORTCODES
    assert len(set(SHORTCODES.values())) == len(SHORTCODES)


def test_the_keys_to_read_are_those_that_config_list_shows(logsh: Callable[..., Completed], tree: Command) -> None:
    get = next(command for command in tree.walk() if command.path == ("logsh", "config", "get"))

    assert set(get.arguments[0].values.words) == set(logsh("config", "list", "--json").json)


@pytest.mark.parametrize("shell", sorted(set(FILES) - {"man"}))
def test_every_script_knows_every_option_of_every_command(tree: Command, shell: str) -> None:
    script = COMPLETIONS.joinpath(FILES[shell]).read_text("utf-8")
    options = {name for command in tree.walk() for option in command.options for name in option.all_names}
    # fish writes --name as `-l name`.
    spelled = {f"-l {name[2:]} " if name.startswith("--") and shell == "fish" else name for name in options}
    spelled = {name.replace("-", "-s ", 1) if shell == "fish" and len(name) == 2 else name for name in spelled}

    assert not {name for name in spelled if name not in script}


def test_the_powershell_script_is_ascii_and_its_brackets_match() -> None:
    script = COMPLETIONS.joinpath("logsh.ps1").read_bytes().decode("ascii")
    code = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"`]|`.)*\"|(?m:#.*$)", "", script)
    pairs, opened = {")": "(", "]": "[", "}": "{"}, []
    for character in code:
        if character in pairs.values():
            opened.append(character)
        elif character in pairs:
            assert opened.pop() == pairs[character]

    assert not opened


def test_powershell_completes() -> None:
    if shutil.which("pwsh") is None:
        pytest.skip("PowerShell is not installed")
    for line, wanted in COMPLETED.values():
        ask = f". {COMPLETIONS}/logsh.ps1; (TabExpansion2 -inputScript '{line}').CompletionMatches.CompletionText"
        done = subprocess.run(["pwsh", "-NoProfile", "-Command", ask], capture_output=True, text=True, check=True)
        assert wanted.split()[-1] in done.stdout
