"""Combo boxes of figures and settings in the panels of Compare: what the user picks stays while it is offered."""

from __future__ import annotations

from collections.abc import Sequence

from nfkd_gui.model.compare_figures import Figure
from nfkd_gui.model.setting_names import setting_title
from nfkd_gui.widgets.combo import FittingComboBox


def fill_figures(combo: FittingComboBox, figures: Sequence[Figure]) -> Figure:
    """Offer figures, and return the chosen one: that which the user picked if it is still there, else the first."""
    names = [figure.name for figure in figures]
    return figures[_fill(combo, names, [figure.title for figure in figures], 0)]


def fill_settings(combo: FittingComboBox, names: Sequence[str], first: int) -> str:
    """Offer settings, and return the chosen one: that which the user picked, else that with the index `first`.

    An empty name stands for no setting.
    """
    titles = [setting_title(name) if name else "One row" for name in names]
    return names[_fill(combo, names, titles, min(first, len(names) - 1))]


def _fill(combo: FittingComboBox, names: Sequence[str], titles: Sequence[str], first: int) -> int:
    if [combo.itemData(index) for index in range(combo.count())] != list(names):
        before = combo.currentData() if combo.picked else None
        combo.clear()
        for name, title in zip(names, titles, strict=True):
            combo.addItem(title, name)
        combo.setCurrentIndex(list(names).index(str(before)) if before in names else first)
    return combo.currentIndex()
