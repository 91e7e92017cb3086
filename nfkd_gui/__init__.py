"""NFKD Studio, the desktop window for experiments and runs. Imports neither torch nor h5py."""

from __future__ import annotations

import os

os.environ["QT_API"] = "pyside6"  # else qasync and qtawesome use the first binding they find
