"""The safetensors container: 8 bytes of length, a JSON header, raw little-endian numbers.

Both ways are our own. A file is written tensor by tensor, as the library of that name cannot, because a training task
must not hold its state twice; and read as views of a mapped file, every number of the header checked before anything is
taken from the data, with an error that says which file is wrong and how.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nnframes.errors import ArgumentError, ModelFileError

__all__ = ["pack", "pieces", "unpack"]

_DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
_MAX_HEADER = 100_000_000
_ALIGNMENT = 8
_METADATA = "__metadata__"
_CURE = "Hint: the file is damaged or not a model; copy or save it again."


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write tensors and text metadata as one safetensors file; equal content gives equal bytes.

    Raises `ArgumentError` for a tensor of another type than float32, float64, int32, int64 and uint8.

    >>> unpack(pack({"weight": np.ones((2, 3), np.float32)}, {"k": "v"}), "example")[1]
    {'k': 'v'}
    """
    return b"".join(pieces(tensors, metadata))


def pieces(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """Give what `pack` returns piece by piece: the header, then each tensor, mostly a view of its own memory.

    >>> [len(piece) for piece in pieces({"weight": np.ones((2, 3), np.float32)})]
    [72, 24]
    """
    # The widest types first: so every tensor begins at a multiple of its item's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    place = 0
    for name in names:
        end = place + tensors[name].nbytes
        header[name] = {"dtype": _code(name, tensors[name]), "shape": tensors[name].shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        little = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), "C", copy=False)
        yield little.reshape(-1).view(np.uint8).data


def _code(name: str, tensor: np.ndarray) -> str:
    wanted = tensor.dtype.newbyteorder("<")
    for code, dtype in _DTYPES.items():
        if wanted == np.dtype(dtype):
            return code
    raise ArgumentError(f"tensor '{name}' must be one of {', '.join(_DTYPES)}. Received: {tensor.dtype}.")


def unpack(data: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors of a safetensors file, as views of `data`, and its metadata.

    `data` is bytes or any other buffer, such as a mapped file; `name` stands for it in errors. Raises `ModelFileError`
    for a header that is too long, malformed or contradicts the data in any number.
    """
    view = memoryview(data).cast("B")
    header, start = _header(view, name)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ModelFileError(f"{name}: the header's {_METADATA} must be text by name. {_CURE}")
    body = len(view) - start
    ends = {key: _checked(key, entry, body, name) for key, entry in header.items()}
    _check_covered(header, body, name)
    return {
        key: np.frombuffer(view, dtype, math.prod(shape), start + low).reshape(shape)
        for key, (dtype, shape, low) in ends.items()
    }, metadata


def _header(view: memoryview, name: str) -> tuple[dict[str, Any], int]:
    if len(view) < 8:
        raise ModelFileError(f"{name}: expected a header of 8 bytes at least, received {len(view)} bytes. {_CURE}")
    length = int.from_bytes(view[:8], "little")
    limit = min(_MAX_HEADER, len(view) - 8)
    if length > limit:
        raise ModelFileError(f"{name}: the header must have at most {limit} bytes. Received: {length}. {_CURE}")
    if length % _ALIGNMENT:
        raise ModelFileError(f"{name}: the header's length must be a multiple of 8. Received: {length}. {_CURE}")
    try:
        header = json.loads(bytes(view[8 : 8 + length]), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}: the header must be JSON. Received: {error}. {_CURE}") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{name}: the header must be a JSON object. Received: {type(header).__name__}. {_CURE}")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _checked(key: str, entry: Any, body: int, name: str) -> tuple[str, tuple[int, ...], int]:
    """dtype, shape and first byte of a tensor, after checking that they fit each other and the data."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{name}: tensor '{key}' must have dtype, shape and data_offsets. {_CURE}")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ModelFileError(f"{name}: tensor '{key}' must be one of {', '.join(_DTYPES)}. Received: {str(code)[:40]}.")
    if not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2:
        raise ModelFileError(f"{name}: tensor '{key}' must have whole numbers >= 0 as shape and offsets. {_CURE}")
    low, high = offsets
    size = math.prod(shape) * np.dtype(_DTYPES[code]).itemsize
    if high - low != size or high > body or low % np.dtype(_DTYPES[code]).itemsize:
        raise ModelFileError(
            f"{name}: tensor '{key}' of shape {tuple(shape)} expects {size} bytes within {body}, "
            f"received bytes {low} to {high}. {_CURE}"
        )
    return _DTYPES[code], tuple(shape), low


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(type(item) is int and item >= 0 for item in value)


def _check_covered(header: Mapping[str, Any], body: int, name: str) -> None:
    """No gap and no overlap: bytes that no tensor names could hide anything."""
    place = 0
    for low, high in sorted(entry["data_offsets"] for entry in header.values()):
        if low != place:
            raise ModelFileError(
                f"{name}: tensors must follow one another: expected byte {place}, received {low}. {_CURE}"
            )
        place = high
    if place != body:
        raise ModelFileError(f"{name}: the tensors expect {place} bytes, received {body}. {_CURE}")
