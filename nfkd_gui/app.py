"""``nfkd-gui``: opens the studio."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfkd import __version__
from nfkd.terminal import Parser, say, standard_streams
from nfkd.text import is_unicode, plain_lines
from nfkd_gui.gc_policy import PAUSE, freeze_existing_objects, gc_paused

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from nfkd_gui.window.main_window import MainWindow

_DEFAULT_PRESET = "digits"


def main(argv: Sequence[str] | None = None) -> int:
    """Open the studio; return 0, or 2 for a wrong command line or a missing display."""
    with standard_streams():
        options = _parser().parse_args(argv)
        problem = _target_problem(options.target, options.runs) or _display_problem()
        if problem:
            say(f"nfkd-gui: {problem}", stderr=True)
            return 2
    return _open_studio(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="nfkd-gui", description="Open the studio.")
    parser.add_argument(
        "target",
        nargs="?",
        default="",
        help="an experiment file, a state of the lab, a run's directory, or a preset's name",
    )
    parser.add_argument(
        "--runs", metavar="DIR", default="", help="the folder of the runs; it is saved in the preferences"
    )
    parser.add_argument("--version", action="version", version=f"NFKD {__version__}")
    return parser


def _target_problem(target: str, runs: str) -> str:
    from nfkd.config import preset_names
    from nfkd.files import is_taken

    for path in (target, runs):
        if not is_unicode(path):
            return f"{path}: its name is not valid UTF-8; rename it"
    if not target or is_taken(Path(target)) or target in preset_names():
        return ""
    return f"{target}: no such experiment file, run or preset ({', '.join(preset_names())})"


def _display_problem() -> str:
    """Return a message if there is no display: Qt would abort the process."""
    known = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform != "linux" or any(os.environ.get(name) for name in known):
        return ""
    return "there is no display; `nfkd run digits` runs the same experiment in a terminal"


def _open_studio(options: argparse.Namespace) -> int:
    from PySide6.QtGui import QIcon  # import PySide6 before qasync
    from PySide6.QtWidgets import QApplication
    from qasync import QEventLoop

    from nfkd_gui.resources import resource_path

    app = QApplication(sys.argv[:1])
    app.setApplicationName("nfkd")
    app.setApplicationDisplayName("NFKD")
    app.setDesktopFileName("nfkd")
    app.setWindowIcon(QIcon(str(resource_path("icons", "nfkd.svg"))))
    app.setQuitOnLastWindowClosed(False)  # `_run` disconnects from the engine before it ends the loop
    loop = QEventLoop(app)
    with loop:
        loop.run_until_complete(_run(app, options))
    return 0


async def _run(app: QApplication, options: argparse.Namespace) -> None:
    """Show the window, connect, wait until it closes, and disconnect."""
    with gc_paused():
        window = make_window(app, options.target, options.runs)
    _show_unexpected_errors(window)
    closed = asyncio.Event()
    window.closed.connect(closed.set)
    window.show()
    freeze_existing_objects()
    asyncio.get_running_loop().call_soon(window.studio.start)
    await _import_pages()
    await closed.wait()
    await window.studio.close()
    window.deleteLater()


async def _import_pages() -> None:
    """Import what the other pages need, in a thread, so that they open sooner; the window stays responsive."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        try:
            for name in ("start_page", "train", "compare", "learn"):
                importlib.import_module(f"nfkd_gui.window.{name}")
        finally:
            loop.call_soon_threadsafe(done.set)

    PAUSE.enter()
    threading.Thread(target=work, name="imports", daemon=True).start()
    await done.wait()
    PAUSE.leave()


def make_window(app: QApplication, target: str = "", runs: str = "") -> MainWindow:
    """Return the window, not shown yet, with `target` open, else the start page.

    `target` is an experiment file, a state of the lab, a preset's name or a run.
    """
    from nfkd.config import preset_names
    from nfkd.files import is_folder
    from nfkd_gui.model.preferences import load_preferences, preferences_path
    from nfkd_gui.model.studio import Studio
    from nfkd_gui.theme import apply_theme
    from nfkd_gui.window.experiment_files import is_lab_state
    from nfkd_gui.window.main_window import MainWindow

    preferences = load_preferences(preferences_path())
    studio = Studio(preferences, preferences_path())
    if runs:
        studio.prefer(runs_folder=str(Path(runs).resolve()))
    apply_theme(app, preferences.theme, preferences.scale, shapes=False)
    window = MainWindow(studio)
    apply_theme(app, preferences.theme, preferences.scale)
    path, workspace = Path(target), "design" if target else ""
    state = ""
    if target and is_lab_state(path):
        state, target, workspace = target, "", "learn"
    if runs or (target and is_folder(path)):
        studio.machines.choose("", remember=False)
    if target and is_folder(path) and target not in preset_names():
        studio.open_run(str(path.resolve()))
        target, workspace = "", "train"
    if not window.files.open_now(target or _DEFAULT_PRESET):
        window.files.open(_DEFAULT_PRESET)  # an error dialog says why the file did not open
    if not target:
        studio.adopt_next_run()
    window.open_workspace(workspace)
    if state:
        window.lab_files.open(state)
    return window


def _show_unexpected_errors(window: MainWindow) -> None:
    """Show uncaught exceptions in a dialog instead of ending the program; SIGINT closes the window."""
    from nfkd.protocol.events import ErrorInfo

    def show(error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(plain_lines(text))
        title = "Unexpected error in the window"
        action = "The engine and its runs are not affected. Please report the details below."
        cause = f"{type(error).__name__}: {error}"
        window.show_error(ErrorInfo(title=title, cause=cause, action=action, traceback=text))

    def from_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            show(error)
        else:
            sys.stderr.write(plain_lines(f"{context.get('message', '')}\n"))

    sys.excepthook = lambda _kind, error, _trace: show(error)
    asyncio.get_running_loop().set_exception_handler(from_loop)
    signal.signal(signal.SIGINT, lambda *_: window.close())


if __name__ == "__main__":
    sys.exit(main())
