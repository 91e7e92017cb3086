"""The engine imports no Qt, the studio no torch, and each layer imports only lower ones."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QT = ("PySide6", "shiboken6", "pyqtgraph", "qasync", "qtpy", "qtawesome")
NUMERICS = ("torch", "h5py", "scipy", "sklearn", "matplotlib", "safetensors")

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if not {{name, name.partition(".")[0]}}.isdisjoint({blocked!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
"""

IMPORT_ALL = """
import importlib, pkgutil

def import_all(name):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        if found.name.rpartition(".")[2] != "__main__":
            importlib.import_module(found.name)

for name in {packages!r}:
    import_all(name)
"""


def run_python(source: str, *blocked: str) -> str:
    code = BLOCK.format(blocked=blocked) + textwrap.dedent(source)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_engine_and_the_public_names_import_without_qt():
    public = """
import nfkd
for name in nfkd.__all__:
    assert callable(getattr(nfkd, name)), name
assert nfkd.build_flow.__module__.startswith("nfkd.flows")
"""
    run_python(IMPORT_ALL.format(packages=["nfkd"]) + public, *QT, "nfkd_gui")


def test_the_studio_imports_without_torch_and_h5py():
    pytest.importorskip("PySide6")
    upper = [
        f"nfkd.{layer}"
        for layer in ["data", "flows", "distillation", "runs", "evaluation", "planning", "training", "engine"]
    ]
    source = IMPORT_ALL.format(packages=["nfkd_gui"])
    loaded = run_python(source + '\nprint(*sys.modules, sep="\\n")', *NUMERICS).split()
    assert not [name for name in loaded if name in upper]


def test_models_and_the_engine_client_import_without_widgets():
    pytest.importorskip("PySide6")
    run_python(IMPORT_ALL.format(packages=["nfkd_gui.model", "nfkd_gui.link"]), *NUMERICS, "PySide6.QtWidgets")


def test_configuration_protocol_and_remote_import_without_both():
    run_python(IMPORT_ALL.format(packages=["nfkd.config", "nfkd.protocol", "nfkd.remote"]), *QT, *NUMERICS, "nfkd_gui")


def test_nfkd_and_the_relay_load_no_large_package():
    loaded = run_python('import nfkd, nfkd.engine.commands\nprint(*sys.modules, sep="\\n")').split()
    assert not set(loaded) & {*NUMERICS, *QT, "numpy", "pydantic", "msgspec", "asyncio"}


def test_the_old_name_of_a_problem_warns():
    import nfkd

    with pytest.warns(DeprecationWarning, match="nfkd.ConfigProblem"):
        assert nfkd.Fault is nfkd.ConfigProblem


def test_the_old_name_of_unsupported_warns():
    import nfkd
    from nfkd.config import Glow1DConfig

    flow = nfkd.build_flow(Glow1DConfig(steps=1, hidden=4), (2,))
    with pytest.warns(DeprecationWarning, match="Flow.unsupported"):
        assert flow.unservable == {}


def test_an_unknown_name_is_an_attribute_error():
    import nfkd

    with pytest.raises(AttributeError, match="no attribute 'build_flaw'"):
        nfkd.build_flaw  # noqa: B018


def test_the_import_contracts_hold():
    pytest.importorskip("importlinter")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kept, 0 broken" in done.stdout


def test_no_folder_shadows_a_package():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == {"nfkd_gui"}
    assert not (ROOT / "core" / "__init__.py").exists()


def test_describing_and_training_import_neither_a_compiler_nor_scikit_learn():
    source = """
import sys
import torch
from nfkd.config import ExperimentConfig
from nfkd.flows.compiler import optimizer_step
from nfkd.planning.describe import describe

for name in ("digits", "two_moons", "natural_patches_paper"):
    assert not describe(ExperimentConfig.load(name)).problems
weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
optimizers = [torch.optim.AdamW([weight], lr=0.1, fused=True) for weight in weights]
for weight in weights:
    weight.grad = torch.tensor([1.0, 2.0, 3.0])
optimizer_step(optimizers[0])
print(*sys.modules, sep="\\n")
optimizers[1].step()  # torch imports its compiler here
assert torch.equal(*weights)
optimizer_step(optimizers[0])
optimizers[0].add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
assert (2 * torch.empty(3, device="meta")).shape == (3,)
assert "torch._dynamo" in sys.modules
"""
    loaded = run_python(source).split()
    assert not set(loaded) & {"torch._dynamo", "sklearn.utils", "scipy.stats", "matplotlib", "ray", "optuna"}
