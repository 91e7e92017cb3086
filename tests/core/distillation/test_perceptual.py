"""The perceptual distance against torch's modules, and files that hold no VGG."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import nfkd
from nfkd.distillation.perceptual import PerceptualError, VGGFeatures
from nfkd.planning.describe import describe
from nfkd.runs.errors import RunError
from nfkd.runs.log import read_log
from tests.core.distillation.steps import generator
from tests.core.tiny import digits, moons

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def narrow_vgg(layers: int, width: int = 2) -> nn.Sequential:
    """Return torchvision's ``vgg16().features`` (or 19) with few channels."""
    torch.manual_seed(3)
    made: list[nn.Module] = []
    channels = 3
    for count in CONVOLUTIONS[layers]:
        for _ in range(count):
            made += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        made.append(nn.MaxPool2d(2))
    return nn.Sequential(*made)


def state(features: nn.Sequential) -> dict[str, torch.Tensor]:
    named = {f"features.{name}": value for name, value in features.state_dict().items()}
    return named | {"classifier.0.weight": torch.zeros(2, 2)}


def expected_distance(features: nn.Sequential, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    total = torch.zeros(len(first))
    a, b = ((x - mean) / deviation for x in (first, second))
    layers = list(features)
    for layer in layers[: [n for n, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)][3]]:
        if isinstance(layer, nn.MaxPool2d):
            total += (a - b).square().mean((1, 2, 3))
        a, b = layer(a), layer(b)
    return total + (a - b).square().mean((1, 2, 3))


