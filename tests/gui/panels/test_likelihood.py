"""The likelihood panel: what it asks for and when, and its figures against SciPy and NumPy."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QFileDialog, QLabel, QPushButton, QToolButton, QWidget
from scipy import stats

from nfkd.config.datasets import parse_data_toml
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import CancelInspection, Extremes, LikelihoodReport, Origin, ReadLikelihood
from nfkd.protocol.records import BlockSolve
from nfkd.protocol.roles import DATA, Role
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.model.likelihoods import auc, pearson
from nfkd_gui.panels.likelihood import LikelihoodPanel
from nfkd_gui.theme import role_colour
from tests.gui.panels.conftest import RUN

ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")
SCALE, OFFSET = 1 / (64 * np.log(2)), 3.0


def report(shape: tuple[int, ...] = (1, 8, 8), second: str = "") -> LikelihoodReport:
    """Return a report with some values that are not finite."""
    numbers = np.random.default_rng(5)
    log_prob: dict[Role, dict[str, np.ndarray]] = {}
    base = numbers.normal(-80, 10, 300)
    for shift, role in enumerate(ROLES):
        test = base - shift + numbers.normal(0, 4, 300)
        test[7] = np.nan
        log_prob[role] = {"train": numbers.normal(-75, 9, 500), "test": test}
        if second:
            log_prob[role][second] = np.round(numbers.normal(-95, 12, 200))  # with ties
    quantiles = stats.norm.ppf(np.arange(1, 200) / 200)
    extremes: dict[Role, Extremes] = {
        role: Extremes(
            most=np.array([41, 12, 3]),
            least=np.array([9, 77, 5]),
            most_examples=np.stack([np.full(shape, level) for level in (0.1, 0.5, 0.9)]),
            least_examples=np.stack([np.full(shape, level) for level in (0.2, 0.6, 0.8)]),
        )
        for role in ROLES
    }
    return LikelihoodReport(
        RUN, seed=1, sets=list(log_prob["student"]), log_prob=log_prob,
        test_indices=np.arange(1000, 1300), latents=dict.fromkeys(ROLES, quantiles * 1.2), quantiles=quantiles,
        extremes=extremes, unit="bits/dim", nll_scale=SCALE, nll_offset=OFFSET,
    )  # fmt: skip


@pytest.fixture
def trained(fake_run: Any) -> Any:
    return make(fake_run)


def make(fake_run: Any, shape: tuple[int, ...] = (1, 8, 8)) -> Any:
    run = fake_run(shape=shape)
    for role in ROLES:
        run.begin(role)
        run.finish(role, steps=10, best_step=10)
    return run


def requests(studio: Any) -> list[ReadLikelihood]:
    return [request for request, *_ in studio.asked if isinstance(request, ReadLikelihood)]


def answer(panel: Any, studio: Any, reply: Any) -> None:
    _, on_reply, on_error, _ = next(each for each in reversed(studio.asked) if isinstance(each[0], ReadLikelihood))
    (on_error if isinstance(reply, ErrorInfo) else on_reply)(reply)
    panel.refresh()


def child(panel: QWidget, kind: Any, name: str) -> Any:
    found = panel.findChild(kind, name)
    assert found is not None, name
    return found


def exported(panel: Any, name: str, folder: Path) -> list[dict[str, str]]:
    write_csv(folder / "numbers.csv", panel.numbers()[name])
    return list(csv.DictReader((folder / "numbers.csv").read_text().splitlines()))


def test_it_asks_only_when_it_is_drawn_and_again_after_a_stage_has_ended(
    show: Any, fake_run: Any, fake_studio: Any
) -> None:
    run = fake_run()
    panel = show(LikelihoodPanel, run)
    assert not requests(fake_studio), "no flow has weights"
    run.begin("teacher")
    run.points("teacher", "train/total", np.ones(3))
    run.finish("teacher", steps=3, best_step=3)
    assert not requests(fake_studio), "nobody has looked yet"
    panel.refresh()
    assert [(each.run, each.seed, each.second) for each in requests(fake_studio)] == [(RUN, 1, "")]
    panel.refresh()
    run.begin("student")
    panel.refresh()
    assert len(requests(fake_studio)) == 1
    run.finish("student", steps=3, best_step=3)
    panel.refresh()
    assert len(requests(fake_studio)) == 2


def test_the_units_differ_before_the_reply(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(LikelihoodPanel, trained, (1200, 800))
    nats, reported = (panel.findChild(QToolButton, f"likelihood.unit.{unit}") for unit in ("nats", "reported"))
    assert (nats.text(), reported.text()) == ("log p", "NLL")
    answer(panel, fake_studio, report())
    assert (nats.text(), reported.text()) == ("log p", f"NLL, {report().unit}")


def test_iterations_of_the_chosen_flow_are_said(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(LikelihoodPanel, trained, (1200, 800))
    blocks = [BlockSolve("block 2", 16, 5, 64, 0), BlockSolve("block 1", 16, 9, 64, 2)]
    answer(panel, fake_studio, replace(report(), iterations={"student": blocks}))
    text = panel.iterations.text()
    assert "in place of 16 tokens one by one – block 2: 5, block 1: 9; 2 of 128 did not converge" in text
    box = panel.findChild(QComboBox, "likelihood.role")
    box.setCurrentIndex(0)
    box.activated.emit(0)
    panel.refresh()
    assert panel.iterations.isHidden()


def test_correlation_auc_and_histograms_are_those_of_scipy(
    show: Any, trained: Any, fake_studio: Any, tmp_path: Path
) -> None:
    panel = show(LikelihoodPanel, trained, (1200, 800))
    answer(panel, fake_studio, report(second="circles"))
    rows = exported(panel, "Log p", tmp_path)

    def values(role: str, name: str, column: str = "log p (nats)") -> np.ndarray:
        return np.array([float(row[column]) for row in rows if (row["flow"], row["set"]) == (role, name)])

    teacher, student, second = values("teacher", "test"), values("student", "test"), values("student", "circles")
    kept = np.isfinite(teacher) & np.isfinite(student)
    r = stats.pearsonr(teacher[kept], student[kept])[0]
    assert f"Correlation {r:.3f}" in panel.scatter.caption.text()
    assert f"{kept.sum()} test examples" in panel.scatter.caption.text()
    found = student[np.isfinite(student)]
    area = stats.mannwhitneyu(found, second).statistic / (len(found) * len(second))
    assert f"{area:.3f}" in panel.histograms.caption.text()
    item = panel.histograms.chart.lines.items["test"]
    edges, heights = item.getData()
    np.testing.assert_allclose(heights, 100 * np.histogram(found, edges)[0] / len(found))
    assert item.opts["pen"].color() == QColor(role_colour(DATA))
    np.testing.assert_allclose(values("student", "test", "NLL (bits/dim)"), OFFSET - SCALE * student)
    x, y = panel.scatter.chart.lines.items["points"].getData()
    np.testing.assert_allclose((x, y), (teacher[kept], student[kept]))


def test_auc_and_correlation_of_special_sets() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert np.isnan(auc(np.array([np.nan]), np.array([1.0])))
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))


def test_flows_without_finite_values_leave_the_others(show: Any, trained: Any, fake_studio: Any) -> None:
    panel, made = show(LikelihoodPanel, trained, (1200, 800)), report(second="circles")
    made.latents["baseline"] = np.full_like(made.quantiles, np.nan)
    for name, values in made.log_prob["student"].items():
        made.log_prob["student"][name] = np.full_like(values, np.nan)
    made.extremes["student"] = Extremes(
        most=np.empty(0, int), least=np.empty(0, int), most_examples=np.empty((0, 1, 8, 8)),
        least_examples=np.empty((0, 1, 8, 8)),
    )  # fmt: skip
    answer(panel, fake_studio, made)
    legend = panel.quantiles.chart.legend.text()
    assert "Teacher" in legend
    assert "Baseline" not in legend
    assert "circles –" in panel.histograms.caption.text()
    assert "Correlation –" in panel.scatter.caption.text()
    low, high = panel.quantiles.chart.plot.canvas.getViewBox().viewRange()[1]
    assert low < -2 < 2 < high


def test_the_unit_is_switched_by_mouse_and_the_flow_by_the_keyboard(
    show: Any, trained: Any, fake_studio: Any, qtbot: Any
) -> None:
    panel = show(LikelihoodPanel, trained, (1200, 800))
    made = report()
    answer(panel, fake_studio, made)
    button = child(panel, QToolButton, "likelihood.unit.reported")
    assert button.text() == "NLL, bits/dim"
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    panel.refresh()
    x, _ = panel.scatter.chart.lines.items["points"].getData()
    expected = OFFSET - SCALE * made.log_prob["teacher"]["test"]
    kept = np.isfinite(expected) & np.isfinite(made.log_prob["student"]["test"])
    np.testing.assert_allclose(x, expected[kept])
    box = child(panel, QComboBox, "likelihood.role")
    assert box.currentText() == "Student"
    box.setFocus()
    QTest.keyClick(box, Qt.Key.Key_Down)
    panel.refresh()
    assert box.currentText() == "Baseline"
    assert panel.histograms.title.text() == "Sets under the baseline"
    _, y = panel.scatter.chart.lines.items["points"].getData()
    assert y[0] == pytest.approx(OFFSET - SCALE * made.log_prob["baseline"]["test"][0])
    assert len(requests(fake_studio)) == 1, "the reply has all flows"


def test_extreme_images_open_the_sample_inspector(show: Any, trained: Any, fake_studio: Any, qtbot: Any) -> None:
    panel, chosen = show(LikelihoodPanel, trained, (1200, 800)), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    answer(panel, fake_studio, report())
    grid = panel.extremes.grids["most"]
    qtbot.waitUntil(lambda: grid.width() > 100)
    fake_studio.prefer(images_as_stored=True)
    panel.mark_dirty()
    panel.refresh()
    picture = grid.grab().toImage()
    greys = [picture.pixelColor(grid.cell_rect(number).center()).red() for number in range(3)]
    assert greys == [round(level * 255) for level in (0.1, 0.5, 0.9)]
    QTest.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.cell_rect(1).center())
    grid.setFocus()
    QTest.keyClick(grid, Qt.Key.Key_Right if grid.cell_rect(2).top() == grid.cell_rect(1).top() else Qt.Key.Key_Down)
    QTest.keyClick(grid, Qt.Key.Key_Return)
    QTest.mouseClick(panel.extremes.grids["least"], Qt.MouseButton.LeftButton, pos=QPointF(3, 3).toPoint())
    assert [(origin.kind, origin.index) for origin in chosen] == [("test", 12), ("test", 3), ("test", 9)]


def test_a_point_of_the_scatter_opens_the_sample_inspector(
    show: Any, trained: Any, fake_studio: Any, qtbot: Any
) -> None:
    panel, chosen = show(LikelihoodPanel, trained, (1200, 800)), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    made = report()
    answer(panel, fake_studio, made)
    plot = panel.scatter.chart.plot
    qtbot.waitUntil(lambda: plot.width() > 200)
    teacher, student = (made.log_prob[role]["test"] for role in ("teacher", "student"))
    for unit, number in (("nats", int(np.nanargmin(teacher))), ("reported", int(np.nanargmin(student)))):
        QTest.mouseClick(child(panel, QToolButton, f"likelihood.unit.{unit}"), Qt.MouseButton.LeftButton)
        panel.refresh()
        values = [each[number] if unit == "nats" else OFFSET - SCALE * each[number] for each in (teacher, student)]
        box = plot.canvas.getViewBox()
        box.autoRange()
        plot.grab()
        at = plot.mapFromScene(box.mapViewToScene(QPointF(*map(float, values))))
        QTest.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
        assert (chosen[-1].kind, chosen[-1].index) == ("test", 1000 + number)
    QTest.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=QPointF(3, 3).toPoint())
    assert len(chosen) == 2, "no point is there"


def test_extreme_rows_are_a_table(show: Any, fake_run: Any, fake_studio: Any) -> None:
    panel, chosen = show(LikelihoodPanel, make(fake_run, (2,)), (1200, 800)), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    made = report((2,))
    answer(panel, fake_studio, made)
    table = panel.extremes.table
    assert table.isVisible()
    cells = [[table.item(row, column).text() for column in range(table.columnCount())] for row in (0, 3)]
    ordered = np.sort(made.log_prob["student"]["test"])
    assert cells[0] == ["most likely", "41", f"{np.nanmax(ordered):.2f}".replace("-", "−"), "0.1000", "0.1000"]
    assert cells[1][:3] == ["least likely", "9", f"{ordered[0]:.2f}".replace("-", "−")]
    assert not table.isColumnHidden(4)
    table.resize(280, table.height())
    assert not table.isColumnHidden(3)
    assert table.isColumnHidden(4), "there is no room for it"
    assert sum(map(table.columnWidth, range(table.columnCount()))) <= table.viewport().width()
    place = table.visualItemRect(table.item(3, 1)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert (chosen[-1].kind, chosen[-1].index) == ("test", 9)


def test_a_second_data_set_is_chosen_or_refused_in_the_words_of_the_engine(
    show: Any, fake_run: Any, fake_studio: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    panel = show(LikelihoodPanel, make(fake_run, (2,)), (1200, 800))
    box = child(panel, QComboBox, "likelihood.second")
    names = [box.itemText(row) for row in range(box.count())]
    assert "Circles" in names
    assert "MNIST" not in names
    box.setFocus()
    box.setCurrentIndex(names.index("Circles"))
    box.activated.emit(box.currentIndex())
    panel.refresh()
    assert parse_data_toml(requests(fake_studio)[-1].second).kind == "circles"
    refusal = ErrorInfo(title="The second data set does not fit", cause="An example of it has 3 values, one of two 2.")
    answer(panel, fake_studio, refusal)
    assert child(panel, QLabel, "likelihood.message").text() == f"{refusal.title}. {refusal.cause}"
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_args: (str(tmp_path / "mine.csv"), ""))
    box.setCurrentIndex(box.findText("File …"))
    box.activated.emit(box.currentIndex())
    panel.refresh()
    assert box.currentText() == "mine.csv"
    config = parse_data_toml(requests(fake_studio)[-1].second)
    assert (config.kind, Path(config.path)) == ("table", tmp_path / "mine.csv")  # type: ignore[union-attr]


def test_progress_is_shown_and_cancel_ends_the_computation(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(LikelihoodPanel, trained)
    bar = child(panel, QWidget, "likelihood.progress")
    assert bar.isVisible()
    fake_studio.inspection_progressed.emit(requests(fake_studio)[-1].ticket, 0.4)
    assert bar.value() == 40
    QTest.mouseClick(child(panel, QPushButton, "likelihood.cancel"), Qt.MouseButton.LeftButton)
    assert isinstance(fake_studio.asked[-1][0], CancelInspection)
    panel.refresh()
    assert not bar.isVisible()
    assert len(requests(fake_studio)) == 1
    QTest.mouseClick(child(panel, QPushButton, "likelihood.again"), Qt.MouseButton.LeftButton)
    panel.refresh()
    assert len(requests(fake_studio)) == 2


def test_parts_stand_side_by_side_or_below_each_other(show: Any, trained: Any, fake_studio: Any, qtbot: Any) -> None:
    panel = show(LikelihoodPanel, trained, (1000, 800))
    answer(panel, fake_studio, report())
    first, second = panel.histograms, panel.scatter
    qtbot.waitUntil(lambda: first.y() == second.y() and first.x() < second.x())
    panel.resize(420, 900)
    qtbot.waitUntil(lambda: first.x() == second.x() and first.y() < second.y())
