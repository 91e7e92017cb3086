"""Where everything of the drawing is: levels side by side, one row for each flow. No Qt.

All sizes are pixels at 100 % times `unit`, the scale of the interface.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from nfkd.protocol.requests import LayerInfo
from nfkd.protocol.roles import Role
from nfkd_gui.plotting.architecture.levels import Cell, FlowLevel

FOLDED_FROM = 12
"""A level with more steps than this is drawn as one block until it is unfolded."""
_GROUP = 6
"""Steps whose room a folded level takes."""
_PAD, _SMALL, _WIDEST_SLOT, _WIDEST, _BLOCK = 12, 20, 46, 74, (64, 118)
"""Padding of a level; width of a small layer; greatest width of a step, and of a block that faces several; least and
greatest height of a block."""
_TOP, _BOTTOM, _ROW_GAP, _MARGIN = 76, 82, (64, 190), 8
_NARROWEST = 118
"""Least width of a level: its title and its shape."""
_HEAD, _LEAST_BODY = 24, 6
"""Height of a block's number; least height of its bands where heights follow the parameters."""
PILL = (40, 22)


class _Widths(NamedTuple):
    """Width of the names and the data; of the room for a latent; least width of a step; between blocks."""

    left: float
    gap: float
    slot: float
    between: float


_WIDE, _TIGHT = _Widths(146, 72, 24, 7), _Widths(128, 60, 20, 5)
"""The second is used where the first does not fit."""


