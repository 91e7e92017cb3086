"""The pool of a stage in a file beside its checkpoint, so that a resumed run trains on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nfkd.distillation.pool import Pool
from nfkd.files import replacing
from nfkd.flows.flow import Flow
from nfkd.protocol.roles import Role
from nfkd.runs.errors import describe_error, system_error
from nfkd.runs.tensors import open_tensors

NAME = "pool.safetensors"


class PoolFileError(ValueError):
    """The file does not hold the pool of this stage."""


@dataclass(frozen=True)
class PoolFile:
    """The file of a stage's pool: ``x``, ``noise/<latent>`` and ``context``; stage and seed are in its metadata."""

    directory: Path
    stage: Role
    seed: int

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory / NAME

    @property
    def _meta(self) -> dict[str, str]:
        return {"version": "1", "stage": self.stage, "seed": str(self.seed)}

    def save(self, pool: Pool) -> None:
        """Write a pool atomically.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        tensors = {"x": pool.x} | {f"noise/{number}": part for number, part in enumerate(pool.noise)}
        if pool.context is not None:
            tensors["context"] = pool.context
        try:
            with replacing(self.path) as temporary:
                save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, self._meta)
        except SafetensorError as error:  # also raised for a full disk
            raise system_error(error, self.path) from error

    def load(self, teacher: Flow) -> Pool:
        """Read the pool of this stage.

        Parameters
        ----------
        teacher
            The flow that it was drawn from: the shapes must be those of its samples and latents.

        Raises
        ------
        PoolFileError
            When the file is missing, cannot be read, or is of another stage or flow.
        """
        try:
            with open_tensors(self.path) as file:
                meta = file.metadata()
                tensors: dict[str, Tensor] = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
        except (OSError, SafetensorError) as error:
            msg = describe_error(error)
            raise PoolFileError(msg) from error
        expected = {"x": teacher.event_shape, **{f"noise/{n}": shape for n, shape in enumerate(teacher.latent_shapes)}}
        if teacher.context_features:
            expected["context"] = (teacher.context_features,)
        count = len(tensors["x"]) if "x" in tensors and tensors["x"].dim() else 0
        if (
            meta != self._meta
            or not count
            or {name: tuple(value.shape) for name, value in tensors.items()}
            != {name: (count, *shape) for name, shape in expected.items()}
        ):
            msg = "it is the pool of another stage or flow"
            raise PoolFileError(msg)
        noise = tuple(tensors[f"noise/{number}"] for number in range(len(teacher.latent_shapes)))
        return Pool(tensors["x"], noise, tensors.get("context"))


def remove_pool(directory: Path) -> None:
    """Remove the file of a stage that has ended."""
    (directory / NAME).unlink(missing_ok=True)
