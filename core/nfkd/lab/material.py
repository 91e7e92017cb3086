"""What a lab is trained on: its data set, its flows and the matched layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nfkd.config import ConfigError
from nfkd.config.lab import LabConfig
from nfkd.data import DataError, Dataset, DataSplit, load_dataset
from nfkd.data.loading import divide
from nfkd.data.source import Loaded
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.planning.describe import describe
from nfkd.planning.plans import flow_config, stage_data
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import Role, learner_of
from nfkd.training.generators import named_generator

_MARGIN, _OUTLIERS = 0.2, 0.002
"""Around the training data; and the share of outliers at each side, which do not count."""
_POINTS = 1000


@dataclass(frozen=True)
class Material:
    """Data and matched layers of a lab.

    Attributes
    ----------
    teacher_data, student_data
        All training examples, and those that the students may see.
    pairs
        Matched layers of student and teacher.
    """

    config: LabConfig
    teacher_data: Dataset
    student_data: Dataset
    pairs: list[LayerPair]

    @classmethod
    def of(cls, config: LabConfig) -> Material:
        """Return the material of a state.

        Raises
        ------
        ConfigError
            With every problem of the experiment.
        """
        experiment = config.experiment()
        try:
            dataset = _own_points(config) if config.lab.points else load_dataset(config.data)
            student_data = stage_data(experiment, _reordered(dataset, config.lab.choice), "student")
        except DataError as error:
            raise ConfigError(error.problems) from error
        description = describe(experiment)
        problems = [item for item in description.problems if not (config.lab.points and item.path.startswith("data"))]
        if problems:
            raise ConfigError(problems)
        return cls(config, dataset, student_data, description.pairs)

    def data(self, role: Role) -> Dataset:
        """Return the data that a flow is trained on."""
        return self.teacher_data if role == "teacher" else self.student_data

    def seed(self, role: Role) -> int:
        """Return the seed of a flow; as in a run with several seeds, they share the first one's teacher."""
        return self.config.seeds.first + (0 if role == "teacher" else self.config.lab.repeat)

    def build(self, role: Role) -> Flow:
        """Return a flow with initial weights; student and student alone start with the same."""
        generator = named_generator(self.seed(role), learner_of(role), "initialisation")
        config = flow_config(self.config, "teacher" if role == "teacher" else "student")
        return build_flow(config, self.teacher_data.event_shape, generator=generator)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """A square around the training data as the flows see it, without outliers, (x0, x1, y0, y1)."""
        values = self.teacher_data.scaled(np.asarray(self.teacher_data.train.values[:]))
        low, high = np.quantile(values, [_OUTLIERS, 1 - _OUTLIERS], axis=0)
        middle, half = (low + high) / 2, (high - low).max() / 2 * (1 + _MARGIN)
        (x0, y0), (x1, y1) = middle - half, middle + half
        return float(x0), float(x1), float(y0), float(y1)

    def points(self, role: Role) -> np.ndarray:
        """Return training examples of a flow, at most 1,000, (n, 2) float32."""
        dataset = self.data(role)
        return dataset.scaled(np.asarray(dataset.train.some(_POINTS).values[:]))


def _reordered(dataset: Dataset, choice: int) -> Dataset:
    """Return a data set with its training points in another order, so that other points come first; 0 changes nothing.

    `Dataset.with_training_examples` always takes the same places.
    """
    if not choice:
        return dataset
    order = np.random.default_rng(choice).permutation(len(dataset.train))
    return replace(dataset, train=dataset.train.take(order))


def _own_points(config: LabConfig) -> Dataset:
    split = DataSplit(np.asarray(config.lab.points, np.float32))
    return divide(config.data, Loaded("own points", split, scaling="standard"))


def same_material(first: LabConfig, second: LabConfig) -> bool:
    """Return whether two states have the same experiment, data and students' points."""
    alike = (first.lab.points, first.lab.choice) == (second.lab.points, second.lab.choice)
    return alike and first.experiment() == second.experiment()


def same_data(first: LabConfig, second: LabConfig) -> bool:
    """Return whether two states have the same data set."""
    return (first.data, first.lab.points) == (second.data, second.lab.points)


def trained_alike(first: LabConfig, second: LabConfig, role: Role) -> bool:
    """Return whether a flow need not start anew when one state becomes the other.

    Rates, budgets, weights of the terms and the share of the pool may differ.
    """
    return _lasting(first, role) == _lasting(second, role)


def _lasting(config: LabConfig, role: Role) -> tuple[object, ...]:
    training = config.training
    own = (flow_config(config, "teacher" if role == "teacher" else "student"), config.seeds.first)
    common = (training.precision, training.accumulate, training.ema_decay, training.batch_size)
    if role == "teacher":
        return (*own, *common, training.teacher_optimizer, training.optimizer, training.weight_decay)
    return (
        *own,
        *common,
        training.optimizer,
        training.weight_decay,
        training.student_examples,
        config.lab.choice,
        config.lab.repeat,
    )