class Rect(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Box:
    """A block of the drawing: a step, a small layer such as a squeeze, or a folded group of steps."""

    role: Role
    level: int
    layers: tuple[LayerInfo, ...]
    rect: Rect
    kind: Literal["step", "small", "group"]

    def anchor(self, name: str) -> float:
        """Return the x at which a line to one of the layers ends."""
        names = [layer.name for layer in self.layers]
        return self.rect.x + self.rect.width * (names.index(name) + 0.5) / len(names)

    def layer_at(self, x: float) -> LayerInfo:
        """Return the layer whose line ends nearest to `x`."""
        share = (x - self.rect.x) / self.rect.width
        return self.layers[min(max(int(share * len(self.layers)), 0), len(self.layers) - 1)]


@dataclass(frozen=True)
class Latent:
    """A latent that leaves a flow: at `node` on the flow's line, into the pill `rect`."""

    role: Role
    level: int
    shape: tuple[int, ...]
    node: tuple[float, float]
    rect: Rect
    final: bool


@dataclass(frozen=True)
class Band:
    """The background of a level."""

    level: int
    rect: Rect
    shape: tuple[int, ...]
    steps: int
    """Most steps of a flow, if that is more than `FOLDED_FROM`; else 0."""


@dataclass(frozen=True)
class Row:
    """The line of a flow, and where its name is."""

    role: Role
    y: float
    start: float
    end: float
    label: Rect


@dataclass
class Layout:
    """Where everything is.

    Attributes
    ----------
    boxes, latents, bands, rows
        The parts of the drawing.
    data
        The square of the data.
    size
        Width and height.
    """

    boxes: list[Box] = field(default_factory=list[Box])
    latents: list[Latent] = field(default_factory=list[Latent])
    bands: list[Band] = field(default_factory=list[Band])
    rows: list[Row] = field(default_factory=list[Row])
    data: Rect = field(default_factory=lambda: Rect(0, 0, 0, 0))
    size: tuple[float, float] = (0, 0)

    def box_of(self, role: Role, name: str) -> Box | None:
        """Return the block of a layer; None if it is not drawn."""
        return next(
            (box for box in self.boxes if box.role == role and any(layer.name == name for layer in box.layers)), None
        )

    def row_of(self, role: Role) -> list[Box]:
        """Return the blocks of a flow, from data to latents."""
        return [box for box in self.boxes if box.role == role]


def lay_out(
    flows: Mapping[Role, Sequence[FlowLevel]],
    size: tuple[float, float],
    unit: float = 1.0,
    *,
    unfolded: Collection[int] = (),
    by_parameters: bool = False,
) -> Layout:
    """Lay the flows out, from the teacher at the top to the student at the bottom.

    Parameters
    ----------
    flows
        Their levels, in order.
    size
        The room; the drawing is wider or higher where it does not fit.
    unit
        Scale of the interface.
    unfolded
        Indices of levels whose steps are all drawn.
    by_parameters
        Whether a block's height is proportional to its parameters.
    """
    if not flows:
        return Layout()
    return _Maker(flows, size, unit, unfolded, by_parameters).make()


@dataclass(frozen=True)
class _Columns:
    """The room of one level, in steps: before the squeeze and after it, and whether steps have small layers."""

    early: int
    squeeze: bool
    late: int
    small: int

    @property
    def slots(self) -> int:
        return self.early + self.late


class _Maker:
    def __init__(
        self,
        flows: Mapping[Role, Sequence[FlowLevel]],
        size: tuple[float, float],
        unit: float,
        unfolded: Collection[int],
        by_parameters: bool,
    ) -> None:
        self._flows, self._size, self._unit, self._unfolded = flows, size, unit, unfolded
        self._most = max((layer.parameters for levels in flows.values() for layer in _steps(levels)), default=0)
        self._by_parameters = by_parameters
        self._layout = Layout()

    def make(self) -> Layout:
        """Return the layout."""
        self._columns = [self._columns_of(level) for level in range(max(map(len, self._flows.values())))]
        self._widths = _WIDE
        if self._taken() + self._slots * self._px(_WIDE.slot + _WIDE.between) > self._size[0]:
            self._widths = _TIGHT
        self._place_rows()
        self._place_levels()
        return self._layout

    def _px(self, pixels: float) -> float:
        return pixels * self._unit

    def _cells(self, cells: Sequence[Cell], level: int) -> int:
        """Return the number of blocks of one flow in a part of a level."""
        return _GROUP if self._folds(cells, level) else len(cells)

    def _folds(self, cells: Sequence[Cell], level: int) -> bool:
        return len(cells) > FOLDED_FROM and level not in self._unfolded

    def _columns_of(self, level: int) -> _Columns:
        own = [levels[level] for levels in self._flows.values() if level < len(levels)]
        return _Columns(
            early=max(self._cells(each.early, level) for each in own),
            squeeze=any(each.squeeze is not None for each in own),
            late=max(self._cells(each.cells, level) for each in own),
            small=max((len(cell.small) for each in own for cell in each.cells if cell.step is not None), default=0),
        )

    # --- heights --------------------------------------------------------------------------------------------------

    def _place_rows(self) -> None:
        count, px = len(self._flows), self._px
        room = self._size[1] - px(_TOP + _BOTTOM)
        self._height = min(max(room / (1.8 * count - 0.6), px(_BLOCK[0])), px(_BLOCK[1]))
        gap = (room - count * self._height) / (count - 1) if count > 1 else 0.0
        gap = min(max(gap, px(_ROW_GAP[0])), px(_ROW_GAP[1]))
        used = count * self._height + (count - 1) * gap
        top = max((self._size[1] - px(_TOP + _BOTTOM) - used) / 2, 0.0) + px(_TOP)
        self._middles = [top + self._height / 2 + number * (self._height + gap) for number in range(count)]
        self._total = top + used + px(_BOTTOM)
        between = (self._middles[0] + self._middles[min(1, count - 1)]) / 2
        side = min(px(66), self._height + gap - px(72)) if count > 1 else px(48)
        offset = 0.0 if count > 1 else px(70)
        self._layout.data = Rect(px(_MARGIN), between + offset - side / 2 - px(12), side, side)

    # --- widths ---------------------------------------------------------------------------------------------------

    def _fixed(self, columns: _Columns) -> float:
        """Return the width of a level without its steps."""
        squeeze = _SMALL + self._widths.between if columns.squeeze else 0
        return self._px(2 * _PAD + squeeze + columns.slots * columns.small * (_SMALL + self._widths.between))

    def _taken(self) -> float:
        """Return the width of everything but the steps."""
        widths = self._widths
        around = self._px(widths.left + _MARGIN + widths.gap * len(self._columns))
        return around + sum(map(self._fixed, self._columns))

    @property
    def _slots(self) -> int:
        return sum(columns.slots for columns in self._columns)

    def _place_levels(self) -> None:
        px, widths = self._px, self._widths
        pitch = (self._size[0] - self._taken()) / max(self._slots, 1)
        self._pitch = min(max(pitch, px(widths.slot + widths.between)), px(_WIDEST_SLOT + widths.between))
        x, ends = px(widths.left), dict[Role, float]()
        for level, columns in enumerate(self._columns):
            width = max(self._fixed(columns) + columns.slots * self._pitch, px(_NARROWEST))
            self._place_level(level, columns, x, width)
            for number, (role, levels) in enumerate(self._flows.items()):
                if level < len(levels):
                    ends[role] = self._place_latent(role, number, level, x + width)
            x += width + px(widths.gap)
        self._layout.size = x + px(_MARGIN), self._total
        for number, role in enumerate(self._flows):
            y = self._middles[number]
            label = y - px(62) if number == 0 else y + px(8)
            text = Rect(px(_MARGIN), label, px(widths.left - 24 - _MARGIN), px(54))
            self._layout.rows.append(Row(role, y, px(widths.left - 14), ends[role], text))

    def _place_level(self, level: int, columns: _Columns, left: float, width: float) -> None:
        px, own = self._px, {role: levels[level] for role, levels in self._flows.items() if level < len(levels)}
        most = max(len(each.steps) for each in own.values())
        shape = next((tuple(layer.shape) for each in own.values() for layer in reversed(each.layers)), ())
        band = Rect(left, px(_MARGIN), width, self._total - px(2 * _MARGIN))
        self._layout.bands.append(Band(level, band, shape, most if most > FOLDED_FROM else 0))
        small, inner = px(_SMALL + self._widths.between), px(_SMALL + self._widths.between) * columns.small
        pitch = max(self._pitch, (width - self._fixed(columns)) / max(columns.slots, 1)) + inner
        for number, (role, each) in enumerate(self._flows.items()):
            if level >= len(each):
                continue
            x, middle = left + px(_PAD + self._widths.between / 2), self._middles[number]
            self._place_cells(role, level, each[level].early, columns.early, (x, pitch, middle))
            x += columns.early * pitch
            squeeze = each[level].squeeze
            if squeeze is not None:
                self._add(role, level, (squeeze,), (x, px(_SMALL), middle), "small")
            x += small if columns.squeeze else 0.0
            self._place_cells(role, level, each[level].cells, columns.late, (x, pitch, middle))

    def _place_cells(
        self, role: Role, level: int, cells: Sequence[Cell], slots: int, where: tuple[float, float, float]
    ) -> None:
        """Place blocks so that each ends where the block of the longest flow ends that it faces."""
        if not cells:
            return
        (left, pitch, middle), gap = where, self._px(self._widths.between)
        if self._folds(cells, level):
            layers = tuple(cell.step for cell in cells if cell.step is not None)
            self._add(role, level, layers, (left, slots * pitch - gap, middle), "group")
            return
        span = pitch * slots / len(cells)
        for number, cell in enumerate(cells, start=1):
            inner = len(cell.small) * self._px(_SMALL + self._widths.between) if cell.step is not None else 0.0
            width = min(span - gap - inner, max(self._px(_WIDEST), pitch - gap - inner))
            x = left + number * span - gap - width
            if cell.step is not None:
                self._add(role, level, (cell.step,), (x, width, middle), "step")
            pitch_of_small = self._px(_SMALL + self._widths.between)
            for place, layer in enumerate(reversed(cell.small), start=1 if cell.step is not None else 0):
                self._add(role, level, (layer,), (x - place * pitch_of_small, self._px(_SMALL), middle), "small")

    def _add(
        self,
        role: Role,
        level: int,
        layers: tuple[LayerInfo, ...],
        where: tuple[float, float, float],
        kind: Literal["step", "small", "group"],
    ) -> None:
        x, width, middle = where
        height = self._height
        if self._by_parameters and kind != "small":
            share = max(layer.parameters for layer in layers) / max(self._most, 1)
            height = self._px(_HEAD) + max((height - self._px(_HEAD)) * share, self._px(_LEAST_BODY))
        self._layout.boxes.append(Box(role, level, layers, Rect(x, middle - height / 2, width, height), kind))

    # --- latents --------------------------------------------------------------------------------------------------

    def _place_latent(self, role: Role, number: int, level: int, left: float) -> float:
        """Place the latent after a level, and return where the line of the flow ends for now."""
        px, levels, y = self._px, self._flows[role], self._middles[number]
        final = level == len(levels) - 1
        x, (width, height) = left + px(self._widths.gap) / 2, (px(PILL[0]), px(PILL[1]))
        below = 1 if number else -1
        middle = y if final else y + below * (self._height / 2 + px(26))
        rect = Rect(x - width / 2, middle - height / 2, width, height)
        self._layout.latents.append(Latent(role, level, levels[level].latent, (x, y), rect, final))
        return rect.x if final else x


def _steps(levels: Sequence[FlowLevel]) -> list[LayerInfo]:
    return [step for level in levels for step in level.steps]
