"""Rows of a table in the samples and interpolation panels: features, units and axes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication, QComboBox

from nfkd.protocol.requests import Samples
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.samples import SamplesPanel
from tests.gui.panels.picture_steps import RUN, texts_of


def test_a_table_has_its_own_units_at_the_axes_and_in_the_csv(show: Any, fake_run: Any) -> None:
    run, names = fake_run(shape=(3,)), ["energy [GeV]", "angle [rad]", "mass"]
    run.add(msgspec.structs.replace(run.view.seeds[1], columns=names))
    run.begin("teacher")
    rng = np.random.default_rng(0)
    samples = rng.normal((5000, -0.02, 12), (300, 0.001, 1), size=(50, 3)).astype(np.float32)
    run.samples("teacher", 5, samples)
    panel = show(SamplesPanel, run)
    plane = panel.planes.cells["teacher"].plane
    for first, second in ((0, 1), (1, 2)):
        panel.findChild(QComboBox, "samples.feature_x").setCurrentIndex(first)
        panel.findChild(QComboBox, "samples.feature_y").setCurrentIndex(second)
        panel.refresh()
        QApplication.processEvents()
        axes = [plane.canvas.getAxis(side) for side in ("bottom", "left")]
        assert [axis.labelText for axis in axes] == [names[first], names[second]]
        for axis, feature, shown in zip(axes, (first, second), plane.canvas.viewRange(), strict=True):
            low, high = samples[:, feature].min(), samples[:, feature].max()
            assert shown[0] <= np.quantile(samples[:, feature], 0.01)
            assert shown[1] - shown[0] < 1.5 * (high - low)  # not stretched to the scale of the other feature
            numbers = [float(text.replace("−", "-").replace(",", "")) for text in texts_of(axis)]
            assert len(numbers) > 1
            assert shown[0] - 1e-9 <= min(numbers) < max(numbers) <= shown[1] + 1e-9
        metrics = QFontMetrics(axes[1].style["tickFont"])
        assert axes[1].width() > max(metrics.horizontalAdvance(text) for text in texts_of(axes[1]))
    table = panel.numbers()["Samples"]
    assert table.header == ["flow", "sample", *names]
    np.testing.assert_array_equal(np.array([row[2:] for row in table.rows]), samples)


def test_two_chosen_features_of_vectors_are_shown_in_one_frame(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(5,))
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(50, 5)).astype(np.float32)
    small, large = rng.normal(size=(2, 4, 5)).astype(np.float32), 3 * rng.normal(size=(2, 4, 5)).astype(np.float32)
    for role, path in (("teacher", small), ("student", large)):
        run.begin(role)
        run.path(role, path)
    run.samples("teacher", 5, samples)
    panel, paths = show(SamplesPanel, run), show(InterpolationPanel, run)
    plane = panel.planes.cells["teacher"].plane
    assert panel._features.isVisible()
    for first, second in ((0, 1), (3, 2)):
        for each in (panel, paths):
            each.findChild(QComboBox, f"{each.name}.feature_x").setCurrentIndex(first)
            each.findChild(QComboBox, f"{each.name}.feature_y").setCurrentIndex(second)
            each.refresh()
        np.testing.assert_allclose(np.stack(plane.points.getData(), 1), samples[:, [first, second]])
        for line, path in zip(paths.planes.cells["teacher"].plane.paths, small, strict=True):
            np.testing.assert_allclose(np.stack(line.getData(), axis=1), path[:, [first, second]])
        teacher, student = (paths.planes.cells[role].plane.canvas.viewRange() for role in ("teacher", "student"))
        np.testing.assert_allclose(teacher, student)
        for axis, feature in enumerate((first, second)):
            assert teacher[axis][0] < large[..., feature].min()
            assert teacher[axis][1] > large[..., feature].max()
    assert plane.canvas.getAxis("bottom").labelText == "x₄"
    assert plane.canvas.getAxis("left").labelText == "x₃"


def test_a_single_feature_is_shown_as_a_histogram_and_along_the_path(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(1,))
    run.begin("teacher")
    run.samples("teacher", 5, np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32))
    run.path("teacher", np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 6, 1))
    panel = show(SamplesPanel, run)
    assert panel._features.isHidden()
    edges, heights = panel.planes.cells["teacher"].plane.bars.getOriginalDataset()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    middles = (edges[1:] + edges[:-1]) / 2
    assert heights[np.abs(middles).argmin()] == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.08)
    x, y = show(InterpolationPanel, run).planes.cells["teacher"].plane.paths[0].getData()
    np.testing.assert_allclose(x, y, atol=1e-6)


def test_points_have_the_colour_of_their_noise_in_every_flow(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(shape=(2,))
    points = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    for role in ("teacher", "student"):
        run.begin(role)
        run.samples(role, 5, points)
    panel = show(SamplesPanel, run)
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert (request.noise_seed, request.count) == (None, 4)
    noise = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -0.5]])
    reply = Samples(
        run=RUN, seed=1, temperature=0.7, samples={"teacher": points, "student": points}, real=points, densities={},
        noise=noise,
    )  # fmt: skip
    on_reply(reply)
    panel.refresh()
    hues = {}
    for role in ("teacher", "student", "data"):
        brushes = panel.planes.cells[role].plane.points.data["brush"]
        hues[role] = [brush.color().hslHue() if brush is not None else None for brush in brushes]
    assert hues["teacher"] == hues["student"] == pytest.approx([0, 90, 180, 270], abs=1)
    assert len(set(hues["data"])) == 1
    on_reply(msgspec.structs.replace(reply, noise_seed=3))  # a late reply to an earlier choice
    panel.refresh()
    brushes = panel.planes.cells["teacher"].plane.points.data["brush"]
    assert len({brush.color().name() if brush is not None else "" for brush in brushes}) == 1
