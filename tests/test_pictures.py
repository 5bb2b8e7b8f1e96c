"""The README's pictures show what the command prints."""

from __future__ import annotations

import pytest

from tests.support.pictures import DIRECTORY, SESSIONS, draw, text_of


@pytest.mark.parametrize("name", SESSIONS)
def test_a_picture_shows_what_the_command_prints_today(name: str) -> None:
    shown = text_of((DIRECTORY / f"{name}.svg").read_text(encoding="utf-8"))
    assert len([line for line in shown if line]) > len(SESSIONS[name])
    assert shown == text_of(draw(name)), "run: python -m tests.support.pictures"


def test_the_readme_shows_every_picture() -> None:
    readme = (DIRECTORY.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"](docs/{name}.svg)" in readme for name in SESSIONS)
