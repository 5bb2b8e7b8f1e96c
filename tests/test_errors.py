"""Everything that can go wrong has a name, a message, and an exit code that is explained."""

from __future__ import annotations

import importlib
import pkgutil
import re

import logsh_cli
import logsh_cli.errors
from logsh_cli.errors import (
    EXIT_CODE_MEANINGS,
    ExitCode,
    InvalidEvent,
    LogshError,
    Terminated,
    TermSignal,
    interruption,
)
from logsh_cli.output import error_to_json

WINDOWS_ONLY = {"logsh_cli.job.windows"}


def tree(root: type[LogshError]) -> list[type[LogshError]]:
    """A class and everything below it."""
    return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]


def load_everything() -> None:
    """Import each module, so that classes outside of ``errors`` are known too."""
    for module in pkgutil.walk_packages(logsh_cli.__path__, "logsh_cli."):
        if not module.name.endswith("__main__") and module.name not in WINDOWS_ONLY:
            importlib.import_module(module.name)


load_everything()
CLASSES = tree(LogshError)


def test_every_error_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len({kind.name for kind in CLASSES}) == len(CLASSES)
    assert [kind for kind in CLASSES if not re.fullmatch(r"[a-z][a-z_]+", kind.name) or not kind.__doc__] == []


def test_every_exit_code_is_explained_and_every_one_but_success_has_an_error() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)
    assert {kind.exit_code for kind in CLASSES} == set(ExitCode) - {ExitCode.OK}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    own = {kind.__name__: kind for kind in CLASSES if kind.__module__ == "logsh_cli.errors"}
    drawn = re.findall(r"(?:├── |└── )(\w+)(?:\s+(\d+))?", logsh_cli.errors.__doc__ or "")
    assert {name for name, _ in drawn} == set(own) - {"LogshError"}
    for name, code in drawn:
        # Where no code is drawn, it is that of the class above.
        (above,) = own[name].__bases__
        assert issubclass(above, LogshError)
        assert int(own[name].exit_code) == int(code or above.exit_code), name


def test_every_error_carries_its_message_and_hint_into_the_machine_form() -> None:
    for kind in CLASSES:
        error = (
            InvalidEvent(["one", "two"], hint="do that") if kind is InvalidEvent else kind("one; two", hint="do that")
        )
        assert error_to_json(error) == {"name": kind.name, "message": "one; two", "hint": "do that"}
        assert str(error) == "one; two"


def test_a_signal_becomes_the_error_that_reports_it() -> None:
    assert (interruption(KeyboardInterrupt()).exit_code, interruption(KeyboardInterrupt()).name) == (130, "interrupted")
    ended = interruption(TermSignal(), hint="kept")
    assert isinstance(ended, Terminated)
    assert (ended.exit_code, ended.name, ended.hint) == (143, "terminated", "kept")


def test_no_handler_of_ordinary_exceptions_swallows_a_signal() -> None:
    assert not issubclass(TermSignal, Exception)
