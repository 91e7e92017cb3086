"""The system panel: what it draws is what the run's curves have, over the time of the whole seed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel

from nfkd.protocol import events, records
from nfkd.protocol.roles import Role
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.panels.quantities import list_quantities
from nfkd_gui.panels.system import SystemPanel
from nfkd_gui.theme import role_colour
from tests.gui.panels.conftest import RUN

CURVES = {"system/cpu": ("CPU", "% of a core"), "system/memory": ("Memory", "MiB"),
          "system/steps_per_second": ("Speed", "steps/s")}  # fmt: skip


@pytest.fixture
def measured(fake_run: Any) -> Any:
    """A run whose plans have curves about the machine."""
    run = fake_run()
    infos = [records.CurveInfo(name=name, label=label, unit=unit) for name, (label, unit) in CURVES.items()]
    infos.append(records.CurveInfo(name="train/total", label="Total loss"))
    roles: tuple[Role, ...] = ("teacher", "student")
    plans = [events.StagePlan(stage=role, steps=1000, curves=infos, pairs=[]) for role in roles]
    run.add(events.SeedStarted(run=RUN, seed=1, stages=plans, event_shape=[1, 8, 8]))
    return run


def usage(run: Any, stage: Role, times: list[float], cpu: list[float]) -> None:
    """Add points of all three curves."""
    steps = (10 * np.array(times)).astype(np.int64)
    batches = {
        name: events.CurveBatch(steps=steps, values=factor * np.array(cpu), times=np.array(times))
        for name, factor in zip(CURVES, (1, 5, 0.25), strict=True)
    }
    run.add(events.CurvePoints(run=RUN, seed=1, stage=stage, curves=batches))


def text(panel: Any, name: str) -> str:
    label: Any = panel.findChild(QLabel, name)
    return label.text()


def test_stages_follow_one_another_and_the_newest_values_are_written(show: Any, measured: Any, tmp_path: Path) -> None:
    measured.begin("teacher")
    usage(measured, "teacher", [1.0, 2.0, 3.0], [90.0, 95.0, 92.0])
    measured.points("teacher", "train/total", np.ones(40))  # the stage takes four seconds
    measured.begin("student")
    usage(measured, "student", [1.5, 2.5], [60.0, 40.0])
    panel = show(SystemPanel, measured)
    items = panel._lines["system/cpu"].items
    np.testing.assert_allclose(items["teacher"].getData(), ([1, 2, 3], [90, 95, 92]))
    np.testing.assert_allclose(items["student"].getData(), ([5.5, 6.5], [60, 40]))
    assert items["student"].opts["pen"].color() == QColor(role_colour("student"))
    assert text(panel, "system.now") == "Now: CPU 40\u00a0% of a core, Memory 200\u00a0MiB, Speed 10\u00a0steps/s"
    legend = text(panel, "system.legend")
    assert role_colour("teacher") in legend
    assert "Baseline" not in legend, "it has not begun"
    write_csv(tmp_path / "system.csv", panel.numbers()["System"])
    rows = list(csv.DictReader((tmp_path / "system.csv").read_text().splitlines()))
    assert [float(row["value"]) for row in rows if (row["flow"], row["curve"]) == ("student", "system/cpu")] == [60, 40]
    assert {row["curve"] for row in rows} == set(CURVES)


def test_lines_have_the_colour_of_their_stage_on_the_screen(show: Any, measured: Any) -> None:
    measured.begin("teacher")
    usage(measured, "teacher", [1.0, 100.0], [50.0, 50.0])
    panel = show(SystemPanel, measured)
    plot = panel.plots["system/cpu"]
    picture, box = plot.grab().toImage(), plot.canvas.getViewBox()
    place = plot.mapFromScene(box.mapViewToScene(QPointF(45.0, 50.0)))
    colours = {picture.pixelColor(place.x(), place.y() + shift).name() for shift in range(-3, 4)}
    assert role_colour("teacher").lower() in colours


def test_only_new_measurements_redraw_the_panel(show: Any, measured: Any) -> None:
    measured.begin("teacher")
    usage(measured, "teacher", [1.0], [50.0])
    panel = show(SystemPanel, measured)
    measured.points("teacher", "train/total", np.ones(5))
    assert not panel._dirty
    usage(measured, "teacher", [2.0], [60.0])
    assert panel._dirty


def test_runs_without_measurements_say_why(show: Any, fake_run: Any, measured: Any) -> None:
    old = fake_run()
    old.begin("teacher")
    panel = show(SystemPanel, old)
    assert panel._placeholder.text() == "This run was made before NFKD measured the machine."
    measured.begin("teacher")
    panel.show_run(measured.view)
    panel.refresh()
    assert panel._placeholder.text().startswith("CPU, memory, GPU")
    measured.view.row = msgspec.structs.replace(measured.view.row, state="finished")
    panel.mark_dirty()
    panel.refresh()
    assert "every stage of this run took less" in panel._placeholder.text()


def test_curves_do_not_offer_them(show: Any, measured: Any) -> None:
    measured.begin("teacher")
    usage(measured, "teacher", [1.0], [50.0])
    panel = show(CurvesPanel, measured)
    assert [quantity.name for quantity in list_quantities(measured.view)] == ["train/total"]
    assert [action.data() for action in panel.choices._quantities.actions()] == ["train/total"]
