"""FID with a network of the user: the formula of other programs, levels as bytes, and files that are refused."""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from nfkd.cli import main
from nfkd.config import ConfigError
from nfkd.data import load_dataset
from nfkd.evaluation.comparison import ComparedRun, compare_runs
from nfkd.evaluation.distances import FrechetPairs
from nfkd.evaluation.evaluate_run import evaluate_run, evaluated_gap
from nfkd.evaluation.evaluated_flows import Material, evaluated_flows
from nfkd.evaluation.evaluated_metrics import choose_metrics
from nfkd.evaluation.fid import to_bytes
from nfkd.evaluation.inception import load_inception
from nfkd.evaluation.sample_metrics import draw_samples
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import evaluation_columns, read_evaluations
from nfkd.runs.reader import open_run

Shell = pytest.CaptureFixture[str]
CPU, SHAPE, SAMPLES = torch.device("cpu"), (1, 8, 8), 60
DATA = Path(__file__).parents[2] / "data"


class Linear(nn.Module):
    """The interface of ``inception-2015-12-05.pt`` with features that are linear in the pixels of an 8 × 8 image."""

    def __init__(self, features: int = 2048, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(features, 192, generator=generator) / 100)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        if img.dtype != torch.uint8:
            raise TypeError
        pooled = nn.functional.adaptive_avg_pool2d(img.float(), (8, 8)).flatten(1)
        return pooled @ self.weight.T if return_features else pooled


class Other(nn.Module):
    """Takes no `return_features`."""

    def forward(self, img: Tensor) -> Tensor:
        return img.float()


def save(module: nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]
    return str(path)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(Linear(), tmp_path_factory.mktemp("network") / "inception-2015-12-05.pt")


def unpack(name: str, folder: Path) -> Path:
    """Return a finished run of the files of the tests."""
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder / name


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return unpack("digits", tmp_path)


def torch_fidelity_fid(first: np.ndarray, second: np.ndarray) -> float:
    """Return FID by the formula of pytorch-fid and torch-fidelity."""
    covariances = [np.cov(each, rowvar=False) for each in (first, second)]
    root: Any = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    difference = first.mean(axis=0) - second.mean(axis=0)
    return float(difference @ difference + sum(map(np.trace, covariances)) - 2 * np.trace(root.real))


