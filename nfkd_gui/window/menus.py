"""The menu bar, which contains every action."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import PySide6
from PySide6.QtCore import QUrl
from PySide6.QtGui import QAction, QDesktopServices, QKeySequence
from PySide6.QtWidgets import QMenu

from nfkd import __version__
from nfkd.config import preset_names
from nfkd.text import plain
from nfkd_gui.widgets.dialogs import message
from nfkd_gui.widgets.labels import escaped, tip
from nfkd_gui.window.copies import copy_shown
from nfkd_gui.window.header import WORKSPACES

if TYPE_CHECKING:
    from nfkd_gui.widgets.workspace import Workspace
    from nfkd_gui.window.main_window import MainWindow

_LONGEST = 80
"""Longest file name in a menu, in characters."""
_KEYS = {"inspector": "Ctrl+I", "log": "Ctrl+L"}
_PAPER = "https://arxiv.org/abs/2506.21003"


def build(window: MainWindow) -> None:
    """Fill the header's menu; its commands also belong to the window, so that their shortcuts work everywhere."""
    _file_menu(window)
    _edit_menu(window)
    _run_menu(window)
    _lab_menu(window)
    _view_menu(window)
    _tools_menu(window)
    _help_menu(window)


def _menu(window: MainWindow, title: str) -> QMenu:
    menu = window.menu.addMenu(title)
    menu.setToolTipsVisible(True)
    return menu


def add_shortcuts(window: MainWindow) -> None:
    """Make the shortcuts of all menus work in the whole window."""
    for submenu in window.menu.actions():
        menu = submenu.menu()
        if isinstance(menu, QMenu):
            window.addActions([action for action in menu.actions() if not action.shortcut().isEmpty()])


def _file_menu(window: MainWindow) -> None:
    actions, files = window.actions_, window.files
    menu = _menu(window, "&File")
    menu.addAction(actions.new)
    actions.new.triggered.connect(lambda: files.open("digits"))
    presets = menu.addMenu("&Presets")
    presets.setObjectName("menu.preset")
    for name in preset_names():
        action = presets.addAction(name.replace("_", " "))
        action.setObjectName(f"preset.{name}")
        action.triggered.connect(lambda _checked=False, name=name: files.open(name))
    menu.addAction(actions.open)
    actions.open.triggered.connect(files.ask_open)
    recent = menu.addMenu("Open re&cent")
    recent.setObjectName("menu.recent")
    recent.aboutToShow.connect(lambda: _fill_recent(window, recent))
    menu.addSeparator()
    menu.addAction(actions.save)
    actions.save.triggered.connect(files.save)
    menu.addAction(actions.save_as)
    actions.save_as.triggered.connect(lambda _checked: files.ask_save())
    menu.addSeparator()
    menu.addAction(actions.open_run)
    actions.open_run.triggered.connect(files.ask_open_run)
    menu.addSeparator()
    menu.addAction(actions.quit)


def _fill_recent(window: MainWindow, menu: QMenu) -> None:
    menu.clear()
    for path in window.studio.preferences.recent:
        action = menu.addAction(plain(Path(path).name, _LONGEST).replace("&", "&&"))
        action.setToolTip(tip(path))
        action.triggered.connect(lambda _checked=False, path=path: window.files.open(path))
    if menu.isEmpty():
        menu.addAction("No files yet").setEnabled(False)


def _edit_menu(window: MainWindow) -> None:
    menu = _menu(window, "&Edit")
    stack = window.form.undo_stack
    undo, redo = stack.createUndoAction(window, "&Undo"), stack.createRedoAction(window, "&Redo")
    undo.setObjectName("action.undo")
    undo.setShortcut(QKeySequence.StandardKey.Undo)
    redo.setShortcut(QKeySequence.StandardKey.Redo)
    menu.addActions([undo, redo])
    menu.addSeparator()
    menu.addAction(window.actions_.palette)
    menu.addAction(window.actions_.preferences)


def share_undo(window: MainWindow) -> None:
    """Give the keys of Undo to the form, but in Compare to the table of runs."""
    undo = window.findChild(QAction, "action.undo")
    if isinstance(undo, QAction):
        keys = QKeySequence.StandardKey.Undo
        undo.setShortcut(QKeySequence() if window.workspace == "compare" else QKeySequence(keys))


