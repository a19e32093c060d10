"""Wav files: a bounded reader of RIFF chunks.

Own, because it is a page of numpy: `soundfile` would bring libsndfile (LGPL, native) to every executor for the one
format that carries samples as they are. Compressed formats are refused by name. Nothing is allocated by what a header
says: samples are a view of the bytes that are there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featurelib.errors import DecodeError

__all__ = ["RATES", "read_wav"]

RATES = (1000, 768000)  # samples a second that are believed: beyond them a header is damaged, or meant to do harm

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OF_TAGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3"}
_UNKNOWN_SIZE = 0xFFFFFFFF  # what programs write that do not know yet how long the file will be
_MAX_CHANNELS = 64
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # after the two bytes of the format, of every wav subformat


@dataclass(frozen=True)
class _Format:
    tag: int
    channels: int
    rate: int
    bits: int


def read_wav(data: bytes) -> tuple[np.ndarray, int]:
    """Return (float32 samples (channels, n) in [-1, 1], samples a second).

    Integers of 8 (unsigned), 16, 24 and 32 bits are divided by 2^(bits - 1); floats of 32 and 64 bits stay what they
    are, beyond [-1, 1] too. Raises `DecodeError` for what is no wav file, is cut off, holds no samples, is compressed,
    or has a header that cannot be true.

    >>> from featurelib.audio.functional import encode_wav
    >>> samples, rate = read_wav(encode_wav(np.array([0.0, 0.5, -1.0]), 8000))
    >>> samples.tolist(), rate
    ([[0.0, 0.5, -1.0]], 8000)
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        received = f"{len(data)} bytes that begin with {bytes(data[:12])!r}" if len(data) else "0 bytes"
        raise DecodeError(f"audio must be a wav file (RIFF, WAVE). Received: {received}.")
    known: _Format | None = None
    for name, start, size in _chunks(data):
        if name == b"fmt ":
            known = _format(data[start : start + size])
        elif name == b"data":
            if known is None:
                raise DecodeError("wav file must state its format before its samples.")
            return _samples(data, start, size, known), known.rate
    raise DecodeError(f"wav file is truncated: no samples in {len(data)} bytes.")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of the chunks; a chunk is at least its own header, so the walk ends."""
    start = 12
    while start + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, start + 8, size
        start += 8 + size + size % 2


def _format(chunk: bytes) -> _Format:
    try:
        tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", chunk)
        if tag == _EXTENSIBLE:
            (tag,) = struct.unpack_from("<H", chunk, 24)
            if chunk[26:40] != _GUID_TAIL:
                raise DecodeError(f"wav file must hold PCM or float samples. Received: subformat {chunk[24:40].hex()}.")
    except struct.error:
        raise DecodeError(f"wav file is truncated: its format has {len(chunk)} bytes.") from None
    kind, _, sizes = _KINDS.get(tag, (_OF_TAGS.get(tag, f"format {tag}"), None, ()))
    if bits not in sizes:
        raise DecodeError(
            "wav file must hold PCM of 8, 16, 24 or 32 bits or floats of 32 or 64. "
            f"Received: {kind}, {bits} bits. Hint: convert it to PCM."
        )
    if not 1 <= channels <= _MAX_CHANNELS or align != channels * bits // 8:
        raise DecodeError(
            f"wav file must have 1 to {_MAX_CHANNELS} channels, and frames of channels x bits. "
            f"Received: {channels} channels of {bits} bits in frames of {align} bytes."
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise DecodeError(f"wav file must have {RATES[0]} to {RATES[1]} samples a second. Received: {rate}.")
    return _Format(tag, channels, rate, bits)


def _samples(data: bytes, start: int, size: int, known: _Format) -> np.ndarray:
    there = len(data) - start
    if size == _UNKNOWN_SIZE:
        size = there
    if size > there:
        raise DecodeError(f"wav file is truncated: it announces {size} bytes of samples and holds {there}.")
    frames = size // (known.channels * known.bits // 8)
    if not frames:
        raise DecodeError(f"wav file must hold samples. Received: {size} bytes of them.")
    raw = np.frombuffer(data, np.uint8, frames * known.channels * known.bits // 8, start)
    _, decode, _ = _KINDS[known.tag]
    return np.ascontiguousarray(decode(raw, known.bits).reshape(frames, known.channels).T)


def _integers(raw: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8:
        return (raw.astype(np.float32) - 128) / 128
    if bits == 24:  # the three bytes become the upper ones of four
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)
        raw, bits = wide.reshape(-1), 32
    return (raw.view(f"<i{bits // 8}") / np.float64(1 << (bits - 1))).astype(np.float32)


def _floats(raw: np.ndarray, bits: int) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, as it would anywhere later
        return raw.view(f"<f{bits // 8}").astype(np.float32)


_KINDS = {_PCM: ("PCM", _integers, (8, 16, 24, 32)), _FLOAT: ("float", _floats, (32, 64))}
