"""Messages as MessagePack and JSON; NumPy arrays become (dtype, shape, bytes)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec
import numpy as np

from nfkd.protocol.frames import FrameError, encode_frame
from nfkd.protocol.requests import FromClient, FromEngine
from nfkd.text import is_unicode, plain_lines

PROTOCOL = 13
"""Version of the protocol, which must be the same on both sides; raise it when a message changes its meaning."""

_KINDS = frozenset("fiub")  # plain numbers only: an object array could run code
_DTYPE = re.compile(r"[<>|=]?[fiub]\d{1,2}")


def _encode_extra(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray", value)
        if array.dtype.kind not in _KINDS:
            msg = f"an array of {array.dtype} cannot be sent"
            raise ValueError(msg)
        return (array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())
    if isinstance(value, np.generic):
        return cast("np.generic[Any]", value).item()
    msg = f"{type(value).__name__} cannot be sent"
    raise NotImplementedError(msg)


def encode_json(value: msgspec.Struct) -> bytes:
    """Return a message as JSON; invalid Unicode, such as in a file name, is escaped."""
    return _encoded(msgspec.json.encode, value)


def _encoded(encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except UnicodeEncodeError:
        return encode(_escape_invalid(msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_encode_extra)))


def _escape_invalid(value: Any) -> Any:
    """Escape invalid Unicode in all strings of nested lists and dicts."""
    match value:
        case str():
            return value if is_unicode(value) else plain_lines(value)
        case dict():
            table = cast("dict[Any, Any]", value)
            return {_escape_invalid(key): _escape_invalid(item) for key, item in table.items()}
        case list() | tuple():
            return [_escape_invalid(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _decode_extra(kind: type, value: Any) -> Any:
    if kind is not np.ndarray:
        msg = f"{kind.__name__} cannot be received"
        raise NotImplementedError(msg)
    try:
        text, shape, data = msgspec.convert(value, tuple[str, tuple[int, ...], bytes])
    except msgspec.ValidationError as error:
        msg = "an array must be (dtype, shape, bytes)"
        raise ValueError(msg) from error
    dtype = _number_dtype(text)
    if any(size < 0 for size in shape):
        msg = f"an array cannot have the shape {shape}"
        raise ValueError(msg)
    if math.prod(shape) * dtype.itemsize != len(data):
        msg = f"an array of shape {shape} and type {dtype} cannot have {len(data)} bytes"
        raise ValueError(msg)
    return np.frombuffer(data, dtype).reshape(shape)


def _number_dtype(text: str) -> np.dtype[Any]:
    if not _DTYPE.fullmatch(text):
        msg = "an array must hold plain numbers"
        raise ValueError(msg)
    try:
        return np.dtype(text)
    except TypeError as error:
        msg = f"an array cannot hold {text!r}"
        raise ValueError(msg) from error


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_extra)
_client_decoder = msgspec.msgpack.Decoder(FromClient, dec_hook=_decode_extra)
_engine_decoder = msgspec.msgpack.Decoder(FromEngine, dec_hook=_decode_extra)


def to_wire(message: FromClient | FromEngine) -> bytes:
    """Return a message as one frame; invalid Unicode is escaped.

    Raises
    ------
    FrameError
        When the message is longer than a frame may be.
    """
    return encode_frame(_encoded(_encoder.encode, message))


def from_client(body: bytes) -> FromClient:
    """Decode the body of a client's frame.

    Raises
    ------
    FrameError
        With the reason, when it is not a message of a client.
    """
    return _decode(_client_decoder, body)


def from_engine(body: bytes) -> FromEngine:
    """Decode the body of an engine's frame; raises as `from_client`."""
    return _decode(_engine_decoder, body)


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        msg = f"a message cannot be decoded: {error}"
        raise FrameError(msg) from error
