"""The data of an evaluation: a split of the run's data, or another data set in its scaling."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from nfkd.config import ConfigError, ConfigProblem, DataConfig, ExperimentConfig, preset_names
from nfkd.config.datasets import DATA_KINDS, dataset_names, parse_data, parse_data_toml
from nfkd.config.toml import read_text, toml_document
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.evaluation.evaluated_flows import Material
from nfkd.evaluation.inception import FEATURES
from nfkd.evaluation.other_data import require_same_shape, rescaled
from nfkd.evaluation.quality import C2ST_MAX
from nfkd.evaluation.sample_metrics import FEWEST, PAIRED
from nfkd.files import is_regular
from nfkd.runs.evaluation_file import OWN_TEST

VALIDATION = "validation"
"""Name of the run's validation split in ``--data``."""
_COPIES, _FID_COPIES = 3, 5  # of what is computed for all pairs, and of FID's features, in memory at the same time


def open_material(
    config: ExperimentConfig, data: str, samples: int, device: torch.device, check: Callable[[], None]
) -> tuple[str, Material]:
    """Load the data of an evaluation; return its name, and the examples.

    Parameters
    ----------
    config
        The run's experiment.
    data
        ``test`` or ``validation`` of the run's own data; or another data set: a name, a kind, a preset, a path of data,
        or a TOML file with a ``[data]`` table.
    samples
        Samples of each flow; 0 for as many as there are test examples, at most 2,000.
    device, check
        As in `Material`.

    Raises
    ------
    ConfigError
        When the data is unknown or cannot be loaded, or there are too few samples.
    RunError
        When the examples of other data have another shape.
    """
    own = _load(config.data)
    label, dataset = _chosen(own, data)
    students = dataset
    if label in {OWN_TEST, VALIDATION}:
        students = dataset.with_training_examples(config.training.student_examples)
    samples = samples or min(len(dataset.test), C2ST_MAX)
    if samples < FEWEST:
        message = f"{samples} samples are too few: give at least {FEWEST}, or 0 for as many as test examples"
        raise ConfigError([ConfigProblem("--samples", message)])
    return label, Material(dataset, students, samples, device, check)


def _chosen(own: Dataset, data: str) -> tuple[str, Dataset]:
    if data in {"", OWN_TEST}:
        return OWN_TEST, own
    if data == VALIDATION:
        return VALIDATION, replace(own, test=own.validation)
    config, is_file = _other_config(data)
    other = _load(config)
    require_same_shape(own, other)
    train = other.train.some(max(len(other.test), C2ST_MAX))
    splits = {"train": rescaled(own, other, train), "test": rescaled(own, other, other.test)}
    return str(Path(data).absolute()) if is_file else data, replace(own, name=other.name, **splits)


def _other_config(data: str) -> tuple[DataConfig, bool]:
    """Return another data set, and whether its name is a path."""
    path = Path(data)
    if path.suffix == ".toml" and is_regular(path):
        text = read_text(path)
        table = "data" in toml_document(text)
        return (ExperimentConfig.load(data).data if table else parse_data_toml(text)), True
    known = data in DATA_KINDS or data in dataset_names()
    if not known and data in preset_names():
        return ExperimentConfig.load(data).data, False
    return parse_data(data), not known


def _load(config: DataConfig) -> Dataset:
    try:
        return load_dataset(config)
    except DataError as error:
        raise ConfigError(error.problems) from error


def require_memory(material: Material, metrics: Collection[str]) -> None:
    """Refuse so many samples that a comparison which metrics need does not fit into the free memory.

    Raises
    ------
    ConfigError
        When there are too many.
    """
    samples, free = material.samples, psutil.virtual_memory().available
    needed = _compared_bytes(metrics, samples, len(material.test))
    if needed > free:
        sizes = f"{needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free"
        message = f"comparing {samples:,} samples takes {sizes}"
        raise ConfigError([ConfigProblem("--samples", f"{message}: give fewer")])


def _compared_bytes(metrics: Collection[str], samples: int, examples: int) -> int:
    """Return about how much memory the largest comparison of samples and examples takes."""
    paired = _COPIES * (samples + examples) ** 2 if not set(PAIRED).isdisjoint(metrics) else 0
    fid = 0
    if "fid" in metrics:
        products = samples * examples if min(samples, examples) <= FEATURES else FEATURES**2
        fid = _FID_COPIES * FEATURES * (samples + examples) + _COPIES * products
    return 8 * max(paired, fid)
