"""The training loop of one stage: batches, loss, optimizer, validation, and points for the curves.

The order from a click on Run: engine, `job`, `experiment` (all seeds), `seed_run` (stages), `loop`, `step`, `curves`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nfkd.config import ExperimentConfig
from nfkd.data import Dataset
from nfkd.distillation.distiller import Distiller
from nfkd.evaluation.likelihood import example_nll
from nfkd.planning.plans import stage_training
from nfkd.protocol.records import Ending
from nfkd.training.control import Control, StopRun, StopStage
from nfkd.training.curve_values import describe_masked, step_values, term_values
from nfkd.training.curves import CurveLog
from nfkd.training.follower import stage_start
from nfkd.training.read_ahead import reading_ahead
from nfkd.training.resident import on_device
from nfkd.training.state import StageState
from nfkd.training.step import StepResult, device_of
from nfkd.training.stepper import Stepper
from nfkd.training.system_usage import SystemUsage


@dataclass(frozen=True)
class Hooks:
    """What the loop calls at certain steps.

    Attributes
    ----------
    publish
        Publishes pictures of the current step.
    checkpoint
        Saves a checkpoint; also called when the run is stopped.
    progress
        Called after every step.
    warn
        Writes a warning to the run's log.
    """

    publish: Callable[[], None]
    checkpoint: Callable[[], None]
    progress: Callable[[], None]
    warn: Callable[[str], None]


class Trainer:
    """Trains one stage.

    Parameters
    ----------
    config
        The experiment.
    dataset
        Its training and validation examples are used.
    state
        The state of the stage, new or restored.
    loss
        The loss to minimise.
    steps
        The budget, over which the learning rate falls.
    limit
        Steps after which the stage ends; below the budget only for the baseline of a student that was ended early.
    patience
        Evaluations without improvement after which the stage ends; zero for no early stopping.
    control, curves, hooks
        Requests of the user, the curves, and callbacks.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: Dataset,
        state: StageState,
        loss: Distiller,
        *,
        steps: int,
        limit: int,
        patience: int,
        control: Control,
        curves: CurveLog,
        hooks: Hooks,
    ) -> None:
        self._config, self._dataset, self._state, self._loss = config, dataset, state, loss
        self._training = stage_training(config, state.stage)
        self._steps, self._limit, self._patience = steps, limit, patience
        self._control, self._curves, self._hooks = control, curves, hooks
        self._warned: set[str] = set()
        self._validation = dataset.validation.take(slice(config.monitor.validation_examples))

    def train(self) -> Ending:
        """Train until the limit, until early stopping, or until the user ends the stage.

        The flow then has its best weights, averaged if the config says so.

        Returns
        -------
        Ending
            Why training ended before its limit; empty if it did not.

        Raises
        ------
        StopRun
            When the user stopped the run; a checkpoint of the last step was saved.
        DivergedError
            When the loss is not finite; the flow keeps the weights from before that step.
        """
        with reading_ahead(on_device(self._dataset, device_of(self._state.flow)), self._state.batches) as dataset:
            ended = self._train(dataset)
        self._state.load_final_weights()
        return ended

    def _train(self, dataset: Dataset) -> Ending:
        state, config = self._state, self._config
        ended: Ending = ""
        stepper = self._stepper(dataset)
        system = SystemUsage(device_of(state.flow), state.step, self._curves.elapsed)
        self._loss.ranks.begin_stage(lambda: stage_start(state, self._loss, self._steps))
        try:
            while state.step < self._limit and not self._out_of_patience():
                self._control.poll(state.live_weights, stepper.settle)
                stepper.step()
                evaluates = state.step % config.monitor.evaluate_every == 0 or state.step == self._limit
                draws = state.step % config.monitor.pictures_every == 0 or state.step in (1, self._limit)
                saves = state.step % config.training.checkpoint_every == 0
                if evaluates or draws or saves:
                    stepper.settle()
                if evaluates:
                    self._validate()
                if draws:
                    self._hooks.publish()
                if usage := system.measure(state.step, self._curves.elapsed):
                    self._curves.add(state.step, usage)
                if saves:
                    self._curves.flush()
                    self._loss.ranks.require_same(state.flow)
                    self._hooks.checkpoint()
                self._hooks.progress()
            if state.step < self._limit:
                ended = "early"
        except StopStage:
            ended = "user"
            if state.step and state.step % config.monitor.evaluate_every:
                self._validate()
        except StopRun:
            self._curves.flush()
            self._hooks.checkpoint()
            raise
        finally:
            self._curves.flush()
            self._loss.ranks.end_stage()
        return ended

    def _out_of_patience(self) -> bool:
        return 0 < self._patience <= self._state.bad_rounds

    def _stepper(self, dataset: Dataset) -> Stepper:
        return Stepper(
            self._state,
            self._loss,
            dataset,
            self._training,
            self._config.compute,
            steps=self._steps,
            elapsed=lambda: self._curves.elapsed,
            report=self._report,
            warn=self._hooks.warn,
        )

    def _report(self, result: StepResult, elapsed: float) -> None:
        """Add a step to the curves; warn once for each term that examples were left out: its curve counts them."""
        loss = result.loss
        values = step_values(loss, self._dataset) | term_values(loss) | {"learning_rate": result.rate}
        self._curves.add(result.step, values, elapsed)
        for term, message in describe_masked(loss.masked, result.step).items():
            if term not in self._warned:
                self._warned.add(term)
                self._hooks.warn(message)

    def _validate(self) -> None:
        state = self._state
        value = float(example_nll(state.eval_flow, self._dataset, self._validation).mean())
        state.record_validation(value)
        self._curves.add(state.step, {"validation/nll": value})
