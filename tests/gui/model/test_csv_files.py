"""CSV files of panels, read back with the csv module."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nfkd.protocol.events import CurveBatch, CurvePoints, DensityDrawn, LogLine
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import FlowDescription, LayerInfo
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd_gui.model.csv_files import (
    Table,
    curves_table,
    densities_table,
    layers_table,
    log_table,
    matching_table,
    paths_table,
    samples_table,
    sizes_table,
    write_csv,
)
from nfkd_gui.model.export_files import CancelledError, ExportError, Progress
from tests.gui.scripted_engine import row_of

RANDOM = np.random.default_rng(0)


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def test_points_keep_every_digit_and_the_names_of_the_features(tmp_path: Path) -> None:
    samples = {name: RANDOM.normal(size=(3, 2)).astype(np.float32) for name in ("teacher", "student")}
    samples["student"][1] = np.nan, -np.inf
    write_csv(tmp_path / "a.csv", samples_table(samples, ["height", "=weight"]))
    header, rows = read(tmp_path / "a.csv")
    assert header == ["flow", "sample", "height", "'=weight"]
    assert [row[:2] for row in rows] == [[name, str(n)] for name in samples for n in (1, 2, 3)]
    values = np.array([row[2:] for row in rows], np.float32)
    np.testing.assert_array_equal(values, np.concatenate(list(samples.values())))


def test_images_have_a_column_for_each_pixel(tmp_path: Path) -> None:
    images = RANDOM.random((2, 3, 2, 2)).astype(np.float32)
    write_csv(tmp_path / "a.csv", samples_table({"data": images}))
    header, rows = read(tmp_path / "a.csv")
    assert header[2:4] == ["channel 1, row 1, column 1", "channel 1, row 1, column 2"]
    assert header[-1] == "channel 3, row 2, column 2"
    assert len(header) == 2 + 12
    assert np.float32(rows[1][header.index("channel 2, row 1, column 2")]) == images[1, 1, 0, 1]


def test_paths_have_their_number_and_alpha(tmp_path: Path) -> None:
    alpha = np.linspace(0, 1, 3, dtype=np.float32)
    paths = {"teacher": RANDOM.normal(size=(2, 3, 2)), "student": RANDOM.normal(size=(2, 3, 2))}
    write_csv(tmp_path / "a.csv", paths_table(alpha, paths))
    header, rows = read(tmp_path / "a.csv")
    assert header == ["flow", "path", "alpha", "x1", "x2"]
    places = [(name, str(number), a) for name in paths for number in (1, 2) for a in (0.0, 0.5, 1.0)]
    assert [(row[0], row[1], float(row[2])) for row in rows] == places
    values = np.array([[float(cell) for cell in row[3:]] for row in rows])
    np.testing.assert_array_equal(values, np.concatenate([path.reshape(-1, 2) for path in paths.values()]))


def test_curves_are_those_of_the_moment_although_the_run_continues(tmp_path: Path) -> None:
    def point(stage: Role, name: str, step: int) -> CurvePoints:
        batch = CurveBatch(steps=np.array([step]), values=np.array([step / 2]), times=np.array([step / 4]))
        return CurvePoints(run="/runs/a", seed=1, stage=stage, curves={name: batch})

    view = RunView(row_of("/runs/a", "running"), "")
    for step in (1, 2):
        view.apply(point("teacher", "train/total", step))
    table = curves_table(view, {"train/total"})
    read_first = [next(iter(table.rows))]
    for stage, name, step in (
        ("teacher", "train/total", 3),
        ("teacher", "validation/nll", 3),
        ("student", "train/total", 1),
    ):
        view.apply(point(stage, name, step))  # type: ignore[arg-type]
    write_csv(tmp_path / "a.csv", Table(table.header, [*read_first, *table.rows]))
    assert read(tmp_path / "a.csv") == (
        ["seed", "flow", "curve", "step", "time (s)", "value"],
        [["1", "teacher", "train/total", "1", "0.25", "0.5"], ["1", "teacher", "train/total", "2", "0.5", "1.0"]],
    )


def test_a_density_is_listed_with_its_places(tmp_path: Path) -> None:
    log_prob = np.arange(6, dtype=np.float32).reshape(2, 3)
    density = DensityDrawn(run="run", seed=1, stage="teacher", step=0, extent=(0, 2, 10, 20), log_prob=log_prob)
    write_csv(tmp_path / "a.csv", densities_table({"teacher": density}))
    header, rows = read(tmp_path / "a.csv")
    assert header == ["flow", "x", "y", "log p (nats)"]
    places = [(x, y) for y in (10, 20) for x in (0, 1, 2)]
    assert [tuple(map(float, row[1:])) for row in rows] == [(*place, i) for i, place in enumerate(places)]


def test_matching_errors_have_a_row_for_each_pair_and_step(tmp_path: Path) -> None:
    pairs = [LayerPair(student=f"s{n}", teacher=f"t{n}", summary="", weight=n / 2) for n in (1, 2)]
    errors = RANDOM.random((3, 2))
    write_csv(tmp_path / "a.csv", matching_table(pairs, [0, 10, 20], errors))
    header, rows = read(tmp_path / "a.csv")
    assert header[1:3] == ["student layer", "teacher layer"]
    assert [row[:4] for row in rows[2:4]] == [["10", "s1", "t1", "0.5"], ["10", "s2", "t2", "1.0"]]
    np.testing.assert_array_equal([float(row[4]) for row in rows], errors.flatten())


def test_a_folder_that_is_missing_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        write_csv(tmp_path / "missing" / "a.csv", samples_table({"teacher": np.zeros((1, 2))}))
    assert refused.value.info.title == "The file was not saved"
    assert "No such file or directory" in refused.value.info.cause


def test_a_cancelled_table_leaves_no_file(tmp_path: Path) -> None:
    progress = Progress()

    def rows() -> Iterator[list[int]]:
        yield [1]
        progress.cancel()
        yield [2]

    with pytest.raises(CancelledError):
        write_csv(tmp_path / "a.csv", Table(["n"], rows()), progress)
    assert not list(tmp_path.iterdir())


def test_sizes_and_layers_of_flows(tmp_path: Path) -> None:
    layers = [
        LayerInfo(name="level1.step1", label="", kind="step", shape=[4, 4, 4], parameters=120),
        LayerInfo(name="level1.split", label="", kind="split", shape=[2, 4, 4], parameters=0),
    ]
    flow = FlowDescription(summary="Glow 1×1", parameters=120, multiply_adds=300, memory=1 << 20, layers=layers)
    write_csv(tmp_path / "a.csv", sizes_table({"teacher": flow}, {"teacher": 1.5, "baseline": 0.5}))
    assert read(tmp_path / "a.csv")[1] == [["teacher", "120", "300", "1048576", "1.5"], ["baseline", "", "", "", "0.5"]]
    write_csv(tmp_path / "b.csv", layers_table({"student": flow}))
    assert read(tmp_path / "b.csv")[1] == [
        ["student", "level1.step1", "step", "4×4×4", "120"],
        ["student", "level1.split", "split", "2×4×4", "0"],
    ]


def test_lines_of_the_log_have_a_row_each(tmp_path: Path) -> None:
    line = LogLine(run="/runs/a", level="warning", text='a comma, "quoted"', time=12.5, stage="student", seed=2)
    write_csv(tmp_path / "log.csv", log_table([line]))
    header, rows = read(tmp_path / "log.csv")
    assert dict(zip(header, rows[0], strict=True)) == {
        "time (s)": "12.5", "run": "/runs/a", "seed": "2", "stage": "student", "level": "warning",
        "text": 'a comma, "quoted"',
    }  # fmt: skip
