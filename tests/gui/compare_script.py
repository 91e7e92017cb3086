"""A scripted engine with many finished runs that can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nfkd.protocol import comparing
from nfkd.protocol.events import ErrorInfo, Event
from nfkd.protocol.requests import Sample, Samples
from nfkd.protocol.view import RunView
from tests.gui.scripted_engine import Script, ScriptRefusal, row_of

FOLDER = "/runs/"
COMMON = {
    "data.kind": "digits", "student.kind": "glow", "student.levels": 2.0, "training.learning_rate": 0.002,
    "distillation.nll.weight": 0.9, "distillation.matching.strategy": "paper", "seeds.first": 1.0,
}  # fmt: skip
RECIPES: dict[str, tuple[Any, ...]] = {
    "K = 4, blocks + pool": (4, 64, 0.5, "blocks", 0.0, 600, 2.349, 0.018, 1.37, 11.4, 0.038, 77_200, 7_600, "better"),
    "pool + LKD + ILKD": (2, 64, 0.5, "none", 0.05, 1000, 2.462, 0.012, 0.73, 19.7, 0.041, 38_600, 14_800, "better"),
    "blocks + pool": (2, 64, 0.5, "blocks", 0.0, 1000, 2.465, 0.034, 0.68, 18.9, 0.047, 38_600, 14_800, "inconclusive"),
    "pool": (2, 64, 0.5, "none", 0.0, 1000, 2.488, 0.021, 0.64, 23.3, 0.047, 38_600, 14_800, "better"),
    "pool, h 32": (2, 32, 0.5, "none", 0.0, 1000, 2.601, 0.022, 0.41, 25.8, 0.049, 15_500, 17_600, "better"),
    "mixing only": (2, 64, 0.0, "mixing", 0.0, 1000, 2.596, 0.041, 0.2, 21.9, 0.048, 38_600, 14_800, "inconclusive"),
    "LKD + ILKD": (2, 64, 0.0, "none", 0.05, 1000, 2.625, 0.02, 0.05, 22.9, 0.043, 38_600, 14_800, "no difference"),
    "SKD at 1": (2, 64, 0.0, "none", 0.0, 1000, 2.652, 0.025, -0.06, 37.9, 0.058, 38_600, 14_800, "worse"),
}  # fmt: skip
"""Steps, hidden, pool, inherit, LKD, budget; test, its deviation, gap, FD, SW, parameters, speed, verdict."""
BASELINES = {15_500: 2.70, 38_600: 2.637, 77_200: 2.54}


def recipe_values(name: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the settings and the figures of a recipe."""
    steps, hidden, pool, inherit, lkd, budget, test, _, gap, fd, sw, parameters, speed, verdict = RECIPES[name]
    settings = {
        "student.steps": float(steps), "student.hidden": float(hidden), "distillation.pool.share": pool,
        "distillation.inherit": inherit, "distillation.lkd.weight": lkd, "training.student_steps": float(budget),
    }  # fmt: skip
    values = {
        "student_test": test, "gap_closed": gap, "student_fd": fd, "student_sw": sw,
        "student_parameters": float(parameters), "student_samples_per_second": float(speed),
        "student_multiply_adds": 60.0 * parameters, "student_seconds": parameters / 380,
        "baseline_test": BASELINES[int(parameters)], "baseline_parameters": float(parameters),
        "baseline_samples_per_second": float(speed), "teacher_test": 2.396, "teacher_parameters": 154_000.0,
        "teacher_samples_per_second": 3_900.0,
    }  # fmt: skip
    return {**settings, "verdict": verdict}, values


