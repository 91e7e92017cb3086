"""Formulas: what is painted, in which colours and how large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication

from nfkd_gui.plotting.formula import FormulaError, FormulaView
from nfkd_gui.theme import apply_theme


def pixels(view: FormulaView) -> np.ndarray:
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)[..., 2::-1].copy()


def near(found: np.ndarray, colour: str) -> np.ndarray:
    """Return which pixels have a colour, nearly."""
    wanted = QColor(colour)
    return np.abs(found.astype(int) - [wanted.red(), wanted.green(), wanted.blue()]).max(axis=-1) < 24


@pytest.fixture
def show(qtbot: Any) -> Any:
    def make(*lines: str, size: float = 40) -> FormulaView:
        view = FormulaView(lines, size)
        qtbot.addWidget(view)
        view.resize(view.sizeHint())
        return view

    return make


@pytest.mark.parametrize(
    ("theme", "text", "teacher"), [("light", "#171A1F", "#0068A8"), ("dark", "#EDEFF2", "#4DB2E8")]
)
def test_a_fraction_is_painted_in_the_colours_of_text_and_role(
    theme: str, text: str, teacher: str, show: Any, qapp: QApplication
):
    apply_theme(qapp, theme)
    try:
        found = pixels(show(r"\dfrac{\teacher{m}}{n}"))
        above, below = near(found, teacher), near(found, text)
        line = int(below.sum(axis=1).argmax())  # the line of the fraction is the longest row
        assert above[:line].any()
        assert not above[line + 1 :].any()
        assert below[line + 3 :].any()
    finally:
        apply_theme(qapp, "light")


def test_nothing_is_cut_off(show: Any):
    view = show(r"\sum_{n=1}^{N} \dfrac{g_y}{g_y}")
    ground = pixels(view)[0, 0]
    ink = np.abs(pixels(view).astype(int) - ground).max(axis=-1) > 40
    assert ink.any()
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()


def test_a_colour_does_not_move_anything(show: Any):
    assert show(r"a + b^{c}").sizeHint() == show(r"a + \student{b^{\data{c}}}").sizeHint()


def test_lines_stand_below_each_other(show: Any):
    one, two = show("x = 1").sizeHint(), show("x = 1", "x = 1").sizeHint()
    assert two.width() == one.width()
    assert two.height() > 2 * one.height() - 4


def test_a_formula_that_is_too_wide_is_made_smaller(show: Any):
    view = show(r"a + b + c + d + e + f")
    full = view.sizeHint().width()
    view.resize(full // 2, view.height())
    found = pixels(view)
    ink = np.abs(found.astype(int) - found[-1, -1]).max(axis=-1) > 40
    assert ink[:, full // 4 :].any()
    assert not ink[:, -1].any()


@pytest.mark.parametrize("tex", [r"\frac{1}{", r"\nothing", r"\teacher{x", r"\left( x"])
def test_what_is_no_formula_is_refused(tex: str, qapp: QApplication):
    with pytest.raises(FormulaError, match="formula"):
        FormulaView((tex,))


def test_every_formula_of_the_lessons_can_be_painted(qapp: QApplication):
    from nfkd_gui.model.lesson_parts import Formula
    from nfkd_gui.model.lessons import load_lessons

    pages = [page for lesson in load_lessons()[0] for page in lesson.pages]
    formulas = [block for page in pages for block in page.blocks if isinstance(block, Formula)]
    assert formulas
    for formula in formulas:
        assert FormulaView(formula.lines).sizeHint().width() <= 320, formula
