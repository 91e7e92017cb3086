"""Every message survives a round trip; anything else is refused with a reason."""

from __future__ import annotations

import math
import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nfkd.config import ConfigProblem
from nfkd.protocol import (
    comparing,
    copying,
    events,
    inspection,
    lab,
    pictures,
    queue,
    records,
    requests,
    run_rows,
    times,
)
from nfkd.protocol import data as data_messages
from nfkd.protocol.codec import from_client, from_engine, to_wire
from nfkd.protocol.frames import FrameDecoder, FrameError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DTYPES = st.one_of(
    hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.boolean_dtypes()
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3))
)


SAVED = [
    (records.LayerPair, {"student": "step1", "teacher": "step2", "words": "step 1 ↔ step 2", "weight": 1.0}),
    (
        records.Verdict,
        {"verdict": "better", "metric": "C2ST", "unit": "", "difference": 0.1, "low": 0.1, "high": 0.1}
        | {"seeds": [1], "differences": [0.1], "words": "Better.", "others": []},
    ),
]
"""Records with the names that they have in the files of runs, which older versions wrote too."""


@pytest.mark.parametrize(("kind", "fields"), SAVED)
def test_records_keep_their_names_in_files(kind: type[records.Message], fields: dict[str, Any]) -> None:
    saved = {"type": kind.__name__, **fields}
    record = msgspec.json.decode(msgspec.json.encode(saved), type=kind)
    assert record.summary == fields["words"]  # type: ignore[attr-defined]
    assert saved.items() <= msgspec.json.decode(msgspec.json.encode(record)).items()


# --- messages generated from their annotations -----------------------------------------------------------------------


@cache
def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line for each kind of annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(member) for member in arguments))
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if origin is tuple:
        return st.tuples(*(values(member) for member in arguments))
    if annotation is np.ndarray or origin is np.ndarray:
        return ARRAYS
    if isinstance(annotation, type) and issubclass(annotation, records.Message):
        return messages(annotation)
    simple = {
        str: TEXTS,
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(),
        bool: st.booleans(),
        bytes: st.binary(max_size=64),
        type(None): st.none(),
        ConfigProblem: st.builds(ConfigProblem, TEXTS, TEXTS),
    }
    return simple[annotation]


@cache  # Hypothesis prepares a strategy anew wherever it is made anew
def messages(kind: type[records.Message]) -> st.SearchStrategy[Any]:
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__}
    limited = {"created": st.floats(0, 4e9)} if kind is run_rows.RunRow else {}
    return st.deferred(lambda: st.builds(kind, **({name: values(hint) for name, hint in hints.items()} | limited)))


