"""Looks inside the flows of a run: what the panels of the studio show, with the same numbers.

Every function takes the directory of a run. `open_run` opens one once for several calls:

>>> run = nfkd.inspect.open_run("runs/digits")  # doctest: +SKIP
>>> states = nfkd.inspect.layers(run, Origin(kind="test", index=3))  # doctest: +SKIP
>>> [layer.log_det for layer in states.flows["student"].layers]  # doctest: +SKIP
"""

from __future__ import annotations

from nfkd.inspect.layer_states import layers
from nfkd.inspect.log_probs import likelihood
from nfkd.inspect.opened import OpenedRun, open_run
from nfkd.inspect.plane_states import plane
from nfkd.inspect.sample_details import nearest, sample
from nfkd.inspect.table_rows import column_tests, table
from nfkd.protocol.inspection import Origin

__all__ = [
    "OpenedRun",
    "Origin",
    "column_tests",
    "layers",
    "likelihood",
    "nearest",
    "open_run",
    "plane",
    "sample",
    "table",
]
