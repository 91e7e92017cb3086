"""The program `nfkd-gui`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nfkd_gui.app import main

NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": ""}


def test_version_and_help_need_no_display(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "nfkd_gui.app", "--version"]
    version = subprocess.run(command, env=os.environ | NO_DISPLAY, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("NFKD ")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "an experiment file, a state of the lab, a run's directory, or a preset's name" in " ".join(
        capsys.readouterr().out.split()
    )


def test_an_unknown_target_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such.toml"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("nfkd-gui: no-such.toml: no such experiment file, run or preset (")
    assert " digits, " in message
    assert message.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_a_missing_display_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NO_DISPLAY.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    message = capsys.readouterr().err
    assert "nfkd run digits" in message
    assert message.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that Windows does not have")
def test_an_interrupt_closes_the_window_without_an_error(tmp_path: Path) -> None:
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
