"""The program `nfkd-gui` as its user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = [sys.executable, "-m", "nfkd_gui.app"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*APP, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_version_and_help_need_no_display() -> None:
    bare = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": ""}
    assert run("--version", **bare).stdout.startswith("NFKD ")
    assert "an experiment file, a run's directory, or a preset's name" in " ".join(run("--help", **bare).stdout.split())


def test_what_does_not_exist_is_refused_in_one_line() -> None:
    result = run("no-such.toml")
    assert result.returncode == 2
    assert result.stderr.startswith("nfkd-gui: no-such.toml: no such experiment file, run or preset (")
    assert " digits, " in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_it_says_what_else_can_be_done() -> None:
    result = run(DISPLAY="", WAYLAND_DISPLAY="", QT_QPA_PLATFORM="")
    assert result.returncode == 2
    assert "nfkd run digits" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that Windows does not have")
def test_an_interrupt_closes_the_window_and_ends_in_order(tmp_path: Path) -> None:
    """Interrupted as soon as its window is there; without a complaint."""
    config = tmp_path / "config"
    watch = (
        "import os, signal, sys\n"
        "from PySide6.QtCore import QTimer\n"
        "from nfkd_gui import app\n"
        "from nfkd_gui.window.main_window import MainWindow\n"
        "show = MainWindow.show\n"
        "def shown(window):\n"
        "    show(window)\n"
        "    end = lambda: window.studio.ready and os.kill(os.getpid(), signal.SIGINT)\n"
        "    window.studio.engine_changed.connect(end)\n"
        "MainWindow.show = shown\n"
        "sys.exit(app.main(['two_moons']))\n"
    )
    environment = os.environ | {"XDG_CONFIG_HOME": str(config), "NFKD_ENGINE_DIR": str(tmp_path / "e")}
    process = subprocess.run(
        [sys.executable, "-c", watch], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert (config / "nfkd" / "studio.json").is_file()
    subprocess.run([sys.executable, "-m", "nfkd.engine", "stop"], env=environment, check=False, capture_output=True)
