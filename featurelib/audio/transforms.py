"""Transforms of audio: parameters here, arithmetic in `featurelib.audio.functional`."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.audio import functional as F
from featurelib.audio.wav import RATES, read_wav
from featurelib.base import Preprocessing
from featurelib.errors import DecodeError, FeatureError
from kernels.errors import ArgumentError

__all__ = ["MAX_SAMPLES", "MFCC", "AudioDecode", "AudioPadOrTrim", "Framing", "LogMelSpectrogram"]

MAX_SAMPLES = 1 << 27  # 46 minutes at 48 kHz, 512 MB: a few bytes may ask for any length when resampled


class AudioDecode(Preprocessing):
    """The bytes of a wav file to a float32 signal in [-1, 1], of any rate and channels.

    With a `sample_rate` a file of another rate is resampled to it; without it the signal keeps its own. With `mono` the
    channels are averaged: (samples,); else it is (channels, samples). A resampled signal may overshoot [-1, 1], as any
    band-limited one between its samples. Raises `DecodeError` for what is no wav file, is
    cut off, empty, compressed, or longer than 134 million samples.

    >>> from featurelib.audio.functional import encode_wav
    >>> AudioDecode(16000)(encode_wav(np.zeros((2, 100)), 8000)).shape
    (200,)
    """

    def __init__(self, sample_rate: int | None = None, mono: bool = True) -> None:
        if sample_rate is not None:
            _check_rate(sample_rate)
        self.sample_rate = sample_rate
        self.mono = mono

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            received = "null" if value is None else type(value).__name__
            raise DecodeError(f"AudioDecode expects the bytes of a wav file. Received: {received}.")
        signal, rate = read_wav(bytes(value))
        target = self.sample_rate or rate
        if signal.size * max(target / rate, 1) > MAX_SAMPLES:
            raise DecodeError(
                f"audio must have at most {MAX_SAMPLES} samples. Received: {signal.shape[1]} in {signal.shape[0]} "
                f"channels at {rate} Hz, wanted at {target} Hz. Hint: cut it into pieces first."
            )
        return F.resample(F.mono(signal) if self.mono else signal, rate, target)


class AudioPadOrTrim(Preprocessing):
    """A signal of any length to one of `length` samples: its beginning, or itself and zeros.

    >>> AudioPadOrTrim(3)([0.5, 1.0]).tolist(), AudioPadOrTrim(1)([0.5, 1.0]).tolist()
    ([0.5, 1.0, 0.0], [0.5])
    """

    def __init__(self, length: int) -> None:
        _checks.whole("length", length, 1)
        self.length = length

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        signal = _signal(self, value)[..., : self.length]
        missing = self.length - signal.shape[-1]
        return np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, missing)])


class Framing(Preprocessing):
    """A signal (..., samples) to overlapping frames (..., count, frame_length), one every `hop_length` samples.

    What is left after the last whole frame is dropped: count = 1 + (samples - frame_length) // hop_length. Raises
    `FeatureError` for a signal shorter than a frame.

    >>> Framing(2, 1)([1, 2, 3]).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """

    def __init__(self, frame_length: int, hop_length: int) -> None:
        _checks.whole("frame_length", frame_length, 1)
        _checks.whole("hop_length", hop_length, 1)
        self.frame_length = frame_length
        self.hop_length = hop_length

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        signal = _signal(self, value, self.frame_length)
        return np.ascontiguousarray(F.frames(signal, self.frame_length, self.hop_length))


class LogMelSpectrogram(Preprocessing):
    """A signal (..., samples) to log(mel @ |DFT|^2 + 1e-6), (..., n_mels, 1 + samples // hop_length), float32.

    torchaudio's `MelSpectrogram` (HTK bands from `fmin` to `fmax` Hz, Hann window of n_fft, centred frames mirrored at
    the ends), with the logarithm that its `MFCC` takes with log_mels=True. `hop_length` is n_fft // 2 if None, `fmax`
    half the sample rate. Raises `FeatureError` for a signal of n_fft // 2 samples or fewer, and `ArgumentError` where
    bands are so narrow that some lie between two frequencies of the DFT.

    >>> LogMelSpectrogram(8000, n_fft=256, hop_length=80, n_mels=40)(np.zeros(8000)).shape
    (40, 101)
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        hop_length: int | None = None,
        n_mels: int = 64,
        fmin: float = 0.0,
        fmax: float | None = None,
    ) -> None:
        _check_rate(sample_rate)
        _checks.whole("n_fft", n_fft, 2)
        _checks.whole("n_mels", n_mels, 1)
        if hop_length is not None:
            _checks.whole("hop_length", hop_length, 1)
        _check_band(fmin, sample_rate / 2 if fmax is None else fmax, sample_rate)
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self._filters()

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        signal = _signal(self, value, self.n_fft // 2 + 1)
        power = F.power_spectrum(signal, self.n_fft, self.hop_length or self.n_fft // 2)
        return F.log_mel(power, self._filters()).astype(np.float32)

    def _filters(self) -> np.ndarray:
        fmax = self.sample_rate / 2 if self.fmax is None else self.fmax
        filters = F.mel_filters(self.sample_rate, self.n_fft, self.n_mels, self.fmin, fmax)
        if not filters.any(axis=1).all():
            raise ArgumentError(
                f"n_mels must leave every band a frequency of the DFT. Received: n_mels={self.n_mels}, "
                f"n_fft={self.n_fft}, of which {int((~filters.any(axis=1)).sum())} bands hold none. "
                "Hint: fewer n_mels or a larger n_fft."
            )
        return filters


class MFCC(Preprocessing):
    """A signal (..., samples) to mel cepstra (..., n_mfcc, 1 + samples // hop_length), float32.

    The first `n_mfcc` rows of the orthonormal DCT-II of what `LogMelSpectrogram` gives with the other arguments:
    torchaudio's `MFCC` with log_mels=True.

    >>> MFCC(8000, n_mfcc=13, n_fft=256, hop_length=80, n_mels=40)(np.zeros(8000)).shape
    (13, 101)
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mfcc: int = 13,
        n_fft: int = 400,
        hop_length: int | None = None,
        n_mels: int = 64,
        fmin: float = 0.0,
        fmax: float | None = None,
    ) -> None:
        _checks.whole("n_mfcc", n_mfcc, 1)
        self.sample_rate = sample_rate
        self.n_mfcc = n_mfcc
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self._spectrogram()
        if n_mfcc > n_mels:
            raise ArgumentError(f"n_mfcc must be <= n_mels. Received: n_mfcc={n_mfcc!r}, n_mels={n_mels!r}.")

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        signal = _signal(self, value, self.n_fft // 2 + 1)
        return (F.dct_matrix(self.n_mfcc, self.n_mels) @ self._spectrogram()(signal)).astype(np.float32)

    def _spectrogram(self) -> LogMelSpectrogram:
        return LogMelSpectrogram(self.sample_rate, self.n_fft, self.hop_length, self.n_mels, self.fmin, self.fmax)


def _signal(transform: Preprocessing, value: Any, shortest: int = 1) -> np.ndarray:
    """A signal (samples,) or (channels, samples) as float32; `FeatureError` for anything else."""
    name = type(transform).__name__
    try:
        signal = np.asarray(value)
    except ValueError:
        signal = np.empty(0, object)  # channels of unequal lengths
    if signal.dtype.kind not in "biuf" or signal.ndim not in (1, 2):
        received = f"{signal.dtype} {signal.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        hint = " Hint: AudioDecode() first." if isinstance(value, (bytes, bytearray, memoryview)) else ""
        raise FeatureError(f"{name} expects a signal (samples,) or (channels, samples). Received: {received}.{hint}")
    if signal.shape[-1] < shortest or not signal.size:
        raise FeatureError(
            f"{name} expects a signal of at least {shortest} samples, received {signal.shape[-1]}. "
            "Hint: AudioPadOrTrim(length) first."
        )
    return signal.astype(np.float32, copy=False)


def _check_rate(sample_rate: Any) -> None:
    _checks.whole("sample_rate", sample_rate, RATES[0])
    if sample_rate > RATES[1]:
        raise ArgumentError(f"sample_rate must be <= {RATES[1]}. Received: {sample_rate!r}.")


def _check_band(fmin: Any, fmax: Any, sample_rate: int) -> None:
    _checks.ordered("fmin", fmin, "fmax", fmax)
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise ArgumentError(
            f"fmin and fmax must be 0 <= fmin < fmax <= sample_rate / 2 = {sample_rate / 2}. "
            f"Received: fmin={fmin!r}, fmax={fmax!r}."
        )
