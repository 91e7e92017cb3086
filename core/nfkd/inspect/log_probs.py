"""Log-densities of sets of examples under every flow, and the distribution of their latents."""

from __future__ import annotations

import os

import numpy as np
import scipy
import torch

from nfkd.config.datasets import parse_data_toml
from nfkd.data import Batch, load_dataset
from nfkd.evaluation.iterations import MAX_SAMPLES, count_iterations
from nfkd.evaluation.likelihood import noisy
from nfkd.evaluation.other_data import require_same_shape, rescaled
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import MAX_EXAMPLES, OpenedRun, open_run
from nfkd.inspect.origin import check_count
from nfkd.inspect.sample_details import can_rate
from nfkd.inspect.work import Work
from nfkd.protocol.inspection import Extremes, LikelihoodReport
from nfkd.protocol.records import BlockSolve
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError

_EXTREMES, _QUANTILES = 8, 199


def likelihood(
    run: str | os.PathLike[str] | OpenedRun, *, seed: int | None = None, count: int = 2000, second: str = ""
) -> LikelihoodReport:
    """Return log p of training, test and other examples under every flow; training examples are those it has seen.

    Parameters
    ----------
    run, seed
        As in `layers`.
    count
        Most examples of a set; of larger ones random examples are used, always the same.
    second
        A further data set, such as one that the flows were not trained on: the ``[data]`` table as TOML text. Its test
        examples must have the shape of the run's; vectors are scaled, and images cut to levels, as the run's data.

    Raises
    ------
    RunError
        When the run cannot be read, no flow has log-densities, or the second data set does not fit.
    ConfigError, DataError
        When the second data set cannot be read.
    """
    opened = open_run(run, seed)
    check_count("examples", count, MAX_EXAMPLES)
    roles: list[Role] = [role for role, flow in opened.flows.items() if can_rate(flow)]
    if not roles:
        title = "There are no likelihoods"
        raise RunError(title, "No flow of the run has log-densities.", "Choose another run.")
    name, further = _further(opened, second, count) if second else ("", None)
    log_prob: dict[Role, dict[str, np.ndarray]] = {}
    latents: dict[Role, np.ndarray] = {}
    iterations: dict[Role, list[BlockSolve]] = {}
    for number, role in enumerate(roles):
        work = opened.work.part(number / len(roles), (number + 1) / len(roles))
        log_prob[role] = {
            "train": opened.split_log_prob(role, "train", count, work.part(0, 0.3)),
            "test": opened.split_log_prob(role, "test", count, work.part(0.3, 0.6)),
        }
        if further is not None:
            log_prob[role][name] = opened.log_prob(opened.flows[role], further, work.part(0.6, 0.8))
        if "latents" not in opened.flows[role].unsupported:
            latents[role] = _latent_quantiles(opened, opened.flows[role], count, work.part(0.8, 1))
        if blocks := _iterations(opened, opened.flows[role]):
            iterations[role] = blocks
    offset = float(opened.dataset.nll(torch.zeros(1, dtype=torch.float64))[0])
    return LikelihoodReport(
        run=opened.run,
        seed=opened.seed,
        sets=list(log_prob[roles[0]]),
        log_prob=log_prob,
        test_indices=opened.data.subset("test").indices[:count],
        latents=latents,
        quantiles=scipy.stats.norm.ppf(_levels()),
        extremes={role: _extremes(opened, values["test"], count) for role, values in log_prob.items()},
        unit=opened.dataset.unit,
        nll_scale=offset - float(opened.dataset.nll(torch.ones(1, dtype=torch.float64))[0]),
        nll_offset=offset,
        iterations=iterations,
    )


def _levels() -> np.ndarray:
    return np.arange(1, _QUANTILES + 1) / (_QUANTILES + 1)


@torch.no_grad()
def _latent_quantiles(opened: OpenedRun, flow: Flow, count: int, work: Work) -> np.ndarray:
    """Return quantiles of the noise of test examples, over all dimensions: (Q,)."""
    batch, parts = opened.data.subset("test").batch.take(slice(count)), list[np.ndarray]()
    for rows in work.batches(len(batch), opened.rows):
        chunk = batch.take(rows).to(opened.data.device)
        noise = flow.noise_of(chunk.x, chunk.context)
        parts += [part.flatten().float().cpu().numpy() for part in noise]
    values = np.concatenate(parts)
    finite = values[np.isfinite(values)]
    return np.quantile(finite, _levels()) if len(finite) else np.full(_QUANTILES, np.nan)


def _iterations(opened: OpenedRun, flow: Flow) -> list[BlockSolve]:
    batch = opened.data.subset("test").batch.take(slice(MAX_SAMPLES)).to(opened.data.device)
    return count_iterations(flow, batch.x, batch.context)


def _extremes(opened: OpenedRun, values: np.ndarray, count: int) -> Extremes:
    """Return the most and the least likely test examples; those without a log p are left out."""
    subset = opened.data.subset("test")
    order = np.argsort(values[:count], kind="stable")
    order = order[np.isfinite(values[order])]
    least, most = order[:_EXTREMES], order[::-1][:_EXTREMES]

    def pictures(rows: np.ndarray) -> np.ndarray:
        return opened.dataset.to_picture(subset.batch.x[torch.from_numpy(rows.copy())])

    return Extremes(
        most=subset.indices[most],
        least=subset.indices[least],
        most_examples=pictures(most),
        least_examples=pictures(least),
    )


def _further(opened: OpenedRun, text: str, count: int) -> tuple[str, Batch]:
    """Return the name and the examples of a second data set, in the scaling of the run's."""
    own, other = opened.dataset, load_dataset(parse_data_toml(text))
    require_same_shape(own, other)
    name = other.name if other.name not in ("train", "test") else f"{other.name} (second)"
    return name, noisy(own, rescaled(own, other, other.test.some(count)))
