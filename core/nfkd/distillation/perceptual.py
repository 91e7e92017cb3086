"""Features of VGG (Simonyan & Zisserman 2015, arXiv 1409.1556) from a weights file of the user's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

_NAME = re.compile(r"(?:features\.)(\d+)\.(weight|bias)")
_BLOCKS = 4
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
    The layers are read off torchvision's names ``features.N.weight``: a convolution and its ReLU take two numbers, a
    pooling one more. Both VGG-16 and VGG-19 are told so, without batch norm.
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
            stat = path.stat()
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror}. Name a file of VGG-16 or VGG-19 weights"
            raise PerceptualError(msg) from error
        return _loaded(path, stat.st_mtime_ns, stat.st_size)

    @classmethod
    def _read(cls, path: Path) -> VGGFeatures:
        tensors = _read(path)
        convolutions = _convolutions(path, tensors)
        blocks: list[list[tuple[Tensor, Tensor]]] = [[]]
        channels, before = 3, -2
        for number, (weight, bias) in sorted(convolutions.items()):
            if number - before == 3 and blocks[-1]:
                blocks.append([])
            if number - before not in ({2} if before < 0 else {2, 3}) or weight.shape[1:] != (channels, 3, 3):
                msg = f"{path} is no VGG: features.{number}.weight of shape {tuple(weight.shape)} does not follow"
                raise PerceptualError(msg)
            blocks[-1].append((weight.float(), bias.float()))
            channels, before = len(weight), number
        with path.open("rb") as file:
            return cls(blocks[:_BLOCKS], hashlib.file_digest(file, "sha256").hexdigest())

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


def _read(path: Path) -> Mapping[str, Any]:
    try:
        is_plain = path.suffix == ".safetensors"
        content = load_file(path) if is_plain else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged or hostile pickle can end in any exception; all mean that the file holds no plain tensors.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = f"{path} is no whole file of tensors: {first}"
        raise PerceptualError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{path} holds a {type(content).__name__}, not named tensors: save the model's state_dict"
        raise PerceptualError(msg)
    return content


def _convolutions(path: Path, tensors: Mapping[str, Any]) -> dict[int, tuple[Tensor, Tensor]]:
    parts: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        found = _NAME.fullmatch(str(name))
        if found and isinstance(value, Tensor):
            parts.setdefault(int(found[1]), {})[found[2]] = value
    if not parts or any(part.keys() != {"weight", "bias"} or part["weight"].dim() != 4 for part in parts.values()):
        msg = f"{path} is no VGG-16 or VGG-19 as torchvision names it: features.N.weight and .bias of convolutions"
        raise PerceptualError(msg)
    return {number: (part["weight"], part["bias"]) for number, part in parts.items()}
