"""Rows of the table: audio."""

from __future__ import annotations

import numpy as np

from featurelib import ArrayToTensor, ChainedPreprocessing, DecodeError, FeatureError
from featurelib import audio as A
from featurelib.audio.functional import encode_wav
from tests.featurelib.cases.case import Case


def signal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, shape).astype(np.float32)


SIGNALS = [signal(seed, 1000) for seed in range(3)]
RAGGED = [signal(0, 1000), signal(1, 300), signal(2, 2, 700)]
ALL = [SIGNALS, RAGGED, [SIGNALS[0].tolist(), SIGNALS[1].astype(np.float64)], []]
FILES = [encode_wav(each, 8000) for each in SIGNALS]
STEREO = [encode_wav(signal(seed, 2, 1000), 8000) for seed in range(2)]

NO_SIGNAL = [
    (None, FeatureError, "expects a signal (samples,) or (channels, samples). Received: NoneType."),
    (b"RIFF", FeatureError, "Received: bytes. Hint: AudioDecode() first."),
    (np.zeros((1, 2, 3)), FeatureError, "Received: float64 (1, 2, 3)"),
    ([[1.0], [1.0, 2.0]], FeatureError, "Received: list"),
    (np.zeros(0), FeatureError, "samples, received 0. Hint: AudioPadOrTrim(length) first."),
]
NO_FILE = [
    (b"", DecodeError, "must be a wav file (RIFF, WAVE). Received: 0 bytes"),
    (None, DecodeError, "expects the bytes of a wav file. Received: null"),
    (b"ID3" + bytes(40), DecodeError, "Received: 43 bytes that begin with b'ID3"),
    (FILES[0][:500], DecodeError, "is truncated: it announces 2000 bytes of samples and holds 456"),
    (FILES[0][:30], DecodeError, "is truncated"),
    (encode_wav(np.zeros(0), 8000), DecodeError, "must hold samples. Received: 0 bytes of them"),
]
SOUND = {"bounds": (-1, 1)}

CASES = [
    Case(
        A.AudioDecode(), [FILES, [*FILES, *STEREO], [bytearray(FILES[0]), memoryview(FILES[1])], []], (1000,), **SOUND
    ),
    Case(A.AudioDecode(8000, mono=False), [STEREO, FILES], (2, 1000), **SOUND, bad=NO_FILE),
    Case(A.AudioDecode(11025), [FILES, STEREO], (1379,), bounds=(-1.6, 1.6), bad=NO_FILE),
    Case(A.AudioPadOrTrim(800), ALL, (800,), **SOUND, bad=NO_SIGNAL),
    Case(A.AudioPadOrTrim(1200), ALL, (1200,), **SOUND),
    Case(
        A.Framing(256, 100),
        ALL,
        (8, 256),
        **SOUND,
        bad=[*NO_SIGNAL, (np.zeros(255), FeatureError, "at least 256 samples, received 255")],
    ),
    Case(
        A.LogMelSpectrogram(8000, n_fft=256, hop_length=100, n_mels=20, fmin=50.0, fmax=3800),
        ALL,
        (20, 11),
        bounds=(-14, 12),
        bad=[*NO_SIGNAL, (np.zeros(128), FeatureError, "at least 129 samples, received 128")],
    ),
    Case(A.LogMelSpectrogram(n_mels=20), ALL, (20, 6), bounds=(-14, 12)),
    Case(
        A.MFCC(8000, n_mfcc=12, n_fft=255, n_mels=20),
        ALL,
        (12, 8),
        bounds=(-60, 60),
        bad=[*NO_SIGNAL, (np.zeros(127), FeatureError, "MFCC expects a signal of at least 128 samples")],
    ),
    Case(
        ChainedPreprocessing(
            [
                A.AudioDecode(8000),
                A.AudioPadOrTrim(2000),
                A.LogMelSpectrogram(8000, n_fft=256, n_mels=20),
                ArrayToTensor([1, 20, 16]),
            ]
        ),
        [FILES, STEREO],
        (1, 20, 16),
        bounds=(-14, 12),
        bad=NO_FILE,
    ),
]
