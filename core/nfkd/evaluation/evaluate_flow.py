"""All metrics of one flow of a run, each with its interval and its reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from nfkd.data import Batch, DataSplit
from nfkd.evaluation.cost_metrics import cost_estimates
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Material, Measured
from nfkd.evaluation.evaluated_metrics import GROUPS
from nfkd.evaluation.features import LatentFeatures, LocalFeatures, no_features
from nfkd.evaluation.fid import Fid
from nfkd.evaluation.fidelity import measure_fidelity
from nfkd.evaluation.finite_samples import count_not_finite, not_finite_note, usable_samples
from nfkd.evaluation.inspection import MAX_JACOBIAN_DIMENSIONS
from nfkd.evaluation.intervals import Estimate, mean_estimate, quantile_estimate
from nfkd.evaluation.latent_metrics import calibration, inverse_errors, latent_noise, log_determinant_errors
from nfkd.evaluation.likelihood import example_nll
from nfkd.evaluation.sample_metrics import (
    FEWEST,
    FEWEST_C2ST,
    Compared,
    draw_samples,
    sample_estimates,
    sample_values,
)
from nfkd.evaluation.summary import no_same_noise
from nfkd.flows.flow import Flow
from nfkd.protocol.roles import the_role
from nfkd.runs.evaluation_file import EvaluatedMetric

_RATE = "decode_per_second"


class FlowEvaluator:
    """Computes the metrics of the flows of a run, one flow at a time.

    Parameters
    ----------
    material
        The examples.
    local
        The classifier of FD-local; None to compare latents of the teacher.
    fid
        FID of the examples; None without a network.

    Attributes
    ----------
    notes
        Why metrics have no value.
    """

    def __init__(self, material: Material, local: LocalFeatures | None, fid: Fid | None = None) -> None:
        self._material, self._local, self._fid = material, local, fid
        self._drawn: dict[Flow, Tensor] = {}
        self._references: dict[object, dict[str, float]] = {}
        self._rates: dict[Flow, Estimate] = {}
        self.notes: list[str] = []

    def why_not(self, name: str, flow: EvaluatedFlow) -> str:
        """Return why a metric of a flow cannot be computed; empty if it can."""
        needed = FEWEST_C2ST if name == "c2st" else FEWEST
        count = min(len(self._material.test), self._material.samples)
        if name in {*GROUPS["samples"], "fid"} and count < needed:
            return f"{count} examples and samples are compared, and at least {needed} are needed"
        if name == "fd" and self._features(flow) is None:
            reason = no_features(self._material.dataset)
            return f"{reason}, and the run has no weights of a teacher whose latents could be compared"
        if name == "log_det" and (size := math.prod(flow.flow.event_shape)) > MAX_JACOBIAN_DIMENSIONS:
            return f"an example has {size:,} values, and the Jacobian is computed for at most {MAX_JACOBIAN_DIMENSIONS}"
        if name in GROUPS["jacobi"] and "decode" not in flow.flow.iterated:
            return "its samples take one pass"
        return self._no_fidelity(name, flow) if name in GROUPS["fidelity"] else ""

    @staticmethod
    def _no_fidelity(name: str, flow: EvaluatedFlow) -> str:
        if flow.source is None:
            return "" if flow.stage == "teacher" else "the run has no weights of its teacher"
        if name in {"layer_mse", "layer_cosine"} and not flow.pairs:
            return "no layers of student and teacher are matched"
        return no_same_noise(flow.flow, flow.source) if name == "same_noise" else ""

    def features_of(self, values: Iterable[EvaluatedMetric]) -> str:
        """Return the SHA-256 of FD-local's classifier, if it is among some metrics and there is a classifier."""
        return self._local.info.sha256 if self._local and any(value.metric == "fd" for value in values) else ""

    def measure(self, group: str, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        """Return metrics of one group, by name."""
        measures: dict[str, Callable[[Sequence[str], EvaluatedFlow], dict[str, Measured]]] = {
            "likelihood": self._likelihood,
            "samples": self._samples,
            "fid": self._fid_of,
            "calibration": self._calibration,
            "inversion": self._inversion,
            "fidelity": self._fidelity,
            "cost": self._cost,
            "jacobi": self._cost,
        }
        return measures[group](names, flow)

    # --- likelihood and samples ---------------------------------------------------------------------------------------

    def _likelihood(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        test = self._material.dataset.test
        seen = self._material.seen_split(flow.stage).some(len(test))
        return dict.fromkeys(names, Measured(self._nll(flow, test), self._nll(flow, seen).value))

    def _nll(self, flow: EvaluatedFlow, split: DataSplit) -> Estimate:
        self._material.check()
        weighted = example_nll(flow.flow, self._material.dataset, split)
        if split.weights is None:
            return mean_estimate(weighted)
        kept = split.weights > 0
        return mean_estimate(weighted[kept] / split.weights[kept], split.weights[kept])

    def _features(self, flow: EvaluatedFlow) -> LocalFeatures | LatentFeatures | None:
        return self._local or (None if flow.teacher is None else LatentFeatures(flow.teacher))

    def _samples(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        features = self._features(flow) if "fd" in names else None
        test = self._material.test
        samples = self._samples_of(flow)
        usable, context = usable_samples(samples), test.contexts(len(samples))
        drawn = Batch(samples[usable], None if context is None else context[usable])
        real, generated = (_compared(batch, features) for batch in (test, drawn))
        estimates = sample_estimates(real, generated, names, self._material.check)
        key = tuple(names), self._local or flow.teacher
        if key not in self._references:
            self._references[key] = sample_values(real, _compared(self._material.train, features), names)
        reference = self._references[key]
        return {name: Measured(estimate, reference.get(name, math.nan)) for name, estimate in estimates.items()}

    def _samples_of(self, flow: EvaluatedFlow) -> Tensor:
        """Return the samples of a flow, drawn at the first call; one flow's are kept."""
        if flow.flow not in self._drawn:
            samples = draw_samples(flow.flow, self._material, flow.seed)
            self._drawn = {flow.flow: samples}
            if broken := count_not_finite(samples):
                whose = f"{the_role(flow.stage)} in seed {flow.seed}"
                note = not_finite_note(broken, len(samples), whose)
                self.notes += [] if note in self.notes else [note]
        return self._drawn[flow.flow]

    def _fid_of(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        return {} if self._fid is None or not names else self._fid.measure(self._samples_of(flow))

    # --- latents and inverse ------------------------------------------------------------------------------------------

    def _calibration(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        test, seen = (
            calibration(latent_noise(flow.flow, batch, self._material), self._material) for batch in self._batches(flow)
        )
        return {name: Measured(test[name], seen[name].value) for name in names}

    def _inversion(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        if not {"inverse", "inverse_p95"}.isdisjoint(names):
            errors = [inverse_errors(flow.flow, batch, self._material) for batch in self._batches(flow)]
            found |= {"inverse": _quantiles(errors, 0.5), "inverse_p95": _quantiles(errors, 0.95)}
        if "log_det" in names:
            errors = [log_determinant_errors(flow.flow, batch, self._material) for batch in self._batches(flow)]
            found["log_det"] = _quantiles(errors, 0.5)
        return {name: found[name] for name in names}

    def _batches(self, flow: EvaluatedFlow) -> tuple[Batch, Batch]:
        return self._material.test, self._material.seen(flow.stage)

    def _fidelity(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        if flow.source is None:
            return {}
        rate, samples = partial(self._rate, flow), partial(self._samples_of, flow)
        return measure_fidelity(flow, flow.source, names, self._material, rate=rate, samples=samples)

    def _rate(self, flow: EvaluatedFlow) -> Estimate:
        """Return the samples per second of a flow, measured once: fidelity per second and cost have the same."""
        if flow.flow not in self._rates:
            found = cost_estimates(flow.flow, self._material, [_RATE])[_RATE]
            self._rates = {flow.flow: found}  # flows are evaluated one after the other
        return self._rates[flow.flow]

    def _cost(self, names: Sequence[str], flow: EvaluatedFlow) -> dict[str, Measured]:
        estimates = cost_estimates(flow.flow, self._material, [name for name in names if name != _RATE])
        estimates |= {_RATE: self._rate(flow)} if _RATE in names else {}
        return {name: Measured(estimates[name]) for name in names}


def _compared(batch: Batch, features: LocalFeatures | LatentFeatures | None) -> Compared:
    found = None if features is None or not len(batch) else features(batch.x, batch.context)
    return Compared(batch.x.flatten(1).double().numpy(), found)


def _quantiles(errors: Sequence[np.ndarray], level: float) -> Measured:
    test, seen = (quantile_estimate(values, level) for values in errors)
    return Measured(test, seen.value)
