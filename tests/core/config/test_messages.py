"""Every field with wrong values of every kind: messages of our own, and never the validator's."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from nfkd.config import Config, ConfigError, ExperimentConfig
from nfkd.config.problems import problems_of

WRONG: tuple[Any, ...] = (
    "",
    " ",
    "x",
    "x" * 3000,
    "\ud800",
    "1e5",
    None,
    True,
    -1,
    10**30,
    -(10**30),
    1.5,
    -1e300,
    math.nan,
    math.inf,
    b"\xff",
    dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
    dt.time(1),
    [],
    [None],
    [[]],
    [1, "x"],
    [[1.0, "x", 3.0]] * 3,
    [{"kind": "x"}] * 99,
    {},
    {"kind": 3},
    {"kind": "glow", "steps": "x"},
    {"": 1},
    {1: 2},
)
RAW = ("Input should", "should be", "should have", "valid ", "Value error", "unable to", "pydantic", "Field required")


def models() -> Iterator[type[Config]]:
    todo = [Config]
    while todo:
        model = todo.pop()
        todo += model.__subclasses__()
        if model.model_fields and model.__module__.startswith("nfkd."):
            yield model


def messages(model: type[Config], document: Any) -> list[tuple[str, str, str]]:
    """Return the type of each error, the validator's text, and our message."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        raw = error.errors(include_url=False)
        ours = problems_of(error)
        return [(item["type"], item["msg"], problem.message) for item, problem in zip(raw, ours, strict=True)]
    except ConfigError as error:
        return [("config", "", problem.message) for problem in error.problems]
    return []


MODELS = {model.__name__: model for model in models()}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_message_is_the_validators(model: type[Config]) -> None:
    found = [message for name in model.model_fields for value in WRONG for message in messages(model, {name: value})]
    found += [message for value in WRONG for message in messages(model, value)]
    assert found
    for kind, raw, ours in found:
        assert ours.strip()
        assert raw not in ours or kind == "config"
        assert not any(text in ours for text in RAW), (kind, ours)
        assert not ours.startswith("cannot be used here") or kind == "invalid_key", (kind, raw)
        assert ours[0].islower() or not ours[0].isalpha()
        assert "\n" not in ours


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("student.hidden=''", "is empty; it must be a whole number"),
        ("student.hidden=' '", "is empty; it must be a whole number"),
        ("student.hidden=1.5", "must be a whole number (given: 1.5)"),
        ("student.hidden=true", "must be a whole number (given: true)"),
        ("student.hidden=[8]", "must be a whole number"),
        ("training.learning_rate=''", "is empty; it must be a number"),
        ("training.learning_rate='fast'", "must be a number (given: 'fast')"),
        ("training.learning_rate=nan", "must be a finite number (given: nan)"),
        ("training.optimizer=''", "is empty; it must be 'adam', 'adamax' or 'adamw'"),
        ("training.optimizer='sgd'", "must be 'adam', 'adamax' or 'adamw' (given: 'sgd')"),
        ("seeds.retrain_teacher='maybe'", "must be true or false (given: 'maybe')"),
        ("seeds.retrain_teacher=''", "is empty; it must be true or false"),
        ("description=3", "must be text (given: 3)"),
        ("assistants=3", "must be a list (given: 3)"),
        ("student=''", "is empty; it must be a table"),
    ],
)
def test_a_message_says_what_is_needed(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("digits", [override])
    assert [problem.message for problem in caught.value.problems] == [expected]
