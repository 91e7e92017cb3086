"""``nfkd evaluate``: metrics of the flows of a finished run, with intervals and references."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.config.datasets import parse_data
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.evaluation.cost_metrics import cost_estimates
from nfkd.evaluation.evaluated_flows import EvaluatedFlow, Material, Measured, evaluated_flows
from nfkd.evaluation.evaluated_metrics import GROUPS, choose_metrics, metric_of
from nfkd.evaluation.features import LatentFeatures, LocalFeatures, local_features, no_features
from nfkd.evaluation.fidelity import (
    correlation,
    fidelity_per_second,
    layer_differences,
    log_probs,
    pearson,
    sample_differences,
)
from nfkd.evaluation.inspection import MAX_JACOBIAN_DIMENSIONS
from nfkd.evaluation.intervals import Estimate, mean_estimate, quantile_estimate
from nfkd.evaluation.latent_metrics import calibration, inverse_errors, latent_noise, log_determinant_errors
from nfkd.evaluation.likelihood import example_nll
from nfkd.evaluation.other_data import require_same_shape, rescaled
from nfkd.evaluation.quality import C2ST_MAX
from nfkd.evaluation.sample_metrics import FEWEST, Compared, draw_samples, sample_estimates, sample_values
from nfkd.evaluation.summary import no_same_noise
from nfkd.files import is_regular
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import OWN_TEST, EvaluatedMetric, Evaluation, add_evaluation
from nfkd.runs.reader import RunRecord, open_run
