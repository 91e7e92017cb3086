"""What the command palette finds: commands, fields, presets, runs, recent files and data sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu

from nfkd.config import ExperimentConfig, preset_names
from nfkd.config.datasets import DATA_KINDS, kind_label
from nfkd.config.toml import toml_document
from nfkd.text import plain
from nfkd_gui.forms.fields import FoundField, all_fields
from nfkd_gui.model.fuzzy import match

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_OWN_KINDS = {"preset", "recent"}
"""Menu entries that are entries of their own kind here."""
_NUMBER = re.compile(r"^\d+ ")
_LONGEST = 80


@dataclass(frozen=True)
class Entry:
    """Something that can be chosen.

    Attributes
    ----------
    title
        What the list shows and the search finds first.
    kind
        Such as ``Field``.
    choose
        Called when the user chooses it.
    more
        Other text that is searched, such as a path or a help text.
    detail
        Shown beside the kind, such as a shortcut.
    """

    title: str
    kind: str
    choose: Callable[[], Any]
    more: str = ""
    detail: str = ""


@dataclass(frozen=True)
class FoundEntry:
    """An entry that fits the query, and the indices of the title's letters that match."""

    entry: Entry
    letters: tuple[int, ...]


def search(query: str, entries: list[Entry], most: int) -> list[FoundEntry]:
    """Return the entries that fit a query, best first; all, in their order, for an empty one."""
    found = [(item, entry) for entry in entries if (item := match(query, entry.title, entry.more)) is not None]
    if query.strip():
        found.sort(key=lambda pair: pair[0].cost)
    return [FoundEntry(entry, item.letters) for item, entry in found[:most]]


def entries_of(window: MainWindow) -> list[Entry]:
    """Return everything that can be chosen in a window now."""
    return [
        *_commands(window), *_presets(window), *_runs(window), *_recent(window), *_data_sets(window), *_fields(window),
    ]  # fmt: skip


def _commands(window: MainWindow) -> Iterator[Entry]:
    for action in _actions_of(window.menu):
        text = _NUMBER.sub("", action.text().replace("&&", "\0").replace("&", "").replace("\0", "&"))
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        yield Entry(text, "Command", action.trigger, action.toolTip(), keys)


def _actions_of(menu: QMenu) -> Iterator[QAction]:
    """Return the actions of a menu and its submenus that can be triggered now."""
    for action in menu.actions():
        submenu = action.menu()
        if isinstance(submenu, QMenu):
            if submenu.objectName().removeprefix("menu.") not in _OWN_KINDS:
                yield from _actions_of(submenu)
        elif action.text() and action.isEnabled() and action.isVisible() and action.objectName() != "action.palette":
            yield action


def _presets(window: MainWindow) -> Iterator[Entry]:
    for name in preset_names():
        config = ExperimentConfig.load(name)
        yield Entry(
            config.name[:1].upper() + config.name[1:],
            "Preset",
            partial(window.open_preset, name),
            f"{name} {name.replace('_', ' ')}",
        )


def _runs(window: MainWindow) -> Iterator[Entry]:
    for row in sorted(window.studio.rows.values(), key=lambda row: -row.created):
        flows = f"{row.data} · {row.teacher} → {row.student}"
        yield Entry(plain(row.name, _LONGEST), "Run", partial(window.open_run, row.run), flows, row.state)


def _recent(window: MainWindow) -> Iterator[Entry]:
    for path in window.studio.preferences.recent:
        yield Entry(plain(Path(path).name, _LONGEST), "Recent file", partial(window.open_file, path), path)


def _data_sets(window: MainWindow) -> Iterator[Entry]:
    for named in window.studio.data_preview.datasets:
        if not named.problem:
            choose = partial(window.use_data, toml_document(named.config))
            yield Entry(plain(named.name, _LONGEST), "My data set", choose, named.config)
    for kind in DATA_KINDS:
        yield Entry(kind_label(kind), "Data set", partial(window.use_data, {"kind": kind}), kind)


def _fields(window: MainWindow) -> Iterator[Entry]:
    config = window.studio.experiment.config
    for field in _known_fields():
        if config is None or _has(config, field):
            yield Entry(field.title, "Field", partial(window.open_field, field.path), f"{field.path} {field.help}")


def _has(config: ExperimentConfig, field: FoundField) -> bool:
    """Return whether an experiment has a field; other kinds of flows and data have others, maybe of the same name."""
    *sections, name = field.path.split(".")
    model = reduce(lambda model, section: getattr(model, section, None), sections, cast("Any", config))
    info = type(model).model_fields.get(name) if isinstance(model, BaseModel) else None
    return info is not None and field.title.endswith(info.title or "")


@lru_cache(maxsize=1)
def _known_fields() -> list[FoundField]:
    return all_fields()
