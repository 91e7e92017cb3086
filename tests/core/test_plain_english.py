"""Texts for users and contributors avoid phrases that are hard to understand on first reading."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHRASES = [
    "answered by",
    "asked of",
    "broken off",
    r"(is|are|be|being|were|was) told of",
    r"a person's words",
    r"faults? of (form|meaning)",
    r"(the|a|each) (house|floors?)\b",
    r"(?<![.\w])floors\b",
    r"\bmend(s|ed)?\b",
    r"in words\b",
    r"\bled by",
    r"must be done to",
    r"\bof its own kind\b",
    r"taken up again",
    r"takes no more",
    r"the way of the",
    r"\bbut for\b",
    r"\bfor ever\b",
    r"what there is to",
]
"""Regular expressions; upper and lower case alike."""
BANNED = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES).replace(" ", r"\s+"), re.IGNORECASE)
TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment and string of a Python file, or the whole of a document."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, content
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in TEXTS:
            yield token.start[0], token.string


def found_in(path: Path) -> list[str]:
    return [
        f"{path}:{line + text.count(chr(10), 0, hit.start())}: {' '.join(hit.group().split())}"
        for line, text in texts_of(path)
        for hit in BANNED.finditer(text)
    ]


@pytest.mark.parametrize(
    "folder", ["core", "nfkd_gui", "tests", "packaging", "docs", "resources/presets", "."], ids=lambda folder: folder
)
def test_texts_are_plain(folder: str) -> None:
    patterns = ["*.md", "*.toml", "Makefile"] if folder == "." else ["**/*.py", "**/*.md", "**/*.sh", "**/*.toml"]
    files = [path for pattern in patterns for path in sorted((ROOT / folder).glob(pattern))]
    assert files
    assert not [hit for path in files if path != Path(__file__) for hit in found_in(path)]


CODE = """'The floors
of the house.'
floors = house = 1  # fine as names
x = f"2 faults to mend {1}"  # led by
"""
PAGE = """Good.

Every student is answered
by a baseline.
"""


def test_a_banned_phrase_is_found_in_comments_strings_and_documents(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE.replace("'", '"""'))
    (tmp_path / "page.md").write_text(PAGE)
    hits = [hit.rpartition("/")[2] for name in ("code.py", "page.md") for hit in found_in(tmp_path / name)]
    assert hits == [
        "code.py:1: The floors",
        "code.py:2: the house",
        "code.py:4: mend",
        "code.py:4: led by",
        "page.md:3: answered by",
    ]
