"""The settings of the lab: data, loss, training and flows; they change while it trains."""

from __future__ import annotations

from typing import Any, NamedTuple

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QToolButton, QVBoxLayout, QWidget

from nfkd.config.problems import ConfigError
from nfkd.text import sentence
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lesson_parts import value_at
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_data import LabData
from nfkd_gui.theme import fix_size, set_space
from nfkd_gui.widgets.buttons import quiet_button
from nfkd_gui.widgets.labels import PlainLabel, TypeLabel
from nfkd_gui.widgets.message_cell import MessageCell
from nfkd_gui.widgets.number_slider import NumberSlider
from nfkd_gui.widgets.switch import Switch

TERMS = {
    "nll": ("NLL", "Likelihood of the examples and of the teacher's samples."),
    "lkd": ("LKD", "Distance between the latents of student and teacher."),
    "ilkd": ("ILKD", "Distance between the states after matched layers."),
    "skd": ("SKD", "Distance between samples that student and teacher make of the same noise."),
}
_DEPTHS = (1, 2, 3, 4, 6)
_OTHER = "other"
"""The number of layers that is not among these."""
_TEACHERS = {"trained": ("First", ""), "together": ("Together", "")}
_TEACHER_HELPS = {
    "trained": "The teacher is trained before the students start.",
    "together": "The teacher is trained together with the students.",
}
_NEW_POINTS = "Other training points; the students start anew."
_NO_NOISE = "Own points get no noise."
_NO_CHOICE = "The students see all points: with fewer Points, others can be drawn."
_LABEL = 128


class Setting(NamedTuple):
    """A number of the state: dotted path, label, help, ends of the slider, and what kind of number it is."""

    path: str
    label: str
    help: str
    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False


_FIRST = (
    Setting("training.student_examples", "Points", "Training points of the students; they start anew. Zero gives all.",
            30, 4000, True, True),
    Setting("data.noise", "Noise", "Standard deviation of the noise of the data. The teacher starts anew.", 0, 0.5),
    Setting("distillation.pool.share", "Teacher's samples", "Part of each of the student's batches that the teacher "
            "draws.", 0, 1),
    Setting("training.learning_rate", "Learning rate", "Largest rate; from the next step on.", 1e-5, 0.1, True),
    Setting("monitor.temperature", "Temperature", "Scale of the noise of the samples.", 0.1, 1.5),
)  # fmt: skip
_BUDGET = Setting(
    "training.student_steps",
    "Budget",
    "Steps of the students, and of a teacher that is trained together with them.",
    50,
    4000,
    True,
    True,
)
_SEED_HELP = "Each seed gives the students other first weights and batches, with the same teacher."
_SEED = Setting(
    "lab.repeat", "Seed of the students", _SEED_HELP, 0, 20, False, True,
)  # fmt: skip


