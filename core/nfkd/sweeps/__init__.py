"""Sweeps: many runs of one experiment with other values, from a file with a section ``sweep``."""

from nfkd.sweeps.estimate import SweepEstimate, estimate_sweep
from nfkd.sweeps.execute import SweepLoop
from nfkd.sweeps.records import SweptRun
from nfkd.sweeps.sweep import Start, Sweep

__all__ = ["Start", "Sweep", "SweepEstimate", "SweepLoop", "SweptRun", "estimate_sweep"]
