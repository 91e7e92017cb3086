"""Flows of vectors: training steps, and samples of MAF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from nfkd.config.flows import FlowConfig, Glow1DConfig, MAFConfig, NSFConfig
from nfkd.flows.flow import Flow
from tests.benchmarks.peers.case import Case, Work, count_parameters, timed
from tests.benchmarks.peers.libraries import (
    LogProb,
    freia_glow1d,
    nflows_glow1d,
    nflows_maf,
    nflows_nsf,
    normflows_glow1d,
    normflows_maf,
    normflows_nsf,
    zuko_maf,
    zuko_nsf,
    zuko_realnvp,
)
from tests.benchmarks.peers.steps import normal_examples, own_flow, training, without_gradients

Make = Callable[[FlowConfig, int], LogProb]

GLOW_1D = Glow1DConfig(steps=8, hidden=64)
MAF = MAFConfig(steps=5, hidden=64)
NSF = NSFConfig(steps=5, hidden=64, permutation="reverse", tail_bound=5.0)  # zuko has no other order and bound

COUPLINGS = {
    "zuko RealNVP": zuko_realnvp,
    "normflows": normflows_glow1d,
    "nflows": nflows_glow1d,
    "FrEIA": freia_glow1d,
}
MAFS = {"zuko": zuko_maf, "normflows": normflows_maf, "nflows": nflows_maf}
SPLINES = {"zuko": zuko_nsf, "normflows": normflows_nsf, "nflows": nflows_nsf}


def _flows(config: FlowConfig, x: Tensor, rivals: Mapping[str, Make]) -> tuple[Flow, dict[str, LogProb]]:
    """Return our flow and the others', after data-dependent initialisation where there is one."""
    torch.manual_seed(0)
    others = {name: make(config, x.shape[1]) for name, make in rivals.items()}
    with torch.no_grad():
        for flow in others.values():
            flow(x)
    return own_flow(config, x), others


def _train(config: FlowConfig, features: int, count: int, rivals: Mapping[str, Make]) -> Work:
    x = normal_examples(count, features)
    flow, others = _flows(config, x, rivals)
    return Work(
        training(flow, flow.log_prob, x),
        {name: training(other, other, x) for name, other in others.items()},
        {name: count_parameters(each) for name, each in {"ours": flow, **others}.items()},
    )


def _sample_maf(features: int, count: int, sample: Callable[[Flow, int], object]) -> Work:
    """Samples of flows with random weights: a trained layer's Jacobi iteration takes its own number of passes."""
    flow, others = _flows(MAF, normal_examples(count, features), {"zuko": zuko_maf, "nflows": nflows_maf})
    zuko, nflows = (cast("Any", others[name].flow) for name in ("zuko", "nflows"))
    return Work(
        without_gradients(lambda: sample(flow.eval(), count)),
        {
            "zuko": without_gradients(lambda: zuko().sample((count,))),
            "nflows": without_gradients(lambda: nflows.sample(count)),
        },
        {name: count_parameters(each) for name, each in {"ours": flow, **others}.items()},
    )


def _training_case(
    label: str, config: FlowConfig, features: int, count: int, rivals: Mapping[str, Make], goal: float, before: float
) -> Case:
    first = next(iter(rivals))
    return Case(
        f"training step of {label}, D = {features}, batch {count:,}",
        {rival: goal if rival == first else None for rival in rivals},
        timed(partial(_train, config, features, count, rivals)),
        {first: before},
    )


CASES = (
    _training_case("Glow-1D", GLOW_1D, 2, 256, COUPLINGS, 0.5, 1.54),
    _training_case("Glow-1D", GLOW_1D, 8, 4096, COUPLINGS, 0.9, 1.09),
    _training_case("Glow-1D", GLOW_1D, 63, 1024, COUPLINGS, 0.9, 1.11),
    _training_case("MAF", MAF, 8, 4096, MAFS, 0.8, 0.97),
    _training_case("MAF", MAF, 63, 1024, MAFS, 0.8, 1.01),
    _training_case("coupling NSF", NSF, 8, 4096, SPLINES, 0.75, 1.09),
    _training_case("coupling NSF", NSF, 63, 1024, SPLINES, 0.75, 0.83),
    Case(
        "1,000 samples of MAF, D = 63, exact",
        {"zuko": 0.2, "nflows": None},
        timed(partial(_sample_maf, 63, 1000, lambda flow, count: flow.sample(count))),
        {"zuko": 0.32},
    ),
    Case(
        "1,000 samples of MAF, D = 63, by Jacobi iteration, theirs exact",
        {"zuko": 0.2, "nflows": None},
        timed(partial(_sample_maf, 63, 1000, lambda flow, count: flow.sample(count, method="jacobi"))),
    ),
)
