"""The scene of the drawing: its items, where they are, and what is marked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QGraphicsItem, QGraphicsScene, QStyleOptionGraphicsItem, QWidget

from nfkd.config.flows import FlowConfig
from nfkd.protocol.roles import Role
from nfkd_gui.model.layer_choice import Side
from nfkd_gui.plotting.architecture.backdrop import Backdrop, Backing
from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.layout import Band, Layout, lay_out
from nfkd_gui.plotting.architecture.levels import FlowLevel, bands_of, compare_flows, levels_of
from nfkd_gui.plotting.architecture.pairs import Pair, PairItem
from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.theme import font, scaled, tokens

Key = tuple[Role, int]
"""Learner and index of a pair."""
Errors = Mapping[tuple[Role, str, str], float]
"""Matching errors by learner and layers."""


@dataclass(frozen=True)
class Subject:
    """What is drawn: the flows, and their settings."""

    backing: Backing = field(default_factory=Backing)
    configs: Mapping[Role, FlowConfig] = field(default_factory=dict[Role, FlowConfig])

    @property
    def bands(self) -> dict[Role, list[str]]:
        """The parts of a step of each flow."""
        return {role: bands_of(self.configs.get(role)) for role in self.backing.flows}


class ArchitectureScene(QGraphicsScene):
    """Draws flows and their matched pairs.

    Attributes
    ----------
    subject, layout_
        What is drawn, and where.
    blocks, pairs
        The items, from the teacher's first layer on; pairs in the order of the flows.
    unfolded
        Indices of levels whose steps are all drawn.
    by_parameters, differences
        Whether heights follow the parameters; whether differences are marked.
    selected_block, selected_pair, current
        What was chosen, and what has the keyboard's focus.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.subject = Subject()
        self.layout_ = Layout()
        self.blocks: list[BlockItem] = []
        self.pairs: list[PairItem] = []
        self.folds: list[FoldItem] = []
        self.unfolded: set[int] = set()
        self.by_parameters = self.differences = False
        self.selected_block: tuple[Role, str] | None = None
        self.selected_pair: Key | None = None
        self.current: BlockItem | PairItem | None = None
        self._backdrop: Backdrop | None = None
        self._pairs: Sequence[Pair] = ()
        self._errors: Errors = {}
        self._scale: ErrorScale | None = None
        self.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)

    # --- what is drawn --------------------------------------------------------------------------------------------

    def build(self, subject: Subject, room: tuple[float, float]) -> None:
        """Lay everything out anew for the room."""
        self.subject, before = subject, self._key_of(self.current)
        self.clear()
        levels: dict[Role, list[FlowLevel]] = {role: levels_of(flow) for role, flow in subject.backing.flows.items()}
        unit = scaled(1000) / 1000
        self.layout_ = lay_out(levels, room, unit, unfolded=self.unfolded, by_parameters=self.by_parameters)
        self._backdrop = Backdrop(self.layout_, subject.backing)
        self.addItem(self._backdrop)
        bands = subject.bands
        self.blocks = [BlockItem(box, bands[box.role]) for box in self.layout_.boxes]
        self.folds = [FoldItem(band, band.level in self.unfolded) for band in self.layout_.bands if band.steps]
        for item in (*self.blocks, *self.folds):
            self.addItem(item)
        self.setSceneRect(QRectF(0, 0, *self.layout_.size))
        self.pairs, self.current = [], None
        self.show_pairs(self._pairs)
        self.current = next((item for item in self.stops() if self._key_of(item) == before), None)
        self.mark()

    def show_pairs(self, pairs: Sequence[Pair]) -> None:
        """Draw other pairs; those of layers that are not drawn are left out."""
        before = self._key_of(self.current)
        for item in self.pairs:
            self.removeItem(item)
        self._pairs, self.pairs = pairs, []
        for pair in pairs:
            start = self.end_of(pair.learner, pair.student, "student")
            end = self.end_of(pair.source, pair.teacher, "teacher")
            if start is not None and end is not None:
                item = PairItem(pair, start, end)
                self.pairs.append(item)
                self.addItem(item)
        if self.selected_pair not in {pair.key for pair in pairs}:
            self.selected_pair = None
        self.current = next((item for item in self.stops() if self._key_of(item) == before), None)
        self.show_errors(self._errors, self._scale)
        self.mark()

    def show_errors(self, errors: Errors, scale: ErrorScale | None) -> None:
        """Colour the pairs by their errors; those without one are neutral. Labels that would overlap are left out."""
        self._errors, self._scale, taken = errors, scale, list[QRectF]()
        for item in self.pairs:
            pair = item.pair
            error = errors.get((pair.learner, pair.student, pair.teacher)) if scale is not None else None
            known = scale is not None and error is not None
            item.show_error(error, scale.colour(error) if known else QColor(tokens().muted))  # type: ignore[union-attr, arg-type]
            rect = item.label_rect()
            item.labelled = known and not any(rect.intersects(other) for other in taken)
            taken += [rect] if item.labelled else []

    def end_of(self, role: Role, name: str, side: Side) -> QPointF | None:
        """Return where the line of a layer ends; None if the layer is not drawn."""
        box = self.layout_.box_of(role, name)
        if box is None:
            return None
        return QPointF(box.anchor(name), box.rect.y + (box.rect.height if side == "teacher" else 0.0))

    # --- marks ----------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Show the selection, the focus and the differences."""
        lacking, notes = frozenset[str](), list[list[str]]()
        flows, configs = self.subject.backing.flows, self.subject.configs
        if self.differences and {"teacher", "student"} <= set(flows):
            levels = levels_of(flows["teacher"]), levels_of(flows["student"])
            difference = compare_flows(*levels, (configs.get("teacher"), configs.get("student")))
            lacking, notes = difference.lacking, difference.notes
        for item in self.blocks:
            box = item.box
            names = {(box.role, layer.name) for layer in box.layers}
            is_lacking = box.role == "teacher" and all(layer.name in lacking for layer in box.layers)
            item.update_marks(
                selected=self.selected_block in names, current=item is self.current, lacking=is_lacking
            )  # fmt: skip
        for pair in self.pairs:
            pair.update_marks(selected=pair.pair.key == self.selected_pair, current=pair is self.current)
        if self._backdrop is not None:
            self._backdrop.show_notes(notes)

    # --- what is where --------------------------------------------------------------------------------------------

    def stops(self) -> list[BlockItem | PairItem]:
        """Return what the keyboard can reach."""
        return [*self.blocks, *self.pairs]

    def item_of(self, key: Key) -> PairItem | None:
        """Return the line of a pair."""
        return next((item for item in self.pairs if item.pair.key == key), None)

    def handle_at(self, point: QPointF, reach: float) -> tuple[PairItem, Side] | None:
        """Return the pair of the student whose end is nearest to a point, within `reach`."""
        own = [item for item in self.pairs if item.pair.learner == "student"]
        sides: tuple[Side, Side] = ("teacher", "student")
        ends: list[tuple[PairItem, Side]] = [(item, side) for item in own for side in sides]
        near = [(_distance(item.end(side), point), number) for number, (item, side) in enumerate(ends)]
        distance, number = min(near, default=(reach, -1))
        return ends[number] if distance < reach and number >= 0 else None

    def pair_at(self, point: QPointF) -> PairItem | None:
        """Return the line at a point."""
        return next((item for item in reversed(self.pairs) if item.shape().contains(point)), None)

    def block_at(self, point: QPointF) -> BlockItem | None:
        """Return the block at a point."""
        return next((item for item in self.blocks if QRectF(*item.box.rect).contains(point)), None)

    def fold_at(self, point: QPointF) -> FoldItem | None:
        """Return the link that folds or unfolds a level, at a point."""
        return next((item for item in self.folds if item.boundingRect().contains(point)), None)

    def toggle(self, levels: Collection[int]) -> None:
        """Fold levels that are unfolded, and the other way round; call `build` afterwards."""
        self.unfolded ^= set(levels)

    @staticmethod
    def _key_of(item: BlockItem | PairItem | None) -> object:
        if isinstance(item, BlockItem):
            return item.box.role, item.box.layers[0].name
        return item.pair.key if item is not None else None


class FoldItem(QGraphicsItem):
    """A link in the head of a level with many steps: draw them all, or as one block."""

    def __init__(self, band: Band, unfolded: bool) -> None:
        super().__init__()
        self.band = band
        self.text = "Fold" if unfolded else f"Show {band.steps} steps"
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Draw the level as one block." if unfolded else "Draw every step of this level.")
        self.setZValue(2)

    def boundingRect(self) -> QRectF:
        width = QFontMetricsF(font("caption")).horizontalAdvance(self.text) + scaled(4)
        return QRectF(self.band.rect.x + scaled(12), self.band.rect.y + scaled(28), width, scaled(18))

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        painter.setFont(font("caption"))
        painter.setPen(QPen(QColor(tokens().accent)))
        painter.drawText(self.boundingRect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text)


def _distance(one: QPointF, other: QPointF) -> float:
    offset = one - other
    return max(abs(offset.x()), abs(offset.y()))
