"""The file of the metrics that ``nfkd evaluate`` has added to a finished run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.runs.state import describe_read_error, nulls_as_nan

EVALUATION = "evaluation.json"
OWN_TEST = "test"
"""Name of the run's own test data in `Evaluation.data`."""
_MAX_BYTES = 16 << 20
_COLUMN_OF_THE_STUDENT = "fidelity_per_second"


class EvaluatedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one flow.

    Attributes
    ----------
    metric
        Name, such as ``sw`` or ``layer_mse.step2``.
    stage, seed
        The flow.
    value, low, high
        The value and its 95 % interval; NaN where there is none.
    count
        Number of examples, samples or timings.
    reference
        The same metric between training and test data, or of training examples; NaN where it has no meaning.
    unit
        Such as ``bits/dim``; empty for none.
    """

    metric: str
    stage: Role
    seed: int
    value: float
    low: float
    high: float
    count: int
    reference: float
    unit: str = ""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of a run on some data.

    Attributes
    ----------
    data
        ``test`` or ``validation`` of the run, or the name of another data set.
    values
        The metrics.
    features
        SHA-256 of the weights of FD-local's classifier; empty without FD-local, or where it compares latents.
    networks
        The name of the file of each network that FID used, by its SHA-256. The metric's name has its first 12 digits.
    """

    data: str
    values: list[EvaluatedMetric]
    features: str = ""
    networks: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class _File(msgspec.Struct, frozen=True):
    evaluations: list[Evaluation]


def read_evaluations(run: Path) -> list[Evaluation]:
    """Return the evaluations of a run; empty if there are none.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    path = run / EVALUATION
    try:
        file = msgspec.convert(nulls_as_nan(msgspec.json.decode(read_limited(path, _MAX_BYTES))), _File)
        msgspec.msgpack.encode(file)  # raises OverflowError for a number that is too large
    except FileNotFoundError:
        return []
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise RunError(
            title="The evaluation cannot be read",
            cause=describe_read_error(path, error),
            action="Delete it and call nfkd evaluate again.",
        ) from error
    return file.evaluations


def add_evaluation(run: Path, added: Evaluation) -> None:
    """Add metrics to a run: those of the same data, metric, flow and seed are replaced, all others stay.

    Raises
    ------
    RunError
        When the present file cannot be read; it is not replaced then.
    OSError
        When the file cannot be written.
    """
    evaluations = {evaluation.data: evaluation for evaluation in read_evaluations(run)}
    before = evaluations.get(added.data, Evaluation(data=added.data, values=[]))
    values = {_key(value): value for value in before.values} | {_key(value): value for value in added.values}
    features = added.features or before.features
    networks = before.networks | added.networks
    evaluations[added.data] = Evaluation(
        data=added.data, values=list(values.values()), features=features, networks=networks
    )
    content = msgspec.json.encode(_File(list(evaluations.values())))
    replace_file(run / EVALUATION, msgspec.json.format(content, indent=1))


def _key(value: EvaluatedMetric) -> tuple[str, Role, int]:
    return value.metric, value.stage, value.seed


def own_test_values(evaluations: Iterable[Evaluation]) -> Sequence[EvaluatedMetric]:
    """Return the metrics on the run's own test data."""
    return [value for evaluation in evaluations if evaluation.data == OWN_TEST for value in evaluation.values]


def evaluation_columns(evaluations: Iterable[Evaluation]) -> dict[int, dict[str, float]]:
    """Return for each seed the finite metrics on the run's own test data, by column.

    The name of a column is that of the flow and the metric, such as ``student_chi2`` or ``assistant_1_sw``; the
    student's fidelity per second is also ``fidelity_per_second``.
    """
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for value in own_test_values(evaluations):
        if not math.isfinite(value.value):
            continue
        columns = found[value.seed]
        columns[f"{value.stage.replace('-', '_')}_{value.metric}"] = value.value
        if value.stage == "student" and value.metric == _COLUMN_OF_THE_STUDENT:
            columns[value.metric] = value.value
    return found
