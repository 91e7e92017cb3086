"""How costs grow with sizes: ``make bench-growth``.

Prints the table. With ``--write`` it also writes the table into docs/benchmarks.md, and the figure beside it.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.growth import runs, training
from tests.benchmarks.growth.axis import Axis, Growth
from tests.benchmarks.growth.figure import draw
from tests.benchmarks.peers.records import PAGE, write_between

AXES = (*training.AXES, *runs.AXES)
FIGURE = PAGE.with_name("growth.svg")

MARGIN = 0.1
"""How much an exponent may exceed that of the arithmetic, besides two standard errors."""


def main() -> int:
    """Run the command; the exit status is 1 if a cost grows faster than its arithmetic."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="measure only axes whose quantity has this text")
    parser.add_argument("--write", action="store_true", help="write table and figure into docs")
    options = parser.parse_args()
    measured = [(axis, measure(axis)) for axis in AXES if options.only in axis.quantity]
    lines = table(measured)
    print("\n" + "\n".join(lines))
    if options.write:
        write_between("growth", lines)
        draw(measured, FIGURE)
    faster = [axis for axis, growth in measured if grows_faster(axis, growth)]
    for axis in faster:
        print(f"{axis.title}: grows faster with {axis.quantity} than its arithmetic")
    return 1 if faster else 0


def measure(axis: Axis) -> Growth:
    """Measure an axis and print its times."""
    print(f"{axis.title}, against {axis.quantity}", flush=True)
    growth = axis.measure()
    pairs = zip(growth.sizes, growth.seconds, strict=True)
    print("    " + ", ".join(f"{size:,}: {1000 * seconds:.2f} ms" for size, seconds in pairs), flush=True)
    return growth


def grows_faster(axis: Axis, growth: Growth) -> bool:
    """Return whether a cost grows faster than its arithmetic, beyond the error of the fit."""
    found = growth.exponent()
    return found.value - 2 * found.error > axis.arithmetic_exponent().value + MARGIN


def table(measured: list[tuple[Axis, Growth]]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| work | against | sizes | smallest, largest | exponent ± standard error | of the arithmetic |",
        "|---|---|---|---:|---:|---:|",
    ]
    for axis, growth in measured:
        ends = ", ".join(f"{1000 * growth.seconds[index]:.3g} ms" for index in (0, -1))
        sizes = f"{axis.sizes[0]:,} to {axis.sizes[-1]:,}"
        found, arithmetic = growth.exponent(), axis.arithmetic_exponent().value + 0.0  # no minus before a zero
        lines.append(f"| {axis.title} | {axis.quantity} | {sizes} | {ends} | {found} | {arithmetic:.2f} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
