from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from featurelib.audio import MFCC, AudioDecode, AudioPadOrTrim, Framing, LogMelSpectrogram
from featurelib.audio import functional as F
from kernels.errors import ArgumentError

NOISE = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)


def tone(frequency: float, rate: int, count: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(count) / rate).astype(np.float32)


def resampled_by_the_formula(signal: np.ndarray, source: int, target: int) -> list[float]:
    """One sample after the other: a sinc of six crossings to each side under a Hann window."""
    band = 0.99 * min(source, target) / source
    found = []
    for n in range(math.ceil(len(signal) * target / source)):
        total = 0.0
        for k, value in enumerate(signal):
            t = (k - n * source / target) * band
            if abs(t) < 6:
                total += value * np.sinc(t) * math.cos(t * math.pi / 12) ** 2 * band
        found.append(total)
    return found


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (16000, 8000), (44100, 16000), (8000, 11025), (9, 7)])
def test_resampling_is_the_formula(source: int, target: int) -> None:
    wanted = resampled_by_the_formula(NOISE[:120], source, target)
    np.testing.assert_allclose(F.resample(NOISE[:120], source, target), wanted, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (16000, 8000), (44100, 8000), (8000, 22050)])
def test_a_tone_stays_a_tone(source: int, target: int) -> None:
    count = source // 4
    found = F.resample(tone(440, source, count), source, target)
    inner = slice(len(found) // 10, -len(found) // 10)
    np.testing.assert_allclose(found[inner], tone(440, target, len(found))[inner], atol=0.01)


def test_a_tone_above_the_new_band_vanishes() -> None:
    found = F.resample(tone(7000, 16000, 4000), 16000, 8000)
    assert abs(found[100:-100]).max() < 0.01


def test_resampling_is_close_to_scipys() -> None:
    scipy = pytest.importorskip("scipy.signal", reason="a second opinion, not a dependency")
    smooth = sum(tone(f, 8000, 2000) for f in (200, 777, 1500)) / 3
    found, wanted = F.resample(smooth, 8000, 12000), scipy.resample_poly(smooth, 3, 2)
    np.testing.assert_allclose(found[100:-100], wanted[100:-100], atol=0.02)


def test_blocks_and_channels_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    both = np.stack([NOISE, NOISE[::-1]])
    whole = F.resample(both, 8000, 11025)
    monkeypatch.setattr(F, "_BLOCK", 64)
    np.testing.assert_array_equal(F.resample(both, 8000, 11025), whole)
    np.testing.assert_array_equal(F.resample(NOISE, 8000, 11025), whole[0])


def test_the_mel_scale_is_htk() -> None:
    filters = F.mel_filters(16000, 512, 3, 0.0, 8000.0)
    highest = 2595 * math.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (highest * i / 4 / 2595) - 1) for i in range(5)]
    for row, centre in zip(filters, corners[1:4], strict=True):
        assert abs(row.argmax() * 16000 / 512 - centre) <= 16000 / 512
    np.testing.assert_allclose(
        filters.sum(axis=0)[(bins := np.arange(257) * 31.25) < corners[3]][2:].max(), 1, atol=1e-9
    )
    inner = (bins > corners[1]) & (bins < corners[3])
    np.testing.assert_allclose(filters.sum(axis=0)[inner], 1)  # neighbouring triangles add up to one


def log_mel_by_the_formula(signal: np.ndarray, n_fft: int, hop: int, n_mels: int, rate: int) -> np.ndarray:
    """The DFT as a product with its matrix, frame after frame."""
    half = n_fft // 2
    mirrored = np.concatenate([signal[half:0:-1], signal, signal[-2 : -half - 2 : -1]]).astype(float)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(half + 1), np.arange(n_fft)) / n_fft)
    window = np.sin(np.pi * np.arange(n_fft) / n_fft) ** 2
    columns = []
    for start in range(0, len(mirrored) - n_fft + 1, hop):
        power = abs(dft @ (mirrored[start : start + n_fft] * window)) ** 2
        columns.append(np.log(F.mel_filters(rate, n_fft, n_mels, 0.0, rate / 2) @ power + 1e-6))
    return np.array(columns).T


