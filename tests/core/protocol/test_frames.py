"""Frames decode from a byte stream cut at any point; other bytes are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.protocol.frames import MAX_FRAME, FrameDecoder, FrameError, encode_frame

BODIES = st.lists(st.binary(max_size=300), max_size=6)


def is_not_a_frame(data: bytes) -> bool:
    return data[:2] not in (b"N", b"NF")


def test_a_frame_is_magic_length_and_body():
    assert encode_frame(b"hello") == b"NF\x00\x00\x00\x05hello"


@settings(max_examples=50)
@given(BODIES, st.data())
def test_frames_decode_from_pieces_of_any_size(bodies, data):
    stream = b"".join(map(encode_frame, bodies))
    decoder, found = FrameDecoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies
    assert decoder.pending == 0


@settings(max_examples=40)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_cut_stream_yields_its_complete_frames(first, second):
    stream = encode_frame(first) + encode_frame(second)
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder()
        complete = list(decoder.feed(stream[:cut]))
        assert complete == [first, second][: len(complete)]
        assert len(complete) == (cut >= len(encode_frame(first))) + (cut == len(stream))
        assert decoder.pending == cut - sum(len(encode_frame(body)) for body in complete)
        assert complete + list(decoder.feed(stream[cut:])) == [first, second]


@settings(max_examples=50)
@given(BODIES, st.binary(min_size=1, max_size=60).filter(is_not_a_frame))
def test_other_bytes_are_refused_and_shown(bodies, stray):
    decoder = FrameDecoder()
    assert list(decoder.feed(b"".join(map(encode_frame, bodies)))) == bodies
    with pytest.raises(FrameError, match="not a frame") as caught:
        list(decoder.feed(stray))
    assert repr(stray[:16]) in str(caught.value)


@pytest.mark.parametrize("line", [b"Epoch 1: loss 0.3\n", b"Traceback (most recent call last):\n", b"N", b"NFKD\n"])
def test_a_stray_print_between_two_frames_is_refused(line):
    decoder = FrameDecoder()
    assert list(decoder.feed(encode_frame(b"one"))) == [b"one"]
    with pytest.raises(FrameError, match=r"not a frame|over the limit"):
        list(decoder.feed(line + encode_frame(b"two")))


def test_a_single_stray_character_is_refused_at_once():
    with pytest.raises(FrameError, match="not a frame"):
        list(FrameDecoder().feed(b"\n"))


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 2**32 - 1])
def test_a_frame_over_the_limit_is_refused_before_its_body_arrives(length):
    with pytest.raises(FrameError, match="over the limit"):
        list(FrameDecoder().feed(struct.pack(">2sI", b"NF", length)))


def test_the_limit_itself_is_allowed():
    decoder = FrameDecoder(limit=4)
    assert list(decoder.feed(encode_frame(b"four"))) == [b"four"]
    with pytest.raises(FrameError, match="5 bytes is over the limit of 4"):
        list(decoder.feed(encode_frame(b"fives")))


def test_a_body_over_the_limit_is_not_encoded():
    class Long(bytes):
        def __len__(self) -> int:
            return MAX_FRAME + 1

    with pytest.raises(FrameError, match="longer than"):
        encode_frame(Long())


def test_a_broken_stream_stays_refused():
    decoder = FrameDecoder()
    for data in (b"stray output", encode_frame(b"one")):
        with pytest.raises(FrameError):
            list(decoder.feed(data))


def test_an_empty_body_is_a_frame_and_no_bytes_are_none():
    decoder = FrameDecoder()
    assert list(decoder.feed(b"")) == []
    assert list(decoder.feed(encode_frame(b""))) == [b""]


@settings(max_examples=50)
@given(st.binary(max_size=60).filter(lambda text: b"\0" not in text), BODIES.filter(bool), st.data())
def test_text_before_the_first_frame_is_skipped_and_kept(text, bodies, data):
    stream = text + b"".join(map(encode_frame, bodies))
    decoder, found = FrameDecoder(preamble=64), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies
    assert decoder.skipped == text
    with pytest.raises(FrameError):
        list(decoder.feed(b"later text"))


def test_too_much_text_before_the_first_frame_is_refused():
    decoder = FrameDecoder(preamble=64)
    assert list(decoder.feed(b"x" * 64)) == []
    with pytest.raises(FrameError, match="not a frame"):
        list(decoder.feed(b"x"))
    assert decoder.skipped == b"x" * 64
