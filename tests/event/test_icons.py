from __future__ import annotations

import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import emoji
import pytest

import logsh_cli.event
from logsh_cli.event.icons import is_emoji, resolve_icon

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST = Path(logsh_cli.event.__file__).with_name("icons.txt")
UNICODE_DATA = Path("/usr/share/unicode/emoji")


def listed(file: str, *, column: str = "") -> list[str]:
    """The character sequences of one of Unicode's files, ranges written out; only lines with ``column`` in them."""
    if not (UNICODE_DATA / file).exists():
        return []
    sequences = []
    for line in (UNICODE_DATA / file).read_text(encoding="utf-8").splitlines():
        code, _, rest = line.partition("#")[0].partition(";")
        if rest and column in rest:
            first, _, last = code.strip().partition("..")
            if last:
                sequences += [chr(point) for point in range(int(first, 16), int(last, 16) + 1)]
            else:
                sequences.append("".join(chr(int(point, 16)) for point in first.split()))
    return sequences


def codes(text: str) -> str:
    return " ".join(f"{ord(char):04X}" for char in text) or "nothing"


NOT_EMOJI: dict[str, Iterable[str]] = {
    "nothing": [""],
    "digit": "0123456789",
    "digit with VS16": [f"{digit}\ufe0f" for digit in "0123456789#*"],
    "number": ["10", "42", "007", "1234567890"],
    "punctuation": "#*!?.,:;-_/\\\"'()[]{}<>@&%$+=~^`|",
    "letter": "azAZéßñøžабвαβγאבجدकखกขあア漢字한글",  # noqa: RUF001 - look-alikes are the point
    "word": ["rocket", "ok", "hello world", "null", "true", "émoji", "ロケット", ":)", "<3", "(╯°□°)╯"],
    "almost a shortcode": [":", "::", ":::", ": :", ":rocket", "rocket:", ": rocket :", ":rocket::", ":no such:"],
    "two emoji": ["🚀🚀", "✅❌", "👍👎", "❤️❤️", "🇩🇪🇫🇷", "👨‍👩‍👧👨‍👩‍👧", "1️⃣2️⃣", "🚀 🚀", "👍🏽👍🏽", "🚀👍🏿"],
    "emoji and text": ["🚀x", "x🚀", "🚀 ", " 🚀", "🚀\n", "🚀!", "✅ done", "🚀:", "🚀\u200b", "\ufeff🚀", "🚀\0"],
    "lone regional indicator": [chr(0x1F1E6 + n) for n in range(26)],
    "no such flag": ["🇦🇦", "🇿🇿", "🇽🇽", "🇩🇪🇫", "🏴\U000e0067\U000e007f", "🏴\U000e0067\U000e0062"],
    "variation selector": ["\ufe0f", "\ufe0e", "\ufe0f\ufe0f", "🚀\ufe0f\ufe0f", "\ufe0f🚀", "🚀\ufe0e", "☺\ufe0e"],
    "joiner": ["\u200d", "\u200d\u200d", "🚀\u200d", "\u200d🚀", "👩\u200d", "👩\u200d\u200d💻", "🚀\u200d🚀"],
    "keycap mark": ["\u20e3", "a\u20e3", "10\u20e3", "\ufe0f\u20e3", "1\u20e3\u20e3"],
    "tag": ["\U000e0001", "\U000e0067", "\U000e007f", "\U000e0067\U000e0062\U000e007f"],
    "skin tones": ["🏻🏼", "🚀🏽", "🏽👍", "👍🏽🏽", "👍🏽\ufe0f"],
    "symbol": ["→", "☰", "€", "•", "█", "²", "①", "🄀", "🀀", "🂡", "\0", "\x1b", "\x85", "\u202e", "\U0010ffff"],
    "surrogate": ["\ud83d", "\ude80", "\ud83d\ude80", "🚀\udc80", "\udcf0\udc9f\udc9a\udc80"],
    "combining mark": ["\u0301", "🚀\u0301", "e\u0301"],
    "the list's own syntax": ["🚀\t:rocket:", "🚀\t", "🚀\t\n🚁", "\n🚀", ":rocket:\t", ":rocket:\t\n🚁\t:helicopter:"],
    "long": ["🚀" * 1000, "x" * 100_000, "👩" + "\u200d👩" * 200, ":" + "a" * 100_000 + ":"],
}


