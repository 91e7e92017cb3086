"""The cost of a training step against the sizes of the flow, the images and the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nfkd.config import DistillationConfig, Glow1DConfig, GlowConfig, TwoMoonsConfig
from nfkd.config.matching import MatchedPair, MatchingConfig
from nfkd.data import Batch, load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.distillation.matching import match_layers
from nfkd.flows.cost import flow_cost
from nfkd.training.generators import Generators
from tests.benchmarks.growth.axis import Axis
from tests.benchmarks.peers.steps import normal_examples, own_adam, own_flow, training
from tests.benchmarks.peers.timing import Action

Case = tuple[GlowConfig, int, int]
"""A flow, the side of its images, and the batch."""


def _training_axis(quantity: str, sizes: tuple[int, ...], case: Callable[[int], Case], *, fixed: str) -> Axis:
    @contextmanager
    def prepare(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
        actions: dict[int, Action] = {}
        for size in sizes:
            config, side, count = case(size)
            x = normal_examples(count, 3, side, side)
            flow = own_flow(config, x)
            actions[size] = training(flow, flow.log_prob, x)
        yield actions

    def arithmetic(size: int) -> float:
        config, side, count = case(size)
        return count * flow_cost(config, (3, side, side), count).multiply_adds

    return Axis("training step of Glow", f"training step of Glow, {fixed}", quantity, sizes, prepare, arithmetic)


@contextmanager
def _distillation(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
    """Student and teacher of 32 steps; the first layers are matched one to one."""
    config, x, dataset = Glow1DConfig(steps=32, hidden=64), normal_examples(512, 16), load_dataset(TwoMoonsConfig())
    actions: dict[int, Action] = {}
    for size in sizes:
        student, teacher = own_flow(config, x), own_flow(config, x)
        names = [f"step{number}" for number in range(1, size + 1)]
        matching = MatchingConfig(
            strategy="pairs", pairs=tuple(MatchedPair(student=name, teacher=name) for name in names)
        )
        pairs = match_layers(matching, student.layer_info(), teacher.layer_info())
        terms = {"ilkd": {"weight": 0.1}, "lkd": {"weight": 0.0}, "skd": {"weight": 0.0}}
        distiller = Distiller(DistillationConfig.model_validate(terms), teacher, pairs, dataset)
        optimizer, generators = own_adam(student.parameters()), Generators(0, "student")

        def step(distiller=distiller, student=student, optimizer=optimizer, generators=generators) -> None:
            distiller.backward(student, Batch(x), generators)
            optimizer.step()

        actions[size] = step
    yield actions


def _glow(levels: int, steps: int, hidden: int) -> GlowConfig:
    return GlowConfig(levels=levels, steps=steps, hidden=hidden)


AXES = (
    _training_axis(
        "steps K",
        (1, 2, 4, 8, 16, 32),
        lambda size: (_glow(2, size, 64), 16, 8),
        fixed="L = 2, width 64, 16×16, batch 8",
    ),
    _training_axis(
        "width",
        (32, 64, 128, 256, 512, 1024),
        lambda size: (_glow(2, 2, size), 16, 8),
        fixed="K = 2, L = 2, 16×16, batch 8",
    ),
    _training_axis(
        "side of the images",
        (16, 32, 64, 128, 256),
        lambda size: (_glow(3, 2, 32), size, 4),
        fixed="K = 2, L = 3, width 32, batch 4",
    ),
    _training_axis(
        "batch",
        (2, 4, 8, 16, 32, 64, 128, 256),
        lambda size: (_glow(2, 2, 64), 16, size),
        fixed="K = 2, L = 2, width 64, 16×16",
    ),
    Axis(
        "step of distillation",
        "step of distillation, NLL + ILKD, Glow-1D 32 → 32, batch 512",
        "matched layers",
        (1, 2, 4, 8, 16, 32),
        _distillation,
        float,
    ),
)
