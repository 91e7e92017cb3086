"""How far a student's latents are from its teacher's, and which way the gradients of the terms point.

``python -m tests.benchmarks.latents`` reads the runs of the study ``recipes-digits`` (`distillation`), trains one
student for the gradients, and prints two tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfkd.config import TERMS, ExperimentConfig
from nfkd.data import Batch, Dataset, load_dataset
from nfkd.data.units import evaluation_noise
from nfkd.distillation.distiller import Distiller
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.planning.describe import describe
from nfkd.planning.plans import stage_pairs
from nfkd.runs.reader import open_run
from nfkd.training.generators import Generators
from nfkd.training.optimizers import learning_rate, make_optimizer
from tests.benchmarks.recipes import LATENTS, STUDIES
from tests.benchmarks.studies import BASELINE, Study, loss

COMPARED = ("lkd", "ilkd", "skd")
STEPS = (50, 200, 500, 1000)


def distances(study: Study, cache: Path) -> Iterator[str]:
    """Yield a table of the squared distance of latents, divided by the variance of the teacher's, for test examples."""
    teacher = open_run(study.directory(BASELINE, cache)).load_teacher().scaled
    dataset = load_dataset(study.experiment(BASELINE, cache).data)
    x = dataset.batch(dataset.test, evaluation_noise()).x
    goal = _latents(teacher, x)
    yield "| student | squared distance of latents / variance |"
    yield "|---|---:|"
    for name in study.rows:
        if study.finished(name, cache):
            record = open_run(study.directory(name, cache))
            students = [record.load_student(seed).scaled for seed in record.config.seeds.values()]
            found = [float((_latents(student, x) - goal).square().mean() / goal.var()) for student in students]
            yield f"| {name} | {np.mean(found):.2f} ± {np.std(found, ddof=1):.2f} |"


def _latents(flow: Flow, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([part.flatten(1) for part in flow(x).latents.parts], 1)


def cosines(study: Study, cache: Path) -> Iterator[str]:
    """Yield a table of the cosine between the gradients of NLL and of other terms while a student is trained."""
    config = study.experiment("LKD + ILKD", cache)
    dataset = load_dataset(config.data)
    teacher = open_run(study.directory(BASELINE, cache)).load_teacher().scaled
    student = build_flow(config.student, dataset.event_shape, generator=torch.Generator().manual_seed(1))
    yield "| step | " + " | ".join(f"NLL and {TERMS[name].label}" for name in COMPARED) + " |"
    yield "|---:|" + "---:|" * len(COMPARED)
    for step, batch in _train(config, dataset, teacher, student):
        nll, *others = (_gradient(config, name, dataset, teacher, student, batch) for name in ("nll", *COMPARED))
        found = [float(torch.cosine_similarity(nll, other, dim=0)) for other in others]
        yield f"| {step} | " + " | ".join(f"{value:+.2f}" for value in found) + " |"


def _train(config: ExperimentConfig, dataset: Dataset, teacher: Flow, student: Flow) -> Iterator[tuple[int, Batch]]:
    """Train a student with NLL, LKD and ILKD; yield some steps, each with a batch."""
    distiller = _distiller(config, dataset, teacher, loss(0.9, balanced=False, **LATENTS))
    generators, order = Generators(1, "student"), np.random.default_rng(1)
    optimizer = make_optimizer(config.training, student.parameters())
    for step in range(1, STEPS[-1] + 1):
        chosen = dataset.train.take(order.choice(len(dataset.train), config.training.batch_size, replace=False))
        batch = dataset.batch(chosen, generators("dequantization"))
        if step == 1:
            student.initialize(batch.x)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.training, step - 1, STEPS[-1])
        distiller.backward(student, batch, generators, step - 1)
        torch.nn.utils.clip_grad_norm_(student.parameters(), config.training.gradient_clip)
        optimizer.step()
        if step in STEPS:
            yield step, batch


def _gradient(
    config: ExperimentConfig, name: str, dataset: Dataset, teacher: Flow, student: Flow, batch: Batch
) -> Tensor:
    distiller = _distiller(
        config, dataset, teacher, loss(0.0, balanced=False, **{name: 1.0}) if name != "nll" else loss(1.0)
    )
    distiller.backward(student, batch, Generators(2, "student"))
    gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in student.parameters()]
    return torch.cat([gradient.flatten() for gradient in gradients])


def _distiller(config: ExperimentConfig, dataset: Dataset, teacher: Flow, table: dict[str, object]) -> Distiller:
    pairs = stage_pairs(describe(config))["student"]
    return Distiller(config.replace(distillation=table).distillation, teacher, pairs, dataset)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path("build/distillation"))
    cache, study = parser.parse_args().cache.absolute(), STUDIES[0]
    torch.set_num_threads(1)
    for table in (distances, cosines):
        print()
        for line in table(study, cache):
            print(line, flush=True)


if __name__ == "__main__":
    main()
