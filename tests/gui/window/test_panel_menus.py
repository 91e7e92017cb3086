"""The menus of the panels in the window, and the tables of Design."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QAbstractButton, QLabel, QToolButton

from nfkd.protocol.requests import LayerInfo
from nfkd.protocol.roles import USUAL
from nfkd.protocol.times import StageTime, TimeEstimate
from nfkd_gui.model.csv_files import Table, write_csv
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.panel_menu import PanelMenu
from nfkd_gui.window.main_window import MainWindow
from tests.gui.scripted_engine import summary_of


def rows_of(table: Table, path: Path) -> list[dict[str, str]]:
    write_csv(path, table)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_panels_have_a_menu_with_a_name(window: MainWindow) -> None:
    assert window.train is not None
    assert window.compare is not None
    buttons = {menu.objectName() for menu in window.findChildren(PanelMenu)}
    panels = (
        "curves",
        "samples",
        "interpolation",
        "flow",
        "matching",
        "estimate",
        "architecture",
        "inspector",
        "selected",
        "runs",
    )
    assert {f"panel.{name}.menu" for name in panels} <= buttons
    for name in buttons:
        button = window.findChild(QToolButton, name.replace(".menu", ".more"))
        assert isinstance(button, QToolButton)
        assert button.accessibleName().startswith("Menu of ")
        assert button.toolTip()


def test_the_estimate_and_the_layers_are_tables(window: MainWindow, script: Any, do: Any, tmp_path: Path) -> None:
    layer = LayerInfo(name="level1.step1", label="level 1 step 1", kind="step", shape=[4, 4, 4], parameters=77)
    script.layers = {"teacher": [layer], "student": []}
    stages = [StageTime(stage="teacher", steps=10, step_seconds=8.0)]
    script.estimate = TimeEstimate(stages=stages, preparation=0.0, search=0.0, seconds=100.0, seeds=1)

    async def scenario() -> None:
        window.studio.experiment.describe()
        window.studio.time_estimate.refresh()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        panels = {
            name: found._panel
            for name in ("estimate", "architecture")
            if isinstance(found := window.findChild(PanelMenu, f"panel.{name}.menu"), PanelMenu)
        }
        estimate, flows = panels["estimate"], panels["architecture"]
        assert isinstance(estimate, Exportable)
        rows = rows_of(estimate.numbers()["Estimate"], tmp_path / "a.csv")
        assert [(row["stage"], row["parameters"], row["time (s)"]) for row in rows] == [
            ("teacher", "120000", str(stages[0].seconds)), ("student", "12000", ""),
        ]  # fmt: skip
        rows = rows_of(flows.numbers()["Layers"], tmp_path / "b.csv")
        assert [(row["flow"], row["layer"], row["parameters"]) for row in rows] == [("teacher", "level1.step1", "77")]
        assert flows.export_name() == "digits-architecture"

    do(scenario())


def test_the_inspector_saves_its_results_as_a_picture_and_its_figures_as_a_table(
    window: MainWindow, script: Any, do: Any, tmp_path: Path
) -> None:
    async def scenario() -> None:
        panel = window.train.inspector
        assert panel.figure() is None
        assert panel.numbers() == {}
        window.studio.run_experiment()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        script.finish("/runs/digits")
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]
        rows = {row["flow"]: row for row in rows_of(panel.numbers()["Figures"], tmp_path / "figures.csv")}
        for role in USUAL:
            assert float(rows[role]["test"]) == pytest.approx(100 * float(rows[role]["sw"]))
            assert float(rows[role]["parameters"]) == summary_of(role, 1, 1.0).parameters
        assert float(rows["student"]["test"]) == 3.0
        assert float(rows["student"]["sw"]) == 0.03
        assert (float(rows["floor"]["sw"]), rows["floor"]["test"]) == (0.0212, "")
        figure = panel.figure()
        assert figure is not None
        assert figure.findChild(QLabel, "inspector.verdict") is not None
        assert figure.findChildren(QAbstractButton) == []
        assert (panel.export_name(), window.runs.export_name()) == ("digits-inspector", "runs")

    do(scenario())