class LabSettings(QWidget):
    """Shows and changes the state of the lab."""

    reset = Signal()
    """The user wants the state in which the lab opens."""

    def __init__(self, lab: LabModel, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab = lab
        self.data = LabData(lab, studio, self)
        self.data.failed.connect(self._show_data_message)
        self.rows: dict[str, MessageCell] = {}
        self._editors: dict[str, NumberSlider] = {}
        self._helps: dict[str, str] = {}
        depths = {str(depth): (str(depth), "") for depth in (*_DEPTHS, _OTHER)}
        helps = {name: f"Give both students {name} {'layer' if name == '1' else 'layers'}; they start anew."
                 for name in depths}  # fmt: skip
        self.depths = Switch("lab.depth", depths, self, helps=helps)
        self.depths.chosen.connect(self._choose_depth)
        self.teacher = Switch("lab.teacher", _TEACHERS, self, helps=_TEACHER_HELPS)
        self.teacher.chosen.connect(self._choose_teacher)
        self.new_points = self._button("new_points", "New points", _NEW_POINTS)
        self.new_points.clicked.connect(self._draw_points)
        self.new_seed = self._button("new_seed", "New seed", f"Next seed of the students. {_SEED_HELP}")
        self.new_seed.clicked.connect(self._next_seed)
        self.back = self._button("reset", "Reset", "Back to the state in which the lab opens.")
        self.back.clicked.connect(self.reset)
        self.buttons = self.new_points, self.new_seed, self.back
        """For the head of the settings."""
        for switch in (self.depths, self.teacher):
            switch.setProperty("compact", True)
        self._only: dict[str, QPushButton] = {}
        self._lay_out()

    def _button(self, name: str, text: str, help_: str) -> QToolButton:
        button = quiet_button(text, self)
        button.setObjectName(f"lab.{name}")
        button.setToolTip(help_)
        return button

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        inside = QWidget(self)
        column = QVBoxLayout(inside)
        set_space(column, 0, 12, 10, 12, 4)
        self._data_cell = MessageCell(self.data, inside, wide=True)
        column.addWidget(self._data_cell)
        for setting in _FIRST:
            column.addWidget(self._number_row(setting))
        column.addWidget(self._row("student.steps", "Student's layers", self.depths))
        column.addWidget(self._row("lab.teacher", "Teacher is trained", self.teacher))
        column.addWidget(_heading("Terms of the student's loss", inside))
        for name, (label, help_) in TERMS.items():
            only = self._only[name] = QPushButton("Only", inside)
            only.setObjectName(f"lab.only.{name}")
            only.setAccessibleName(f"Only {label}")
            only.setToolTip(f"This term alone. {help_}")
            only.clicked.connect(self._use_only)
            fix_size(only, height=28)
            setting = Setting(f"distillation.{name}.weight", label, help_, 0, 1)
            column.addWidget(self._number_row(setting, only))
        column.addWidget(_heading("Seed and budget", inside))
        column.addWidget(self._number_row(_SEED))
        column.addWidget(self._number_row(_BUDGET))
        column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setObjectName("lab.settings_scroll")
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        whole = QVBoxLayout(self)
        set_space(whole, 0)
        whole.addWidget(scroll)

    def _number_row(self, setting: Setting, *more: QWidget) -> MessageCell:
        editor = NumberSlider(
            setting.low, setting.high, logarithmic=setting.logarithmic, whole=setting.whole, parent=self
        )
        editor.setObjectName(f"lab.{setting.path}")
        editor.setAccessibleName(setting.label)
        editor.setToolTip(setting.help)
        self._helps[setting.path] = setting.help
        editor.changed.connect(self._edit)
        self._editors[setting.path] = editor
        if not more:
            return self._row(setting.path, setting.label, editor)
        box = QWidget(self)
        line = QHBoxLayout(box)
        set_space(line, 8)
        line.addWidget(editor, 1)
        for widget in more:
            line.addWidget(widget)
        return self._row(setting.path, setting.label, box)

    def _row(self, path: str, text: str, editor: QWidget) -> MessageCell:
        label = PlainLabel(text, self)
        fix_size(label, _LABEL, 28)
        if isinstance(editor, Switch):
            box = QWidget(self)
            line = QHBoxLayout(box)
            set_space(line, 0)
            line.addWidget(editor)
            line.addStretch(1)
            editor = box
        self.rows[path] = MessageCell(editor, self, label=label)
        return self.rows[path]

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Show the values of the state; a field in which the user writes a wrong value keeps it."""
        state = self._lab.state
        for path, editor in self._editors.items():
            if not self.rows[path].message:
                editor.set_value(value_at(state, path))
        self._show_depth(int(value_at(state, "student.steps")))
        self.teacher.show_state(state.lab.teacher, list(_TEACHERS))
        self.data.show_state()
        noise, alike = self._editors["data.noise"], not state.training.student_examples
        noise.setEnabled(not state.lab.points)
        noise.setToolTip(_NO_NOISE if state.lab.points else self._helps["data.noise"])
        self.new_points.setEnabled(not alike)
        self.new_points.setToolTip(_NO_CHOICE if alike else _NEW_POINTS)

    def _show_depth(self, depth: int) -> None:
        """Check the number of layers; one that is not offered gets a segment in place of the last one."""
        offered, known = [str(each) for each in _DEPTHS], depth in _DEPTHS
        if not known:
            self.depths.rename(_OTHER, str(depth))
        self.depths.show_state(str(depth) if known else _OTHER, offered if known else [*offered[:-1], _OTHER])

    def _show_data_message(self, text: str) -> None:
        self._data_cell.show_message(text)

    # --- by the user --------------------------------------------------------------------------------------------------

    def _edit(self) -> None:
        path = next(path for path, editor in self._editors.items() if editor is self.sender())
        self._set(path, {path: self._editors[path].value()})

    def _set(self, path: str, values: dict[str, Any]) -> None:
        """Change the state; say below the field at `path` why the values are wrong."""
        try:
            self._lab.state.with_values(values)
        except ConfigError as error:
            self.rows[path].show_message(sentence(error.problems[0].message))
            return
        self.rows[path].show_message("")
        self._lab.set_values(values)

    def _use_only(self) -> None:
        chosen = next(name for name, button in self._only.items() if button is self.sender())
        for name in TERMS:
            self.rows[f"distillation.{name}.weight"].show_message("")
        weights = {
            f"distillation.{name}.weight": float(name == chosen) for name in self._lab.state.distillation.terms()
        }
        self._lab.set_values(weights)

    def _choose_depth(self, depth: str) -> None:
        if depth == _OTHER:  # it is the present number
            return
        self._set("student.steps", {"student.steps": int(depth), "lab.off": self._without("student", "baseline")})

    def _without(self, *roles: str) -> list[str]:
        """Return the layers that are off, without those of some flows."""
        return [name for name in self._lab.state.lab.off if name.partition(".")[0] not in roles]

    def _choose_teacher(self, teacher: str) -> None:
        self._set("lab.teacher", {"lab.teacher": teacher})

    def _draw_points(self) -> None:
        self._lab.set_values({"lab.choice": self._lab.state.lab.choice + 1})

    def _next_seed(self) -> None:
        self.rows["lab.repeat"].show_message("")
        self._lab.set_values({"lab.repeat": self._lab.state.lab.repeat + 1})


def _heading(text: str, parent: QWidget) -> TypeLabel:
    heading = TypeLabel("strong", text, parent)
    fix_size(heading, height=28)
    return heading
