"""Features for FID: those of a network that the user gives as a TorchScript file, such as Inception-v3.

The interface of the network is that of ``inception-2015-12-05.pt`` of StyleGAN2-ADA and StyleGAN3 (Karras et al. 2020,
arXiv 2006.06676): ``network(images, return_features=True)`` takes uint8 images, (N, 3, H, W), resizes them itself, and
returns features, (N, 2048).
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfkd.config import ConfigError, ConfigProblem
from nfkd.files import FileError, read_limited
from nfkd.text import plain

FEATURES = 2048
OPTION = "--inception"
_MAX_BYTES = 2 << 30
_CODE = "constants.pkl"  # a member of TorchScript archives, not of those of torch.save
_HELP = "give the TorchScript file inception-2015-12-05.pt, or one made as docs/metrics.md says"


@dataclass(frozen=True, eq=False)
class Inception:
    """A network whose features FID compares.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    name, sha256
        Name and SHA-256 of its file.
    """

    network: Callable[..., Any]
    device: torch.device
    name: str
    sha256: str

    @property
    def metric(self) -> str:
        """The metric's name: FIDs of two networks are two metrics."""
        return f"fid_{self.sha256[:12]}"

    def features(self, images: Iterator[Tensor]) -> np.ndarray:
        """Return the features of images, (N, 2048) float64.

        Parameters
        ----------
        images
            Parts of them, each (n, 3, height, width) uint8.

        Raises
        ------
        ConfigError
            When the network fails, or gives something else.
        """
        return torch.cat([self._part(part) for part in images]).double().numpy()

    @torch.no_grad()
    def _part(self, images: Tensor) -> Tensor:
        size = "×".join(map(str, images.shape[1:]))
        try:
            with warnings.catch_warnings(action="ignore"):
                found = self.network(images.to(self.device), return_features=True)
        except Exception as error:
            why = f"its network fails for uint8 images of {size} with return_features=True"
            raise _refusal(self.name, why) from error
        if not isinstance(found, Tensor) or found.shape != (len(images), FEATURES):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            why = f"its network gives {shape} for {len(images)} images, not {FEATURES} features each"
            raise _refusal(self.name, why)
        return found.cpu()


def load_inception(path: str, shape: tuple[int, ...], device: torch.device) -> Inception:
    """Load the network of a TorchScript file, and try it with two images.

    The file holds code, which runs: it must come from a source that the user trusts. Only `torch.jit.load` reads it; no
    pickle is executed.

    Parameters
    ----------
    path
        Of the file.
    shape
        Of an image of the data.
    device
        Of the network.

    Raises
    ------
    ConfigError
        When the file cannot be read, is no TorchScript, or its network has another interface.
    """
    name = plain(Path(path).name)
    try:
        content = read_limited(path, _MAX_BYTES)
    except OSError as error:
        reason = f"it {error.strerror}" if isinstance(error, FileError) else str(error.strerror).lower()
        raise _refusal(plain(path), f"it cannot be read ({reason})") from error
    _require_code(name, content)
    try:
        with warnings.catch_warnings(action="ignore"):  # torch says that TorchScript is old
            network = torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _refusal(name, "it is damaged, or of another version of TorchScript") from error
    found = Inception(network.eval(), device, name, hashlib.sha256(content).hexdigest())
    found.features(iter([torch.zeros(2, 3, *shape[1:], dtype=torch.uint8)]))
    return found


def _require_code(name: str, content: bytes) -> None:
    """Refuse a file that is no TorchScript, by the members of its archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [Path(member).name for member in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        pickled = content[:1] == b"\x80"
        raise _refusal(name, "it is a pickle" if pickled else "it is not a TorchScript file") from None
    if _CODE not in members:
        raise _refusal(name, "it holds weights without the code of a network")


def _refusal(name: str, reason: str) -> ConfigError:
    return ConfigError([ConfigProblem(OPTION, f"{name} cannot be used for FID: {reason}; {_HELP}")])


def no_fid(shape: tuple[int, ...], data: str) -> str:
    """Return why there is no FID of data of this shape; empty if there is."""
    if len(shape) != 3:
        return f"FID is for images, and {data} has none"
    return (
        "" if shape[0] in {1, 3} else f"FID is for grey and colour images, and those of {data} have {shape[0]} channels"
    )
