"""Features of VGG (Simonyan & Zisserman 2015, arXiv 1409.1556) from a weights file of the user's."""

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

# Of torchvision's ``features.N``, the convolutions of the first four blocks.
_VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
_VGG19 = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25))
_MOST_CHANNELS = 512
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SMALLEST_SIDE = 32
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the images that VGG was trained on


class PerceptualError(ValueError):
    """A file that holds no VGG; the words name the file and what is wrong."""


class VGGFeatures:
    """The first four blocks of a VGG, frozen.

    Parameters
    ----------
    blocks
        Weight and bias of each 3×3 convolution, block by block; between blocks there is a pooling.
    sha256
        Of the file.

    Notes
    -----
    The layers are read off torchvision's names ``features.N.weight``, and are those of VGG-16 or VGG-19 without batch
    norm; they may be narrower. What a file holds beyond the four blocks is not looked at.
    """

    def __init__(self, blocks: Sequence[Sequence[tuple[Tensor, Tensor]]], sha256: str) -> None:
        self._blocks = [list(block) for block in blocks]
        self.sha256 = sha256

    @classmethod
    def load(cls, path: Path) -> VGGFeatures:
        """Read a file of ``torch.save`` (nothing but tensors is read of it) or a ``.safetensors`` file.

        A file that was read before and has not changed since is not read again.

        Raises
        ------
        PerceptualError
            When it cannot be read, or holds no VGG.
        """
        try:
            stat = require_regular(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return _loaded(path, stat.st_mtime_ns, stat.st_size)

    @classmethod
    def _read(cls, path: Path) -> VGGFeatures:
        blocks = _blocks(path, _read(path))
        with open_regular(path) as file:
            return cls(blocks, hashlib.file_digest(file, "sha256").hexdigest())

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the perceptual distance of each pair of images, (B,).

        The sum over the blocks of the mean squared difference of the features at a block's end, as the feature
        reconstruction loss of Johnson et al. 2016, arXiv 1603.08155.

        Parameters
        ----------
        first, second
            (B, 1 or 3, height, width) with values about [0, 1]. Grey is taken thrice; sides below 32 pixels are
            stretched to 32.
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
            for weight, bias in self._on(block, x):
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            found.append(x)
        return found

    def _on(self, block: list[tuple[Tensor, Tensor]], x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return a block's weights where x is, and leave them there."""
        block[:] = [(weight.to(x), bias.to(x)) for weight, bias in block]
        return block


@lru_cache(maxsize=2)
def _loaded(path: Path, *_stamp: int) -> VGGFeatures:
    return VGGFeatures._read(path)  # noqa: SLF001 - its own class


def _unreadable(path: Path, error: OSError) -> PerceptualError:
    words = f"it {error.strerror}" if isinstance(error, FileError) else error.strerror
    return PerceptualError(f"{path} cannot be read: {words}. Name a file of VGG-16 or VGG-19 weights")


def _no_vgg(path: Path, what: str) -> PerceptualError:
    words = f"{path} is no VGG-16 or VGG-19 as torchvision names it: {what}"
    return PerceptualError(f"{words}. Give a file of the state_dict of torchvision's vgg16 or vgg19")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with open_regular(path) as file:
            start = file.read(1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if is_inflated(path):
        msg = f"{path} is packed, and would take more memory than its size: save the model's state_dict by torch.save"
        raise PerceptualError(msg)
    try:
        # What torch warns of, such as an old pickle or a sparse tensor, is refused in our own words or harmless.
        with warnings.catch_warnings(action="ignore"):
            is_plain = path.suffix == ".safetensors"
            content = load_file(path) if is_plain else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a damaged or hostile pickle can end in any
        # torch's words are left out, of a traceback too: they advise to run the file's code, and colour that.
        is_pickle = isinstance(error, UnpicklingError) and (start == b"\x80" or is_zipfile(path))
        what = "holds more than tensors" if is_pickle else "is no whole file of tensors"
        msg = f"{path} {what}: save the model's state_dict and give that file"
        raise PerceptualError(msg) from None
    if not isinstance(content, Mapping):
        msg = f"{path} holds a {type(content).__name__}, not named tensors: save the model's state_dict"
        raise PerceptualError(msg)
    return content


def _blocks(path: Path, tensors: Mapping[str, Any]) -> list[list[tuple[Tensor, Tensor]]]:
    layout = _VGG19 if "features.16.weight" in tensors else _VGG16
    convolutions: dict[int, tuple[Tensor, Tensor]] = {}
    channels = 3
    # A ReLU and a pooling follow the last convolution.
    for number in range(layout[-1][-1] + 3):
        weight, bias = f"features.{number}.weight", f"features.{number}.bias"
        if any(number in block for block in layout):
            kernel = _tensor(path, tensors, weight, (None, channels, 3, 3))
            channels = len(kernel)
            convolutions[number] = kernel, _tensor(path, tensors, bias, (channels,))
        elif weight in tensors or bias in tensors:
            key = weight if weight in tensors else bias
            raise _no_vgg(path, f"{key} stands where these have no weights, as with batch norm")
    return [[convolutions[number] for number in block] for block in layout]


def _tensor(path: Path, tensors: Mapping[str, Any], key: str, wanted: tuple[int | None, ...]) -> Tensor:
    """Return a tensor in float32 that is certain to go through a convolution; None in a shape is any number."""
    if key not in tensors:
        raise _no_vgg(path, f"{key} is missing")
    found = tensors[key]
    if not isinstance(found, Tensor):
        raise _no_vgg(path, f"{key} is a {type(found).__name__}, not a tensor")
    # First of all, as a sparse, nested or meta tensor may have neither a shape nor values to ask for.
    if found.layout != torch.strided or found.is_nested or found.device.type != "cpu":
        raise _no_vgg(path, f"{key} is no dense tensor")
    if found.dtype not in _FLOATS:
        raise _no_vgg(path, f"{key} holds {str(found.dtype).removeprefix('torch.')}, not real floating-point numbers")
    shape = tuple(found.shape)
    fits = len(shape) == len(wanted) and all(want in {None, size} for want, size in zip(wanted, shape, strict=True))
    if not fits or not 1 <= shape[0] <= _MOST_CHANNELS:
        needed = ", ".join(f"1 to {_MOST_CHANNELS}" if want is None else str(want) for want in wanted)
        raise _no_vgg(path, f"{key} of shape {shape} does not follow: [{needed}] is needed")
    # After the cast, which may take a large float64 to infinity.
    value = found.detach().float()
    if not value.isfinite().all():
        raise _no_vgg(path, f"{key} holds values that are not finite in float32")
    return value
