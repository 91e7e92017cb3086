"""Trains teacher, student and the student alone, step by step, without files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from nfkd.config.lab import LabConfig
from nfkd.distillation.distiller import Distiller, Likelihood, freeze
from nfkd.distillation.pool import Pool, draw_pool
from nfkd.evaluation.likelihood import example_nll
from nfkd.evaluation.throughput import samples_per_second
from nfkd.flows.architectures import flow_summary
from nfkd.flows.flow import Flow
from nfkd.lab.material import Material, same_data, same_material, trained_alike
from nfkd.lab.pictures import SAMPLES, picture, probe_path
from nfkd.lab.teacher_cache import TeacherCache, file_name
from nfkd.planning.plans import flow_config, stage_training
from nfkd.protocol.lab import LAB_ROLES, LabFlow, LabOpened, LabPhase, LabPicture, LabProbe, ProbePath
from nfkd.protocol.roles import Role
from nfkd.training.generators import named_generator
from nfkd.training.monitor import picture_generator
from nfkd.training.optimizers import learning_rate
from nfkd.training.state import StageState
from nfkd.training.step import make_step

_EVERY = 10
"""Steps between two values of the curves."""
_HELD_OUT = 1000
_POOL_EVERY, _POOL_SIZE = 25, 2048
"""Steps after which the pool of a teacher that learns along is drawn again, and its samples."""


@dataclass
class _Learner:
    """A flow in training, and the means of its negative log p of held-out points: pairs of step and value."""

    state: StageState
    curve: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])


class LabTraining:
    """The flows of a lab. Used by one thread at a time.

    The students make their steps together. A teacher that is trained before makes all of its own first; it then has
    its best weights, as in a run. A teacher that learns along makes a step with each of the students'.

    Parameters
    ----------
    config
        The state of the lab.
    cache
        Keeps trained teachers; None to train each anew.

    Raises
    ------
    ConfigError
        With every problem of the experiment.
    """

    def __init__(self, config: LabConfig, cache: TeacherCache | None = None) -> None:
        self._cache = cache
        self._material = Material.of(config)
        self._learners: dict[Role, _Learner] = {}
        self._trained: Flow | None = None
        self._pool: Pool | None = None
        self._pool_source: tuple[Flow | None, int, int] = (None, 0, 0)
        self._pool_step = 0
        self._speeds: dict[Role, float] = {}
        self._view: Flow | None = None
        self._teacher_file = ""
        self._start(LAB_ROLES)

    @property
    def config(self) -> LabConfig:
        """The state."""
        return self._material.config

    @property
    def together(self) -> bool:
        """Whether the teacher learns together with the students."""
        return self.config.lab.teacher == "together"

    @property
    def phase(self) -> LabPhase:
        """What the next step trains."""
        if not self.together and self._trained is None:
            return "teacher"
        return "students" if self._steps_of("student") < self.config.training.student_steps else "done"

    @property
    def step_number(self) -> int:
        """Steps of the students, or of the teacher while it trains alone."""
        return self._steps_of("teacher" if self.phase == "teacher" else "student")

    @property
    def curves(self) -> dict[Role, np.ndarray]:
        """Steps and mean negative log p of held-out points, (evaluations, 2) for each role."""
        curves: dict[Role, np.ndarray] = {
            role: np.array(learner.curve).reshape(-1, 2) for role, learner in self._learners.items()
        }
        if self._trained is not None:
            curves["teacher"] = np.array([[0.0, self._learners["teacher"].state.best]])
        return curves

    def flow(self, role: Role) -> Flow:
        """Return a flow with the weights that are shown."""
        if role == "teacher" and self._trained is not None:
            return self._trained
        return self._learners[role].state.eval_flow

    def steps_of(self) -> dict[Role, int]:
        """Return the steps that each flow has made."""
        return {role: self._steps_of(role) for role in LAB_ROLES}

    def _steps_of(self, role: Role) -> int:
        return self._learners[role].state.step

    # --- the flows ----------------------------------------------------------------------------------------------------

    def _start(self, roles: tuple[Role, ...]) -> None:
        """Give flows initial weights; with the teacher, everything starts anew."""
        for role in roles:
            training = stage_training(self.config, role)
            data = self._material.data(role)
            flow = self._material.build(role).train()
            state = StageState.fresh(role, self._material.seed(role), flow, training, len(data.train))
            self._learners[role] = _Learner(state)
            self._speeds.pop(role, None)
        if self.together:
            self._pool = None
        if "teacher" in roles:
            self._trained = self._view = None
            self._teacher_file = file_name(self.config)
            self._load_teacher()

    def _load_teacher(self) -> None:
        """Take a teacher that was trained before."""
        if self._cache is not None and not self.together:
            state = self._learners["teacher"].state
            found = self._cache.load(self.config, state.flow)
            if found is not None:
                state.best = found
                self._trained = freeze(state.flow)

    def restart(self) -> None:
        """Start the students anew, and a teacher that learns along."""
        self._start(LAB_ROLES if self.together else ("student", "baseline"))

    def change(self, config: LabConfig) -> bool:
        """Take another state; return whether a flow started anew.

        Raises
        ------
        ConfigError
            With every problem; the lab then stays as it is.
        """
        before = self.config
        alike = same_material(before, config)
        self._material = replace(self._material, config=config) if alike else Material.of(config)
        if self._teacher_file != file_name(config):
            self._teacher_file = ""
        if config.lab.teacher != before.lab.teacher or not self._keeps_teacher(before):
            self._start(LAB_ROLES)
            return True
        if not trained_alike(before, config, "student"):
            self._start(("student", "baseline"))
            return True
        return False

    def _keeps_teacher(self, before: LabConfig) -> bool:
        steps = self.together or before.training.teacher_steps == self.config.training.teacher_steps
        return steps and same_data(before, self.config) and trained_alike(before, self.config, "teacher")

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Make a step of every flow whose turn it is.

        Raises
        ------
        DivergedError, PoolError
            When a loss is not finite, or the teacher's samples cannot be used.
        """
        match self.phase:
            case "teacher":
                self._step_teacher()
                if self._steps_of("teacher") >= self.config.training.teacher_steps:
                    self._finish_teacher()
            case "students":
                if self.together:
                    self._step_teacher()
                self._step("student", self._distiller())
                self._step("baseline", Likelihood(self._material.student_data))
            case "done":
                pass

    def _step_teacher(self) -> None:
        self._step("teacher", Likelihood(self._material.teacher_data))

    def _step(self, role: Role, loss: Distiller) -> None:
        learner, training = self._learners[role], stage_training(self.config, role)
        steps = training.student_steps if self.together or role != "teacher" else training.teacher_steps
        rate = learning_rate(training, learner.state.step, max(steps, learner.state.step + 1))
        make_step(learner.state, loss, self._material.data(role), training, rate)
        if learner.state.step % _EVERY == 0 or learner.state.step in (1, steps):
            self._evaluate(learner)

    def _evaluate(self, learner: _Learner) -> None:
        held_out = self._material.teacher_data.validation.some(_HELD_OUT)
        value = float(example_nll(learner.state.eval_flow, self._material.teacher_data, held_out).mean())
        learner.state.record_validation(value)
        learner.curve.append((learner.state.step, value))

    def _finish_teacher(self) -> None:
        state = self._learners["teacher"].state
        state.load_final_weights()
        self._trained = freeze(state.flow)
        if self._cache is not None and self._teacher_file:  # no setting was changed meanwhile
            self._cache.save(self.config, state.flow, state.best)

    def _distiller(self) -> Distiller:
        """Return the student's loss with the present weights of the terms."""
        material, distillation = self._material, self.config.distillation
        teacher = self._teacher()
        pool = self._fresh_pool(teacher) if distillation.pool.share else None
        steps, data = self.config.training.student_steps, material.student_data
        return Distiller(distillation, teacher, material.pairs, data, steps=steps, pool=pool,
                         norms=self._learners["student"].state.norms)  # fmt: skip

    def _teacher(self) -> Flow:
        """Return the frozen teacher; of one that learns along, a copy with its newest weights."""
        if self._trained is not None:
            return self._trained
        flow = self.flow("teacher")
        if self._view is None:
            self._view = freeze(copy.deepcopy(flow))
        else:
            self._view.load_state_dict(flow.state_dict())
        return self._view

    def _fresh_pool(self, teacher: Flow) -> Pool:
        """Return the pool.

        It is drawn again from time to time from a teacher that learns along. New students of a trained teacher use the
        same one again, which saves seconds at each restart; points of the lab have no contexts, which could differ.
        """
        step, config = self._steps_of("student"), self.config
        old = self.together and step - self._pool_step >= _POOL_EVERY
        size = _POOL_SIZE if self.together else config.distillation.pool.samples(images=False)
        source = (self._trained, self._material.seed("student"), size)
        if self._pool is None or old or source != self._pool_source:
            generator = named_generator(source[1], "student", f"pool {step if self.together else ''}".strip())
            self._pool, _ = draw_pool(teacher, self._material.student_data.train, size, generator)
            self._pool_step, self._pool_source = step, source
        return self._pool

    # --- what is shown ------------------------------------------------------------------------------------------------

    def opened(self, lab: str) -> LabOpened:
        """Return what does not change while the flows train."""
        material = self._material
        return LabOpened(
            lab=lab,
            flows={role: self._describe(role) for role in LAB_ROLES},
            pairs=material.pairs,
            points=material.points("student"),
            teacher_points=material.points("teacher"),
            held_out=min(_HELD_OUT, len(material.teacher_data.validation)),
            extent=material.extent,
        )

    def _describe(self, role: Role) -> LabFlow:
        flow = self.flow(role)
        if role not in self._speeds:
            self._speeds[role] = samples_per_second(flow)
        layers = flow.layer_info()
        training, ready = self.config.training, role == "teacher" and self._trained is not None
        steps = training.teacher_steps if role == "teacher" and not self.together else training.student_steps
        return LabFlow(
            summary=flow_summary(flow_config(self.config, "teacher" if role == "teacher" else "student")),
            names=[layer.name for layer in layers],
            labels=[layer.label for layer in layers],
            parameters=sum(parameter.numel() for parameter in flow.parameters()),
            samples_per_second=self._speeds[role],
            steps=0 if ready else steps,
        )

    @property
    def noise(self) -> Tensor:
        """The noise of the samples, (n, 2); the same for every flow and step."""
        flow = self._learners["student"].state.flow
        return flow.draw_noise(SAMPLES, picture_generator(self.config.seeds.first))[0]

    def pictures(self, known: Mapping[Role, int] | None = None) -> dict[Role, LabPicture]:
        """Return the pictures of the flows, except those whose step is `known` already."""
        known, config, noise = known or {}, self.config, self.noise
        return {
            role: picture(
                self.flow(role),
                noise,
                self._material.extent,
                step=learner.state.step,
                temperature=config.monitor.temperature,
                off=config.layers_off(role),
            )
            for role, learner in self._learners.items()
            if known.get(role) != learner.state.step and self._is_ready(role)
        }

    def _is_ready(self, role: Role) -> bool:
        """Return whether a flow can be shown: its norms take their values from the first batch."""
        return self._learners[role].state.flow.initialized

    def probe(self, lab: str, point: tuple[float, float]) -> LabProbe:
        """Return a point on its way through every flow that can be shown."""
        flows: dict[Role, ProbePath] = {
            role: probe_path(self.flow(role), point, self.config.layers_off(role))
            for role in LAB_ROLES
            if self._is_ready(role)
        }
        return LabProbe(lab=lab, point=point, flows=flows)
