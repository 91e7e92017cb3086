"""The quantities that the curves panel can plot."""

from __future__ import annotations

from dataclasses import dataclass

from nfkd.protocol.records import SYSTEM, CurveInfo
from nfkd.protocol.view import RunView

LIKELIHOOD = "likelihood"
_NLL = ("train/nll", "validation/nll")


@dataclass(frozen=True)
class Quantity:
    """What one plot shows.

    Attributes
    ----------
    name
        Identifies the quantity.
    label, unit
        Text of the list item and the axis.
    curves
        Names of the curves: the last is drawn bold, the others thin.
    short
        Replaces the label in plots that are too low for it.
    title
        Replaces the label in the head of the panel.
    """

    name: str
    label: str
    unit: str
    curves: tuple[str, ...]
    short: str = ""
    title: str = ""

    @property
    def name_in_head(self) -> str:
        """The name for a button."""
        return self.title or self.label


def list_quantities(view: RunView) -> list[Quantity]:
    """Return every quantity of the training that a stage of the run records, the likelihood first."""
    infos: dict[str, CurveInfo] = {}
    for started in view.seeds.values():
        for plan in started.stages:
            for info in plan.curves:
                if not info.name.startswith(SYSTEM):
                    infos.setdefault(info.name, info)
    found = []
    curves = tuple(name for name in _NLL if name in infos)
    if curves:
        unit = infos[curves[-1]].unit
        found.append(Quantity(LIKELIHOOD, "Negative log-likelihood", unit, curves, "NLL", "Likelihood"))
    found += [Quantity(name, info.label, info.unit, (name,)) for name, info in infos.items() if name not in _NLL]
    return found
