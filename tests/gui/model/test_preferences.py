"""Preferences: what is saved comes back; what is broken gives way, and never the other way round."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd_gui.model.preferences import Preferences, load_preferences, save_preferences
from tests import hostile


def test_saved_preferences_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "studio.json"
    preferences = Preferences(runs_folder="/a/b", engine="in_process", theme="dark", layout={"window": "00ff"})
    preferences = preferences.with_recent(Path("/x/one.toml")).with_recent(Path("/x/two.toml"))
    save_preferences(preferences, path)
    assert load_preferences(path) == preferences
    assert load_preferences(path).recent == ["/x/two.toml", "/x/one.toml"]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_preferences(tmp_path / "none.json") == Preferences()


def test_wrong_values_give_way_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    document = {
        "theme": "purple",
        "engine": 3,
        "recent": [1],
        "layout": {"a": None},
        "runs_folder": "/mine",
        "later": 1,
    }
    path.write_text(json.dumps(document))
    assert load_preferences(path) == Preferences(runs_folder="/mine")


def test_a_broken_file_gives_way_to_its_backup_and_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    save_preferences(Preferences(theme="light"), path)
    save_preferences(Preferences(theme="dark"), path)
    path.write_bytes(b"\x00\xff{half")
    assert load_preferences(path).theme == "light"
    save_preferences(Preferences(theme="dark"), path)
    path.write_bytes(b"")
    assert load_preferences(path).theme == "light"


@given(content=st.binary(max_size=200))
def test_any_bytes_are_survived(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "studio.json"
    path.write_bytes(content)
    assert isinstance(load_preferences(path), Preferences)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither FIFOs nor these devices")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", hostile.ANY_FILE)
def test_a_hostile_file_gives_way_and_is_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    if kind == "directory":  # it cannot be replaced, and stays
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
def test_a_folder_that_no_path_can_be_gives_way(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    path.write_text(json.dumps({"runs_folder": folder, "recent": [folder], "theme": "dark"}))
    assert load_preferences(path) == Preferences(theme="dark")


def test_recent_files_are_few_and_each_once(tmp_path: Path) -> None:
    preferences = Preferences()
    for number in [*range(20), 19]:
        preferences = preferences.with_recent(Path(f"/{number}.toml"))
    assert preferences.recent == [f"/{number}.toml" for number in range(19, 11, -1)]
