"""The figure of docs/benchmarks.md: cost against each size, on logarithmic axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.benchmarks.growth.axis import Axis, Growth, fitted

COLUMNS = 3


def draw(measured: list[tuple[Axis, Growth]], path: Path) -> None:
    """Draw a plot for each axis; the dashed line has the slope of the arithmetic."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = -(-len(measured) // COLUMNS)
    with rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}):
        figure = Figure(figsize=(3.1 * COLUMNS, 2.5 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        for number, (axis, growth) in enumerate(measured, 1):
            plot = figure.add_subplot(rows, COLUMNS, number)
            sizes, milliseconds = np.array(axis.sizes, float), 1000 * np.array(growth.seconds)
            part = fitted(axis.sizes)
            arithmetic = np.array([axis.arithmetic(size) for size in axis.sizes])[part]
            scaled = arithmetic * np.exp(np.log(milliseconds[part] / arithmetic).mean())
            plot.loglog(sizes, milliseconds, "o-", color="#2563eb", markersize=3, linewidth=1.2)
            plot.loglog(sizes[part], scaled, "--", color="#6b7280", linewidth=1)
            plot.set_title(axis.short, fontsize=8)
            plot.set_xlabel(axis.quantity)
            plot.set_ylabel("CPU ms")
            plot.annotate(f"exponent {growth.exponent()}", (0.05, 0.9), xycoords="axes fraction", fontsize=7)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
