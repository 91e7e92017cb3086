"""The context menu of a block or a line of the drawing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.pairs import PairItem

if TYPE_CHECKING:
    from nfkd_gui.panels.architecture import ArchitecturePanel

_BY_STRATEGY = "The layers of assistants are matched by the strategy; only the student's pairs can be edited."


def fill_menu(menu: QMenu, panel: ArchitecturePanel, item: BlockItem | PairItem | None) -> None:
    """Offer what can be done with an item of the drawing; None is the ground."""
    if isinstance(item, PairItem):
        _offer_pair(menu, panel, item)
    elif item is not None:
        _offer_block(menu, panel, item)
    _add(menu, "auto", "Auto-match", "Let the engine choose all pairs.").triggered.connect(panel.match_automatically)
    if item is None:
        _add(menu, "fit", "Fit", "Show the whole drawing.").triggered.connect(panel.view.fit)


def _offer_pair(menu: QMenu, panel: ArchitecturePanel, item: PairItem) -> None:
    pair = item.pair
    weight = _add(menu, "weight", "Weight…", "Set the pair's weight in the table of pairs.")
    remove = _add(menu, "remove", "Remove", "Remove this pair.")
    weight.triggered.connect(partial(panel.weigh_pair, pair.index))
    remove.triggered.connect(partial(panel.remove_pair, pair.index))
    for action in (weight, remove):
        if pair.learner != "student":
            action.setEnabled(False)
            action.setToolTip(_BY_STRATEGY)


def _offer_block(menu: QMenu, panel: ArchitecturePanel, item: BlockItem) -> None:
    view, box = panel.view, item.box
    layer = box.layers[0]
    is_free = layer.name not in {student for student, _ in view.rows}
    if box.kind == "step" and box.role == "student" and is_free and layer in view.choice.student:
        _offer_targets(menu, panel, layer.name)
    if box.level in view.drawing.unfolded or box.kind == "group":
        text = "Draw as one block" if box.level in view.drawing.unfolded else "Draw every step"
        _add(menu, "fold", text, "For all flows at this level.").triggered.connect(partial(_toggle, panel, box.level))


def _offer_targets(menu: QMenu, panel: ArchitecturePanel, student: str) -> None:
    """List the layers that a free layer of the student can be matched with."""
    view = panel.view
    number = view.choice.row_for(view.rows, student)
    trial = [*view.rows[:number], (student, ""), *view.rows[number:]]
    targets = view.choice.teachers(trial, number)
    sub = menu.addMenu("Match with")
    sub.setEnabled(bool(targets))
    for layer in targets:
        action = _add(sub, f"match.{layer.name}", layer.label, "")
        action.triggered.connect(partial(panel.add_pair, student, layer.name))


def _toggle(panel: ArchitecturePanel, level: int) -> None:
    panel.view.drawing.toggle({level})
    panel.view.rebuild()


def _add(menu: QMenu, name: str, text: str, help_: str) -> QAction:
    action = menu.addAction(text)
    action.setObjectName(f"architecture.{name}")
    action.setToolTip(help_)
    return action
