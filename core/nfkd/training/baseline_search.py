"""Search for the weight decay of student and baseline on validation data, before the first seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from nfkd.config import WEIGHT_DECAYS
from nfkd.distillation.distiller import Likelihood
from nfkd.runs.search_file import Search, Trial, read_search, write_search
from nfkd.text import format_number
from nfkd.training.context import RunContext
from nfkd.training.control import StopRun
from nfkd.training.curves import CurveLog
from nfkd.training.diagnosis import DivergedError
from nfkd.training.generators import named_generator
from nfkd.training.loop import Hooks, Trainer
from nfkd.training.progress import SEARCH
from nfkd.training.state import StageState


def search_weight_decay(context: RunContext, log: Callable[[str], None], *, resume: bool) -> float:
    """Train the first seed's baseline with each of `WEIGHT_DECAYS`; return the best of them on validation data.

    The configured weight decay is kept, with a warning, if the user ends a trial or all of them diverge.

    The trials are saved in the run's directory. A resumed run repeats only those that had not ended, since they have
    no checkpoints, and those of other data.

    Parameters
    ----------
    context
        Of the run; its baseline is trained as in the run, with the full budget.
    log
        Writes a line to the run's log.
    resume
        Whether the run is resumed.

    Raises
    ------
    StopRun
        When the user stopped the run.
    RunError
        When the saved trials cannot be read.
    """
    data = hashlib.sha256(context.fingerprint.encode()).hexdigest()
    search = read_search(context.run) if resume else None
    if search is None or search.data != data:
        search = Search(data=data, trials=[])
    saved = {trial.weight_decay: trial for trial in search.trials}
    trials: list[Trial] = []
    for number, weight_decay in enumerate(WEIGHT_DECAYS):
        trial = saved.get(weight_decay)
        if trial is None:
            validation, ended = (None, True) if search.ended else _train(context, weight_decay, number)
            if ended:
                write_search(context.run, Search(data=data, trials=trials, ended=True))
                return _keep(context, "was ended early")
            trial = Trial(weight_decay=weight_decay, validation=validation)
            write_search(context.run, Search(data=data, trials=[*trials, trial]))
            log(f"Search: {_describe(trial, context.dataset.unit)}")
        trials.append(trial)
    best = min(trials, key=_rank)
    if best.validation is None:
        return _keep(context, "diverged with every weight decay")
    log(f"Student and baseline use the best on validation data: {_describe(best, context.dataset.unit)}")
    return best.weight_decay


def _keep(context: RunContext, outcome: str) -> float:
    """Warn of a search without a result, and return the configured weight decay."""
    weight_decay = context.config.training.weight_decay
    context.warn(f"The search {outcome}: student and baseline use training.weight_decay, {weight_decay:g}")
    return weight_decay


def _rank(trial: Trial) -> float:
    return math.inf if trial.validation is None else trial.validation


def _describe(trial: Trial, unit: str) -> str:
    result = "diverged" if trial.validation is None else f"{format_number(trial.validation)} {unit} on validation data"
    return f"weight decay {trial.weight_decay:g}, {result}"


def _train(context: RunContext, weight_decay: float, number: int) -> tuple[float | None, bool]:
    """Return the best validation NLL of a baseline with this weight decay, and whether the user ended it early.

    The NLL is None if the baseline diverges.
    """
    if context.control.stopping:
        raise StopRun
    context.control.begin_stage()
    config, seed, data = context.config, context.config.seeds.first, context.data("baseline")
    flow = context.build("baseline", named_generator(seed, "student", "initialisation"))
    training = config.training.model_copy(update={"weight_decay": weight_decay})
    state = StageState.fresh("baseline", seed, flow.to(context.device).train(), training, len(data.train))
    steps = training.student_steps
    trainer = Trainer(
        config,
        data,
        state,
        Likelihood(data, context.ranks),
        steps=steps,
        limit=steps,
        patience=0,
        control=context.control,
        curves=_no_curves(),
        hooks=Hooks(
            publish=lambda: None,
            checkpoint=lambda: None,
            progress=lambda: context.progress.step(seed, SEARCH, number * steps + state.step),
            warn=lambda message: context.warn(f"Search, weight decay {weight_decay:g}: {message}"),
        ),
    )
    try:
        trainer.train()
    except DivergedError:
        return None, False
    finally:
        context.control.between_stages()
    return state.best if math.isfinite(state.best) else None, state.step < steps


def _no_curves() -> CurveLog:
    """Return curves that nobody receives."""
    return CurveLog("", 0, "baseline", lambda _: None, elapsed=0.0, paused_seconds=lambda: 0.0)
