"""Features of VGG (Simonyan & Zisserman 2015, arXiv 1409.1556), from a weights file of the user."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from nfkd.files import FileError, is_inflated, open_regular, require_regular

# The numbers N of torchvision's ``features.N``: convolutions of the first four blocks.
_VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
_VGG19 = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25))
_MOST_CHANNELS = 512
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SMALLEST_SIDE = 32
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


class PerceptualError(ValueError):
    """The file holds no VGG; the message names the file and what is wrong."""


class VGGFeatures:
    """The first four blocks of a VGG, frozen.

    Parameters
    ----------
    blocks
        Weight and bias of each 3×3 convolution, block by block; pooling comes between blocks.
    sha256
        SHA-256 of the file.

    Notes
    -----
    Files have torchvision's names ``features.N.weight`` and the layers of VGG-16 or VGG-19 without batch norm; they may
    be narrower. Other tensors in the file are ignored.
    """

    def __init__(self, blocks: Sequence[Sequence[tuple[Tensor, Tensor]]], sha256: str) -> None:
        self._blocks = [list(block) for block in blocks]
        self.sha256 = sha256

    @staticmethod
    def load(path: Path) -> VGGFeatures:
        """Read the tensors of a ``torch.save`` or ``.safetensors`` file; an unchanged file is read once only.

        Raises
        ------
        PerceptualError
            When it cannot be read, or holds no VGG.
        """
        try:
            stat = require_regular(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return _load(path, stat.st_mtime_ns, stat.st_size)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the perceptual distance of each pair of images, (B,).

        The sum over the blocks of the mean squared difference of their last features, as the feature reconstruction
        loss of Johnson et al. 2016, arXiv 1603.08155.

        Parameters
        ----------
        first, second
            (B, 1 or 3, height, width), values in about [0, 1]. Grey becomes three equal channels; sides below 32
            pixels are scaled to 32.
        """
        pairs = zip(self._features(first), self._features(second), strict=True)
        return torch.stack([(a - b).square().flatten(1).mean(1) for a, b in pairs]).sum(0)

    def _features(self, x: Tensor) -> list[Tensor]:
        x = x.expand(-1, 3, -1, -1)
        if min(x.shape[2:]) < _SMALLEST_SIDE:
            x = functional.interpolate(x, scale_factor=_SMALLEST_SIDE / min(x.shape[2:]), mode="bilinear")
        mean, deviation = (x.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        x = (x - mean) / deviation
        found = []
        for number, block in enumerate(self._blocks):
            x = functional.max_pool2d(x, 2) if number else x
            block[:] = [(weight.to(x), bias.to(x)) for weight, bias in block]  # stays on the device of x
            for weight, bias in block:
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            found.append(x)
        return found


@lru_cache(maxsize=2)
def _load(path: Path, *_stamp: int) -> VGGFeatures:
    blocks = _blocks(path, _read(path))
    with open_regular(path) as file:
        return VGGFeatures(blocks, hashlib.file_digest(file, "sha256").hexdigest())


def _unreadable(path: Path, error: OSError) -> PerceptualError:
    reason = f"it {error.strerror}" if isinstance(error, FileError) else error.strerror
    return PerceptualError(f"{path} cannot be read: {reason}. Choose a file of VGG-16 or VGG-19 weights")


def _no_vgg(path: Path, reason: str) -> PerceptualError:
    message = f"{path} is not a VGG-16 or VGG-19 as torchvision names it: {reason}"
    return PerceptualError(f"{message}. Give a file of the state_dict of torchvision's vgg16 or vgg19")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with open_regular(path) as file:
            start = file.read(1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if is_inflated(path):
        msg = f"{path} is compressed, and needs more memory than its size: save the model's state_dict by torch.save"
        raise PerceptualError(msg)
    try:
        # torch warns of old pickles and sparse tensors; those that matter are refused below.
        with warnings.catch_warnings(action="ignore"):
            is_plain = path.suffix == ".safetensors"
            content = load_file(path) if is_plain else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a damaged or hostile pickle can end in any
        # torch's message, also in a traceback, would advise to run the file's code.
        is_pickle = isinstance(error, UnpicklingError) and (start == b"\x80" or is_zipfile(path))
        reason = "holds more than tensors" if is_pickle else "is not a complete file of tensors"
        msg = f"{path} {reason}: save the model's state_dict and give that file"
        raise PerceptualError(msg) from None
    if not isinstance(content, Mapping):
        msg = f"{path} holds a {type(content).__name__}, not named tensors: save the model's state_dict"
        raise PerceptualError(msg)
    return content


def _blocks(path: Path, tensors: Mapping[str, Any]) -> list[list[tuple[Tensor, Tensor]]]:
    layout = _VGG19 if "features.16.weight" in tensors else _VGG16
    convolutions: dict[int, tuple[Tensor, Tensor]] = {}
    channels = 3
    # The last convolution is followed by a ReLU and a pooling.
    for number in range(layout[-1][-1] + 3):
        weight, bias = f"features.{number}.weight", f"features.{number}.bias"
        if any(number in block for block in layout):
            kernel = _tensor(path, tensors, weight, (None, channels, 3, 3))
            channels = len(kernel)
            convolutions[number] = kernel, _tensor(path, tensors, bias, (channels,))
        elif weight in tensors or bias in tensors:
            key = weight if weight in tensors else bias
            raise _no_vgg(path, f"{key} is at a layer without weights, as in a VGG with batch norm")
    return [[convolutions[number] for number in block] for block in layout]


def _tensor(path: Path, tensors: Mapping[str, Any], key: str, wanted: tuple[int | None, ...]) -> Tensor:
    """Return a checked tensor in float32; None in a shape allows any size."""
    if key not in tensors:
        raise _no_vgg(path, f"{key} is missing")
    found = tensors[key]
    if not isinstance(found, Tensor):
        raise _no_vgg(path, f"{key} is a {type(found).__name__}, not a tensor")
    # Checked first: a sparse, nested or meta tensor may have no shape or values.
    if found.layout != torch.strided or found.is_nested or found.device.type != "cpu":
        raise _no_vgg(path, f"{key} is not a dense tensor")
    if found.dtype not in _FLOATS:
        raise _no_vgg(path, f"{key} holds {str(found.dtype).removeprefix('torch.')}, not real floating-point numbers")
    shape = tuple(found.shape)
    fits = len(shape) == len(wanted) and all(want in {None, size} for want, size in zip(wanted, shape, strict=True))
    if not fits or not 1 <= shape[0] <= _MOST_CHANNELS:
        needed = ", ".join(f"1 to {_MOST_CHANNELS}" if want is None else str(want) for want in wanted)
        raise _no_vgg(path, f"{key} has the shape {shape}: [{needed}] is needed")
    value = found.detach().float()  # a large float64 becomes infinite here
    if not value.isfinite().all():
        raise _no_vgg(path, f"{key} holds values that are not finite in float32")
    return value
