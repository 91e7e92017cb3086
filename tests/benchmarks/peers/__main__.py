"""NFKD beside other libraries, and the costs around its steps: ``make bench-peers``, ``make bench-check``.

Prints the table, or compares the ratios with those in ``recorded.json``, or records them there and in
``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator

from tests.benchmarks import step_memory
from tests.benchmarks.peers import describing, distillation, events, glow, known_passes, vectors
from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.records import Records, table, write_between
from tests.benchmarks.peers.timing import Figure

CASES = (
    *glow.CASES,
    *vectors.CASES,
    *distillation.CASES,
    *step_memory.CASES,
    *known_passes.CASES,
    *events.CASES,
    *describing.CASES,
)

TOLERANCE = 0.15
"""A ratio may be this much higher than the recorded one; the ratios of two runs differ by up to a tenth."""

TRIES = 3
"""How often a case is measured before a higher ratio counts: load of other processes rarely lasts."""


def main() -> int:
    """Run the command; the exit status is 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="measure only cases whose name has this text")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare with the recorded ratios")
    action.add_argument("--record", action="store_true", help="record the ratios, also in docs/benchmarks.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the other libraries
    cases = [case for case in CASES if options.only in case.name]
    records = Records.load()
    if options.check:
        slower = [message for case in cases for message in check(case, records)]
        print("\n".join(slower) or f"Every ratio is within {TOLERANCE:.0%} of the recorded one.")
        return 1 if slower else 0
    found: dict[str, dict[str, Figure]] = {}
    for case in cases:
        found[case.name] = measured(case)
        if options.record:  # after each case, so that an interrupted command keeps the others
            records = records.update({case.name: found[case.name]})
            records.save()
            write_between("peers", table(CASES, records.figures))
    print("\n" + "\n".join(table(cases, found)))
    return 0


def measured(case: Case) -> dict[str, Figure]:
    """Measure a case and print its figures."""
    print(case.name, flush=True)
    began = time.perf_counter()
    figures = dict(case.measure())
    for rival, figure in figures.items():
        print(f"    {figure} {case.unit} {rival}".rstrip(), flush=True)
    print(f"    measured in {time.perf_counter() - began:.0f} s", flush=True)
    return figures


def check(case: Case, records: Records) -> Iterator[str]:
    """Yield a message for each ratio of a case that stays higher than the recorded one by more than the tolerance."""
    lowest: dict[str, float] = {}
    slower: list[str] = []
    for _ in range(TRIES):
        for rival, figure in measured(case).items():
            lowest[rival] = min(figure.value, lowest.get(rival, figure.value))
        slower = [
            f"{case.name}: {value:.2f} {case.unit} {rival}, recorded {recorded.value:.2f}"
            for rival, value in lowest.items()
            if (recorded := records.find(case.name, rival)) and value > recorded.value * (1 + TOLERANCE)
        ]
        if not slower:
            break
    yield from slower


if __name__ == "__main__":
    sys.exit(main())
