"""Trains the digits flows that the lessons show, and packs the run into ``resources/lessons/digits.zip``.

``make lesson-run``: the experiment and its seed are below; the file has at most 2 MB.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import nfkd
from nfkd.config import ExperimentConfig, resource_path
from nfkd.terminal import say

TARGET = resource_path("lessons", "digits.zip")
MOST_BYTES = 2_000_000
_SETTINGS = (
    "name=digits of the lessons", "description=A small teacher and student for the lessons of NFKD.",
    "teacher.steps=4", "teacher.hidden=32", "student.steps=2", "student.hidden=16", "seeds.first=1", "seeds.count=1",
    "training.teacher_steps=1200", "training.student_steps=800", "monitor.pictures_every=200",
    "monitor.sample_count=16",
)  # fmt: skip


def main() -> None:
    """Train, and pack everything but the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "digits"
        nfkd.run(ExperimentConfig.load("digits", _SETTINGS), run)
        TARGET.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(run.rglob("*")):
                if path.is_file() and not path.name.startswith("checkpoint") and path.suffix != ".lock":
                    archive.write(path, Path("digits") / path.relative_to(run))
    size = TARGET.stat().st_size
    if size > MOST_BYTES:
        msg = f"{TARGET} has {size:,} bytes; at most {MOST_BYTES:,} are allowed"
        raise SystemExit(msg)
    say(f"{TARGET}: {size:,} bytes")


if __name__ == "__main__":
    main()
