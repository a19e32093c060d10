"""Arithmetic on signals (..., samples): resampling, frames, spectra, mel bands, cepstra. Pure functions.

The conventions are torchaudio's defaults, so that features trained there mean the same here:

- resampling: a sinc of width 6 under a Hann window, cut at 0.99 of the lower rate's half;
- frames of a spectrogram are centred: n_fft // 2 samples are mirrored at both ends; the window is a periodic Hann;
- the power spectrum is |DFT|^2, not normalised;
- mel(f) = 2595 log10(1 + f / 700) (HTK), triangles of height 1 (no area norm);
- logarithms are natural, of power + 1e-6; cepstra are their orthonormal DCT-II.

It is numpy's FFT and products; SciPy is 35 MB on every executor and torch is not ours. All is computed in float64.
"""

from __future__ import annotations

import functools
import math
import struct

import numpy as np

__all__ = ["dct_matrix", "encode_wav", "frames", "log_mel", "mel_filters", "mono", "power_spectrum", "resample"]

_WIDTH, _ROLLOFF = 6, 0.99  # zero crossings of the sinc to each side, and where the band ends
_BLOCK = 1 << 19  # products in memory at a time
_LOG_OFFSET = 1e-6


def mono(signal: np.ndarray) -> np.ndarray:
    """Return the mean of the channels: (channels, samples) to (samples,).

    >>> mono(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    return signal[0] if len(signal) == 1 else signal.mean(axis=0)


def resample(signal: np.ndarray, source: int, target: int) -> np.ndarray:
    """Return a signal of `source` samples a second with `target`: ceil(n target / source) of them, float32.

    Each is sum_k signal[k] h(k - t) around its time t, with h the windowed sinc that cuts at the lower of both rates.

    >>> resample(np.ones(64, np.float32), 16000, 8000)[8:12].round(2).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if source == target:
        return signal.astype(np.float32, copy=False)
    divisor = math.gcd(source, target)
    down, up = source // divisor, target // divisor
    band = _ROLLOFF * min(down, up) / down  # of the source's own
    reach = math.ceil(_WIDTH / band)
    near = np.arange(-reach, reach + 1)
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(reach, reach + 1)]).astype(np.float64)
    count = -(-signal.shape[-1] * up // down)
    out = np.empty((*signal.shape[:-1], count), np.float32)
    step = max(_BLOCK // (len(near) * math.prod(signal.shape[:-1])), 1)
    for start in range(0, count, step):
        times = np.arange(start, min(start + step, count)) * down
        phases, which = np.unique(times % up, return_inverse=True)  # a few phases repeat: their kernels are shared
        kernels = _kernel((near - (phases / up)[:, None]) * band) * band
        places = (times // up)[:, None] + near + reach
        out[..., start : start + step] = (padded[..., places] * kernels[which]).sum(axis=-1)
    return out


def _kernel(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, -_WIDTH, _WIDTH)
    return np.sinc(t) * np.cos(t * (np.pi / 2 / _WIDTH)) ** 2


def frames(signal: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Return the frames that fit, (..., count, length), each `hop` samples after the one before; a view.

    >>> frames(np.arange(6), 3, 2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    return np.lib.stride_tricks.sliding_window_view(signal, length, axis=-1)[..., ::hop, :]


def power_spectrum(signal: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Return |DFT|^2 of centred, windowed frames: (..., n_fft // 2 + 1, 1 + samples // hop).

    The signal must be longer than n_fft // 2.

    >>> power_spectrum(np.ones(16), 8, 4).shape
    (5, 5)
    """
    half = n_fft // 2
    padded = np.pad(signal.astype(np.float64), [(0, 0)] * (signal.ndim - 1) + [(half, half)], mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi / n_fft * np.arange(n_fft))
    spectrum = np.fft.rfft(frames(padded, n_fft, hop) * window, axis=-1)
    return np.swapaxes(spectrum.real**2 + spectrum.imag**2, -1, -2)


@functools.lru_cache(maxsize=16)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Return the weights (n_mels, n_fft // 2 + 1) of triangles whose corners are evenly spaced in mel.

    >>> mel_filters(8000, 16, 3, 0.0, 4000.0).round(2).tolist()[0]
    [0.0, 0.89, 0.17, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    lowest, highest = (2595 * math.log10(1 + f / 700) for f in (fmin, fmax))
    corners = 700 * (10 ** (np.linspace(lowest, highest, n_mels + 2) / 2595) - 1)
    low, centre, high = (corners[i : i + n_mels, None] for i in range(3))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    filters = np.maximum(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0)
    filters.flags.writeable = False
    return filters


def log_mel(power: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Return log(filters @ power + 1e-6), (..., n_mels, frames).

    >>> log_mel(np.ones((3, 1)), np.ones((1, 3)) / 3).round(3).tolist()
    [[0.0]]
    """
    return np.log(filters @ power + _LOG_OFFSET)


@functools.lru_cache(maxsize=16)
def dct_matrix(count: int, n: int) -> np.ndarray:
    """Return the first `count` rows of the orthonormal DCT-II of n values.

    >>> dct_matrix(1, 4).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """
    matrix = np.cos(np.pi / n * np.arange(count)[:, None] * (np.arange(n) + 0.5)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    matrix.flags.writeable = False
    return matrix


def encode_wav(signal: np.ndarray, sample_rate: int) -> bytes:
    """Return a signal (samples,) or (channels, samples) as a wav file of 16 bits; beyond [-1, 1] it is clipped.

    >>> len(encode_wav(np.zeros(10), 8000))
    64
    """
    channels = np.atleast_2d(signal)
    body = np.clip(np.rint(channels.T * 32768.0), -32768, 32767).astype("<i2").tobytes()
    count = len(channels)
    form = struct.pack("<HHIIHH", 1, count, sample_rate, 2 * count * sample_rate, 2 * count, 16)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
