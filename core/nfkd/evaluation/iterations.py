"""How many Jacobi iterations the blocks of a flow need."""

from __future__ import annotations

import torch
from torch import Tensor

from nfkd.flows.flow import Flow
from nfkd.flows.jacobi import TOLERANCE
from nfkd.protocol.records import BlockSolve

MAX_SAMPLES = 64
"""Samples that are made to count the iterations."""
_SEED = 20_250_512


def count_iterations(flow: Flow, x: Tensor, context: Tensor | None) -> list[BlockSolve]:
    """Return the iterations of each block at the usual tolerance, for samples or, of an IAF, for log-densities.

    Empty for a flow whose directions are both one pass.

    Parameters
    ----------
    flow
        In evaluation mode.
    x
        (B, *event_shape) examples; at most 64 are used, or as many samples.
    context
        (B, context_features) for a conditional flow.
    """
    if not flow.iterated:
        return []
    x, context = x[:MAX_SAMPLES], None if context is None else context[:MAX_SAMPLES]
    with flow.jacobi(TOLERANCE) as report:
        if "decode" in flow.iterated:
            flow.sample(len(x), generator=torch.Generator().manual_seed(_SEED), context=context)
        else:
            flow.encode(x, context)
    return report.blocks()


def describe_iterations(blocks: list[BlockSolve]) -> str:
    """Return such as ``Jacobi iteration at tolerance 0.001, 64 examples – step 2: 5, step 1: 4 iterations; …``."""
    counts = ", ".join(f"{block.name}: {block.iterations}{_finished(block)}" for block in blocks)
    head = f"Jacobi iteration at tolerance {TOLERANCE:g}, {blocks[0].examples} examples"
    return f"{head} – {counts} iterations; {blocks[0].tokens} always suffice"


def _finished(block: BlockSolve) -> str:
    return f" ({block.exactly} did not converge and were finished exactly)" if block.exactly else ""
