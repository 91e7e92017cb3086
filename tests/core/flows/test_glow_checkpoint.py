"""Glow checkpoints of the authors' earlier code, compared with an independent implementation of that layout."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nfkd.cli import main
from nfkd.config import ConfigError, GlowConfig
from nfkd.config.flow_file import FlowFile, read_flow_file
from nfkd.runs.errors import RunError
from nfkd.runs.importing import import_weights
from nfkd.runs.weights import load_scaled_flow
from tests.core.flows.reference_glow import ReferenceGlow

# --- checkpoints ----------------------------------------

SHAPES = [((3, 8, 8), 2, 2, 6), ((3, 16, 8), 3, 1, 5)]


def reference(
    shape: tuple[int, int, int] = (3, 8, 8), levels: int = 2, steps: int = 2, hidden: int = 6
) -> ReferenceGlow:
    torch.manual_seed(7)
    model = ReferenceGlow(shape, levels, steps, hidden)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def with_other_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of glow-pytorch, whose convolutions have no module of their own."""
    names = {".block.": ".f.", ".invconv.lower": ".invconv.l", ".invconv.upper": ".invconv.u", ".conv.conv.": ".conv."}
    renamed = {}
    for name, value in state.items():
        for known, other in names.items():
            name = name.replace(known, other)
        for index in (0, 2, 4):
            name = name.replace(f".f.{index}.conv.", f".f.{index}.")
        renamed[name] = value
    return renamed


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "Lightning, student": lambda state: {
        "state_dict": prefixed("student.", state)
        | {"latent": torch.zeros(3), "teacher.flow.layers.1.actnorm.bias": torch.zeros(2)},
        "epoch": 3,
        "callbacks": {"best": {"score": torch.tensor(3.1)}},
    },
    "Lightning, teacher": lambda state: {"state_dict": prefixed("teacher.", state)},
    "graph": lambda state: {"graph": with_other_names(state), "global_step": 10, "optim": {}},
}


def flow_file(levels: int = 2, steps: int = 2, hidden: int = 6, **more: Any) -> FlowFile:
    return FlowFile(flow=GlowConfig(levels=levels, steps=steps, hidden=hidden), **more)


