"""The one import rule: a folder imports only what stands below it in the house."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import logsh_cli

HOUSE = [
    *("__main__", "cli", "parser", "argv", "commands", "app", "help", "options"),
    *("sandbox", "doctor", "job", "batch", "delivery", "http", "outbox", "config", "event"),
    *("clock", "output", "files", "errors", "__init__"),
]
"""From the top down, as CONTRIBUTING.md draws it."""

PACKAGE = Path(logsh_cli.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def rooms_imported(tree: ast.AST) -> set[str]:
    """Which rooms a module needs when it runs; what only annotations name does not count."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    needed = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in annotations]
    names = [f"{node.module}.{alias.name}".split(".") for node in needed for alias in node.names]
    return {name[1] if name[1] in HOUSE else "__init__" for name in names if name[0] == "logsh_cli"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_room_imports_only_what_stands_below_it(module: Path) -> None:
    room = module.parts[0].removesuffix(".py")
    above = rooms_imported(ast.parse((PACKAGE / module).read_text("utf-8")))
    assert {other for other in above if HOUSE.index(other) < HOUSE.index(room)} == set()
