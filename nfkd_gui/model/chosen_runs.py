"""What the engine says about the chosen runs of Compare: differences, curves, matching profiles and samples."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from PySide6.QtCore import QObject, Signal

from nfkd.protocol.comparing import (
    CompareRuns,
    MatchingProfiles,
    ReadMatchingProfiles,
    ReadRunCurves,
    RunCurves,
    RunsCompared,
)
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply, Request, Sample, Samples
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.inquiry import Inquiry
from nfkd_gui.model.studio import Studio

_PAUSE = 150
"""Milliseconds without a change before the engine is asked."""
MOST = 50
"""Groups about which the engine is asked; further ones are left out."""
MOST_SAMPLED = 8
Item = TypeVar("Item")


class Question(QObject):
    """One kind of request about the chosen runs: it is sent after a pause in the changes.

    Attributes
    ----------
    reply
        To the newest request, or to the one before while that is not answered; None without any.
    asked
        The request that the reply answers.
    error
        Why there is no reply; None otherwise.
    """

    changed = Signal()
    """There is another reply, or another error."""

    def __init__(self, studio: Studio, key: str, parent: QObject) -> None:
        super().__init__(parent)
        self.reply: Reply | None = None
        self.asked: Request | None = None
        self.error: ErrorInfo | None = None
        self._request: Request | None = None
        self._sent: Request | None = None
        self._answered: object = None
        self._studio = studio
        self._inquiry = Inquiry(studio.ask, key, _PAUSE, self._newest, self._take, self._fail, self)
        studio.engine_changed.connect(self._forget_error)

    @property
    def waits(self) -> bool:
        """Whether the newest request is not answered."""
        return self._inquiry.subject is not None and self._inquiry.subject != self._answered

    def follow(self, request: Request | None, subject: Hashable) -> None:
        """Ask a request about a subject, unless that was asked; None as request forgets the reply."""
        if request is None:
            self._request, self.reply, self.error, self._answered = None, None, None, None
            self._inquiry.follow(None)
        elif subject != self._inquiry.subject:
            self._request = request
            self._inquiry.follow(subject)

    def _forget_error(self) -> None:
        """Let the request be asked again when the engine is back."""
        if self.error is not None and self._studio.ready:
            self.error = None
            self._inquiry.follow(None)
            self.changed.emit()

    def _newest(self) -> Request:
        if self._request is None:
            msg = "a question without a request"
            raise RuntimeError(msg)
        self._sent = self._request
        return self._sent

    def _take(self, reply: Reply) -> None:
        self.reply, self.asked, self.error, self._answered = reply, self._sent, None, self._inquiry.subject
        self.changed.emit()

    def _fail(self, error: ErrorInfo) -> None:
        self.reply, self.error, self._answered = None, error, self._inquiry.subject
        self.changed.emit()


class SampledRuns(QObject):
    """Samples of the chosen runs from the same noise: requested one after the other, and kept until something changes.

    Attributes
    ----------
    samples
        By run.
    errors
        Why others have none.
    """

    changed = Signal()

    def __init__(self, studio: Studio, parent: QObject) -> None:
        super().__init__(parent)
        self._studio = studio
        self._wanted: dict[str, Sample] = {}
        self._subjects: dict[str, Hashable] = {}
        self._known: dict[str, Hashable] = {}
        self._asking = ""
        self.samples: dict[str, Samples] = {}
        self.errors: dict[str, ErrorInfo] = {}
        self._ask_first = Inquiry(studio.ask, "compare.samples", _PAUSE, self._next, self._take, self._fail, self)
        studio.engine_changed.connect(self._forget_errors)

    @property
    def waits(self) -> int:
        """How many of the wanted runs have neither samples nor an error."""
        return sum(self._subjects[run] != self._known.get(run) for run in self._wanted)

    def follow(self, requests: Iterable[tuple[Sample, Hashable]]) -> None:
        """Ask for the samples of these runs, each with what they depend on; others are dropped."""
        wanted = {request.run: (request, subject) for request, subject in requests}
        subjects = {run: subject for run, (_, subject) in wanted.items()}
        if subjects == self._subjects:
            return
        self._wanted, self._subjects = {run: request for run, (request, _) in wanted.items()}, subjects
        for known in (self.samples, self.errors, self._known):
            for run in [run for run in known if self._known.get(run) != subjects.get(run)]:
                known.pop(run, None)
        self._ask()

    def _forget_errors(self) -> None:
        """Ask again for what failed when the engine is back."""
        if self.errors and self._studio.ready:
            for run in self.errors:
                self._known.pop(run, None)
            self.errors.clear()
            self._ask()

    def _open(self) -> list[str]:
        return [run for run in self._wanted if self._known.get(run) != self._subjects[run]]

    def _ask(self) -> None:
        runs = self._open()
        self._asking = runs[0] if runs else ""
        self._ask_first.follow((self._asking, self._subjects[self._asking]) if runs else None)

    def _next(self) -> Request:
        return self._wanted[self._asking]

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Samples):
            self.errors.pop(self._asking, None)
            self.samples[self._asking] = reply
            self._go_on()

    def _fail(self, error: ErrorInfo) -> None:
        self.errors[self._asking] = error
        self._go_on()

    def _go_on(self) -> None:
        self._known[self._asking] = self._subjects[self._asking]
        self._ask()
        self._ask_first.send()
        self.changed.emit()


class ChosenRuns(QObject):
    """Asks the engine about the chosen groups of a `CompareModel`, when a panel that is shown needs it.

    Attributes
    ----------
    compared, curves, profiles, sampled
        The questions; their replies are shown by the panels.
    """

    def __init__(self, studio: Studio, model: CompareModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.compared = Question(studio, "compare.runs", self)
        self.curves = Question(studio, "compare.curves", self)
        self.profiles = Question(studio, "compare.profiles", self)
        self.sampled = SampledRuns(studio, self)

    def groups(self) -> list[RunGroup]:
        """Return the chosen groups that the engine is asked about."""
        return self._model.chosen_groups()[:MOST]

    def of_groups(self, found: Mapping[str, Item]) -> list[tuple[RunGroup, list[Item]]]:
        """Return what was found for runs, by chosen group; groups without any are left out."""
        known = [(group, [found[run] for run in group.runs if run in found]) for group in self.groups()]
        return [(group, items) for group, items in known if items]

    def ask_differences(self) -> RunsCompared | None:
        """Compare the newest run of each chosen group; return the newest reply."""
        groups = self.groups()
        runs = [group.key for group in groups]
        self.compared.follow(CompareRuns(runs=runs) if len(runs) > 1 else None, _subject(groups))
        return self.compared.reply if isinstance(self.compared.reply, RunsCompared) else None

    def ask_curves(self, curve: str) -> RunCurves | None:
        """Read a curve of every run of the chosen groups; return the newest reply."""
        groups = self.groups()
        runs = [run for group in groups for run in group.runs]
        request = ReadRunCurves(runs=runs, curve=curve) if runs else None
        self.curves.follow(request, (curve, _subject(groups)))
        return self.curves.reply if isinstance(self.curves.reply, RunCurves) else None

    def ask_profiles(self) -> MatchingProfiles | None:
        """Read the matching errors of every run of the chosen groups; return the newest reply."""
        groups = self.groups()
        runs = [run for group in groups for run in group.runs]
        self.profiles.follow(ReadMatchingProfiles(runs=runs) if runs else None, _subject(groups))
        return self.profiles.reply if isinstance(self.profiles.reply, MatchingProfiles) else None

    def ask_samples(self, count: int, temperature: float, noise: int) -> SampledRuns:
        """Sample the newest run of each of the first chosen groups from the same noise."""
        found = self._model.chosen_groups()[:MOST_SAMPLED]
        self.sampled.follow(
            (
                Sample(run=group.key, seed=_seed_of(group), count=count, temperature=temperature, noise_seed=noise),
                (_subject([group]), count, temperature, noise),
            )
            for group in found
        )
        return self.sampled


def _subject(groups: Iterable[RunGroup]) -> Hashable:
    """Return what the replies about groups depend on: their runs, and how far these are."""
    return tuple((group.key, *((row.run, row.state, row.seeds_done) for row in group.rows)) for group in groups)


def _seed_of(group: RunGroup) -> int:
    """Return the first finished seed of the newest run of a group; before, the first that it trains."""
    first = group.values.get("seeds.first")
    default = int(first) if isinstance(first, (int, float)) else 1
    return next((seed.seed for row, seed in group.seeds if row.run == group.key), default)
