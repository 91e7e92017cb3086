"""``nfkd evaluate``: metrics of the flows of a finished run, with intervals and references, stored in the run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from nfkd.config import ConfigError, ConfigProblem
from nfkd.data import Dataset
from nfkd.evaluation.evaluate_flow import FlowEvaluator
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Measured, evaluated_flows
from nfkd.evaluation.evaluated_metrics import GROUPS, choose_metrics, metric_of
from nfkd.evaluation.evaluation_data import open_material, require_memory
from nfkd.evaluation.features import local_features
from nfkd.evaluation.fid import Fid
from nfkd.evaluation.inception import OPTION, Inception, load_inception, no_fid
from nfkd.evaluation.metrics import metric_gap
from nfkd.protocol.gap import Gap
from nfkd.protocol.roles import Role, the_role
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import EvaluatedMetric, Evaluation, add_evaluation
from nfkd.runs.reader import RunRecord, open_run
from nfkd.text import sentence

_NO_NETWORK = f"FID needs the Inception network as a TorchScript file of yours: give it with {OPTION} FILE"


@dataclass(frozen=True)
class EvaluatedRun:
    """What was added to a run.

    Attributes
    ----------
    evaluation
        The metrics.
    notes
        Metrics that were left out or have no value, each with the reason.
    """

    evaluation: Evaluation
    notes: list[str]


def evaluate_run(
    run: str | os.PathLike[str],
    metrics: Iterable[str] = (),
    *,
    data: str = "",
    inception: str = "",
    samples: int = 0,
    device: torch.device | None = None,
    on_progress: Callable[[float, str], None] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> EvaluatedRun:
    """Compute metrics of the flows of a finished run, and add them to its ``evaluation.json`` after each flow.

    Parameters
    ----------
    run
        Its directory.
    metrics
        Names of metrics or of their groups (`nfkd.evaluation.evaluated_metrics`); all if none is named.
    data
        As in `open_material`; by default the run's own test data.
    inception
        Path of the TorchScript file of FID's network (`nfkd.evaluation.inception`); no FID without one.
    samples
        Samples of each flow, and the most examples that are compared with them; 0 for as many as there are test
        examples, at most 2,000.
    device
        Of the flows; the CPU by default.
    on_progress
        Called with the share that is done, from 0 to 1, and a text of what comes next.
    cancelled
        Asked now and then whether to stop. What was computed for earlier flows stays in the run.

    Raises
    ------
    ConfigError
        For an unknown metric, unknown data, a number of samples that cannot be used, FID without a network, and a file
        that has none.
    RunError
        When the run is not finished or cannot be read, a metric that was named cannot be computed for any of its flows,
        the data does not fit, or the evaluation was cancelled.
    """
    named = list(metrics)
    chosen = choose_metrics(named)
    if "fid" in named and not inception:
        raise ConfigError([ConfigProblem("--metrics", _NO_NETWORK)])
    record = open_run(run)
    _require_finished(record)

    def check() -> None:
        if cancelled():
            title = "The evaluation was cancelled"
            raise RunError(title, "The metrics of the flow in work were not stored.", "Start it again to get them.")

    device = device or torch.device("cpu")
    label, material = open_material(record.config, data, samples, device, check)
    network, first = _network(material.dataset, chosen, inception, device, required="fid" in named)
    if network is None and "fid" in chosen:
        chosen.remove("fid")
    require_memory(material, chosen)
    fid = None if network is None else Fid(network, material)
    evaluator = FlowEvaluator(material, local_features(material.dataset) if "fd" in chosen else None, fid)
    flows = list(evaluated_flows(record, device))
    if not flows:
        title = "There is nothing to evaluate"
        raise RunError(title, f"{record.path} has no weights of NFKD's flows.", "Choose another run.")
    notes = _left_out(evaluator, flows, chosen, {name.strip() for name in named})
    added, networks = list[EvaluatedMetric](), {} if network is None else {network.sha256: network.name}
    for number, flow in enumerate(flows):
        progress = _Progress(on_progress, number / len(flows), 1 / len(flows), f"{flow.stage}, seed {flow.seed}")
        values = _evaluated(evaluator, flow, chosen, material.dataset.unit, progress)
        sha256 = evaluator.features_of(values)
        add_evaluation(record.path, Evaluation(data=label, values=values, features=sha256, networks=networks))
        added += values
    on_progress(1.0, "")
    evaluation = Evaluation(data=label, values=added, features=evaluator.features_of(added), networks=networks)
    return EvaluatedRun(evaluation, [*first, *notes, *evaluator.notes, *([] if fid is None else fid.notes)])


def _network(
    dataset: Dataset, chosen: Collection[str], path: str, device: torch.device, *, required: bool
) -> tuple[Inception | None, list[str]]:
    """Load the network of FID if it is chosen; return it, or None and why there is no FID."""
    if "fid" not in chosen:
        return None, []
    reason = no_fid(dataset.event_shape, dataset.name)
    if reason and required:
        title = "fid cannot be computed"
        raise RunError(title, f"{reason}.", "Leave it out.")
    if reason or not path:
        return None, [f"fid was left out: {reason or _NO_NETWORK}"] if path or not reason else []
    return load_inception(path, dataset.event_shape, device), []


def _require_finished(record: RunRecord) -> None:
    if record.row.state != "finished":
        cause = f"{record.path} is {record.row.state}, and metrics are added to finished runs."
        title = "The run is not finished"
        raise RunError(title, cause, "Wait for its end, or resume it.")


def _left_out(
    evaluator: FlowEvaluator, flows: Sequence[EvaluatedFlow], chosen: Collection[str], named: set[str]
) -> list[str]:
    """Return the metrics that cannot be computed, with the reasons; refuse one that was named and no flow has."""
    left_out = dict[str, dict[Role, list[str]]]()
    unsaid = () if named & GROUPS["jacobi"].keys() else GROUPS["jacobi"]  # most flows have no use for it
    for name in chosen:
        reasons: Mapping[Role, str] = {flow.stage: evaluator.why_not(name, flow) for flow in flows}
        if name in named and reasons and all(reasons[stage] for stage in reasons if _can_have(name, stage)):
            title, reason = f"{name} cannot be computed", _any(reasons.values())
            raise RunError(title, f"{sentence(reason)}.", "Leave it out.")
        for stage, reason in reasons.items():
            if reason and name not in unsaid:
                left_out.setdefault(reason, {}).setdefault(stage, []).append(name)
    return [
        f"{', '.join(names)} of {the_role(stage)} {'was' if len(names) == 1 else 'were'} left out: {reason}"
        for reason, stages in left_out.items()
        for stage, names in stages.items()
    ]


def _can_have(name: str, stage: Role) -> bool:
    return name not in GROUPS["fidelity"] or stage != "teacher"


def _any(reasons: Iterable[str]) -> str:
    return next((reason for reason in reasons if reason), "the run has no flow that learns from a teacher")


@dataclass(frozen=True)
class _Progress:
    """Reports the metrics of one flow as a part of the whole."""

    report: Callable[[float, str], None]
    start: float
    share: float
    name: str

    def __call__(self, share: float, group: str) -> None:
        self.report(self.start + self.share * share, f"{self.name}: {group}")


def _evaluated(
    evaluator: FlowEvaluator, flow: EvaluatedFlow, chosen: Collection[str], unit: str, progress: _Progress
) -> list[EvaluatedMetric]:
    found: dict[str, Measured] = {}
    for number, (group, metrics) in enumerate(GROUPS.items()):
        names = [name for name in metrics if name in chosen and not evaluator.why_not(name, flow)]
        progress(number / len(GROUPS), group)
        if names:
            found |= evaluator.measure(group, names, flow)
    return [_value(name, measured, flow, unit) for name, measured in found.items()]


def _value(name: str, measured: Measured, flow: EvaluatedFlow, unit: str) -> EvaluatedMetric:
    estimate, metric = measured.estimate, metric_of(name)
    return EvaluatedMetric(
        metric=name,
        stage=flow.stage,
        seed=flow.seed,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        count=estimate.count,
        reference=measured.reference,
        unit=unit if metric is None or metric.unit is None else metric.unit,
    )


def evaluated_gap(values: Iterable[EvaluatedMetric], name: str) -> Gap | None:
    """Return the share of the gap to the teacher that the student closes in an evaluated metric, over the seeds.

    The gap is defined where the teacher is better than the baseline by more than the larger half width of their
    intervals. None for a metric without a goal, and without all three flows.
    """
    metric = metric_of(name)
    found = [value for value in values if value.metric == name]
    if metric is None or not found:
        return None
    by_role = {
        role: {value.seed: value.value for value in found if value.stage == role}
        for role in ("student", "baseline", "teacher")
    }
    halves = [(value.high - value.low) / 2 for value in found if value.stage in {"teacher", "baseline"}]
    error = max((half for half in halves if math.isfinite(half)), default=0.0)
    return metric_gap(metric, by_role["student"], by_role["baseline"], by_role["teacher"], error=error)
