"""The panels in the middle of the window, in the order of their tabs."""

from __future__ import annotations

from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.panels.flow import FlowPanel
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel

PANELS: tuple[type[Panel], ...] = (CurvesPanel, SamplesPanel, InterpolationPanel, FlowPanel, MatchingPanel)