@pytest.mark.parametrize(
    ("wrapping", "shape", "levels", "steps", "hidden"),
    [*((name, *SHAPES[0]) for name in WRAPPINGS), ("graph", *SHAPES[1])],
)
def test_densities_and_samples_are_those_of_the_checkpoint(
    wrapping: str, shape: tuple[int, int, int], levels: int, steps: int, hidden: int, tmp_path: Path
) -> None:
    model = reference(shape, levels, steps, hidden)
    torch.save(WRAPPINGS[wrapping](model.state_dict()), tmp_path / "checkpoint.ckpt")
    (tmp_path / "glow.toml").write_text(f"[flow]\nlevels = {levels}\nsteps = {steps}\nhidden = {hidden}\n")
    target = tmp_path / "teacher.safetensors"
    arguments = [str(tmp_path / "checkpoint.ckpt"), "--flow", str(tmp_path / "glow.toml"), "--out", str(target)]
    assert main(["import-weights", *arguments]) == 0
    info, flow = load_scaled_flow(target)
    assert info.config == GlowConfig(levels=levels, steps=steps, hidden=hidden)
    assert flow.initialized
    x = torch.rand(5, *shape)
    with torch.no_grad():
        expected = model.log_prob(x)
        torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-5, atol=1e-5)
        noise = flow.draw_noise(4, torch.Generator().manual_seed(1))
        for temperature in (1.0, 0.7):
            sample = flow.synthesize(noise, temperature)
            torch.testing.assert_close(sample, model.sample(noise, temperature), rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1  # else the comparison would be trivial


def test_safetensors_files_are_read_too(tmp_path: Path) -> None:
    model = reference()
    save_file(prefixed("student.", model.state_dict()), tmp_path / "checkpoint.safetensors")
    imported = import_weights(tmp_path / "checkpoint.safetensors", flow_file())
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(imported.flow.log_prob(x), model.log_prob(x), rtol=1e-5, atol=1e-5)
    assert imported.prefix == "student."


def test_the_first_of_student_and_teacher_that_fits_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = reference(steps=1), reference(steps=3)
    state = prefixed("student.", small.state_dict()) | prefixed("teacher.", large.state_dict())
    torch.save({"state_dict": state}, tmp_path / "both.ckpt")
    (tmp_path / "glow.toml").write_text("kind = 'glow'\nlevels = 2\nsteps = 3\nhidden = 6\n")
    command = ["import-weights", str(tmp_path / "both.ckpt"), "--flow", str(tmp_path / "glow.toml")]
    assert main([*command, "--out", str(tmp_path / "teacher.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "teacher." in out
    assert str(len(small.state_dict())) in out  # the unused tensors
    with safe_open(tmp_path / "teacher.safetensors", "pt") as file:
        assert file.metadata()["prefix"] == "teacher."
    assert import_weights(tmp_path / "both.ckpt", flow_file(steps=1)).prefix == "student."


def test_the_images_shape_comes_from_the_prior_or_the_file(tmp_path: Path) -> None:
    state = reference((3, 16, 8), 3, 1, 5).state_dict()
    torch.save(state, tmp_path / "with.pt")
    assert import_weights(tmp_path / "with.pt", flow_file(3, 1, 5)).flow.event_shape == (3, 16, 8)
    del state["prior_h"]
    torch.save(state, tmp_path / "without.pt")
    with pytest.raises(ConfigError, match="event_shape"):
        import_weights(tmp_path / "without.pt", flow_file(3, 1, 5))
    given_shape = flow_file(3, 1, 5, event_shape=[3, 32, 32])
    assert import_weights(tmp_path / "without.pt", given_shape).flow.event_shape == (3, 32, 32)
    with pytest.raises(RunError, match="16×8"):
        import_weights(tmp_path / "with.pt", given_shape)


# --- what is refused ----------------------------------------


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: state | {name: change(state[name])}


REFUSED: dict[str, tuple[Callable[[dict[str, Tensor]], Any], list[str]]] = {
    "missing": (
        lambda state: {name: value for name, value in state.items() if name != "flow.layers.2.invconv.p"},
        ["lacks", "flow.layers.2.invconv.p"],
    ),
    "left over": (lambda state: state | {"learn_top_fn.logs": torch.zeros(3)}, ["unknown tensor", "learn_top_fn.logs"]),
    "twice": (
        lambda state: state | {"flow.layers.1.f.0.weight": state["flow.layers.1.block.0.conv.weight"]},
        ["unknown tensor", "flow.layers.1."],
    ),
    "misshapen": (
        changed("flow.layers.1.block.4.logs", lambda value: value.flatten()),
        ["flow.layers.1.block.4.logs", "12×1×1"],
    ),
    "integers": (
        changed("flow.layers.1.actnorm.bias", lambda value: value.long()),
        ["flow.layers.1.actnorm.bias", "int64"],
    ),
    "not finite": (
        changed("flow.layers.5.invconv.log_s", lambda value: value / 0 * 0),
        ["invconv.log_s", "not finite"],
    ),
    "no permutation": (changed("flow.layers.1.invconv.p", lambda value: 0.5 * value), ["invconv.p", "permutation"]),
    "no sign": (changed("flow.layers.1.invconv.sign_s", lambda value: 2 * value), ["sign_s", "±1"]),
    "learned prior": (changed("prior_h", lambda value: value + 1), ["learned prior", "prior_h"]),
    "another module": (lambda state: {"encoder.weight": torch.zeros(2)}, ["no tensors flow.layers", "encoder.weight"]),
    "no names": (lambda state: list(state.values()), ["list"]),
    "empty": (lambda state: {}, ["nothing"]),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_tensors_that_do_not_fit_are_named(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, expected = REFUSED[case]
    torch.save(change(reference().state_dict()), tmp_path / "checkpoint.pt")
    refused(tmp_path, tmp_path / "checkpoint.pt", expected, capsys)


def refused(folder: Path, source: Path, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Check for exit code 2, a message in one line, and no file left."""
    (folder / "glow.toml").write_text("levels = 2\nsteps = 2\nhidden = 6\nevent_shape = [3, 8, 8]\n")
    target = folder / "out" / "teacher.safetensors"
    target.parent.mkdir()
    command = ["import-weights", str(source), "--flow", str(folder / "glow.toml"), "--out", str(target)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in expected), error
    assert len(error.strip().splitlines()) == 1
    assert not list(target.parent.iterdir())


class Called:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_that_calls_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "called"
    torch.save(
        {"state_dict": reference().state_dict(), "hyper_parameters": Called(str(marker))}, tmp_path / "evil.ckpt"
    )
    refused(tmp_path, tmp_path / "evil.ckpt", ["evil.ckpt", "holds posix.mkdir", "torch.save"], capsys)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Called(str(marker))))
    with pytest.raises(RunError, match=r"plain\.pkl") as refusal:
        import_weights(tmp_path / "plain.pkl", flow_file())
    assert "weights_only" not in str(refusal.value)  # PyTorch advises to open it anyway
    assert not marker.exists()


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module named like Lightning's callbacks, whose class counts its objects; removed before reading."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    made: list[object] = []

    class ModelCheckpoint:
        def __init__(self) -> None:
            made.append(self)
            self.best = 0.5

    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = module.__name__, "ModelCheckpoint"
    vars(module).update(ModelCheckpoint=ModelCheckpoint, made=made)
    for package in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_other_objects_of_lightning_are_ignored(
    lightning: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = reference()
    content = {
        "epoch": 3,
        "state_dict": {f"student.{name}": value for name, value in model.state_dict().items()},
        "callbacks": {lightning.ModelCheckpoint: {"monitor": "bpd", "best_model_score": torch.tensor(2.4)}},
        "optimizer_states": [{"state": {0: {"step": 5}}, "param_groups": [{"lr": 5e-4}]}],
        "hyper_parameters": {
            "args": argparse.Namespace(lr=5e-4, path=Path("data")),
            "callback": lightning.ModelCheckpoint(),
            "bits": np.float64(8.0),
        },
    }
    torch.save(content, tmp_path / "epoch=3.ckpt")
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    imported = import_weights(tmp_path / "epoch=3.ckpt", flow_file())
    assert imported.prefix == "student."
    assert imported.left == []
    assert len(lightning.made) == 1  # the one above
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(imported.flow.log_prob(x), model.log_prob(x), rtol=1e-5, atol=1e-5)


def test_missing_files_directories_and_texts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, tmp_path, ["is a directory"], capsys)
    (tmp_path / "text.pt").write_text("levels = 2")
    for name in ("nothing.pt", "text.pt", "text.safetensors"):
        if name == "text.safetensors":
            (tmp_path / name).write_text("levels = 2")
        with pytest.raises(RunError, match=name):
            import_weights(tmp_path / name, flow_file())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "checkpoint.pt"
    torch.save(reference(steps=1).state_dict(), path)
    return path.with_name("damaged.pt"), path.read_bytes()


@settings(max_examples=30)
@given(data=st.data())
def test_damaged_files_are_imported_or_refused(saved: tuple[Path, bytes], data: st.DataObject) -> None:
    path, content = saved
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 8))
        content = content[:at] + data.draw(st.binary(min_size=1, max_size=8)) + content[at + 8 :]
    path.write_bytes(content)
    try:
        imported = import_weights(path, flow_file(steps=1))
    except (RunError, ConfigError) as error:
        outcome = str(error)
    else:
        outcome = imported.flow.initialized
    assert outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "levels = 2\nsteps = 2\nhidden = 6\nlearned_prior = true\npermutation = 'reverse'",
            ["learned_prior", "permutation"],
        ),
        ("kind = 'glow1d'", ["kind", "glow1d"]),
        ("hiden = 3", ["hiden", "no such field"]),
        ("[flow]\nlevels = 0", ["flow.levels"]),
        ("event_shape = [3, 0, 8]", ["event_shape"]),
        ("event_shape = [3, 6, 6]\nlevels = 2\nsteps = 2\nhidden = 6", ["levels", "squeeze"]),
        ("levels = ", ["not a TOML file"]),
    ],
)
def test_a_wrong_flow_is_refused(
    text: str, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = reference().state_dict()
    del state["prior_h"]
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "glow.toml").write_text(text)
    assert main(["import-weights", str(tmp_path / "checkpoint.pt"), "--flow", str(tmp_path / "glow.toml")]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in expected), error
    assert "Traceback" not in error


def test_the_teacher_of_an_experiment_is_read(tmp_path: Path) -> None:
    from tests.core.tiny import digits

    digits().save(tmp_path / "experiment.toml")
    assert read_flow_file(tmp_path / "experiment.toml").flow == digits().teacher