def test_log_mel_is_the_formula() -> None:
    found = LogMelSpectrogram(8000, n_fft=128, hop_length=50, n_mels=15)(NOISE)
    wanted = log_mel_by_the_formula(NOISE, 128, 50, 15, 8000)
    assert found.shape == (15, 1 + 500 // 50)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_spectrum_is_scipys() -> None:
    scipy = pytest.importorskip("scipy.signal", reason="a second opinion, not a dependency")
    transform = scipy.ShortTimeFFT(scipy.get_window("hann", 128), 50, fs=1)
    inner = slice(2, 9)  # frames that reach beyond no end, which SciPy fills with zeros
    wanted = abs(transform.stft(NOISE, p0=inner.start, p1=inner.stop)) ** 2
    np.testing.assert_allclose(F.power_spectrum(NOISE, 128, 50)[:, inner], wanted, rtol=1e-5, atol=1e-5)


def test_cepstra_are_scipys_dct_of_log_mel() -> None:
    fft = pytest.importorskip("scipy.fft", reason="a second opinion, not a dependency")
    logs = LogMelSpectrogram(8000, n_fft=256, hop_length=80, n_mels=40)(NOISE)
    found = MFCC(8000, n_mfcc=13, n_fft=256, hop_length=80, n_mels=40)(NOISE)
    np.testing.assert_allclose(found, fft.dct(logs, axis=0, norm="ortho")[:13], rtol=1e-4, atol=1e-4)


def test_the_dct_is_orthonormal() -> None:
    whole = F.dct_matrix(12, 12)
    np.testing.assert_allclose(whole @ whole.T, np.eye(12), atol=1e-12)


def test_a_tone_lights_its_band() -> None:
    filters = F.mel_filters(8000, 256, 20, 0.0, 4000.0)
    spectrum = LogMelSpectrogram(8000, n_fft=256, n_mels=20)(tone(1000, 8000, 2000))
    assert set(spectrum[:, 2:-2].argmax(axis=0)) == {filters[:, 32].argmax()}


def test_silence_is_the_logarithm_of_the_offset() -> None:
    np.testing.assert_allclose(LogMelSpectrogram(n_mels=20)(np.zeros(1000)), math.log(1e-6), rtol=1e-6)


def test_frames() -> None:
    found = Framing(4, 3)(np.arange(12))
    np.testing.assert_array_equal(found, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert Framing(4, 100)(np.zeros((2, 4))).shape == (2, 1, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AudioDecode(0), "sample_rate must be an integer >= 1000. Received: 0."),
        (lambda: AudioDecode(10**6), "sample_rate must be <= 768000. Received: 1000000."),
        (lambda: AudioPadOrTrim(0), "length must be an integer >= 1. Received: 0."),
        (lambda: Framing(1.5, 1), "frame_length must be an integer >= 1. Received: 1.5."),
        (lambda: Framing(1, 0), "hop_length must be an integer >= 1. Received: 0."),
        (lambda: LogMelSpectrogram(n_fft=1), "n_fft must be an integer >= 2. Received: 1."),
        (lambda: LogMelSpectrogram(hop_length=0), "hop_length must be an integer >= 1. Received: 0."),
        (lambda: LogMelSpectrogram(fmax=9000), "0 <= fmin < fmax <= sample_rate / 2 = 8000.0. Received: fmin=0.0"),
        (lambda: LogMelSpectrogram(fmin=-1), "Received: fmin=-1, fmax=8000.0."),
        (lambda: LogMelSpectrogram(fmin=20, fmax=10), "fmin must be <= fmax."),
        (
            lambda: LogMelSpectrogram(8000, n_fft=64, n_mels=64),
            "bands hold none. Hint: fewer n_mels or a larger n_fft.",
        ),
        (lambda: MFCC(n_mfcc=0), "n_mfcc must be an integer >= 1. Received: 0."),
        (lambda: MFCC(n_mfcc=41, n_mels=40), "n_mfcc must be <= n_mels. Received: n_mfcc=41, n_mels=40."),
        (lambda: MFCC(n_mels=0), "n_mels must be an integer >= 1. Received: 0."),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
