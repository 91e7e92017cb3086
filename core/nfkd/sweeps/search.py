"""A search for good values with Optuna: what to try next, which runs to end early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nfkd.config.sweep import SpaceConfig, SweepConfig, Values, is_whole
from nfkd.runs.errors import RunError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

_ATTEMPTS = 50
_STARTUP = 5  # runs before others are pruned, as in Optuna
_WARM_UP = 4  # no run is pruned in this part of the student's steps: 1/4


class Search:
    """Optuna's ask and tell, repeatable when a sweep is resumed.

    The generator of each suggestion is seeded with the number of its run, so that it depends on the results before it
    alone, whether or not the sweep was interrupted in between.

    Parameters
    ----------
    config
        The sweep.
    parallel
        Whether several runs are active at the same time; TPE then keeps away from the values of active ones.
    """

    def __init__(self, config: SweepConfig, *, parallel: bool = False) -> None:
        optuna = _optuna()
        settings = config.sweep.search
        if settings is None:
            msg = "the sweep has no search"
            raise ValueError(msg)
        self._optuna, self._settings, self._parallel = optuna, settings, parallel
        self._space = settings.space
        base = config.experiment()
        self._whole = {path: is_whole(base, path) for path in self._space}
        self._distributions = {path: self._distribution(path, space) for path, space in self._space.items()}
        likelihood = config.sweep.metric == "likelihood"
        warm_up = base.training.student_steps // _WARM_UP
        prunes = settings.prune and likelihood
        pruner = optuna.pruners.MedianPruner(_STARTUP, warm_up) if prunes else optuna.pruners.NopPruner()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        direction = "minimize" if likelihood else "maximize"
        self._study = optuna.create_study(direction=direction, sampler=self._sampler(0, 0), pruner=pruner)
        self._trials: dict[int, Trial] = {}

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        samplers = self._optuna.samplers
        seed = int(np.random.SeedSequence([self._settings.seed, number, attempt]).generate_state(1)[0])
        if self._settings.method == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, constant_liar=self._parallel)

    def _distribution(self, path: str, space: SpaceConfig) -> BaseDistribution:
        kinds = self._optuna.distributions
        if space.choices:
            return kinds.CategoricalDistribution(range(len(space.choices)))  # any value, also a table
        low, high = space.low or 0.0, space.high or 0.0
        if space.step is not None:
            high = low + int((high - low) / space.step + 1e-9) * space.step
        if self._whole[path]:
            return kinds.IntDistribution(int(low), int(high), log=space.log, step=int(space.step or 1))
        return kinds.FloatDistribution(low, high, log=space.log, step=space.step)

    def suggest(self, number: int, known: list[Values]) -> Values | None:
        """Return the values of a new run, or None if only values of earlier runs are found.

        Parameters
        ----------
        number
            Of the run.
        known
            The values of all runs before.
        """
        for attempt in range(_ATTEMPTS):
            self._study.sampler = self._sampler(number, attempt)
            trial = self._study.ask(self._distributions)
            values = {path: self._value(path, parameter) for path, parameter in trial.params.items()}
            if values not in known:
                self._trials[number] = trial
                return values
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return None

    def _value(self, path: str, parameter: Any) -> Any:
        choices = self._space[path].choices
        return choices[parameter] if choices else parameter

    def continue_run(self, number: int, values: Values) -> None:
        """Take up a run whose values were suggested before, and which has no result yet."""
        self._study.enqueue_trial(self._parameters(values))
        self._trials[number] = self._study.ask(self._distributions)

    def add_result(self, values: Values, objective: float | None, curve: Mapping[int, float], *, pruned: bool) -> None:
        """Add the result of an earlier run; `objective` is None for one that failed."""
        states = self._optuna.trial.TrialState
        state = states.PRUNED if pruned else states.FAIL if objective is None else states.COMPLETE
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=state,
                params=self._parameters(values),
                distributions=self._distributions,
                value=objective if state is states.COMPLETE else None,
                intermediate_values=dict(curve),
            )
        )

    def _parameters(self, values: Values) -> dict[str, Any]:
        return {
            path: space.choices.index(values[path]) if space.choices else values[path]
            for path, space in self._space.items()
        }

    def report(self, number: int, step: int, value: float) -> bool:
        """Report the student's likelihood on validation data after a step; return whether the run should end."""
        trial = self._trials[number]
        trial.report(value, step)
        return trial.should_prune()

    def tell(self, number: int, objective: float | None, *, pruned: bool = False) -> None:
        """Report how a run ended; `objective` is None for one that failed."""
        states = self._optuna.trial.TrialState
        trial = self._trials.pop(number)
        if pruned:
            self._study.tell(trial, state=states.PRUNED)
        elif objective is None:
            self._study.tell(trial, state=states.FAIL)
        else:
            self._study.tell(trial, objective)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        title, cause = "The search cannot start", "A search needs the package optuna, which is not installed."
        raise RunError(title, cause, "Install it (pip install optuna), or use a grid.") from error
    return optuna
