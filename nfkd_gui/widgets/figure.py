"""Draw a widget into a picture file: PNG at twice the size, and SVG with text and lines as such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QIODevice, QPoint, QRect, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QGraphicsItem, QGraphicsView, QWidget

from nfkd_gui.model.export_files import ExportError, Progress, Writer, exporting
from nfkd_gui.theme import scaled, tokens

SCALE = 2
"""Pixels of a PNG for each pixel of the screen."""
_MARGIN = 12
_PENS = ("pen", "shadowPen")


def draw_image(figure: QWidget) -> QImage:
    """Return a widget with a margin, on the colour of panels, at twice its size."""
    size = _size(figure)
    image = QImage(size * SCALE, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(SCALE)
    image.fill(QColor(tokens().panel))
    with _drawn_anew(figure, SCALE):
        figure.render(image, _corner(), renderFlags=QWidget.RenderFlag.DrawChildren)
    return image


def draw_svg(figure: QWidget, title: str) -> bytes:
    """Return a widget with a margin, on the colour of panels, as SVG; images inside stay images."""
    size, buffer = _size(figure), QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator(QSvgGenerator.SvgVersion.Svg11)  # SVG Tiny cannot clip lines at the edge of a plot
    generator.setOutputDevice(buffer)
    generator.setResolution(figure.logicalDpiX())
    generator.setSize(size)
    generator.setViewBox(QRect(QPoint(), size))
    generator.setTitle(title)
    painter = QPainter(generator)
    painter.fillRect(QRect(QPoint(), size), QColor(tokens().panel))
    with _drawn_anew(figure, 1):
        figure.render(painter, _corner(), renderFlags=QWidget.RenderFlag.DrawChildren)
    painter.end()
    return bytes(buffer.data().data())


def picture_writer(figure: QWidget, path: Path, title: str) -> Writer:
    """Draw a widget now, and return what writes the file: SVG or PNG, by the ending of `path`.

    Raises
    ------
    ExportError
        When the ending is another one.
    """
    ending = path.suffix.lower()
    if ending == ".svg":
        data = draw_svg(figure, title)
        return lambda target, progress: _write(target, data, progress)
    if ending == ".png":
        image = draw_image(figure)
        return lambda target, progress: _write(target, _png(image), progress)
    cause = f"{path.name}: a picture is saved as PNG or SVG."
    raise ExportError(cause, "Choose a name that ends in .png or .svg.")


def _write(path: Path, data: bytes, progress: Progress) -> None:
    progress.advance()
    with exporting(path) as temporary:
        temporary.write_bytes(data)


def _png(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload] - the stub lacks QIODevice
    return bytes(buffer.data().data())


def _size(figure: QWidget) -> QSize:
    return figure.size() + QSize(2 * scaled(_MARGIN), 2 * scaled(_MARGIN))


def _corner() -> QPoint:
    return QPoint(scaled(_MARGIN), scaled(_MARGIN))


@contextmanager
def _drawn_anew(figure: QWidget, scale: int) -> Iterator[None]:
    """Let plots draw every item itself: cached pixmaps are blurred, and lines keep their width in device pixels."""
    import pyqtgraph as pg

    views = [*([figure] if isinstance(figure, QGraphicsView) else []), *figure.findChildren(QGraphicsView)]
    items = [item for view in views for item in view.scene().items()]
    modes = [item.cacheMode() for item in items]
    pens: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for item in items:
        item.setCacheMode(QGraphicsItem.CacheMode.NoCache)
        if isinstance(item, pg.PlotCurveItem):
            before = {name: item.opts[name] for name in _PENS}
            pens.append((item.opts, before))
            item.opts.update({name: _thicker(pen, scale) for name, pen in before.items()})
        if isinstance(item, pg.ScatterPlotItem):
            item.setExportMode(True, {"resolutionScale": 1})
    try:
        yield
    finally:
        for item, mode in zip(items, modes, strict=True):
            item.setCacheMode(mode)
            if isinstance(item, pg.ScatterPlotItem):
                item.setExportMode(False)
        for options, before in pens:
            options.update(before)


def _thicker(pen: Any, scale: int) -> Any:
    import pyqtgraph as pg

    if pen is None:
        return None
    wide = QPen(pg.mkPen(pen))
    wide.setWidthF(scale * max(wide.widthF(), 1.0))
    return wide
