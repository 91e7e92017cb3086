"""Exports of a run: event files as TensorBoard reads them, and weights as another process loads them."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import nfkd
from nfkd.cli import main
from nfkd.runs import tensorboard
from nfkd.runs.errors import RunError
from nfkd.runs.reader import RunRecord, open_run
from nfkd.runs.tensorboard import export_tensorboard
from nfkd.runs.weights_export import export_weights
from tests.core.tiny import digits, moons

SHORT = {"teacher_steps": 20, "student_steps": 10}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's own modules


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    nfkd.run(digits(training=SHORT, student={"hidden": 5}), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plane")
    rows = "\n".join(f"{5 * math.sin(n):.5f},{math.cos(3 * n) + n / 400:.5f}" for n in range(400))
    (folder / "values.csv").write_text(f"a,b\n{rows}\n")
    data = {"kind": "table", "path": str(folder / "values.csv"), "scaling": "standard"}
    config = moons(training=SHORT, seeds={"count": 2}, data=data, monitor={"pictures_every": 2})
    nfkd.run(config, folder / "run")
    return folder / "run"


def read(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def pixels(image: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))


def test_every_curve_is_there_with_steps_and_times(images: Path, tmp_path: Path) -> None:
    record = open_run(images)
    files = export_tensorboard(record, tmp_path)
    assert [file.parent.relative_to(tmp_path).as_posix() for file in files] == [
        "seed-1/teacher", "seed-1/student", "seed-1/baseline",
    ]  # fmt: skip
    for stage, curves in record.curves.items():
        events = read(tmp_path / "seed-1" / stage)
        for name, curve in curves.items():
            if not len(curve.steps):
                continue
            points = events.Scalars(name)
            assert [point.step for point in points] == curve.steps.tolist()
            np.testing.assert_allclose([point.value for point in points], curve.values, rtol=1e-6)
            start = points[0].wall_time - curve.times[0]
            np.testing.assert_allclose([point.wall_time - start for point in points], curve.times, atol=1e-5)
            assert record.row.created <= start + 1e-3 < (images / "state.json").stat().st_mtime


def test_images_are_those_of_the_run_file(images: Path, tmp_path: Path) -> None:
    export_tensorboard(open_run(images), tmp_path)
    events = read(tmp_path / "seed-1" / "student")
    with h5py.File(images / "run.h5") as file:
        samples: Any = file["student/samples"]
        steps, stored = samples["step"][:], samples["images"][:]
    shown = events.Images("samples")
    assert [image.step for image in shown] == steps.tolist()
    first = pixels(shown[-1])[:8, :8, 0]
    np.testing.assert_allclose(first / 255, stored[-1, 0, 0], atol=0.5 / 255 + 1e-6)
    assert {"final/samples", "final/interpolation", "interpolation"} <= set(events.Tags()["images"])


def test_settings_and_figures_are_hyperparameters(images: Path, tmp_path: Path) -> None:
    record = open_run(images)
    export_tensorboard(record, tmp_path)
    events = read(tmp_path / "seed-1" / "student")
    (summary,) = [each for each in record.summary if each.stage == "student"]
    assert events.Scalars("figures/test")[0].value == pytest.approx(summary.test, rel=1e-6)
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = plugin.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["student.hidden"].number_value == 5
    assert settings["data.kind"].string_value == "digits"
    assert not {"name", "compute.threads"} & set(settings)


def test_flows_of_the_plane_are_drawn_at_a_few_steps(
    plane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "MAX_DRAWN", 3)
    record = open_run(plane)
    record.seeds = {2: record.seeds[2]}
    export_tensorboard(record, tmp_path)
    events = read(tmp_path / "seed-2" / "student")
    steps = [image.step for image in events.Images("samples")]
    assert len(steps) == 3
    assert steps[-1] == SHORT["student_steps"]
    assert len(np.unique(pixels(events.Images("samples")[-1]).reshape(-1, 3), axis=0)) > 50
    assert any(tag.startswith("matching/") for tag in events.Tags()["scalars"])


def test_an_export_replaces_the_earlier_one(images: Path, tmp_path: Path) -> None:
    record: RunRecord = open_run(images)
    assert export_tensorboard(record, tmp_path) == export_tensorboard(record, tmp_path)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3


def test_exported_flows_load_in_another_process(
    plane: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(plane), "--weights", "--out", str(tmp_path / "flows")]) == 0
    assert str(tmp_path / "flows" / "README.md") in capsys.readouterr().out
    readme = (tmp_path / "flows" / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    code += "import torch; torch.save(flow.log_prob(torch.tensor([[0.5, 0.25], [-1.0, 2.0]])), 'log_prob.pt')\n"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path / "flows", capture_output=True, timeout=120)
    student = open_run(plane).load_student(1)
    expected = student.log_prob(torch.tensor([[0.5, 0.25], [-1.0, 2.0]]))
    loaded = torch.load(tmp_path / "flows" / "log_prob.pt", weights_only=True)
    torch.testing.assert_close(loaded, expected.detach(), rtol=0, atol=0)


def test_weights_are_copied_and_the_scaling_is_that_of_the_data(plane: Path, tmp_path: Path) -> None:
    record = open_run(plane)
    files = export_weights(record, tmp_path)
    weights = [path.relative_to(tmp_path) for path in files if path.suffix == ".safetensors"]
    assert len(weights) == 5
    for name in weights:
        assert (tmp_path / name).read_bytes() == (plane / name).read_bytes()
    assert nfkd.ExperimentConfig.load(str(tmp_path / "experiment.toml")) == record.config
    scaling = json.loads((tmp_path / "seed-1" / "scaling.json").read_text())
    assert (scaling["unit"], scaling["event_shape"], scaling["levels"]) == ("nats", [2], None)
    x = torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    centre, width = (np.array(scaling["values"][name]) for name in ("centre", "width"))
    np.testing.assert_allclose((x.numpy() - centre) / width, record.load_student(1).units.to_scaled(x).numpy())


def test_images_have_levels(images: Path, tmp_path: Path) -> None:
    export_weights(open_run(images), tmp_path)
    scaling = json.loads((tmp_path / "scaling.json").read_text())
    assert (scaling["unit"], scaling["event_shape"], scaling["levels"]) == ("bits/dim", [1, 8, 8], 17)


def test_a_run_without_weights_is_refused(images: Path, tmp_path: Path) -> None:
    record = open_run(images)
    record.seeds = {}
    with pytest.raises(RunError, match="has no weights yet"):
        export_weights(record, tmp_path / "flows")
    assert not (tmp_path / "flows").exists()


def test_damaged_weights_are_named(images: Path, tmp_path: Path) -> None:
    run = shutil.copytree(images, tmp_path / "run")
    (run / "teacher.safetensors").write_bytes(b"\xff\x00 no weights")
    with pytest.raises(RunError, match=r"teacher\.safetensors is not a complete weights file"):
        export_weights(open_run(run), tmp_path / "flows")


def test_a_kind_must_be_named(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(images)]) == 2
    assert "--csv, --figures, --tensorboard, --weights" in capsys.readouterr().err
