"""The user's preferences: a small JSON file with a backup. Wrong values in it are replaced by defaults."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from nfkd.files import read_limited, replacing

THEMES = ("system", "light", "dark", "contrast")
ENGINES = ("relay", "in_process")
_RECENT = 8
_LIMIT = 1 << 20  # bytes of the file
_LONGEST = 4096  # characters of a path


def _default_runs() -> str:
    return str(Path(platformdirs.user_documents_dir()) / "NFKD runs")


@dataclass(frozen=True)
class Preferences:
    """The preferences.

    Attributes
    ----------
    runs_folder
        The folder of new runs and of the table of runs.
    engine
        One of `ENGINES`; for the engine of this machine.
    machine
        The name of the machine whose engine is used; empty for this machine.
    theme
        One of `THEMES`.
    scale
        Size of the interface in per cent, 75 to 200.
    images_as_stored
        Whether grey images of digits look the same in every theme.
    recent
        Experiment files, newest first.
    told
        Names of the explanations that are given only once, and have been given.
    run_columns
        Names of the columns of the table of runs, in order; empty for the default ones.
    run_options
        Names of the options of that table that are on.
    layout
        Qt's state of the window and its docks, in hexadecimal, by name.
    inception
        The TorchScript file of FID's network; empty for none.
    lessons
        By the name of each lesson that was begun: the page that was reached, then the numbers of the solved tasks.
    """

    runs_folder: str = field(default_factory=_default_runs)
    engine: str = "relay"
    machine: str = ""
    theme: str = "system"
    scale: int = 100
    images_as_stored: bool = False
    recent: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    run_columns: list[str] = field(default_factory=list)
    run_options: list[str] = field(default_factory=list)
    layout: dict[str, str] = field(default_factory=dict)
    inception: str = ""
    lessons: dict[str, list[int]] = field(default_factory=dict)

    def with_recent(self, path: Path) -> Preferences:
        """Return a copy in which `path` is the newest experiment file."""
        known = [str(path), *(item for item in self.recent if item != str(path))]
        return replace(self, recent=known[:_RECENT])


def preferences_path() -> Path:
    """Return the path of the preferences file."""
    return Path(platformdirs.user_config_dir("nfkd", appauthor=False)) / "studio.json"


def load_preferences(path: Path) -> Preferences:
    """Read preferences; a missing or wrong value becomes the default.

    If the file is not JSON, its backup is read: the file of the previous save.
    """
    for candidate in (path, _backup(path)):
        document = _read(candidate)
        if document is not None:
            return _from_document(document)
    return Preferences()


def save_preferences(preferences: Preferences, path: Path) -> None:
    """Write preferences atomically; the previous file becomes the backup.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    keep = _backup(path) if _read(path) is not None else None  # a broken file must not replace a good backup
    with replacing(path, keep=keep) as temporary:
        temporary.write_text(json.dumps(asdict(preferences), indent=2, sort_keys=True), encoding="utf-8")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(read_limited(path, _LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _backup(path: Path) -> Path:
    return path.with_name(path.name + ".bak")


def _from_document(document: dict[str, Any]) -> Preferences:
    known = {item.name for item in fields(Preferences)}
    found = replace(
        Preferences(), **{key: value for key, value in document.items() if key in known and _fits(key, value)}
    )
    return replace(found, recent=found.recent[:_RECENT])


def _fits(key: str, value: Any) -> bool:
    match key:
        case "theme" | "engine":
            return value in (THEMES if key == "theme" else ENGINES)
        case "images_as_stored":
            return isinstance(value, bool)
        case "scale":
            return isinstance(value, int) and not isinstance(value, bool) and 75 <= value <= 200
        case "told" | "recent" | "run_columns" | "run_options":
            return isinstance(value, list) and all(_is_path(item) for item in value)
        case "layout" | "lessons":
            fits = _is_progress if key == "lessons" else _is_text
            return isinstance(value, dict) and all(fits(item) for item in value.values())
        case _:
            return (key == "machine" and value == "") or _is_path(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_progress(value: Any) -> bool:
    """Return whether a value is a list of small numbers, with at least one."""
    return isinstance(value, list) and bool(value) and all(type(item) is int and 0 <= item < 1000 for item in value)


def _is_path(value: Any) -> bool:
    """Return whether a value can be a path: not empty, not too long, without null characters or lone surrogates."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)