def _run_menu(window: MainWindow) -> None:
    actions = window.actions_
    menu = _menu(window, "&Run")
    menu.addActions([actions.run, actions.sweep, actions.pause, actions.stop, actions.queue])
    menu.addSeparator()
    menu.addAction(actions.copy_run)
    actions.copy_run.triggered.connect(lambda: copy_shown(window))


def _lab_menu(window: MainWindow) -> None:
    actions = window.actions_
    menu = _menu(window, "&Lab")
    menu.addActions([actions.lab_open, actions.lab_save, actions.lab_copy, actions.lab_paste])
    menu.addSeparator()
    menu.addActions([actions.lab_design, actions.lab_show])


def _view_menu(window: MainWindow) -> None:
    actions = window.actions_
    menu = _menu(window, "&View")
    for number, (name, (title, _)) in enumerate(WORKSPACES.items(), start=1):
        show = QAction(f"&{number} {title}", window)
        show.setObjectName(f"action.workspace.{name}")
        show.setShortcut(QKeySequence(f"Ctrl+{number}"))
        show.setToolTip(f"Open the workspace {title}.")
        show.triggered.connect(lambda _checked=False, name=name: window.open_workspace(name))
        menu.addAction(show)
    menu.addAction(actions.start)
    menu.addSeparator()
    window.view_menu, window.docks_end = menu, menu.addSeparator()
    menu.addActions([actions.stack, actions.tile, actions.reset])
    menu.addSeparator()
    menu.addMenu("T&heme").addActions(actions.themes.actions())
    menu.addActions([actions.larger, actions.smaller, actions.normal_size, actions.presentation])


def add_docks(window: MainWindow, *workspaces: Workspace) -> None:
    """Add the docks of workspaces to the View menu, and their shortcuts to the window."""
    for workspace in workspaces:
        for name, dock in workspace.docks.items():
            window.view_menu.insertAction(window.docks_end, dock.toggle)
            if name in _KEYS:
                dock.toggle.setShortcut(QKeySequence(_KEYS[name]))
                window.addAction(dock.toggle)


def _tools_menu(window: MainWindow) -> None:
    actions = window.actions_
    menu = _menu(window, "&Tools")
    menu.addActions([actions.refresh_runs, actions.runs_folder])
    menu.addSeparator()
    menu.addMenu(window.engine_menu)
    menu.addAction(actions.restart)
    menu.addAction(actions.stop_engine)


def _help_menu(window: MainWindow) -> None:
    actions = window.actions_
    menu = _menu(window, "&Help")
    menu.addActions([actions.shortcuts, actions.paper])
    menu.addSeparator()
    menu.addAction(actions.about)
    actions.shortcuts.triggered.connect(lambda: _show_shortcuts(window))
    actions.paper.triggered.connect(lambda: QDesktopServices.openUrl(QUrl(_PAPER)))
    actions.about.triggered.connect(lambda: _show_about(window))


def _show_shortcuts(window: MainWindow) -> None:
    rows = "".join(
        f"<tr><td style='padding:2px 24px 2px 0'>{escaped(action.text().replace('&', '').rstrip(' …'))}</td>"
        f"<td><b>{action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)}</b></td></tr>"
        for menu_action in window.menu.actions()
        if isinstance(menu := menu_action.menu(), QMenu)
        for action in menu.actions()
        if not action.shortcut().isEmpty()
    )
    message(window, "Keyboard shortcuts", f"<table>{rows}</table>").open()


def _show_about(window: MainWindow) -> None:
    status = window.studio.engine.status
    engine = (
        f"Engine: torch {escaped(status.torch)} on {escaped(status.device_name or status.device)}<br>" if status else ""
    )
    message(
        window,
        "About NFKD",
        f"<h3>NFKD {__version__}</h3><p>A studio for knowledge distillation of normalizing flows, after "
        f"“Distilling Normalizing Flows” (Walton et al., 2025, <a href='{_PAPER}'>arXiv 2506.21003</a>).</p>"
        f"<p>{engine}Python {platform.python_version()}, Qt for Python {PySide6.__version__}<br>MIT licence</p>",
    ).open()
