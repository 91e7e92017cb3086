"""Makes the animated picture of README: ``make animation``.

The real window shows the lab: a student learns from its teacher, then both bend the plane to noise and back, then a
probe is dragged. The pictures go to ``resources/screenshots/learn.webp``. Without a display the script starts Xvfb.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop
from screenshots import ROOT, SHOWN, until

from nfkd.protocol.requests import Shutdown
from nfkd.terminal import say
from nfkd_gui.app import make_window
from nfkd_gui.window.main_window import MainWindow

TARGET = SHOWN / "learn.webp"
_WINDOW, _SHOWN = QSize(1440, 900), QSize(960, 600)
_RATE = 8
"""Pictures a second."""
_SHORTEST, _LONGEST = 20, 40
"""Seconds that the animation may last."""
_LONGEST_TRAINING = 60.0
_PROBE = np.stack([2.2 * np.cos(np.linspace(0.4, 2.4, 40)), 2.2 * np.sin(np.linspace(0.4, 2.4, 40))], axis=1)
"""Positions of the probe."""


def main() -> None:
    """Start the window in an environment without the user's preferences, engine and runs."""
    if "--in-this-process" in sys.argv:
        film()
        return
    own = [sys.executable, __file__, "--in-this-process"]
    command = own if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *own]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "run").mkdir(mode=0o700)
        (home / "runs").mkdir()
        own_paths = {"HOME": folder, "XDG_CONFIG_HOME": f"{folder}/config", "XDG_RUNTIME_DIR": f"{folder}/run"}
        environment = os.environ | own_paths | {"PYTHONPATH": f"{ROOT}/core:{ROOT}"}
        subprocess.run(command, env=environment, check=True, timeout=600)
    say(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB")


def film() -> None:
    """Film the lab."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("nfkd")
    with QEventLoop(app) as loop:
        loop.run_until_complete(_film(app))


async def _film(app: QApplication) -> None:
    window = make_window(app, "", str(Path(os.environ["HOME"]) / "runs"))
    studio = window.studio
    studio.prefer(theme="dark")
    window.show()
    window.resize(_WINDOW)
    studio.start()
    await until(lambda: studio.ready)
    window.open_workspace("learn")
    window.learn.docks["lesson"].hide()
    lab = window.learn.lab
    await until(lambda: "teacher" in lab.pictures)
    camera = Film(window)
    await camera.roll(1)
    lab.set_values({"lab.speed": "quick"})
    lab.control("play")
    await until(lambda: lab.playing)
    started = time.monotonic()
    while lab.playing and time.monotonic() - started < _LONGEST_TRAINING:
        await camera.roll(1 / _RATE)
    await camera.roll(1.5)
    for share in np.concatenate([np.linspace(0, 1, 5 * _RATE), np.linspace(1, 0, 3 * _RATE)]):
        lab.set_values({"lab.position": float(share)})
        await camera.roll(1 / _RATE)
    window.learn.view.choose_page("probe")
    for x, y in _PROBE:
        lab.set_values({"lab.probe": (float(x), float(y))})
        await camera.roll(1 / _RATE)
    await camera.roll(1)
    camera.save()
    studio.ask(Shutdown(), lambda _reply: None, lambda _error: None)
    await until(lambda: studio.engine.phase != "ready")
    await studio.close()
    window.close()
    window.deleteLater()


class Film:
    """Pictures of a window at a steady rate."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._pictures: list[Image.Image] = []

    async def roll(self, seconds: float) -> None:
        """Film for some seconds."""
        for _ in range(max(1, round(seconds * _RATE))):
            started = time.monotonic()
            smooth = Qt.TransformationMode.SmoothTransformation
            shown = self._window.grab().toImage().scaled(_SHOWN, Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
            self._pictures.append(_as_pillow(shown))
            await asyncio.sleep(max(0.0, 1 / _RATE - (time.monotonic() - started)))

    def save(self) -> None:
        """Write the animation."""
        SHOWN.mkdir(parents=True, exist_ok=True)
        seconds = len(self._pictures) / _RATE
        if not _SHORTEST <= seconds <= _LONGEST:
            msg = f"the film lasts {seconds:.0f} s, not {_SHORTEST} to {_LONGEST} s: try it on a quiet machine"
            raise SystemExit(msg)
        first, *rest = self._pictures
        first.save(TARGET, save_all=True, append_images=rest, duration=1000 // _RATE, loop=0, quality=60, method=4)


def _as_pillow(image: QImage) -> Image.Image:
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return Image.fromarray(rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy())


if __name__ == "__main__":
    main()
