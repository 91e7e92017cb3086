"""Where the runs of a sweep train: on the engine's machine, or on a Ray cluster with CPUs and GPUs for each."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from nfkd.protocol.queue import RayCluster
from nfkd_gui.theme import fix_size, set_space
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_LABEL, _CHOICE, _SHARE, _FIELD = 200, 140, 90, 28
_MOST_CPUS, _MOST_GPUS, _STEP = 256.0, 64.0, 0.25
_MISSING = "Ray is not installed on the engine's machine. Install it with: pip install 'nfkd[cluster]'"
_ABOUT = "local: start Ray here; auto: a Ray that runs here; HOST:6379: join a cluster; ray://HOST:10001: from outside."


class SweepPlace(QWidget):
    """A choice between this machine and a Ray cluster, with its address and the CPUs and GPUs of a run.

    Attributes
    ----------
    changed
        Emitted when the user changes anything.
    """

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        label = PlainLabel("Where the runs train", self)
        fix_size(label, width=_LABEL, height=_FIELD)
        self.choice = QComboBox(self)
        self.choice.setObjectName("sweep.place")
        self.choice.setAccessibleName("Where the runs train")
        self.choice.addItems(["This machine", "Ray cluster"])
        fix_size(self.choice, width=_CHOICE)
        self.address = QLineEdit("auto", self)
        self.address.setObjectName("sweep.address")
        self.address.setAccessibleName("Address of the Ray cluster")
        self.address.setToolTip(_ABOUT)
        self.cpus = _share("CPU", _MOST_CPUS, "CPUs of a run, and its threads unless the experiment sets them.", self)
        self.cpus.setMinimum(1.0)
        self.cpus.setDecimals(0)
        self.gpus = _share("GPU", _MOST_GPUS, "GPUs of a run; 0.5 lets two runs share one, 0 trains on CPUs.", self)
        self.gpus.setSingleStep(_STEP)
        self._note = WrappedLabel(_MISSING, "warning", self)
        self._note.setObjectName("sweep.no_ray")
        self._missing = False
        line, whole = QHBoxLayout(), QVBoxLayout(self)
        for widget, stretch in ((label, 0), (self.choice, 0), (self.address, 1), (self.cpus, 0), (self.gpus, 0)):
            line.addWidget(widget, stretch)
        line.addStretch(0)
        set_space(line, 4)
        set_space(whole, 4)
        whole.addLayout(line)
        whole.addWidget(self._note)
        self.choice.currentIndexChanged.connect(self._change)
        self.address.textChanged.connect(self._change)
        self.cpus.valueChanged.connect(self._change)
        self.gpus.valueChanged.connect(self._change)
        self._show()

    @property
    def on_ray(self) -> bool:
        """Whether the user chose the Ray cluster."""
        return self.choice.currentIndex() == 1

    @property
    def cluster(self) -> RayCluster | None:
        """The cluster; None for this machine."""
        if not self.on_ray:
            return None
        return RayCluster(address=self.address.text().strip(), cpus=self.cpus.value(), gpus=self.gpus.value())

    @property
    def ready(self) -> bool:
        """Whether a sweep can start there."""
        return not self.on_ray or (bool(self.address.text().strip()) and not self._missing)

    def show_missing(self, missing: bool) -> None:
        """Say that Ray is not installed, where the cluster is chosen."""
        self._missing = missing
        self._show()

    def _change(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        for widget in (self.address, self.cpus, self.gpus):
            widget.setVisible(self.on_ray)
        self._note.setVisible(self.on_ray and self._missing)


def _share(unit: str, most: float, tip: str, parent: QWidget) -> QDoubleSpinBox:
    """Return a field for what a run gets of a unit, such as ``CPU``."""
    field = QDoubleSpinBox(parent)
    field.setObjectName(f"sweep.{unit.lower()}s")
    field.setAccessibleName(f"{unit}s of a run")
    field.setToolTip(tip)
    field.setRange(0.0, most)
    field.setSuffix(f" {unit}")
    fix_size(field, width=_SHARE)
    return field
