"""Preferences: saving, loading, wrong and broken files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfkd_gui.model.preferences import Preferences, load_preferences, save_preferences
from tests import hostile


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "studio.json"
    preferences = Preferences(
        runs_folder="/a/b", engine="in_process", theme="dark", layout={"window": "00ff"}, told=["x"]
    )
    preferences = replace(preferences, lessons={"one": [2, 0]})
    preferences = preferences.with_recent(Path("/x/one.toml")).with_recent(Path("/x/two.toml"))
    save_preferences(preferences, path)
    assert load_preferences(path) == preferences
    assert load_preferences(path).recent == ["/x/two.toml", "/x/one.toml"]


def test_a_missing_file_means_defaults(tmp_path: Path) -> None:
    assert load_preferences(tmp_path / "none.json") == Preferences()


def test_each_wrong_value_becomes_its_default(tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    document = {
        "theme": "purple",
        "engine": 3,
        "recent": [1],
        "told": "closing",
        "layout": {"a": None},
        "lessons": {"one": [2, -1]},
        "runs_folder": "/mine",
        "later": 1,
    }
    path.write_text(json.dumps(document))
    assert load_preferences(path) == Preferences(runs_folder="/mine")


def test_a_broken_file_is_replaced_by_its_backup(tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    save_preferences(Preferences(theme="light"), path)
    save_preferences(Preferences(theme="dark"), path)
    path.write_bytes(b"\x00\xff{half")
    assert load_preferences(path).theme == "light"
    save_preferences(Preferences(theme="dark"), path)
    path.write_bytes(b"")
    assert load_preferences(path).theme == "light"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_can_be_loaded(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    path.write_bytes(content)
    assert isinstance(load_preferences(path), Preferences)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither FIFOs nor these devices")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", hostile.ANY_FILE)
def test_a_hostile_file_means_defaults_and_is_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    if kind == "directory":  # it cannot be replaced
        hostile.directory(path)
        assert load_preferences(path) == Preferences()
        return
    hostile.ANY_FILE[kind](path)
    hostile.fifo(tmp_path / "studio.json.tmp")
    assert load_preferences(path) == Preferences()
    save_preferences(Preferences(theme="dark"), path)
    assert load_preferences(path).theme == "dark"
    assert not path.is_symlink()


@pytest.mark.parametrize("folder", ["a\0b", "\ud800", "x" * 10_000, ""])
def test_an_impossible_folder_becomes_the_default(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    path.write_text(json.dumps({"runs_folder": folder, "recent": [folder], "theme": "dark"}))
    assert load_preferences(path) == Preferences(theme="dark")


def test_recent_files_are_limited_and_unique(tmp_path: Path) -> None:
    preferences = Preferences()
    for number in [*range(20), 19]:
        preferences = preferences.with_recent(Path(f"/{number}.toml"))
    assert preferences.recent == [f"/{number}.toml" for number in range(19, 11, -1)]