@pytest.mark.parametrize("layers", [16, 19])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_distance_is_that_of_torchs_own_modules(layers: int, suffix: str, tmp_path: Path) -> None:
    features, path = narrow_vgg(layers), tmp_path / f"vgg.{suffix}"
    torch.save(state(features), path) if suffix == "pth" else save_file(state(features), path)
    loaded = VGGFeatures.load(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    first, second = (torch.rand(3, 3, 32, 48, generator=g) for g in [generator()] for _ in range(2))
    with torch.no_grad():
        torch.testing.assert_close(loaded.distance(first, second), expected_distance(features, first, second))
        grey = [x.mean(1, keepdim=True)[:, :, :8, :8] for x in (first, second)]
        large = [functional.interpolate(x.expand(-1, 3, -1, -1), (32, 32), mode="bilinear") for x in grey]
        torch.testing.assert_close(loaded.distance(*grey), expected_distance(features, *large))


class Hostile:
    def __reduce__(self):
        return (print, ("called",))


def test_a_file_without_a_vgg_is_refused(tmp_path: Path) -> None:
    def refused(content: object, message: str) -> None:
        path = tmp_path / "file.pth"
        torch.save(content, path)
        with pytest.raises(PerceptualError, match=message) as error:
            VGGFeatures.load(path)
        assert str(path) in str(error.value)

    good = state(narrow_vgg(16))
    refused([1, 2], "holds a list")
    refused({"weight": torch.zeros(3)}, "not a VGG-16 or VGG-19 as torchvision names it")
    refused(good | {"features.1.weight": torch.ones(2)}, "not a VGG-16 or VGG-19 as torchvision names it")
    refused({name: value for name, value in good.items() if name != "features.2.bias"}, "not a VGG-16 or VGG-19")
    refused({name: value for name, value in good.items() if "features.2." not in name}, "features.2.weight is missing")
    refused(good | {"features.5.weight": torch.zeros(2, 5, 3, 3)}, "features.5.weight has the shape")
    (tmp_path / "file.pth").write_bytes(b"PK torn")
    with pytest.raises(PerceptualError, match="not a complete file of tensors"):
        VGGFeatures.load(tmp_path / "file.pth")
    with pytest.raises(PerceptualError, match="cannot be read"):
        VGGFeatures.load(tmp_path / "nowhere.pth")
    with pytest.raises(PerceptualError, match="cannot be read: it is a directory, not a regular file"):
        VGGFeatures.load(tmp_path)


def refusal(path: Path) -> str:
    """Return the message that refuses a file; there must be no warning."""
    with warnings.catch_warnings(action="error"), pytest.raises(PerceptualError) as error:
        VGGFeatures.load(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert "weights_only" not in message
    return message


@pytest.mark.parametrize(
    ("key", "shape", "change", "expected"),
    [
        ("5.weight", (2, 2, 3, 3), lambda x: x.index_fill(0, torch.tensor(1), torch.nan), "not finite"),
        ("5.bias", (2,), lambda x: x - torch.inf, "not finite"),
        ("5.bias", (2,), lambda x: x.double() + 1e300, "not finite in float32"),
        ("5.weight", (2, 2, 3, 3), lambda x: x.to(torch.complex64), "complex64, not real"),
        ("5.weight", (2, 2, 3, 3), lambda x: x.long(), "int64, not real"),
        ("5.weight", (2, 2, 3, 3), lambda x: x.to_sparse(), "not a dense tensor"),
        ("5.bias", (2, 2), lambda x: x.to_sparse_csr(), "not a dense tensor"),
        ("5.weight", (2, 2, 3, 3), lambda x: torch.nested.nested_tensor(list(x)), "not a dense tensor"),
        ("5.weight", (2, 2, 3, 3), lambda x: x.to("meta"), "not a dense tensor"),
        ("5.weight", (2, 2, 3, 3), lambda x: x.tolist(), "is a list, not a tensor"),
        ("0.weight", (2, 1, 3, 3), lambda x: x, "has the shape (2, 1, 3, 3): [1 to 512, 3, 3, 3]"),
        ("5.weight", (2, 3, 3, 3), lambda x: x, "has the shape (2, 3, 3, 3): [1 to 512, 2, 3, 3]"),
        ("5.weight", (2, 2, 5, 5), lambda x: x, "the shape (2, 2, 5, 5)"),
        ("5.weight", (2, 18), lambda x: x, "the shape (2, 18)"),
        ("5.weight", (0, 2, 3, 3), lambda x: x, "the shape (0, 2, 3, 3)"),
        ("5.weight", (1, 2, 3, 3), lambda x: x.expand(2**40, 2, 3, 3), "the shape (1099511627776, 2, 3, 3)"),
        ("5.bias", (3,), lambda x: x, "has the shape (3,): [2]"),
        ("5.bias", (2, 1), lambda x: x, "the shape (2, 1)"),
        ("6.weight", (2,), lambda x: x, "with batch norm"),
        ("23.bias", (2,), lambda x: x, "is at a layer without weights"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of making sparse and nested tensors
def test_a_tensor_that_fits_no_convolution_is_refused(key: str, shape, change, expected, tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(state(narrow_vgg(16)) | {f"features.{key}": change(torch.zeros(shape))}, path)
    message = refusal(path)
    assert f"features.{key}" in message
    assert expected in message
    assert "Give a file of" in message


@pytest.mark.parametrize(("layers", "missing"), [(16, 5), (16, 21), (19, 25), (19, 12)])
def test_a_part_of_a_vgg_is_refused(layers: int, missing: int, tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    whole = state(narrow_vgg(layers))
    torch.save({name: x for name, x in whole.items() if int(name.split(".")[1]) < missing}, path)
    assert f"features.{missing}.weight is missing" in refusal(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_floats_and_unused_tensors_are_accepted(kind: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    content = {name: nn.Parameter(x.to(kind)) for name, x in state(narrow_vgg(16)).items()}
    torch.save(content | {"features.24.weight": torch.full((2,), torch.nan)}, path)
    distance = VGGFeatures.load(path).distance(torch.zeros(2, 3, 32, 32), torch.ones(2, 3, 32, 32))
    assert distance.isfinite().all()
    assert not distance.requires_grad


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("content", [{"features": Hostile()}, nn.Conv2d(3, 2, 3)], ids=["hostile", "module"])
def test_a_pickle_is_neither_run_nor_recommended_to_run(
    content: object, is_zip: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert refusal(path) == f"{path} holds more than tensors: save the model's state_dict and give that file"
    path.write_bytes(pickle.dumps(content))
    assert "holds more than tensors" in refusal(path)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_damaged_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"vgg.{suffix}"
    torch.save(state(narrow_vgg(16)), path) if suffix == "pth" else save_file(state(narrow_vgg(16)), path)
    expected = f"{path} is not a complete file of tensors: save the model's state_dict and give that file"
    for content in [path.read_bytes()[:2000], b"", b"\x1b[31mhtml"]:
        path.write_bytes(content)
        assert refusal(path) == expected


def perceptual(path: Path | str) -> dict:
    return {"skd": {"weight": 0.2, "distance": "perceptual", "perceptual_weights": str(path), "batch_size": 4}}


def test_a_run_records_the_file_and_resumes_with_no_other(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(state(narrow_vgg(16)), path)
    training = {"teacher_steps": 2, "student_steps": 2, "baseline": False}
    config = digits(distillation=perceptual(path), training=training)
    record = nfkd.run(config, tmp_path / "run")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "run" / "perceptual.sha256").read_text().strip() == digest
    assert any(digest in line.text for line in read_log(tmp_path / "run"))
    assert (record.curves["student"]["train/skd"].values > 0).all()
    torch.save(state(narrow_vgg(19)), path)
    with pytest.raises(RunError, match="started with VGG weights of SHA-256"):
        nfkd.run(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("make", "path", "field", "expected"),
    [
        (digits, "", "perceptual_weights", "give a file of VGG-16 or VGG-19 weights"),
        (digits, "/nowhere/vgg.pth", "perceptual_weights", "cannot be read"),
        (moons, "/nowhere/vgg.pth", "distance", "takes grey or colour images"),
    ],
)
def test_problems_have_the_path_of_their_field(make, path: str, field: str, expected: str) -> None:
    [problem] = describe(make(distillation=perceptual(path))).problems
    assert problem.path == f"distillation.skd.{field}"
    assert expected in problem.message
