"""The pictures that a scripted engine has stored, and its replies about them."""

from __future__ import annotations

from typing import Any

from nfkd.protocol.events import DensityDrawn, Event, InterpolationDrawn, Picture, SamplesDrawn, StageStarted
from nfkd.protocol.pictures import ListPictures, PictureList, ReadPictures, StagePictures, StagePictureSteps
from nfkd.protocol.roles import ROLES

KINDS = {"samples": SamplesDrawn, "interpolation": InterpolationDrawn, "density": DensityDrawn}


class StoredPictures:
    """Keeps every picture that was sent."""

    def __init__(self) -> None:
        self._pictures: list[Picture] = []

    def keep(self, event: Event) -> None:
        if isinstance(event, Picture):
            self._pictures.append(event)
        elif isinstance(event, StageStarted):
            self._pictures = [picture for picture in self._pictures if _survives(picture, event)]

    def list(self, request: ListPictures) -> PictureList:
        stages = []
        for role in ROLES:
            found = self._of(request, role)
            steps = sorted({picture.step for picture in found if not picture.final})
            final = next((picture.step for picture in found if picture.final), None)
            if found:
                stages.append(StagePictureSteps(stage=role, steps=steps, final=final))
        return PictureList(run=request.run, seed=request.seed, stages=stages)

    def read(self, request: ReadPictures) -> StagePictures:
        found = self._of(request, request.stage)
        if request.step is None:
            found.sort(key=lambda picture: picture.final)
        else:
            found = [picture for picture in found if not picture.final and picture.step <= request.step]
        newest: dict[str, Any] = {}
        for name, kind in KINDS.items():
            for picture in found:
                if isinstance(picture, kind):
                    newest[name] = picture
        return StagePictures(run=request.run, seed=request.seed, stage=request.stage, **newest)

    def _of(self, request: ListPictures | ReadPictures, stage: str) -> list[Picture]:
        where = (request.run, request.seed, stage)
        return [picture for picture in self._pictures if (picture.run, picture.seed, picture.stage) == where]


def _survives(picture: Picture, start: StageStarted) -> bool:
    if (picture.run, picture.seed) != (start.run, start.seed):
        return True
    if picture.stage == start.stage:
        return picture.step <= start.step and not picture.final
    return ROLES.index(picture.stage) < ROLES.index(start.stage)
