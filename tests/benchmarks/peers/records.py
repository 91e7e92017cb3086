"""The recorded ratios, and the table in docs/benchmarks.md that is made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.timing import Figure

RECORDED = Path(__file__).with_name("recorded.json")
PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"

Figures = Mapping[str, Mapping[str, Figure]]
"""By the name of a case and the rival."""


@dataclass(frozen=True)
class Records:
    """Figures that were recorded."""

    figures: Figures

    @classmethod
    def load(cls) -> Records:
        content = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.is_file() else {}
        return cls(
            {case: {rival: Figure(**values) for rival, values in rivals.items()} for case, rivals in content.items()}
        )

    def find(self, case: str, rival: str) -> Figure | None:
        return self.figures.get(case, {}).get(rival)

    def update(self, found: Figures) -> Records:
        return Records({**self.figures, **found})

    def save(self) -> None:
        content = {
            case: {rival: {key: round(value, 4) for key, value in asdict(figure).items()} for rival, figure in each}
            for case, each in ((case, rivals.items()) for case, rivals in self.figures.items())
        }
        RECORDED.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(cases: Iterable[Case], figures: Figures) -> list[str]:
    """Return the lines of the table: a row for each case and rival, with – where a case has no figure yet."""
    lines = ["| work | beside | before | figure (quartiles) | goal |", "|---|---|---:|---:|---:|"]
    for case in cases:
        name = case.name
        found = figures.get(case.name, {})
        for rival in found or case.goals:
            before, goal, figure = case.before.get(rival), case.goals.get(rival), found.get(rival)
            cells = [
                name,
                rival,
                "" if before is None else f"{before:.2f} {case.unit}",
                "–" if figure is None else f"{figure} {case.unit}",
                "" if goal is None else f"≤ {goal:g} {case.unit}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            name = ""
    return lines


def write_between(mark: str, lines: list[str]) -> None:
    """Replace the lines between the two comments with a mark in docs/benchmarks.md."""
    start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text("\n".join([before + start, *lines, end + after]), encoding="utf-8")
