"""Views of labs with small flows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PySide6.QtWidgets import QApplication

from nfkd.lab.teacher_cache import TeacherCache
from nfkd.lab.training import LabTraining
from nfkd_gui.model.lab import LabModel
from nfkd_gui.panels.lab_view import LabView
from nfkd_gui.theme import apply_theme
from tests.gui.lab.lab_driver import Driven, LabStudio, small_state


@pytest.fixture(scope="module")
def cache(tmp_path_factory: Any) -> TeacherCache:
    """A cache with the trained teacher of the small state."""
    torch.set_num_threads(1)
    cache = TeacherCache(tmp_path_factory.mktemp("teachers"))
    training = LabTraining(small_state(), cache)
    while training.phase == "teacher":
        training.step()
    return cache


@pytest.fixture
def open_lab(qapp: QApplication, qtbot: Any, tmp_path: Path, cache: TeacherCache) -> Callable[..., Driven]:
    """Open a lab with the trained teacher, in a window."""

    def make(theme: str = "light", size: tuple[int, int] = (1176, 904), steps: int = 1) -> Driven:
        apply_theme(qapp, theme)
        studio = LabStudio(tmp_path, cache)
        lab = LabModel(studio)
        lab.state = small_state()
        view = LabView(lab, studio)
        qtbot.addWidget(view)
        view.resize(*size)
        with qtbot.waitExposed(view):
            view.show()
        driven = Driven(view, lab, studio, qtbot)
        studio.answer()
        if steps:
            driven.train(steps)
        return driven

    return make


@pytest.fixture
def lab(open_lab: Callable[..., Driven]) -> Driven:
    """A lab after one step."""
    return open_lab()
