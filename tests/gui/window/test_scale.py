"""A window whose scale changes looks like one that was made at that scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QAbstractButton, QApplication, QDockWidget, QGridLayout, QLayout, QTableView, QWidget
from shiboken6 import delete

from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import apply_theme
from nfkd_gui.window.main_window import MainWindow


@pytest.fixture(autouse=True)
def themed(qapp: QApplication) -> Iterator[None]:
    """Apply the theme before the window is made, and its scale again once all windows are deleted."""
    apply_theme(qapp, "light", 100)
    yield
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    apply_theme(qapp, "light", 100, shapes=False)


def path_of(item: QObject) -> str:
    names, inside = [], cast("QObject | None", item)
    while inside is not None:
        names.append(inside.objectName() or type(inside).__name__)
        inside = inside.parent()
    return "/".join(reversed(names))


def sizes_of(widget: QWidget) -> dict[str, Any]:
    """Return everything about the size of a widget that does not depend on that of the window."""
    sizes: dict[str, Any] = {"font": widget.font().pixelSize(), "margins": widget.contentsMargins()}
    least, most = widget.minimumSize(), widget.maximumSize()
    if any(widget.property("fixed") or ()):
        sizes |= {"least": least.toTuple(), "most": most.toTuple()}
    for name, size in (("least", least), ("most", most)):
        limits = zip(widget.property(name) or (), size.toTuple(), strict=False)
        sizes[f"limits, {name}"] = [value for limit, value in limits if limit]
    if isinstance(widget, QAbstractButton):
        sizes["icon"] = widget.iconSize().toTuple()
    if isinstance(widget, QTableView):
        sizes["row"] = widget.verticalHeader().defaultSectionSize()
    layout = widget.layout()
    inside = layout.findChildren(QLayout) if layout is not None else []
    sizes["layouts"] = [spaces_of(each) for each in ([layout] if layout is not None else []) + inside]
    return sizes


def spaces_of(layout: QLayout) -> tuple[Any, ...]:
    if isinstance(layout, QGridLayout):
        least = [layout.rowMinimumHeight(row) for row in range(layout.rowCount())]
        return layout.contentsMargins(), layout.horizontalSpacing(), layout.verticalSpacing(), least
    return layout.contentsMargins(), layout.spacing()


def everything(window: MainWindow) -> dict[str, list[dict[str, Any]]]:
    """Return the sizes of all widgets of a window, by where they are."""
    for name in ("", "train", "design"):
        window.open_workspace(name)
        QApplication.processEvents()
    assert window.compare is not None
    window.show()
    QApplication.processEvents()
    found: dict[str, list[dict[str, Any]]] = {}
    for widget in window.findChildren(QWidget):
        if widget.objectName().startswith("qt_") or isinstance(widget, QDockWidget):
            continue  # parts of Qt's widgets have no text; Qt changes the least size of docks
        found.setdefault(path_of(widget), []).append(sizes_of(widget))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scale", [150])
def test_sizes_follow_the_scale(window: MainWindow, studio: Studio, qapp: QApplication, qtbot: Any, scale: int) -> None:
    everything(window)
    studio.prefer(scale=scale)
    QApplication.processEvents()
    scaled = everything(window)
    window.close()
    delete(window)  # Qt would apply the theme to its widgets again
    apply_theme(qapp, "light", scale)
    other = MainWindow(studio)
    qtbot.addWidget(other)
    other.show()
    made = everything(other)
    other.close()
    differences = [
        f"{path}: {key} {sizes[key]} is not {expected.get(key)}"
        for path, found in scaled.items()
        if len(found) == len(made.get(path, ()))  # Qt makes the parts of its own widgets when it needs them
        for sizes, expected in zip(found, made[path], strict=True)
        for key in sizes
        if sizes[key] != expected.get(key)
    ]
    assert len(scaled) > 200
    assert not differences, "\n".join(differences[:40])