@pytest.mark.skipif(not UNICODE_DATA.exists(), reason="Debian's package unicode-data is not installed")
def test_every_emoji_of_the_unicode_standard_is_an_icon_as_given() -> None:
    for file, column in (
        *(("emoji-test.txt", f" {status}qualified") for status in ("fully-", "minimally-", "un")),
        *(("emoji-test.txt", " component"), ("emoji-sequences.txt", ""), ("emoji-zwj-sequences.txt", "")),
    ):
        sequences = listed(file, column=column)
        assert sequences
        assert [codes(text) for text in sequences if not is_emoji(text) or resolve_icon(text) != text] == []

    # One that asks for an emoji by a variation selector, but for those that begin a keycap.
    sequences = listed("emoji-variation-sequences.txt", column="emoji style")
    assert sequences
    assert {text for text in sequences if not is_emoji(text)} == {f"{base}\ufe0f" for base in "#*0123456789"}


def test_every_entry_of_the_emoji_package_is_an_icon() -> None:
    assert [codes(text) for text in emoji.EMOJI_DATA if not is_emoji(text)] == []


def test_no_stretch_of_the_list_poses_as_an_icon() -> None:
    lines = LIST.read_text("utf-8").split("\n")[1:4]

    for stretch in ("\n".join(lines).rstrip("\t"), lines[1].rstrip("\t"), lines[1].partition("\t")[2].rstrip("\t")):
        assert stretch in LIST.read_text("utf-8")
        with pytest.raises(ValueError, match="is not an emoji"):
            resolve_icon(stretch)


def test_anything_else_is_refused_and_shown_safely() -> None:
    for kind, texts in NOT_EMOJI.items():
        for text in texts:
            assert not is_emoji(text), (kind, codes(text))
            with pytest.raises(ValueError, match=r"^is not an emoji or a known shortcode: ") as caught:
                resolve_icon(text)
            assert len(str(caught.value)) < 200
            assert not [char for char in str(caught.value) if unicodedata.category(char) in ("Cc", "Cs")]


def test_a_shortcode_stands_for_its_emoji_in_any_case() -> None:
    for shortcode, icon in (
        (":rocket:", "🚀"),
        (":+1:", "👍"),
        (":white_check_mark:", "✅"),
        (":x:", "❌"),
        (":warning:", "⚠️"),
        (":us:", "🇺🇸"),
        (":man’s_shoe:", "👞"),  # noqa: RUF001 - its name
        (":piñata:", "🪅"),
    ):
        assert [resolve_icon(text) for text in (shortcode, shortcode.upper(), shortcode.title())] == [icon] * 3


def test_every_shortcode_means_what_the_emoji_package_says() -> None:
    ours: dict[str, str] = {}
    for line in LIST.read_text("utf-8").splitlines():
        icon, *names = line.split("\t")
        for name in names:
            ours.setdefault(name, icon)
    theirs: dict[str, list[str]] = {}
    for icon, entry in emoji.EMOJI_DATA.items():
        if entry["status"] == emoji.STATUS["fully_qualified"]:
            for name in (entry["en"], *entry.get("alias", ())):
                theirs.setdefault(name, []).append(icon)
    assert len(theirs) > 4000
    # Case makes no difference to us; it does to the package, for these two.
    assert {name for name in theirs if ours[name.lower()] not in theirs[name]} == {":Japan:", ":Turkey:"}
    assert all(resolve_icon(name) == ours[name.lower()] for name in sorted(theirs)[::50])


def test_a_near_miss_is_told_what_may_be_meant_and_a_wild_guess_nothing() -> None:
    for text, meant in (
        (":rokcet:", ":rocket:"),
        ("rocket", ":rocket:"),
        (":Rocket", ":rocket:"),
        (":white-check-mark:", ":white_check_mark:"),
        (":thumbs_upp:", ":thumbs_up:"),
        (":wraning:", ":warning:"),
        (":zzzzqqq:", None),
    ):
        advice = f" (did you mean {meant}?)" if meant else ""
        for _ in range(2):  # the same answer every time
            with pytest.raises(ValueError, match="known shortcode") as caught:
                resolve_icon(text)
            assert str(caught.value) == f'is not an emoji or a known shortcode: "{text}"{advice}'


def test_the_list_is_found_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "logsh.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for path in LIST.parents[1].rglob("*.*"):
            file.write(path, path.relative_to(LIST.parents[2]))
    code = f"import sys; sys.path[0] = {str(archive)!r}; from logsh_cli.event import icons; print(icons.__file__)"
    code += "; print(icons.resolve_icon(':x:'))"
    done = subprocess.run([sys.executable, "-Ic", code], capture_output=True, check=True)

    assert done.stdout.decode().split() == [str(archive / "logsh_cli/event/icons.py"), "❌"]
