"""Grid: cells of two settings, their figures, colours and progress, and the choice with the mouse."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from nfkd.protocol.events import Progress
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.compare_figures import MEASURES
from nfkd_gui.model.run_groups import make_group
from nfkd_gui.model.value_grid import value_grid
from nfkd_gui.panels.compare_grid import GridPanel
from nfkd_gui.plotting.value_grid import contrast
from nfkd_gui.theme import tokens
from nfkd_gui.widgets.combo import FittingComboBox
from tests.gui.compare.compare_driver import key
from tests.gui.compare_script import RECIPES, CompareScript
from tests.gui.pixels import colour_names
from tests.gui.scripted_engine import row_of

NLL, GAP = MEASURES[0], MEASURES[1]
HIDDEN, STEPS = "student.hidden", "student.steps"
STATES = ("running", "paused", "queued", "failed", "interrupted", "stopped", "finished")


def group_of(name: str, state: str = "finished", **values: Any) -> Any:
    values = {key.replace("__", "."): value for key, value in values.items()}
    return make_group([row_of(f"/runs/{name}", state)], values, {})


@given(
    st.lists(
        st.tuples(st.sampled_from([4.0, 8.0, 16.0]), st.sampled_from(["a", "b", None]), st.floats(-5, 5),
                  st.sampled_from(STATES)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_each_cell_has_the_runs_with_its_values(runs: list[tuple[float, str | None, float, str]]) -> None:
    groups = [
        group_of(str(number), state, student__hidden=hidden, distillation__inherit=inherit, student_test=value)
        for number, (hidden, inherit, value, state) in enumerate(runs)
    ]
    grid = value_grid(groups, HIDDEN, "distillation.inherit", NLL, {})
    assert list(grid.columns) == sorted({hidden for hidden, *_ in runs})
    assert set(grid.rows) == {inherit for _, inherit, *_ in runs}
    assert None not in grid.rows[:-1]
    for (row, column), cell in grid.cells.items():
        inside = [run for run in runs if run[:2] == (grid.columns[column], grid.rows[row])]
        assert cell.value == pytest.approx(statistics.fmean(value for _, _, value, _ in inside))
        assert STATES.index(cell.state) == min(STATES.index(state) for *_, state in inside)
    assert sum(len(cell.keys) for cell in grid.cells.values()) == grid.runs == len(runs)
    assert grid.failed == sum(state == "failed" for *_, state in runs)
    assert grid.ended == sum(state not in {"running", "paused", "queued"} for *_, state in runs)


def test_the_best_cell_has_share_one_and_the_worst_zero() -> None:
    groups = [
        group_of(str(value), student__hidden=value, student_test=value, gap_closed=value) for value in (1.0, 2.0, 4.0)
    ]
    lower = value_grid(groups, HIDDEN, "", NLL, {}).shares(larger=False)
    assert [lower[0, column] for column in range(3)] == pytest.approx([1.0, 2 / 3, 0.0])
    higher = value_grid(groups, HIDDEN, "", GAP, {}).shares(larger=True)
    assert [higher[0, column] for column in range(3)] == pytest.approx([0.0, 1 / 3, 1.0])
    assert value_grid(groups[:1], HIDDEN, "", NLL, {}).shares(larger=False) == {(0, 0): 1.0}


def test_runs_in_training_count_with_their_progress() -> None:
    groups = [group_of("a", "running", student__hidden=8.0), group_of("b", "queued", student__hidden=8.0)]
    cell = value_grid(groups, HIDDEN, "", NLL, {"/runs/a": 0.5}).cells[0, 0]
    assert (cell.state, cell.progress) == ("running", pytest.approx(0.25))
    assert math.isnan(cell.value)


# --- the panel --------------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(show: Callable[..., Any]) -> GridPanel:
    return show(GridPanel)


def pick(panel: GridPanel, combo: FittingComboBox, name: str) -> None:
    combo.setCurrentIndex(combo.findData(name))
    combo.activated.emit(combo.currentIndex())
    panel.refresh()


def steps_by_hidden(panel: GridPanel) -> None:
    pick(panel, panel.across, HIDDEN)
    pick(panel, panel.down, STEPS)


def middle(panel: GridPanel, place: tuple[int, int]) -> QPoint:
    return panel.view.rect_of(place).center().toPoint()


def test_the_figures_of_the_recipes_are_in_their_cells(panel: GridPanel) -> None:
    steps_by_hidden(panel)
    table = panel.numbers()["Grid"]
    rows = {(hidden, steps): value for hidden, steps, value, _ in table.rows}
    expected: dict[tuple[float, float], list[float]] = {}
    for steps, hidden, *rest in RECIPES.values():
        expected.setdefault((hidden, steps), []).append(rest[4])
    assert rows.keys() == expected.keys()
    for place, values in expected.items():
        assert rows[place] == pytest.approx(statistics.fmean(values))


def test_better_cells_are_darker_and_their_text_is_readable(panel: GridPanel) -> None:
    steps_by_hidden(panel)
    grid, _ = panel.grid()
    picture = panel.view.grab().toImage()
    grounds = {
        place: picture.pixelColor(panel.view.rect_of(place).topLeft().toPoint() + QPoint(10, 10))
        for place in grid.cells
    }
    best, worst = (pick(grid.cells, key=lambda place: grid.cells[place].value) for pick in (min, max))
    white = picture.pixelColor(1, picture.height() - 2)
    assert contrast(grounds[best], white) > contrast(grounds[worst], white)


def test_a_click_chooses_all_runs_of_a_cell_and_a_second_one_leaves_them(panel: GridPanel, model: CompareModel) -> None:
    steps_by_hidden(panel)
    grid, _ = panel.grid()
    place = next(place for place, cell in grid.cells.items() if key("pool, h 32") in cell.keys)
    QTest.mouseClick(panel.view, Qt.MouseButton.LeftButton, pos=middle(panel, place))
    assert model.chosen == [key("pool, h 32")]
    panel.refresh()
    edge = panel.view.rect_of(place)
    picture = panel.view.grab().toImage()
    assert picture.pixelColor(round(edge.left()) + 2, round(edge.center().y())).name() == tokens().run[0].lower()
    QTest.mouseClick(panel.view, Qt.MouseButton.LeftButton, pos=middle(panel, place))
    assert model.chosen == []


def test_progress_is_followed_and_failed_runs_are_counted(
    panel: GridPanel, model: CompareModel, script: CompareScript, ready: Any
) -> None:
    script.set_state(key("pool"), "failed")
    script.set_state(key("pool, h 32"), "running", progress=0.25)
    progress = Progress(
        run=key("pool, h 32"), seed=1, stage="student", step=5, steps=10, steps_per_second=1.0, seconds_left=5.0,
        fraction=0.5,
    )  # fmt: skip
    script.emit(progress)
    model.filter_by("")
    panel.mark_dirty()
    panel.refresh()
    assert panel.note.text().startswith(f"{len(RECIPES) - 1} of {len(RECIPES)} runs ended, 1 failed")
    grid, _ = panel.grid()
    [cell] = [cell for cell in grid.cells.values() if key("pool, h 32") in cell.keys]
    assert cell.state == "running"
    assert ready.progress[key("pool, h 32")].fraction == 0.5


def test_cells_of_several_runs_say_that_they_are_means(panel: GridPanel) -> None:
    steps_by_hidden(panel)
    assert "means over 1 to 6 runs, which differ in" in panel.note.text()


def test_the_legend_names_figure_and_unit_and_numbers_are_never_cut(panel: GridPanel) -> None:
    steps_by_hidden(panel)
    high = panel.view.grab().toImage()
    place = QPoint(2, panel.view.height() - 12)
    assert any(high.pixelColor(place + QPoint(x, 0)) != high.pixelColor(1, 1) for x in range(100))
    many = [group_of(str(n), student__hidden=float(n), student_test=n / 7, unit="nats") for n in range(1, 40)]
    grid = value_grid(many, HIDDEN, "", NLL, {})
    panel.view.show_grid(
        grid, shares=grid.shares(larger=False), titles=("Hidden", ""), heads=([str(n) for n in range(1, 40)], [""]),
        texts=dict.fromkeys(grid.cells, "1.234"), colours={}, legend="Test NLL (nats)",
    )  # fmt: skip
    rect = panel.view.rect_of((0, 20)).toRect()  # too narrow for its number: the cell has one colour inside
    inside = panel.view.grab(rect.adjusted(4, 4, -4, -4)).toImage()
    assert len(colour_names(inside)) == 1


def test_a_cell_is_reached_and_chosen_with_the_keys(panel: GridPanel, model: CompareModel) -> None:
    steps_by_hidden(panel)
    grid, _ = panel.grid()
    place = next(place for place, cell in grid.cells.items() if key("pool, h 32") in cell.keys)
    panel.view.setFocus()
    for _ in range(place[0]):
        QTest.keyClick(panel.view, Qt.Key.Key_Down)
    for _ in range(place[1]):
        QTest.keyClick(panel.view, Qt.Key.Key_Right)
    QTest.keyClick(panel.view, Qt.Key.Key_Space)
    assert model.chosen == [key("pool, h 32")]


def test_the_grid_has_the_runs_that_a_sweep_has_yet_to_start() -> None:
    groups = [group_of("a", student__hidden=8.0, student__steps=1.0, student_test=2.0)]
    grid = value_grid(groups, HIDDEN, STEPS, NLL, {}, {HIDDEN: [8, 16], STEPS: [1, 2, 3]})
    assert (grid.columns, grid.rows, grid.runs, grid.ended) == ((8, 16), (1, 2, 3), 6, 1)
    assert {place for place, cell in grid.cells.items() if cell.state == "queued"} == set(grid.cells) - {(0, 0)}
    assert len(grid.cells) == 6
    assert grid.cells[0, 0].keys == ("/runs/a",)


def test_only_runs_of_the_most_frequent_data_are_in_the_grid(
    panel: GridPanel, model: CompareModel, script: CompareScript
) -> None:
    group = model.group_of(key("pool"))
    assert group is not None
    dict.update(group.values, {"data": "pinwheel", "unit": "nats"})  # type: ignore[arg-type]
    steps_by_hidden(panel)
    assert key("pool") not in {key for cell in panel.grid()[0].cells.values() for key in cell.keys}
    assert panel.note.text().endswith("1 of other data left out")


def test_runs_that_do_not_differ_have_no_grid(show: Callable[..., Any], model: CompareModel) -> None:
    model.filter_by('name == "pool"')
    panel = show(GridPanel)
    assert "settings differ" in panel.missing()
    assert panel.numbers() == {}
