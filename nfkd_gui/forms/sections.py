"""A section of the form: a heading that folds, rows, and a button for the advanced rows."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QSpacerItem, QToolButton, QWidget

from nfkd_gui.forms.fields import Field, Section
from nfkd_gui.forms.layout import fill_column, form_grid
from nfkd_gui.forms.loss_section import LossSection
from nfkd_gui.forms.node import FormNode, OnChanged, Problems
from nfkd_gui.forms.rows import Group, make_node
from nfkd_gui.theme import gap, set_space, set_type
from nfkd_gui.widgets.buttons import quiet_button


class SectionBox(QWidget):
    """One section of the experiment.

    Parameters
    ----------
    field
        The field that the section edits.
    on_changed
        Called with the path of a field that the user changed.
    folded
        Whether the section starts folded.
    """

    def __init__(self, field: Field, on_changed: OnChanged, *, folded: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading = quiet_button(field.title, self)
        self._heading.setObjectName(f"{field.path}.heading")
        self._heading.setToolTip(field.help)
        self._heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        set_type(self._heading, "strong")
        self._advanced = quiet_button("Advanced", self)
        self._advanced.setCheckable(True)
        self._advanced.setObjectName(f"{field.path}.advanced")
        self._advanced.setToolTip(f"Show the advanced settings of {field.title}.")
        self._body = QWidget(self)
        self.node: FormNode
        if isinstance(field, Section) and any(item.group == "terms" for item in field.fields):
            self._grid = form_grid(self._body)
            self.node = LossSection(field, self._grid, on_changed)
        else:
            self._grid = form_grid(self._body, 12, 4, 12, 8)
            self.node = (
                Group(field, field.fields, self._grid, on_changed)
                if isinstance(field, Section)
                else make_node(field, self._grid, on_changed)
            )
        self._lay_out()
        self._heading.clicked.connect(lambda: self._unfold(self._body.isHidden()))
        self._advanced.toggled.connect(self._show_advanced)
        self._unfold(not folded)
        self._show_advanced(False)

    def _lay_out(self) -> None:
        self._line = line = QHBoxLayout()
        set_space(line, 8, 0, 0, 8, 0)
        self._rest = QSpacerItem(0, 0)
        line.addWidget(self._heading, 1)
        line.addItem(self._rest)
        if isinstance(self.node, LossSection):
            line.addWidget(gap(self, width=12))
            line.addWidget(self.node.remark, 1)
        line.addWidget(self._advanced)
        fill_column(self, line, self._body, spacing=0)

    def set_alone(self, alone: bool) -> None:
        """Set whether this section is shown alone: then it is unfolded and cannot be folded."""
        self._heading.setVisible(not alone)
        self._rest.changeSize(0, 0, QSizePolicy.Policy.Expanding if alone else QSizePolicy.Policy.Fixed)
        self._line.invalidate()
        if alone:
            self._unfold(True)

    def show_field(self, path: str) -> None:
        """Show a field, whatever hides it; also the advanced rows."""
        self.node.reveal(path)
        if self.node.has_advanced():
            self._advanced.setChecked(True)

    def add_below(self, widget: QWidget) -> None:
        """Add a widget below the rows; it folds with them."""
        self._grid.addWidget(widget, self._grid.rowCount(), 0, 1, 2)

    def add_to_heading(self, button: QToolButton) -> None:
        """Add a button beside the heading."""
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._line.insertWidget(2, button)
        QWidget.setTabOrder(self._heading, button)

    def show_problems(self, problems: Problems) -> None:
        """Show the problems that belong here; unfold the section if one would be hidden."""
        self.node.show_problems(problems)
        self._advanced.setVisible(not self._body.isHidden() and self.node.has_advanced())
        if self.node.has_problem(advanced=True):
            self._advanced.setChecked(True)
        if self.node.has_problem(advanced=False):
            self._unfold(True)

    def _unfold(self, open_: bool) -> None:
        self._heading.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self._body.setVisible(open_)
        self._advanced.setVisible(open_ and self.node.has_advanced())

    def _show_advanced(self, advanced: bool) -> None:
        self.node.set_shown(True, advanced)
