"""Export of a run's flows: weights, the scaling of the data and the experiment in one folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

import nfkd
from nfkd.data.units import units_from_json
from nfkd.files import replace_file, replacing
from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import role_name
from nfkd.runs.errors import RunError
from nfkd.runs.export import writing_into
from nfkd.runs.layout import EXPERIMENT, seed_directory
from nfkd.runs.reader import RunRecord
from nfkd.runs.tensors import open_tensors
from nfkd.runs.weights import unreadable_weights
from nfkd.text import format_number

SCALING = "scaling.json"
README = "README.md"
FORMAT = 1
"""Of the scaling file."""


def export_weights(record: RunRecord, directory: Path) -> list[Path]:
    """Copy a run's flows into a folder from which they can be loaded without the run.

    Parameters
    ----------
    record
        The run.
    directory
        Created if missing; files of the same names are replaced.

    Returns
    -------
    list[Path]
        ``<stage>.safetensors`` of each flow, the same bytes as in the run, and ``scaling.json``; of a run with several
        seeds in ``seed-<n>``. Also ``experiment.toml``, and ``README.md``, which says how to load the flows.

    Raises
    ------
    RunError
        When the run has no weights yet, or they cannot be read, or the directory cannot be written.
    """
    files = _weights_files(record)
    if not files:
        title, cause = "Nothing could be exported", f"{record.path} has no weights yet."
        raise RunError(title, cause, "Wait until a flow has been trained.")
    written: list[Path] = []
    scaling: dict[str, Any] = {}
    with writing_into(directory):
        for seed, paths in files.items():
            target = directory / seed_directory(record.path, record.config, seed).relative_to(record.path)
            target.mkdir(parents=True, exist_ok=True)
            scaling = read_scaling(paths[0])
            for path in paths:
                with replacing(target / path.name) as temporary:
                    shutil.copyfile(path, temporary)
                written.append(target / path.name)
            written.append(_text(target / SCALING, f"{json.dumps(scaling, indent=2)}\n"))
        written.append(_text(directory / EXPERIMENT, record.config.to_toml()))
        names = [path.relative_to(directory).as_posix() for path in written if path.suffix == ".safetensors"]
        written.append(_text(directory / README, _readme(record, names, scaling.get("context_features", 0))))
    return written


def read_scaling(path: Path) -> dict[str, Any]:
    """Return the scaling of a weights file as in ``scaling.json``.

    Returns
    -------
    dict[str, Any]
        ``format``; ``unit`` of the likelihood; ``event_shape`` and ``context_features`` of an example; ``levels`` of
        images; ``values`` and ``context``, the scaling of vectors and their contexts; ``standardised``, as in
        `nfkd.data.units.DataUnits`. A file without scaling has ``format`` alone.

    Raises
    ------
    RunError
        When the file cannot be read, or its scaling is damaged.
    """
    try:
        with open_tensors(path) as file:
            meta: Mapping[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise unreadable_weights(path, error) from error
    text = meta.get("units", "")
    if not text:
        return {"format": FORMAT}
    try:
        shape, features = json.loads(meta["event_shape"]), int(meta.get("context_features", "0"))
        units = units_from_json(text, shape, features)
    except (LookupError, TypeError, ValueError) as error:
        title, cause = "The weights cannot be used", f"The scaling of the data in {path} is damaged: {error}."
        raise RunError(title, cause, "Use a file that NFKD has written.") from error
    sizes = {"event_shape": shape, "context_features": features}
    return {"format": FORMAT, "unit": units.unit, **sizes, **json.loads(text)}


def _weights_files(record: RunRecord) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for seed, seed_record in record.seeds.items():
        directory = seed_directory(record.path, record.config, seed)
        paths = [directory / f"{stage}.safetensors" for stage in seed_record.stages]
        paths = [path for path in paths if path.is_file()]
        if paths:
            found[seed] = paths
    return found


def _text(path: Path, text: str) -> Path:
    replace_file(path, text.encode())
    return path


def _readme(record: RunRecord, names: Sequence[str], context: int) -> str:
    imported = "\nimport torch" if context else ""
    given = "x, context" if context else "x"
    sample = "16, context=context" if context else "16"
    setting = f"context = torch.zeros(16, {context})  # replace by yours, in the units of the data\n" if context else ""
    example = next((name for name in names if name.endswith("student.safetensors")), names[0])
    rows = "\n".join(_row(record, name) for name in names)
    versions = next((seed.started.versions for seed in record.seeds.values()), {})
    trained = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not known"
    return f"""# Flows of a run of NFKD

| file | flow | seed | parameters | test likelihood |
| --- | --- | --- | --- | --- |
{rows}

Each file has the weights with the best validation, the settings of its flow and the scaling of its data. They are
safetensors, without pickle. A teacher of another library cannot be loaded this way: its program builds it.

With NFKD {nfkd.__version__} or newer:

```python
import nfkd{imported}

flow = nfkd.load_flow("{example}")
{setting}x = flow.sample({sample})  # in the units of the data
print(flow.log_prob({given}))  # nats, per volume of these units
print(flow.nll({given}).mean())  # in the unit of the table
```

`experiment.toml` has all settings of the run: `nfkd run experiment.toml` trains it again. Paths in it are those of the
machine that trained the run. `scaling.json` is the scaling as text, for other programs.

Trained with: {trained}.
"""


def _row(record: RunRecord, name: str) -> str:
    path = Path(name)
    seed = int(path.parent.name.removeprefix("seed-")) if path.parent.name else record.config.seeds.first
    found: StageSummary | None = next(
        (each for each in record.summary if each.seed == seed and each.stage == path.stem), None
    )
    test = "" if found is None or math.isnan(found.test) else f"{format_number(found.test)} {found.unit}"
    size = "" if found is None else f"{found.parameters:,}"
    return f"| `{name}` | {role_name(path.stem)} | {seed} | {size} | {test} |"