def same(one: Any, other: Any) -> bool:
    """Compare two messages by value; NaN equals NaN."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, msgspec.Struct):
        pairs = ((getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
        return type(one) is type(other) and all(same(*pair) for pair in pairs)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


def body(message: Any) -> bytes:
    (found,) = FrameDecoder().feed(to_wire(message))
    return found


MODULES = (
    comparing, copying, data_messages, events, inspection, lab, pictures, queue, records, requests, run_rows, times,
)  # fmt: skip
REQUESTS, REPLIES, EVENTS = get_args(requests.Request), get_args(requests.Reply), get_args(events.Event)


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*REQUESTS, *REPLIES, *EVENTS], ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_every_message_survives_a_round_trip(kind, data):
    message = data.draw(messages(kind))
    if kind in REQUESTS:
        call = requests.Call(id=7, request=message)
        assert same(from_client(body(call)), call)
    else:
        sent = requests.Answer(id=7, reply=message) if kind in REPLIES else requests.Notice(event=message)
        assert same(from_engine(body(sent)), sent)


@given(messages(requests.Hello), messages(requests.Refusal), messages(requests.Received))
def test_greetings_refusals_and_counts_survive_a_round_trip(hello, refusal, received):
    assert same(from_client(body(hello)), hello)
    assert same(from_client(body(received)), received)
    assert same(from_engine(body(hello)), hello)
    assert same(from_engine(body(refusal)), refusal)


def test_every_message_belongs_to_a_union():
    bases = {records.Message, records.RunMessage, records.StageMessage, events.Picture, inspection.InspectMessage}
    found = {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, records.Message)
    }
    reached: set[type] = {*bases, *get_args(requests.FromClient), *get_args(requests.FromEngine)}
    todo = [*REQUESTS, *REPLIES, *EVENTS, requests.Refusal]
    while todo:
        kind = todo.pop()
        reached.add(kind)
        for hint in get_type_hints(kind).values():
            todo += [member for member in member_types(hint) if member not in reached]
    assert found == reached


def member_types(hint: Any) -> list[type]:
    if isinstance(hint, type) and not get_args(hint):
        return [hint] if issubclass(hint, records.Message) else []
    if isinstance(hint, TypeVar):
        return []
    return [kind for argument in get_args(hint) for kind in member_types(argument)]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.asfortranarray(np.ones((2, 3))),
        np.arange(3, dtype=">i4"),
        np.array(2.0),
    ],
    ids=["strided", "Fortran order", "big-endian", "no dimension"],
)
def test_an_array_of_any_memory_layout_keeps_its_values(array):
    event = events.MatchingMeasured(run="r", seed=1, stage="student", step=2, error=array)
    arrived = from_engine(body(requests.Notice(event=event)))
    assert isinstance(arrived, requests.Notice)
    assert isinstance(arrived.event, events.MatchingMeasured)
    np.testing.assert_array_equal(arrived.event.error, array)
    assert arrived.event.error.dtype == array.dtype
    assert arrived.event.error.shape == array.shape


def test_numpy_scalars_are_sent_as_numbers():
    row = events.Progress(
        run="r",
        seed=1,
        stage="student",
        step=np.int64(3),  # pyright: ignore[reportArgumentType]
        steps=4,
        steps_per_second=np.float32(0.5),  # pyright: ignore[reportArgumentType]
        seconds_left=1.0,
        fraction=0.75,
    )
    arrived = from_engine(body(requests.Notice(event=row)))
    assert isinstance(arrived, requests.Notice)
    assert isinstance(arrived.event, events.Progress)
    assert (arrived.event.step, arrived.event.steps_per_second) == (3, 0.5)


# --- refused ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_random_bytes_are_decoded_or_refused(garbage):
    for decode in (from_client, from_engine):
        try:
            assert isinstance(decode(garbage), records.Message)
        except FrameError as error:
            assert "cannot be decoded" in str(error)  # noqa: PT017 - either is right


@settings(max_examples=50)
@given(messages(requests.Interpolations), st.data())
def test_a_damaged_body_is_decoded_or_refused(message, data):
    good = bytearray(body(requests.Answer(id=1, reply=message)))
    index = data.draw(st.integers(0, len(good) - 1))
    good[index] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    for damaged in (bytes(good), bytes(good[:cut])):
        try:
            assert isinstance(from_engine(damaged), records.Message)
        except FrameError as error:
            assert "cannot be decoded" in str(error)  # noqa: PT017 - either is right


def measured_by_hand(array: Any) -> bytes:
    event = {"type": "MatchingMeasured", "run": "r", "seed": 1, "stage": "student", "step": 2, "error": array}
    return msgspec.msgpack.encode({"type": "Notice", "event": event})


def test_the_hand_made_message_of_the_next_test_is_valid():
    arrived = from_engine(measured_by_hand(["<f8", [2], np.array([1.0, 2.0]).tobytes()]))
    assert isinstance(arrived, requests.Notice)
    assert isinstance(arrived.event, events.MatchingMeasured)
    assert arrived.event.error.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "array",
    [
        None,
        5,
        "abc",
        [],
        ["<f8", [2]],
        ["<f8", [2], b"short"],
        ["<f8", [-1], b""],
        ["<f8", [-2, -1], b"0123456789abcdef"],
        ["<f8", [2**63], b""],
        ["<f8", [0.5], b""],
        ["<f8", ["1"], b"01234567"],
        ["<f8", "1", b"01234567"],
        ["|O", [1], b"01234567"],
        ["O8", [1], b"01234567"],
        ["<U2", [1], b"01234567"],
        ["V8", [1], b"01234567"],
        ["<M8[s]", [1], b"01234567"],
        ["<c8", [1], b"01234567"],
        ["f8,f8", [1], b"0123456789abcdef"],
        ["(2,)f4", [1], b"01234567"],
        ["f99", [1], b"0" * 99],
        ["float64", [1], b"01234567"],
        ["import os", [1], b"01234567"],
        ["<f8", [1], "01234567"],
        ["<f8", [1] * 100, b"01234567"],
        ["<f8", [0, 2**62, 2**62], b""],
    ],
    ids=repr,
)
def test_an_array_of_other_types_than_plain_numbers_is_refused(array):
    with pytest.raises(FrameError, match="cannot be decoded"):
        from_engine(measured_by_hand(array))


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["text"]), np.array([1j]), np.array(["2025-01-01"], "datetime64[D]")]
)
def test_an_array_of_other_types_than_plain_numbers_is_not_sent(array):
    event = events.MatchingMeasured(run="r", seed=1, stage="student", step=2, error=array)
    with pytest.raises(ValueError, match="cannot be sent"):
        to_wire(requests.Notice(event=event))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Call", "id": 1, "request": {"type": "Format", "disk": "all"}},
        {"type": "Call", "id": "one", "request": {"type": "Status"}},
        {"type": "Call", "id": 1, "request": {"type": "Stop", "run": "r", "scope": "world"}},
        {
            "type": "Call",
            "id": 1,
            "request": {"type": "Sample", "run": "r", "seed": 1, "count": "64", "temperature": 1.0},
        },
        {"type": "Answer", "id": 1, "reply": {"type": "Done"}},
        {"type": "Call", "id": 1},
        ["Call", 1],
        None,
        {},
    ],
    ids=repr,
)
def test_a_message_of_the_wrong_type_is_refused(message):
    with pytest.raises(FrameError, match="cannot be decoded"):
        from_client(msgspec.msgpack.encode(message))


def test_deep_nesting_is_refused():
    with pytest.raises(FrameError, match="cannot be decoded"):
        from_client(b"\x91" * 100_000)
