"""The metrics of ``nfkd evaluate``, in groups, and the choice of some by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from nfkd.config import ConfigError, ConfigProblem
from nfkd.evaluation.metrics import METRICS, Metric
from nfkd.text import plain

_SHOWN, _HASH = 80, 12


def _known(*names: str) -> dict[str, Metric]:
    return {name: replace(METRICS[name], figure=name) for name in names}


def _metric(
    name: str,
    title: str,
    unit: str | None = "",
    *,
    form: str = ".4f",
    larger: bool = False,
    best: float | None = None,
) -> dict[str, Metric]:
    return {name: Metric(name, title, unit, larger=larger, best=best, form=form, noun=title, has_gap=False)}


def _fid(name: str, title: str) -> dict[str, Metric]:
    return {name: Metric(name, title, "", form=".3f", noun=title)}


GROUPS: dict[str, dict[str, Metric]] = {
    "likelihood": _known("likelihood"),
    "samples": _known("sw", "mmd", "c2st", "fd", "precision", "recall"),
    "fid": _fid("fid", "FID"),
    "calibration": _metric("pit", "PIT of latents", form=".4f") | _metric("chi2", "‖z‖² against χ²", form=".4f"),
    "inversion": _metric("inverse", "inverse error, median", form=".1e")
    | _metric("inverse_p95", "inverse error, 95 %", form=".1e")
    | _metric("log_det", "log-det error", form=".1e"),
    "fidelity": _metric("layer_mse", "MSE at matched layers", form=".4g")
    | _metric("layer_cosine", "cosine at matched layers", form=".4f", larger=True)
    | _metric("log_p_correlation", "correlation of log p", form=".4f", larger=True)
    | _metric("log_p_difference", "log p below the teacher's", None, best=0.0)
    | _known("same_noise")
    | _metric("fidelity_per_second", "fidelity per second", "samples/s", form=",.0f", larger=True),
    "cost": _metric("parameters", "parameters", form=",.0f")
    | _metric("multiply_adds", "multiply-adds", form=",.0f")
    | _metric("peak_memory", "peak memory", "MiB", form=",.2f")
    | _metric("encode_ms", "latency of encode, median", "ms", form=".3f")
    | _metric("encode_p95_ms", "latency of encode, 95 %", "ms", form=".3f")
    | _metric("decode_ms", "latency of decode, median", "ms", form=".3f")
    | _metric("decode_p95_ms", "latency of decode, 95 %", "ms", form=".3f")
    | _metric("encode_per_second", "throughput of encode", "examples/s", form=",.0f", larger=True)
    | _metric("decode_per_second", "throughput of decode", "samples/s", form=",.0f", larger=True),
    "jacobi": _metric("jacobi_ms", "latency of decode by Jacobi iteration, median", "ms", form=".3f")
    | _metric("jacobi_per_second", "throughput of decode by Jacobi iteration", "samples/s", form=",.0f", larger=True)
    | _metric("jacobi_iterations", "Jacobi iterations of all blocks, one example", form=".0f"),
}
"""Metrics by group and name; a unit of None is that of the run's likelihoods."""
EVALUATED: dict[str, Metric] = {name: metric for group in GROUPS.values() for name, metric in group.items()}
"""All metrics by name."""
LAYERS = ("layer_mse", "layer_cosine")
"""Metrics that also have a value for each matched layer, named such as ``layer_mse.step2``."""


def metric_of(name: str) -> Metric | None:
    """Return the metric of a value's name; None for an unknown name.

    That of one layer has the layer in its title; FID has the beginning of the SHA-256 of its network.
    """
    if name in EVALUATED:
        return EVALUATED[name]
    if name.startswith("fid_"):
        return _fid(name, f"FID ({plain(name.removeprefix('fid_'), _HASH)})")[name]
    kind, _, layer = name.partition(".")
    return replace(EVALUATED[kind], name=f"{EVALUATED[kind].name}, {layer}") if kind in LAYERS and layer else None


def choose_metrics(names: Iterable[str]) -> list[str]:
    """Return the metrics of names and of groups, in the order of the groups, without repetitions; all if none is named.

    Raises
    ------
    ConfigError
        For an unknown name, with the nearest known one.
    """
    chosen = {name.strip() for name in names} - {""}
    for name in sorted(chosen):
        if name not in EVALUATED and name not in GROUPS:
            near = get_close_matches(name, [*EVALUATED, *GROUPS], 1, 0.4)
            hint = f"do you mean {near[0]}?" if near else f"the groups are {', '.join(GROUPS)}"
            raise ConfigError([ConfigProblem("--metrics", f"there is no metric {plain(name, _SHOWN)}; {hint}")])
    return [
        name for group, metrics in GROUPS.items() for name in metrics if not chosen or name in chosen or group in chosen
    ]
