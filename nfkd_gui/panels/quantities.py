"""What the curves panel can plot: quantities, each with the curves that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

from nfkd.protocol.records import CurveInfo
from nfkd.protocol.view import RunView

LIKELIHOOD = "likelihood"
_PARTS = ("train/nll", "validation/nll")


@dataclass(frozen=True)
class Quantity:
    """One plot.

    Attributes
    ----------
    name, label, unit
        For the list and the axis.
    curves
        Names of curves that are drawn thin, in the order of importance; the last is the bold one.
    """

    name: str
    label: str
    unit: str
    curves: tuple[str, ...]
    short: str = ""
    """For plots too low for the label."""


def quantities_of(view: RunView) -> list[Quantity]:
    """Return every quantity that some stage of a run records: the likelihood first, then as declared."""
    infos: dict[str, CurveInfo] = {}
    for started in view.seeds.values():
        for plan in started.stages:
            for info in plan.curves:
                infos.setdefault(info.name, info)
    found = []
    parts = tuple(name for name in _PARTS if name in infos)
    if parts:
        unit = infos[parts[-1]].unit
        found.append(Quantity(LIKELIHOOD, "Negative log-likelihood", unit, parts, "NLL"))
    found += [Quantity(name, info.label, info.unit, (name,)) for name, info in infos.items() if name not in _PARTS]
    return found
