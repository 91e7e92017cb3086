"""The share of a step that the teacher takes once its passes are known: natural patches and fixed draws of digits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch

from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.known_passes import NONE_KNOWN, KnownPasses, pass_over, teacher_passes
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import build_flow
from nfkd.planning.plans import stage_data
from nfkd.training.generators import Generators
from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.timing import Figure, one_thread

PRESETS = {"natural_patches": "natural patches", "digits": "digits with 4 noise draws"}
ROUNDS = 15


def teacher_shares(preset: str) -> dict[str, Figure]:
    """Return the CPU time of the teacher's passes in percent of that of a step with NLL, LKD and ILKD.

    Known passes are compared with the step that uses them, and passes that are made anew with the step that makes them;
    the last figure is the time of the first step in percent of the second's.
    """
    terms = {"skd": {"weight": 0.0}, "lkd": {"weight": 0.05}, "ilkd": {"weight": 0.05}, "pool": {"share": 0.0}}
    changes = {"noise_draws": 4, "student_examples": 1000}
    config = ExperimentConfig.load(preset).replace(distillation=terms, training=changes)
    dataset = stage_data(config, load_dataset(config.data), "student")
    teacher, student = (
        build_flow(flow, dataset.event_shape, generator=torch.Generator().manual_seed(0))
        for flow in (config.teacher, config.student)
    )
    rows = dataset.fixed_batch()
    for flow in (teacher, student):
        flow.initialize(rows.x[:256])
    pairs = match_layers(config.distillation.matching, student.layer_info(), teacher.layer_info())
    known = KnownPasses(train=teacher_passes(teacher, rows, [pair.teacher for pair in pairs]))
    generators = Generators(1, "student")
    index = torch.randperm(len(dataset.train))[: config.training.student_batch_size].numpy()
    batch = dataset.training_batch(index, generators.dequantization, generators.augmentation)

    def step(passes: KnownPasses) -> Callable[[], object]:
        loss = Distiller(config.distillation, teacher, pairs, dataset, known=passes)
        return lambda: loss.backward(student, batch, generators)

    def passes(found: KnownPasses) -> Callable[[], object]:
        return lambda: pass_over(teacher, batch, found, trace=True)

    actions = [step(known), step(NONE_KNOWN), passes(known), passes(NONE_KNOWN)]
    for action in actions:
        action()
    seconds = [[_cpu(action) for action in actions] for _ in range(ROUNDS)]
    parts = [(looked_up / with_known, made / anew, with_known / anew) for with_known, anew, looked_up, made in seconds]
    names = ("a step, passes known", "a step, passes made anew", "a step with known passes, of one without")
    return {
        name: Figure.of([100 * each for each in values])
        for name, values in zip(names, zip(*parts, strict=True), strict=True)
    }


def _cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _shares(preset: str) -> Mapping[str, Figure]:
    with one_thread():
        return teacher_shares(preset)


CASES = tuple(
    Case(f"the teacher's passes, {name}", {"a step, passes known": 5}, partial(_shares, preset), unit="%")
    for preset, name in PRESETS.items()
)
