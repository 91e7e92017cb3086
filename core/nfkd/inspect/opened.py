"""A run with its data and its flows, opened for inspection."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nfkd.config import ExperimentConfig
from nfkd.data import Batch, Dataset, DataSplit, load_dataset
from nfkd.evaluation.likelihood import noisy
from nfkd.files import is_regular, is_taken
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.inspect.work import Work
from nfkd.planning.devices import resolve_device
from nfkd.planning.plans import flow_config, run_roles, seed_stages, stage_data
from nfkd.protocol.inspection import SplitName
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.runs.layout import EXPERIMENT, read_config, seed_directory
from nfkd.runs.weights import load_weights
from nfkd.training.control import LiveWeights

MAX_EXAMPLES = 4096
"""Examples of a split that are used at most."""
_CACHE_SIZE = 8
_BATCH_VALUES, _BATCH_ROWS = 1 << 18, (16, 1024)


@dataclass(frozen=True, eq=False)
class Subset:
    """Examples of a split as flows see them.

    Attributes
    ----------
    indices
        Of the split, (N,).
    batch
        With the same dequantization noise at every call.
    """

    indices: np.ndarray
    batch: Batch

    def example(self, index: int) -> Batch | None:
        """Return the example with this index of the split, if it is in the subset."""
        found = np.flatnonzero(self.indices == index)
        return self.batch.take([int(found[0])]) if len(found) else None


@dataclass(frozen=True, eq=False)
class RunData:
    """The data of a run.

    Attributes
    ----------
    config
        The experiment.
    dataset
        Its data, with pictures of vectors in scaled values.
    examples
        The first validation examples: those of the run's pictures, and the ones to choose from.
    device
        The device of the run's flows.
    """

    config: ExperimentConfig
    dataset: Dataset
    examples: Batch
    device: torch.device
    _subsets: dict[str, Subset] = field(default_factory=dict[str, Subset])

    @classmethod
    def of(cls, run: Path) -> RunData:
        """Load the data of a run; raises `RunError` and `DataError`."""
        config = read_config(run)
        dataset = load_dataset(config.data)
        if dataset.scaler is not None:
            dataset = replace(dataset, scaled_pictures=True)
        examples = noisy(dataset, dataset.validation.take(slice(MAX_EXAMPLES)))
        return cls(config, dataset, examples, resolve_device(config.compute))

    def subset(self, name: SplitName) -> Subset:
        """Return the first validation examples, or random ones of another split, always the same."""
        if name not in self._subsets:
            if name == "validation":
                self._subsets[name] = Subset(np.arange(len(self.examples)), self.examples)
            else:
                self._subsets[name] = self._random(getattr(self.dataset, name))
        return self._subsets[name]

    def seen(self, role: Role) -> Subset:
        """Return random ones of the training examples that the flow of a role has seen, always the same."""
        train = stage_data(self.config, self.dataset, role).train
        key = f"{len(train)} seen"
        if key not in self._subsets:
            self._subsets[key] = self._random(train)
        return self._subsets[key]

    def _random(self, split: DataSplit) -> Subset:
        indices = np.random.default_rng(0).permutation(len(split))[:MAX_EXAMPLES]
        return Subset(indices, noisy(self.dataset, split.take(indices)))


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run whose flows have the weights of one seed.

    Attributes
    ----------
    run, seed
        The directory and the seed.
    data
        The data.
    flows
        The flows that have weights, in the order of their stages.
    work
        Checked while something is computed.
    """

    run: str
    seed: int
    data: RunData
    flows: Mapping[Role, Flow]
    work: Work = field(default_factory=Work)
    _log_prob: WeakKeyDictionary[Flow, dict[Any, np.ndarray]] = field(default_factory=WeakKeyDictionary)

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return self.data.dataset

    @property
    def rows(self) -> int:
        """Examples of a batch: fewer for larger examples, so that the memory is limited."""
        least, most = _BATCH_ROWS
        size = int(np.prod(self.dataset.event_shape))
        return max(least, min(most, _BATCH_VALUES // size))

    def split_log_prob(self, role: Role, split: SplitName, count: int, work: Work | None = None) -> np.ndarray:
        """Return log p of the first `count` of a split's `RunData.subset` under a flow, (N,) nats; kept for later.

        Training examples are those that the flow has seen.
        """
        flow = self.flows[role]
        known = self._log_prob.setdefault(flow, {})
        if (split, count) not in known:
            subset = self.data.seen(role) if split == "train" else self.data.subset(split)
            known[split, count] = self.log_prob(flow, subset.batch.take(slice(count)), work)
        return known[split, count]

    @torch.no_grad()
    def log_prob(self, flow: Flow, examples: Batch, work: Work | None = None) -> np.ndarray:
        """Return log p of examples under a flow, (N,) nats; NaN where an example or its log p is not finite."""
        parts = [np.empty(0)]
        for chunk in (work or self.work).batches(len(examples), self.rows):
            batch = examples.take(chunk).to(self.data.device)
            parts.append(log_prob(flow, batch.x, batch.context))
        return np.concatenate(parts)


class RunCache:
    """Opens runs, and keeps the data and flows that were used last. Used by one thread at a time."""

    def __init__(self) -> None:
        self._data: OrderedDict[Any, RunData] = OrderedDict()
        self._flows: OrderedDict[Any, Flow] = OrderedDict()
        self._log_prob: WeakKeyDictionary[Flow, dict[Any, np.ndarray]] = WeakKeyDictionary()
        self._steps: WeakKeyDictionary[Flow, int] = WeakKeyDictionary()

    def open(
        self,
        run: str | os.PathLike[str],
        seed: int | None = None,
        live: LiveWeights | None = None,
        work: Work | None = None,
    ) -> OpenedRun:
        """Return a run with its flows.

        Parameters
        ----------
        run
            Its directory.
        seed
            The first seed if None.
        live
            Weights of the stage in training, which replace those on disk.
        work
            Checked while something is computed.

        Raises
        ------
        RunError
            When the run cannot be read, or has no weights yet.
        """
        path = Path(run)
        experiment = path / EXPERIMENT
        # Another run may have the same name.
        stamp = (str(path), experiment.stat().st_mtime_ns if is_regular(experiment) else 0)
        if stamp not in self._data:
            self._data[stamp] = RunData.of(path)
        data = _newest(self._data, stamp)
        chosen = data.config.seeds.first if seed is None else seed
        flows: dict[Role, Flow] = {}
        for role in run_roles(data.config):
            flow = self._flow(stamp, data, path, chosen, role, live)
            if flow is not None:
                flows[role] = flow
        if not flows:
            title = "There are no weights yet"
            raise RunError(title, "The run has not made its first step.", "Try again later.")
        return OpenedRun(str(run), chosen, data, flows, work or Work(), self._log_prob)

    def _flow(
        self, stamp: Any, data: RunData, run: Path, seed: int, role: Role, live: LiveWeights | None
    ) -> Flow | None:
        config = data.config
        if role == "teacher" and config.training.teacher_from_python:
            return None  # its class belongs to another library
        stage_seed = seed if role in seed_stages(config, seed) else config.seeds.first
        if live is not None and (live.seed, live.stage) == (stage_seed, role):
            return self._live((stamp, stage_seed, role), data, role, live)
        path = seed_directory(run, config, stage_seed) / f"{role}.safetensors"
        return self._load((path, path.stat().st_mtime_ns), data, role, path) if is_taken(path) else None

    def _live(self, key: Any, data: RunData, role: Role, live: LiveWeights) -> Flow:
        """Return one flow for all steps of a stage, with the newest weights."""
        flow = self._load((*key, "live"), data, role, live.weights)
        if self._steps.get(flow) != live.step:
            flow.load_state_dict(live.weights)
            self._steps[flow] = live.step
            self._log_prob.pop(flow, None)
        return flow

    def _load(self, key: Any, data: RunData, role: Role, source: Path | dict[str, Tensor]) -> Flow:
        if key not in self._flows:
            dataset, config = data.dataset, flow_config(data.config, role)
            flow = build_flow(config, dataset.event_shape, context_features=dataset.context_features)
            if isinstance(source, Path):
                load_weights(source, flow)
            else:
                flow.load_state_dict(source)
            self._flows[key] = flow.to(data.device).eval().requires_grad_(requires_grad=False)
        return _newest(self._flows, key)


def open_run(run: str | os.PathLike[str] | OpenedRun, seed: int | None = None) -> OpenedRun:
    """Return a run with its data and the weights of a seed, by default the first; an opened run as it is.

    Raises
    ------
    RunError
        When the run cannot be read, or has no weights yet.
    """
    return run if isinstance(run, OpenedRun) else RunCache().open(run, seed)


@torch.no_grad()
def log_prob(flow: Flow, x: Tensor, context: Tensor | None = None) -> np.ndarray:
    """Return log p of each example, (B,) float64 nats; NaN where it or the example is not finite."""
    finite = x.flatten(1).isfinite().all(dim=1)
    usable = torch.where(finite.reshape(-1, *[1] * (x.dim() - 1)), x, torch.zeros_like(x))
    values = torch.where(finite, flow.log_prob(usable, context), torch.nan).double().cpu()
    return torch.where(values.isfinite(), values, torch.nan).numpy()


def _newest(cache: OrderedDict[Any, Any], key: Any) -> Any:
    """Return an entry, and drop the least recently used ones."""
    cache.move_to_end(key)
    while len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)
    return cache[key]
