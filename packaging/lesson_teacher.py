"""Trains the teacher with which the lab opens, and writes it to ``resources/lab``: ``make lesson-teacher``."""

from __future__ import annotations

from pathlib import Path

from nfkd.config.lab import LabConfig
from nfkd.flows.isolation import plain_torch
from nfkd.lab import LabTraining
from nfkd.lab.teacher_cache import SHIPPED, TeacherCache, file_name
from nfkd.terminal import say


def main() -> None:
    """Train the teacher of the first state; its seed is in the preset."""
    for old in SHIPPED.glob("*.safetensors"):
        old.unlink()
    lab = LabTraining(LabConfig.first(), TeacherCache(SHIPPED, shipped=Path("none")))
    with plain_torch():
        while lab.phase == "teacher":
            lab.step()
    path = SHIPPED / file_name(lab.config)
    say(f"{path}: {path.stat().st_size:,} bytes, {lab.curves['teacher'][0, 1]:.4f} nats of held-out points")


if __name__ == "__main__":
    main()
