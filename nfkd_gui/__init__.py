"""NFKD Studio: the window in which a teacher flow teaches a student flow. Imports no torch and no h5py."""

from __future__ import annotations

import os

os.environ["QT_API"] = "pyside6"  # qasync and qtawesome take the first binding that they find unless they are told
