"""The experiment of a run, to compare with the one in the form."""

from __future__ import annotations

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.protocol.view import RunView

FLOWS = ("data", "teacher", "assistants", "student")
"""The sections that decide which flows a run has."""
WHOLE = (*FLOWS, "distillation", "training")
"""The sections that decide how a run goes; names and what is shown do not count."""


class RunConfig:
    """Reads the experiment of a run, once for each run."""

    def __init__(self) -> None:
        self._parsed: tuple[str, ExperimentConfig | None] = ("", None)

    def agrees(self, view: RunView, config: ExperimentConfig | None, sections: tuple[str, ...]) -> bool:
        """Return whether some sections of a run's experiment are those of another experiment."""
        if self._parsed[0] != view.config:
            self._parsed = view.config, _parse(view.config)
        own = self._parsed[1]
        if config is None or own is None:
            return False
        return all(getattr(own, name) == getattr(config, name) for name in sections)


def _parse(text: str) -> ExperimentConfig | None:
    try:
        return ExperimentConfig.from_toml(text)
    except ConfigError:
        return None
