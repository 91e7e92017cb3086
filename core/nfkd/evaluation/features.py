"""Features for FD-local.

For images with class labels they are those of a small classifier that is trained once for each data set, else the final
latents of the teacher.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nfkd.data import Dataset, DataSplit
from nfkd.data.units import evaluation_noise
from nfkd.flows.compiler import optimizer_step
from nfkd.flows.flow import Flow, evaluating
from nfkd.protocol.records import FeatureInfo

FEATURES = 32
_EXAMPLES = 10_000
_STEPS, _BATCH, _RATE = 300, 128, 1e-2
_LARGEST = 16  # pixels: larger images are halved before the first convolution
_POOLED = 4  # pixels of the last convolution's output, after pooling
_LATENTS = 64
_LARGEST_LATENT = 10.0
_CHUNK = 256  # examples in a pass of the teacher


class Classifier(nn.Module):
    """Two convolutions and two linear layers; the features are the input of the last."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        stride = 2 if height > _LARGEST else 1
        pooled = {-(-size // (2 * stride)) for size in (height, width)} == {_POOLED}  # pooling would change nothing
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Identity() if pooled else nn.AdaptiveAvgPool2d(_POOLED),
            nn.Flatten(), nn.Linear(32 * _POOLED**2, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images, (N, classes)."""
        return self.head(self.body(x - 0.5))


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """A trained classifier.

    Attributes
    ----------
    classifier
        In evaluation mode, on the CPU.
    info
        Its accuracy and the hash of its weights.
    """

    classifier: Classifier
    info: FeatureInfo

    @torch.no_grad()
    def __call__(self, x: Tensor, context: Tensor | None = None) -> np.ndarray:
        """Return the features of images, (N, 32) float64; the context is not used."""
        del context
        return self.classifier.body(x - 0.5).double().numpy()


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """The final latents of a teacher, limited to ±10: a single sample far from the data would otherwise dominate.

    More than 64 are projected on 64 random orthonormal directions, the same in every run: a covariance of more features
    takes more examples.

    Attributes
    ----------
    teacher
        A trained flow with latents.
    """

    teacher: Flow

    @torch.no_grad()
    def __call__(self, x: Tensor, context: Tensor | None = None) -> np.ndarray:
        """Return the features of examples, (N, …) with contexts of (N, C), as (N, at most 64) float64."""
        like, parts = next(self.teacher.parameters()), list[Tensor]()
        with evaluating(self.teacher):
            for start in range(0, len(x), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                passed = self.teacher(x[chunk].to(like), None if context is None else context[chunk].to(like))
                parts.append(passed.latents.flat().double().cpu())
        latents = torch.cat(parts).clamp(-_LARGEST_LATENT, _LARGEST_LATENT).numpy()
        return latents if latents.shape[1] <= _LATENTS else latents @ _directions(latents.shape[1])


def _directions(size: int) -> np.ndarray:
    """Return random orthonormal directions, (size, 64)."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, _LATENTS)))[0]


def local_features(dataset: Dataset) -> LocalFeatures | None:
    """Return the features of a data set of images with class labels; None without labels.

    The classifier depends on the data and on the number of CPU threads only.
    """
    return None if no_features(dataset) else _trained(dataset, torch.get_num_threads())


def no_features(dataset: Dataset) -> str:
    """Return why no classifier can be trained on a data set; empty if one can."""
    if not dataset.is_image:
        return f"{dataset.name} has no images"
    if dataset.train.labels is None or dataset.test.labels is None:
        return f"the images of {dataset.name} have no class labels"
    return "" if np.ptp(dataset.train.labels) else f"all images of {dataset.name} have the same class label"


@lru_cache(maxsize=2)
def _trained(dataset: Dataset, threads: int) -> LocalFeatures:
    del threads  # of torch: sums depend on them
    train, test = dataset.train.some(_EXAMPLES), dataset.test.some(_EXAMPLES)
    noise = evaluation_noise()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        classifier = Classifier(dataset.event_shape, int(_labels(train).max()) + 1)
        optimizer = torch.optim.Adam(classifier.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
        for _ in range(_STEPS):
            chosen = train.take(torch.randint(len(train), (_BATCH,)).numpy())
            optimizer.zero_grad()
            functional.cross_entropy(classifier(dataset.batch(chosen, noise).x), _labels(chosen)).backward()
            optimizer_step(optimizer)
            schedule.step()
    classifier.requires_grad_(requires_grad=False).eval()
    digest = hashlib.sha256()
    for value in classifier.state_dict().values():
        digest.update(value.numpy().tobytes())
    right = [
        classifier(dataset.batch(part, noise).x).argmax(1) == _labels(part)
        for part in (test.take(slice(start, start + _BATCH)) for start in range(0, len(test), _BATCH))
    ]
    accuracy = float(torch.cat(right).double().mean())
    return LocalFeatures(classifier, FeatureInfo(accuracy=accuracy, sha256=digest.hexdigest()))


def _labels(split: DataSplit) -> Tensor:
    if split.labels is None:
        msg = "the split has no class labels"
        raise ValueError(msg)
    return torch.from_numpy(split.labels)