def linear_fid(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> float:
    """Return FID of the features W x of grey images x of bytes, (N, 64) each: tr (Σ₁ S Σ₂ S)^½ with S = Wᵀ W."""
    square = weight.T @ weight
    covariances = [np.cov(each, rowvar=False) @ square for each in (first, second)]
    values: Any = scipy.linalg.eigvals(covariances[0] @ covariances[1])
    difference = first.mean(axis=0) - second.mean(axis=0)
    cross = np.sqrt(np.maximum(values.real, 0)).sum()
    return float(difference @ square @ difference + sum(map(np.trace, covariances)) - 2 * cross)


@pytest.mark.parametrize(("count", "other", "features"), [(90, 80, 20), (40, 60, 64), (60, 40, 64)])
def test_distances_of_subsets_are_those_of_other_programs(count: int, other: int, features: int) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(count, features)) + 50
    second = rng.normal(size=(other, features)) @ rng.normal(size=(features, features)) / 4 + 51
    pairs, half = FrechetPairs(first, second), (np.arange(0, count, 2), np.arange(other // 2))
    for i, j in ((np.arange(count), np.arange(other)), half):
        assert pairs.distance(i, j) == pytest.approx(torch_fidelity_fid(first[i], second[j]), rel=1e-6)


def test_the_distance_of_known_gaussians_has_a_closed_form() -> None:
    rng = np.random.default_rng(1)
    values = np.linalg.qr(rng.normal(size=(500, 7)) - rng.normal(size=7))[0]
    values -= values.mean(axis=0)
    values = np.linalg.qr(values)[0] * np.sqrt(499)  # mean 0, covariance 1
    pairs = FrechetPairs(values, 3 * values + 2)  # mean 2, covariance 9
    every = np.arange(500)
    assert pairs.distance(every, every) == pytest.approx(7 * (2**2 + (3 - 1) ** 2), rel=1e-9)


@pytest.mark.parametrize("levels", [2, 8, 17, 256, 65_536])
def test_levels_become_the_bytes_that_are_shown(levels: int) -> None:
    whole = torch.linspace(0, levels - 1, 16).round().reshape(1, 1, 4, 4)
    found = to_bytes(whole, levels)
    assert found.dtype == torch.uint8
    assert found.shape == (1, 3, 4, 4)
    expected = np.rint(whole.numpy().astype(float) * 255 / (levels - 1))
    assert (found.numpy() == expected).all()
    assert found.min() == 0
    assert found.max() == 255
    outside = to_bytes(torch.tensor([-3.0, levels + 3.0]).reshape(1, 1, 1, 2), levels)
    assert outside.flatten().tolist() == [0, 255] * 3


def test_fid_of_a_run_is_that_of_its_samples(run: Path, network: str) -> None:
    found = evaluate_run(run, ["fid"], inception=network, samples=SAMPLES)
    sha256 = hashlib.sha256(Path(network).read_bytes()).hexdigest()
    name = f"fid_{sha256[:12]}"
    assert {value.metric for value in found.evaluation.values} == {name}
    value = next(value for value in found.evaluation.values if value.stage == "student")
    record = open_run(run)
    dataset = load_dataset(record.config.data)
    weight = Linear().weight.detach().double().reshape(2048, 3, 64).sum(dim=1).numpy()  # grey in three channels

    def pixels(levels: np.ndarray) -> np.ndarray:
        return np.rint(levels.astype(float) * 255 / (dataset.levels - 1)).reshape(len(levels), -1)  # type: ignore[operator]

    count = SAMPLES
    flow = next(each for each in evaluated_flows(record, CPU) if each.stage == "student")
    samples = draw_samples(flow.flow, Material(dataset, dataset, count, CPU), value.seed).numpy()
    shown = np.clip(np.floor(samples * dataset.levels), 0, dataset.levels - 1)  # type: ignore[operator]
    real, train = (
        pixels(np.asarray(dataset.test.some(count).values)),
        pixels(np.asarray(dataset.train.some(count).values)),
    )
    assert value.value == pytest.approx(linear_fid(real, pixels(shown), weight), rel=1e-5)
    assert value.reference == pytest.approx(linear_fid(real, train, weight), rel=1e-5)
    assert value.low < value.value < value.high
    assert value.count == count
    assert any("inception-2015-12-05.pt" in note and sha256[:12] in note for note in found.notes)
    assert any(f"{count} examples" in note and "singular" in note for note in found.notes)
    [stored] = read_evaluations(run)
    assert stored.networks == {sha256: "inception-2015-12-05.pt"}
    assert f"student_{name}" in evaluation_columns([stored])[1]
    gap = evaluated_gap(found.evaluation.values, name)
    assert gap is None or gap.closed == gap.closed


def test_fids_of_two_networks_are_two_metrics(run: Path, network: str, tmp_path: Path, capsys: Shell) -> None:
    other_run = Path(shutil.copytree(run, tmp_path / "other"))
    other = save(Linear(seed=1), tmp_path / "other.pt")
    for directory, files in ((run, (network, network)), (other_run, (other,))):
        for file in files:
            evaluate_run(directory, ["fid"], inception=file, samples=SAMPLES)
    hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (network, other)]
    rows = [row for row in compare_runs([ComparedRun.read(run), ComparedRun.read(other_run)]).metrics if row.evaluated]
    assert [row.metric.name for row in rows] == [f"FID ({sha256[:12]}), evaluated" for sha256 in hashes]
    assert [[mean.seeds for mean in row.means] for row in rows] == [[3, 0], [0, 3]]
    evaluate_run(run, ["fid"], inception=other, samples=SAMPLES)
    [stored] = read_evaluations(run)
    assert len({value.metric for value in stored.values}) == 2
    assert list(stored.networks.values()) == ["inception-2015-12-05.pt", "other.pt"]
    assert main(["show", str(run)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for sha256 in hashes:
        assert f"FID ({sha256[:12]})" in printed
        assert sha256 in printed.replace(" ", "")


def test_the_memory_limit_is_that_of_the_chosen_metrics(
    run: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(mebibytes: int) -> None:
        monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=mebibytes * 2**20))

    limit(100)
    samples = 4000  # of 270 examples: 417 MiB for the distances of all pairs
    with pytest.raises(ConfigError, match=r"comparing 4,000 samples takes 0\.4 GiB of memory, and 0\.1 GiB are free"):
        evaluate_run(run, ["recall"], samples=samples)
    assert {value.metric for value in evaluate_run(run, ["parameters"], samples=samples).evaluation.values}
    limit(1)
    with pytest.raises(ConfigError, match=f"comparing {SAMPLES} samples takes"):
        evaluate_run(run, ["fid"], inception=network, samples=SAMPLES)


def test_without_a_file_fid_is_refused_or_left_out(run: Path, capsys: Shell) -> None:
    assert main(["evaluate", str(run), "--metrics", "fid"]) == 2
    assert "--inception FILE" in " ".join(capsys.readouterr().err.split())
    found = evaluate_run(run, ["parameters"])
    assert not any("fid" in note.lower() for note in found.notes)


def test_a_choice_of_all_metrics_leaves_fid_out_with_one_note(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = choose_metrics([])
    assert "fid" in every
    monkeypatch.setattr("nfkd.evaluation.evaluate_run.choose_metrics", lambda _names: ["fid", "parameters"])  # fast
    found = evaluate_run(run)
    [note] = [note for note in found.notes if "fid" in note.lower()]
    assert note.startswith("fid was left out: FID needs")
    assert {value.metric for value in found.evaluation.values} == {"parameters"}


def test_vectors_have_no_fid(tmp_path: Path, network: str) -> None:
    path = unpack("pinwheel", tmp_path)
    with pytest.raises(RunError, match="FID is for images, and pinwheel has none"):
        evaluate_run(path, ["fid"], inception=network)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"nothing")


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "cannot be read"),
    "folder": (lambda path: path.mkdir(), "is a directory"),
    "text": (lambda path: path.write_text("weights"), "it is not a TorchScript file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "it is a pickle"),
    "state dict": (lambda path: torch.save({"fc.bias": torch.zeros(3)}, path), "weights without the code of a network"),
    "damaged": (zipped, "it is damaged"),
    "shape": (lambda path: save(Linear(10), path), r"gives \(2, 10\) for 2 images, not 2048 features each"),
    "interface": (lambda path: save(Other(), path), "its network fails for uint8 images of 3×8×8"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_used_is_refused_with_one_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    make, message = FILES[kind]
    make(path)
    with pytest.raises(ConfigError, match=message) as refused:
        load_inception(str(path), SHAPE, CPU)
    [problem] = refused.value.problems
    assert "inception-2015-12-05.pt" in str(problem)
    assert not re.search("Traceback|PytorchStreamReader|\n", str(problem))
