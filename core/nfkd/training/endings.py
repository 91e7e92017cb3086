"""Why a stage made fewer steps than its budget, for the log."""

from __future__ import annotations

from nfkd.evaluation.summary import Trained
from nfkd.protocol.roles import Role, the_role


def describe_ending(trained: Trained, stage: Role, budget: int, patience: int) -> str:
    """Return why a stage ended before its budget, in one sentence; empty if it did not.

    Parameters
    ----------
    trained
        The flow at the end of the stage.
    stage
        What was trained.
    budget
        Steps that were planned.
    patience
        Evaluations without improvement after which early stopping ends a stage.
    """
    if trained.steps >= budget:
        return ""
    at = f"step {trained.steps:,} of {budget:,}"
    match trained.ended:
        case "early":
            evaluations = f"{patience:,} evaluation{'s' if patience > 1 else ''}"
            reason = f"no improvement in {evaluations}; its best was step {trained.best_step:,}"
            return f"{the_role(stage)} stopped early at {at}: {reason}."
        case "user":
            return f"you ended {the_role(stage)} at {at}; its best was step {trained.best_step:,}."
        case _:
            return f"{the_role(stage)} ended at {at}, the steps of its student."
