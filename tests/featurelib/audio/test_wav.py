from __future__ import annotations

import struct
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelib import DecodeError
from featurelib.audio import AudioDecode
from featurelib.audio.functional import encode_wav
from featurelib.audio.wav import read_wav

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = struct.pack("<IHH", 0, 0, 16)[2:] + bytes.fromhex("800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def form(tag: int, bits: int, channels: int = 1, rate: int = 8000, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    return struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits)


def extensible(tag: int, bits: int, tail: bytes = GUID_TAIL) -> bytes:
    return form(EXTENSIBLE, bits) + struct.pack("<HHIH", 22, bits, 0, tag) + tail


def wav(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def packed(values: list[int], bits: int) -> bytes:
    return b"".join(value.to_bytes(bits // 8, "little", signed=bits > 8) for value in values)


def integers(bits: int) -> tuple[list[int], list[float]]:
    """The values at the ends and in the middle, and what they mean."""
    top = 1 << (bits - 1)
    zero = top if bits == 8 else 0
    return [zero - top, zero, zero + top // 2, zero + top - 1], [-1.0, 0.0, 0.5, 1 - 1 / top]


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("header", [form, extensible])
def test_integers(bits: int, header: Any) -> None:
    stored, meant = integers(bits)
    samples, rate = read_wav(wav(chunk(b"fmt ", header(PCM, bits)), chunk(b"data", packed(stored, bits))))
    assert rate == 8000
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.array([meant], np.float32))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("header", [form, extensible])
def test_floats_stay_what_they_are(bits: int, header: Any) -> None:
    stored = np.array([0.25, -1.5, np.nan, 1e300 if bits == 64 else np.inf], f"<f{bits // 8}")
    samples, _ = read_wav(wav(chunk(b"fmt ", header(FLOAT, bits)), chunk(b"data", stored.tobytes())))
    np.testing.assert_array_equal(samples, np.array([[0.25, -1.5, np.nan, np.inf]], np.float32))


def test_channels_are_taken_apart_and_averaged() -> None:
    data = wav(chunk(b"fmt ", form(PCM, 16, channels=2)), chunk(b"data", packed([16384, 0, -16384, 8192, 7, 7], 16)))
    np.testing.assert_array_equal(read_wav(data)[0][:, :2], [[0.5, -0.5], [0, 0.25]])
    np.testing.assert_array_equal(AudioDecode()(data)[:2], [0.25, -0.125])
    assert AudioDecode(mono=False)(data).shape == (2, 3)


def test_other_chunks_are_passed_over_and_half_a_frame_is_dropped() -> None:
    data = wav(
        chunk(b"LIST", b"odd"), chunk(b"fmt ", form(PCM, 16)), chunk(b"bext", bytes(9)), chunk(b"data", b"\0@\0")
    )
    assert read_wav(data)[0].tolist() == [[0.5]]


def test_a_size_that_was_not_known_means_the_rest() -> None:
    data = wav(chunk(b"fmt ", form(PCM, 16)), chunk(b"data", packed([1, 2, 3], 16), size=0xFFFFFFFF))
    assert read_wav(data)[0].shape == (1, 3)


def test_encode_and_read() -> None:
    signal = np.array([[0.0, 0.5, -1.0], [1.0, 2.0, -3.0]])
    samples, rate = read_wav(encode_wav(signal, 44100))
    np.testing.assert_array_equal(samples, np.array([[0, 0.5, -1], [1 - 2**-15, 1 - 2**-15, -1]], np.float32))
    assert rate == 44100


SAMPLES = chunk(b"data", bytes(8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF", "must be a wav file (RIFF, WAVE). Received: 4 bytes that begin with b'RIFF'"),
        (b"RIFX" + bytes(40), "begin with b'RIFX"),
        (wav(), "truncated: no samples in 12 bytes"),
        (wav(chunk(b"fmt ", form(PCM, 16))), "truncated: no samples in 36 bytes"),
        (wav(SAMPLES, chunk(b"fmt ", form(PCM, 16))), "must state its format before its samples"),
        (wav(chunk(b"fmt ", b"1234"), SAMPLES), "truncated: its format has 4 bytes"),
        (wav(chunk(b"fmt ", extensible(PCM, 16)[:24]), SAMPLES), "truncated: its format has 24 bytes"),
        (wav(chunk(b"fmt ", extensible(PCM, 16, bytes(14))), SAMPLES), "Received: subformat 0100000000"),
        (wav(chunk(b"fmt ", form(PCM, 12, align=2)), SAMPLES), "Received: PCM, 12 bits. Hint: convert it to PCM."),
        (wav(chunk(b"fmt ", form(FLOAT, 16)), SAMPLES), "Received: float, 16 bits."),
        (wav(chunk(b"fmt ", form(85, 0)), SAMPLES), "Received: MP3, 0 bits."),
        (wav(chunk(b"fmt ", form(7, 8)), SAMPLES), "Received: mu-law, 8 bits."),
        (wav(chunk(b"fmt ", form(1234, 8)), SAMPLES), "Received: format 1234, 8 bits."),
        (wav(chunk(b"fmt ", form(PCM, 16, channels=0)), SAMPLES), "1 to 64 channels"),
        (wav(chunk(b"fmt ", form(PCM, 16, channels=65)), SAMPLES), "Received: 65 channels of 16 bits"),
        (wav(chunk(b"fmt ", form(PCM, 16, align=4)), SAMPLES), "1 channels of 16 bits in frames of 4 bytes"),
        (wav(chunk(b"fmt ", form(PCM, 16, rate=0)), SAMPLES), "1000 to 768000 samples a second. Received: 0."),
        (wav(chunk(b"fmt ", form(PCM, 16, rate=2**31)), SAMPLES), "Received: 2147483648."),
        (wav(chunk(b"fmt ", form(PCM, 16)), chunk(b"data", b"")), "must hold samples. Received: 0 bytes of them."),
        (wav(chunk(b"fmt ", form(PCM, 32)), chunk(b"data", b"123")), "must hold samples. Received: 3 bytes of them."),
        (
            wav(chunk(b"fmt ", form(PCM, 16)), chunk(b"data", bytes(6), size=0xFFFFFFF0)),
            "announces 4294967280 bytes of samples and holds 6",
        ),
        (wav(chunk(b"junk", b"", size=0xFFFFFFF0), chunk(b"fmt ", form(PCM, 16)), SAMPLES), "no samples in"),
    ],
)
def test_bad_files(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        AudioDecode()(data)
    assert message in str(caught.value)


def test_a_header_cannot_ask_for_memory() -> None:
    bomb = wav(chunk(b"fmt ", form(PCM, 8, rate=1000)), chunk(b"data", bytes(200_000)))
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"at most 134217728 samples\. Received: 200000 in 1 channels at 1000 Hz"):
        AudioDecode(768000)(bomb)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


GOOD = wav(chunk(b"fmt ", extensible(PCM, 16)), chunk(b"LIST", b"abc"), chunk(b"data", bytes(range(64))))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(GOOD)))
@settings(deadline=None, max_examples=400)
def test_damaged_files_give_samples_or_a_decode_error(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    try:
        signal = AudioDecode()(bytes(data[:length]))
    except DecodeError:
        return
    assert signal.ndim == 1
    assert 0 < signal.size <= len(GOOD)


def test_recordings_are_read_as_by_the_standard_library(data_dir: Path) -> None:
    files = sorted((data_dir / "free-spoken-digits" / "recordings").glob("*_0.wav"))
    assert len(files) == 60
    for path in files:
        with wave.open(str(path)) as file:
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        samples, rate = read_wav(path.read_bytes())
        assert rate == 8000
        np.testing.assert_array_equal(samples, frames[None] / np.float32(32768))
