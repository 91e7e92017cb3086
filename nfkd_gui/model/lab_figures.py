"""What the lab shows as numbers, by name: the closed list that the tasks of lessons can ask for."""

from __future__ import annotations

import math
from collections.abc import Callable

from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel

FigureOf = Callable[[LabModel], float]


def _log_prob(role: Role) -> FigureOf:
    def read(lab: LabModel) -> float:
        path = None if lab.probe is None else lab.probe.flows.get(role)
        return math.nan if path is None else path.base_log_prob + float(path.log_dets.sum())

    return read


def _latent_radius(role: Role) -> FigureOf:
    def read(lab: LabModel) -> float:
        path = None if lab.probe is None else lab.probe.flows.get(role)
        return math.nan if path is None else math.hypot(*map(float, path.states[-1]))

    return read


def _step(lab: LabModel) -> float:
    if lab.frame is None:
        return math.nan
    return 0.0 if lab.frame.phase == "teacher" else float(lab.frame.step)


FIGURES: dict[str, tuple[str, FigureOf]] = {
    "gap_closed": ("share of the gap that the student closes", lambda lab: lab.gap_closed),
    "teacher_nll": ("best NLL of the teacher, in nats", lambda lab: lab.best("teacher")),
    "student_nll": ("best NLL of the student, in nats", lambda lab: lab.best("student")),
    "baseline_nll": ("best NLL of the student alone, in nats", lambda lab: lab.best("baseline")),
    "newest_teacher_nll": ("present NLL of the teacher, in nats", lambda lab: lab.newest("teacher")),
    "newest_student_nll": ("present NLL of the student, in nats", lambda lab: lab.newest("student")),
    "newest_baseline_nll": ("present NLL of the student alone, in nats", lambda lab: lab.newest("baseline")),
    "advantage": (
        "nats by which the student is better than the student alone",
        lambda lab: lab.best("baseline") - lab.best("student"),
    ),
    "overfitting": (
        "nats by which the student alone is now worse than at its best",
        lambda lab: lab.newest("baseline") - lab.best("baseline"),
    ),
    "step": ("step of the students", _step),
    "student_examples": (
        "points that the students see; 0 for all",
        lambda lab: float(lab.state.training.student_examples),
    ),
    "teacher_layers": ("layers of the teacher", lambda lab: float(lab.state.teacher.steps)),
    "student_layers": ("layers of the student", lambda lab: float(lab.state.student.steps)),
    "pool_share": ("share of the teacher's samples in a batch", lambda lab: lab.state.distillation.pool.share),
    "temperature": ("temperature of the samples", lambda lab: lab.state.monitor.temperature),
    "position": ("position on the way from the data (0) to the noise (1)", lambda lab: lab.state.lab.position),
    "layers_off": ("number of layers that are off", lambda lab: float(len(lab.state.lab.off))),
    "teacher_layers_off": (
        "number of the teacher's layers that are off",
        lambda lab: float(len(lab.state.layers_off("teacher"))),
    ),
    "probe_log_prob_teacher": ("log p of the probe by the teacher", _log_prob("teacher")),
    "probe_log_prob_student": ("log p of the probe by the student", _log_prob("student")),
    "probe_log_prob_baseline": ("log p of the probe by the student alone", _log_prob("baseline")),
    "probe_latent_radius_teacher": ("distance of the probe's latent from the origin", _latent_radius("teacher")),
}
"""The figures: what each is, and how it is read. NaN means that the lab does not show it yet."""


def figure(lab: LabModel, name: str) -> float:
    """Return a figure of `FIGURES`; NaN if the lab does not show it yet.

    Raises
    ------
    KeyError
        If there is no figure of that name.
    """
    return FIGURES[name][1](lab)
