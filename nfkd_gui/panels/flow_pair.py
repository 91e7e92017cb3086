"""The two flows that the flow panel compares: which they are, how their layers are matched, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nfkd.protocol.inspection import FlowStates
from nfkd.protocol.records import LayerPair
from nfkd.protocol.roles import TEACHERS, Role, learner_of, role_name
from nfkd.protocol.view import RunView
from nfkd_gui.model.layer_columns import LayerColumns, align_layers, pictured
from nfkd_gui.model.run_matching import matching_history
from nfkd_gui.numbers import format_count, format_measure
from nfkd_gui.plotting.match_colours import ErrorScale


class FlowPair:
    """Knows the first and the second flow of the shown run.

    Attributes
    ----------
    first, second
        The flows; None where there is no such flow.
    firsts, seconds
        Those to choose from: the teachers; the other flows.
    columns
        Of the layers of both.
    """

    def __init__(self) -> None:
        self.first: Role | None = None
        self.second: Role | None = None
        self.firsts: list[Role] = []
        self.seconds: list[Role] = []
        self.columns = LayerColumns()
        self._layers: Mapping[Role, Sequence[str]] = {}
        self._all_layers: Mapping[Role, Sequence[str]] = {}
        self._view: RunView | None = None
        self._seed = 1

    @property
    def roles(self) -> list[Role]:
        """The flows that are compared, the first one first."""
        return [role for role in (self.first, self.second) if role is not None]

    def follow(self, view: RunView | None, seed: int) -> None:
        """Offer the flows of a run, and keep the chosen ones if it has them."""
        self._view, self._seed = view, seed
        roles: list[Role] = view.roles() if view is not None else []
        teachers: list[Role] = [role for role in roles if role in TEACHERS]
        self.firsts = teachers
        self.seconds = [role for role in roles if role not in teachers[:1]]
        if self.first not in self.firsts:
            self.first = next(iter(self.firsts), None)
        if self.second not in self.seconds or self.second == self.first:
            others: list[Role] = [role for role in self.seconds if role != self.first]
            self.second = "student" if "student" in others else next(iter(others), None)

    def prefer(self, role: Role) -> None:
        """Compare a flow: the teacher is the first, any other the second."""
        if role == "teacher":
            self.first = role
        elif role not in self.roles:
            self.second = role

    def take(self, layers: Mapping[Role, Sequence[str]], every: Mapping[Role, Sequence[str]] | None = None) -> None:
        """Align the drawn layers of the flows, given by their names; `every` has those that are not drawn, too."""
        self._layers, self._all_layers = layers, every or layers
        first, second = (layers.get(role, ()) if role is not None else () for role in (self.first, self.second))
        pairs = [(pair.teacher, pair.student) for pair in self._pairs()]
        self.columns = align_layers(list(first), list(second), pairs)

    def take_states(self, flows: Mapping[Role, FlowStates]) -> None:
        """Align the layers of both flows whose states are drawn."""
        every: dict[Role, Sequence[str]] = {role: [layer.name for layer in flow.layers] for role, flow in flows.items()}
        self.take({role: [layer.name for layer in pictured(flow)] for role, flow in flows.items()}, every)

    def column_of(self, role: Role, layer: str) -> int | None:
        """Return the column of a layer, or of the last one before it that is drawn; None if it is unknown."""
        if role not in self.roles or role not in self._layers:
            return None
        shown = list(self._layers[role])
        columns = self.columns.states[self.roles.index(role)]
        every = list(self._all_layers[role])
        if layer not in every or not columns:
            return None
        before = every[: every.index(layer) + 1]
        return columns[sum(name in shown for name in before)]

    # --- matched layers -------------------------------------------------------------------------------------------

    def _pairs(self) -> list[LayerPair]:
        """Return the matched layers, if the second flow learns from the first one."""
        if self._view is None or self.first is None or self.second is None or not self._learns():
            return []
        role = learner_of(self.second)
        return self._view.pairs(self._seed, role) or self._view.pairs(min(self._view.seeds, default=1), role)

    def _learns(self) -> bool:
        """Return whether the second flow, or the student of which it is the baseline, learns from the first."""
        before = self.firsts[: self.firsts.index(self.second)] if self.second in self.firsts else self.firsts
        return before[-1:] == [self.first]

    def errors(self) -> dict[tuple[int, int], float]:
        """Return the newest error of each matched pair of states, as mean squared error."""
        stage = self._view.find_stage(self._seed, self.second) if self._view is not None and self.second else None
        if stage is None or not stage.matching_errors or self.first is None or self.second is None:
            return {}
        first, second = (list(self._layers.get(role, ())) for role in (self.first, self.second))
        found = {}
        for pair, error in zip(self._pairs(), stage.matching_errors[-1], strict=False):
            if pair.teacher in first and pair.student in second:
                found[first.index(pair.teacher) + 1, second.index(pair.student) + 1] = float(error)
        return found

    def error_scale(self) -> ErrorScale | None:
        """Return the colours of the errors: those of all that were measured, as in Architecture."""
        return None if self._view is None else ErrorScale.of(matching_history(self._view, self._seed))

    def matched_texts(self, column: int) -> list[str]:
        """Return which layers are matched in a column and their error, from long to short."""
        partner = self.columns.partner(column)
        if partner is None or self.first is None or self.second is None:
            return [""]
        text = f"{role_name(self.first)} {partner[0]} ↔ {role_name(self.second)} {partner[1]}"
        error = self.errors().get(partner)
        short = f"{partner[0]} ↔ {partner[1]}"
        if error is None:
            return [f"Matched: {text}", short]
        return [f"Matched: {text}, error {_short(error)}", f"{short}, error {_short(error)}", short]

    # --- captions -------------------------------------------------------------------------------------------------

    def captions(self) -> dict[Role, list[str]]:
        """Return what each flow is, from long to short."""
        return {role: self._captions(role) for role in self.roles}

    def _captions(self, role: Role) -> list[str]:
        if self._view is None:
            return []
        row, stage = self._view.row, self._view.find_stage(self._seed, role)
        name = {"teacher": row.teacher, "student": row.student}.get(learner_of(role), "")
        summary = stage.summary if stage is not None else None
        size = f"{format_count(summary.parameters)} parameters" if summary is not None else ""
        return [" · ".join(filter(None, (name, size))), name, ""]


def _short(error: float) -> str:
    return format_measure(error, 2) if error >= 0.01 else f"{error:.2g}"
