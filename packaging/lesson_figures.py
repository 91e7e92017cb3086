"""Print the figures that the lessons quote: the lab after each of their buttons, and after each task's examples.

    python packaging/lesson_figures.py [--cache FOLDER] [LESSON ...]

A figure of a lesson is one of these. The lab trains in this process, as the buttons say and with the seed of the
lesson's state; nothing else is random. With a cache, a teacher is trained once.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from PySide6.QtCore import QObject

from nfkd.config.lab import LabConfig
from nfkd.lab import LabTraining
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.protocol.lab import LAB_ROLES, LabFrame
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lab_figures import FIGURES, figure
from nfkd_gui.model.lesson_parts import Button, LabSettings, Task, changed
from nfkd_gui.model.lessons import Lesson, load_lessons


class ShownLab(LabModel):
    """What the lab shows of a training, without an engine."""

    def __init__(self, training: LabTraining) -> None:
        QObject.__init__(self)
        self.state = training.config
        self.probe = training.probe("lab", self.state.lab.probe) if self.state.lab.probe else None  # type: ignore[arg-type]
        self.frame = LabFrame(
            lab="lab",
            number=1,
            phase=training.phase,
            step=training.step_number,
            playing=False,
            pictures={},
            curves=training.curves,
            noise=training.noise.numpy(),
        )


def main() -> None:
    """Print the figures of the lessons that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="names of lessons; all if none is given")
    parser.add_argument("--cache", type=Path, help="folder of trained teachers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cache = TeacherCache(arguments.cache) if arguments.cache else None
    lessons, errors = load_lessons()
    for error in errors:
        print(error)
    for lesson in lessons:
        if not arguments.lessons or lesson.name in arguments.lessons:
            print_lesson(lesson, cache)


def print_lesson(lesson: Lesson, cache: TeacherCache | None) -> None:
    """Print the lab after each button and each example of a lesson."""
    print(f"\n{lesson.header.order}. {lesson.header.title}", flush=True)
    state = lesson.start
    training = LabTraining(state, cache)
    show_data(training)
    for number, page in enumerate(lesson.pages, 1):
        for button in page.buttons:
            state = changed(lesson.start if button.reset else state, button.set)
            training.change(state)
            began = time.monotonic()
            press(training, button)
            show(f"page {number}, {button.title}", training, time.monotonic() - began)
        for task in page.tasks:
            print_task(lesson, task, cache)


def show_data(training: LabTraining) -> None:
    """Print what the base Gaussian alone reaches, and where a teacher that was trained before has a high density."""
    points = training.opened("lab").teacher_points
    alone = math.log(2 * math.pi) + float((points**2).sum(axis=1).mean()) / 2
    print(f"  base Gaussian alone, on {len(points):,} training points: {alone:.2f} nats")
    teacher = training.pictures().get("teacher")
    if teacher is not None:
        print(f"  share of the square with log p of the teacher above -2: {(teacher.density > -2).mean():.3f}")


def press(training: LabTraining, button: Button) -> None:
    """Make the steps of a button."""
    if "restart" in button.control:
        training.restart()
    advance(training, training.config.training.student_steps if "play" in button.control else button.steps)


def advance(training: LabTraining, steps: int) -> None:
    """Train until the students have made some steps more."""
    goal = training.steps_of()["student"] + steps
    while training.phase != "done" and training.steps_of()["student"] < goal:
        training.step()


def show(label: str, training: LabTraining, seconds: float) -> None:
    """Print best and newest values of the flows, their sizes and the speed of sampling."""
    lab, info = ShownLab(training), training.opened("lab")
    print(f"  {label}: step {training.step_number}, {seconds:.0f} s, gap closed {lab.gap_closed:.3f}")
    for role in LAB_ROLES:
        flow, best = info.flows[role], lab.best(role)
        if not math.isnan(best):
            print(
                f"    {role:9} {flow.summary:22} best {best:7.3f}  newest {lab.newest(role):7.3f}"
                f"  {flow.parameters:7,} parameters  {flow.samples_per_second:9,.0f} samples/s"
            )
    if lab.probe is not None:
        for role in lab.probe.flows:
            print(f"    probe, {role}: log p {figure(lab, f'probe_log_prob_{role}'):.3f}")
        path = lab.probe.flows["teacher"]
        print(f"    teacher: latent {path.states[-1].round(3)}, log-dets {path.log_dets.round(3)} = "
              f"{path.log_dets.sum():.3f}, base {path.base_log_prob:.3f}", flush=True)  # fmt: skip


def print_task(lesson: Lesson, task: Task, cache: TeacherCache | None) -> None:
    """Print the figures of the conditions on the lab, for its solution and its mistake."""
    if not task.lab:
        return
    print("  task: " + "; ".join(f"{FIGURES[item.figure][0]} {item.compare} {item.value}" for item in task.lab))
    for label, settings in (("solution", task.solution), ("mistake", task.mistake)):
        if settings is not None:
            lab = example(lesson.state(settings, task.needs), settings, cache)
            values = ", ".join(f"{figure(lab, item.figure):.3f}" for item in task.lab)
            verdict = "wrong" if task.unmet(lambda name, lab=lab: figure(lab, name)) else "right"
            print(f"    {label}: {values} is {verdict}", flush=True)


def example(state: LabConfig, settings: LabSettings, cache: TeacherCache | None) -> ShownLab:
    """Return the lab in one of a task's examples."""
    training = LabTraining(state, cache)
    advance(training, settings.steps)
    return ShownLab(training)


if __name__ == "__main__":
    main()