class CompareScript(Script):
    """Has finished runs with values, curves, profiles and samples."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        super().__init__(on_event)
        self.known: dict[str, dict[str, Any]] = {}
        self.spreads: dict[str, float] = {}
        self.vectors = self.unmatched = False
        self.refused: dict[str, ErrorInfo] = {}
        self.points = 500

    def add_recipes(self) -> list[str]:
        """Add the runs of `RECIPES`; return them."""
        for name, recipe in RECIPES.items():
            settings, values = recipe_values(name)
            self.add(name, settings, values, spread=recipe[7])
        return list(self.views)

    def add(self, name: str, settings: dict[str, Any], values: dict[str, float], *, spread: float = 0.02) -> str:
        """Add a finished run of three seeds; return it."""
        run = FOLDER + name
        columns = {"name": name, "data": "digits", "state": "finished", "unit": "bits/dim", "seconds": 291.0}
        row = row_of(
            run, "finished", seeds=3, seeds_done=3, progress=1.0, digest=name, created=1e9 - len(self.views),
            student_test=values.get("student_test"), baseline_test=values.get("baseline_test"),
            gap_closed=values.get("gap_closed"), verdict=settings.get("verdict", ""),
        )  # fmt: skip
        self.views[run] = RunView(row, "")
        self.known[run] = {**columns, **COMMON, **settings, **values}
        self.spreads[run] = spread
        return run

    def seeds(self, run: str) -> list[comparing.SeedValues]:
        """Return the figures of three seeds around those of a run."""
        base = {name: value for name, value in self.known[run].items() if name.startswith(("student_", "gap"))}
        shifts = (-self.spreads[run], 0.0, self.spreads[run])
        return [
            comparing.SeedValues(seed=seed, values={**base, "student_test": base.get("student_test", 0.0) + shift})
            for seed, shift in enumerate(shifts, start=1)
        ]

    def answer(self, request: Any) -> Any:
        refused = self.refused.get(type(request).__name__)
        if refused is not None:
            self.asked.append(request)
            raise ScriptRefusal(refused)
        handler = getattr(self, f"_{type(request).__name__.lower()}", None)
        if handler is not None and isinstance(request, comparing.ComparingRequest):
            self.asked.append(request)
            return handler(request)
        return super().answer(request)

    # --- replies --------------------------------------------------------------------------------------------------

    def _readrunvalues(self, request: comparing.ReadRunValues) -> comparing.RunValues:
        runs = [run for run in request.runs if run in self.known]
        return comparing.RunValues(
            values={run: self.known[run] for run in runs}, seeds={run: self.seeds(run) for run in runs}
        )

    def _compareruns(self, request: comparing.CompareRuns) -> comparing.RunsCompared:
        found = [self.known[run] for run in request.runs]
        names = sorted({name for values in found for name in values if "." in name})
        settings = {name: [values.get(name) for values in found] for name in names}
        different = {name: values for name, values in settings.items() if len(set(values)) > 1}
        metrics = [
            self._metric(request.runs, "test likelihood", "bits/dim", "student_test", ".3f"),
            self._metric(request.runs, "FD-local", "", "student_fd", ".1f"),
            self._metric(request.runs, "sliced Wasserstein distance", "", "student_sw", ".3f"),
        ]
        return comparing.RunsCompared(
            names=[str(values["name"]) for values in found],
            unit="bits/dim",
            settings=different,
            same=46,
            sizes={name: [values[f"student_{name}"] for values in found] for name in ("parameters", "multiply_adds")},
            gaps=[values["gap_closed"] for values in found],
            verdicts=[values["verdict"] for values in found],
            metrics=metrics,
        )

    def _metric(self, runs: Sequence[str], name: str, unit: str, figure: str, form: str) -> comparing.ComparedMetric:
        values = [float(self.known[run][figure]) for run in runs]
        means = [comparing.ComparedMean(value=value, half=0.02 * abs(value), seeds=3) for value in values]
        differences: list[comparing.ComparedDifference | None] = [None]
        for value in values[1:]:
            change = value - values[0]
            outcome = "better" if change < -0.02 else "worse" if change > 0.05 else "no difference"
            mean = comparing.ComparedMean(value=change, half=0.01 * abs(values[0]), seeds=3)
            differences.append(comparing.ComparedDifference(mean=mean, outcome=outcome))
        best = int(np.argmin(values))
        return comparing.ComparedMetric(
            name=name, unit=unit, form=form, means=means, differences=differences, best=best
        )

    def _readruncurves(self, request: comparing.ReadRunCurves) -> comparing.RunCurves:
        curves = {}
        for number, run in enumerate(request.runs):
            if request.curve == "train/skd":
                continue
            steps = np.linspace(1, self.known[run].get("training.student_steps", 1000), self.points).astype(np.int64)
            end, noise = self.known[run].get("student_test", 2.5), np.random.default_rng(number)
            mean = end + 2.2 * np.exp(-steps / 90) + 0.004 * noise.standard_normal(len(steps))
            width = 0.02 + 0.3 * np.exp(-steps / 120)
            curves[run] = comparing.RunCurve(steps=steps, mean=mean, low=mean - width, high=mean + width, seeds=3)
        return comparing.RunCurves(label="Negative log-likelihood", unit="bits/dim", curves=curves)

    def _readmatchingprofiles(self, request: comparing.ReadMatchingProfiles) -> comparing.MatchingProfiles:
        pairs = [f"level {level} step {step}" for level in (1, 2) for step in (1, 2)]
        profiles = {}
        for number, run in enumerate([] if self.unmatched else request.runs):
            if self.known[run].get("distillation.lkd.weight", 0.0) or number % 3 != 2:
                mean = 0.02 * (1 + number) * np.exp(0.8 * np.arange(len(pairs)))
                profiles[run] = comparing.MatchingProfile(pairs=pairs, mean=mean, low=0.8 * mean, high=1.3 * mean)
        return comparing.MatchingProfiles(profiles=profiles)

    def _sample(self, request: Sample) -> Samples:
        noise = np.random.default_rng(request.noise_seed).standard_normal((request.count, 2))
        number = list(self.known).index(request.run)
        if self.vectors:
            student: np.ndarray = noise * (1 + 0.1 * number) + 0.1 * number
        else:
            y, x = np.mgrid[-1:1:8j, -1:1:8j]
            student = np.exp(-4 * ((x - noise[:, :1, None] / 3) ** 2 + (y - noise[:, 1:, None] / 3) ** 2))[:, None]
            student = np.clip(student * (1 - 0.08 * number), 0, 1)
        return Samples(
            run=request.run, seed=request.seed, temperature=request.temperature,
            samples={"teacher": student, "student": student}, real=student[:10], densities={},
            noise=noise if self.vectors else None, noise_seed=request.noise_seed,
            flags={"student": np.zeros(len(student), np.uint8)},
        )  # fmt: skip


def many_runs(script: CompareScript, count: int) -> None:
    """Add so many runs with random settings and figures."""
    random = np.random.default_rng(1)
    for number in range(count):
        settings = {
            "student.steps": float(random.choice([2, 4, 8])), "student.hidden": float(random.choice([32, 64, 128])),
            "distillation.pool.share": round(float(random.uniform(0, 1)), 2),
            "distillation.inherit": str(random.choice(["none", "mixing", "blocks"])),
            "verdict": str(random.choice(["better", "worse", "inconclusive"])),
        }  # fmt: skip
        parameters = 10_000 * math.exp(random.uniform(0, 3))
        values = {
            "student_test": 2.3 + random.uniform(0, 0.6), "gap_closed": random.uniform(-0.2, 1.2),
            "student_fd": random.uniform(10, 60), "student_sw": random.uniform(0.02, 0.1),
            "student_parameters": parameters, "student_samples_per_second": 6e8 / parameters,
            "student_multiply_adds": 60 * parameters, "baseline_test": 2.7, "baseline_parameters": parameters,
            "teacher_test": 2.3, "teacher_parameters": 300_000.0,
        }  # fmt: skip
        script.add(f"run {number + 1}", settings, values)
