"""Files that are given as weights and are none of NFKD: the message says what they are and what to do."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.config.flow_file import FlowFile
from nfkd.flows.foreign.glow_checkpoint import CheckpointError, read_checkpoint
from nfkd.planning.describe import describe
from nfkd.runs.errors import RunError
from tests.core.tiny import moons

TENSORS = {"layer.weight": torch.arange(6.0).reshape(2, 3)}


class Danger:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return (Path.touch, (self.mark,))


def array_bytes(save: Callable[[io.BytesIO, np.ndarray], None]) -> bytes:
    sink = io.BytesIO()
    save(sink, np.zeros(3))
    return sink.getvalue()


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "x")


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weight"] = np.zeros(3)


def cut(path: Path) -> None:
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-4])


WRITERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "torch.save": (lambda path: torch.save(TENSORS, path), "is a file of torch.save.", "import-weights"),
    "old torch.save": (
        lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
        "is a file of torch.save, in its old format.",
        "nfkd.wrap_teacher",
    ),
    "TorchScript": (
        lambda path: torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path),
        "is a TorchScript program",
        "state_dict",
    ),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": [1.0]})), "is a Python pickle.", "torch.save"),
    "npy": (lambda path: path.write_bytes(array_bytes(np.save)), "is a NumPy array (.npy).", "teacher.safetensors"),
    "npz": (lambda path: path.write_bytes(array_bytes(np.savez)), "is a file of NumPy arrays (.npz).", "safetensors"),
    "HDF5": (write_hdf5, "is an HDF5 file.", "beside its run.h5"),
    "zip": (write_zip, "is a zip archive.", "Unpack"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x" * 99)), "is compressed by gzip.", "Decompress"),
    "empty": (lambda path: path.touch(), "is empty.", "again"),
    "HTML": (lambda path: path.write_bytes(b"\n<!DOCTYPE html><html></html>"), "is an HTML page", "Download the file"),
    "pointer": (
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "is a pointer of Git LFS",
        "git lfs pull",
    ),
    "text": (lambda path: path.write_text("steps = 3\n"), "is a text.", "teacher.safetensors"),
    "tensors": (
        lambda path: save_file(TENSORS, path),
        "is a .safetensors file of another program.",
        "nfkd.wrap_teacher",
    ),
    "cut off": (cut, "is a .safetensors file that is not complete.", "again"),
}  # fmt: skip


def given(path: Path) -> ExperimentConfig:
    return moons().replace(training={"teacher_weights": str(path)})


@pytest.fixture(params=WRITERS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, str]:
    write, what, action = WRITERS[request.param]
    path = tmp_path / "teacher.pt"
    write(path)
    return path, f"{path} {what}", action


def test_the_message_names_the_file_its_kind_and_what_to_do(other: tuple[Path, str, str]) -> None:
    path, what, action = other
    found = {problem.path: problem.message for problem in describe(given(path)).problems}
    with pytest.raises(RunError) as refused:
        nfkd.load_flow(path)
    for message in (found["training.teacher_weights"], str(refused.value)):
        assert what in message
        assert action in message


def test_inspect_says_the_same(other: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, what, _ = other
    assert main(["inspect", str(path)]) == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert "Traceback" not in message
    if not any(text in what for text in ("is a text", "is empty")):  # these may be experiments
        assert what in message


@pytest.mark.parametrize("name", ["npy", "npz", "HDF5", "HTML", "empty", "pointer"])
def test_import_weights_says_what_a_file_is(name: str, tmp_path: Path) -> None:
    write, what, _ = WRITERS[name]
    write(tmp_path / "glow.pt")
    flow = FlowFile.model_validate({"flow": {"kind": "glow"}})
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(tmp_path / "glow.pt", flow)
    assert f"{tmp_path / 'glow.pt'} {what.rstrip('.')}" in refused.value.cause


@pytest.mark.parametrize("archive", [True, False])
def test_no_pickle_is_executed(tmp_path: Path, *, archive: bool) -> None:
    path, mark = tmp_path / "teacher.pt", tmp_path / "mark"
    torch.save({"a": Danger(mark)}, path, _use_new_zipfile_serialization=archive)
    (problem,) = [each for each in describe(given(path)).problems if each.path == "training.teacher_weights"]
    assert "torch.save" in problem.message
    with pytest.raises(RunError):
        nfkd.load_flow(path)
    assert not mark.exists()


def test_a_directory_names_its_weights(tmp_path: Path) -> None:
    nfkd.run(moons(training={"teacher_steps": 2, "student_steps": 2}), tmp_path / "run")
    with pytest.raises(RunError, match=r"is a directory.*teacher\.safetensors, student\.safetensors, baseline"):
        nfkd.load_flow(tmp_path / "run")
    assert nfkd.load_flow(tmp_path / "run" / "student.safetensors").event_shape == (2,)
    (tmp_path / "none").mkdir()
    with pytest.raises(RunError, match=r"is a directory, not a file of weights\. Name a \.safetensors file in it\."):
        nfkd.load_flow(tmp_path / "none")
