"""Audio: from the bytes of wav files to signals, spectrograms and cepstra.

A signal is float32 in [-1, 1], (samples,) or (channels, samples); transforms work along its last axis. Mel bands,
frames and cepstra follow torchaudio's conventions with its defaults (see `featurelib.audio.functional`).

>>> from featurelib.audio.functional import encode_wav
>>> import numpy as np
>>> chain = AudioDecode(8000) >> AudioPadOrTrim(8000) >> LogMelSpectrogram(8000, n_fft=256, hop_length=128, n_mels=20)
>>> chain(encode_wav(np.zeros(6000), 8000)).shape
(20, 63)
"""

from __future__ import annotations

from featurelib.audio.transforms import MFCC, AudioDecode, AudioPadOrTrim, Framing, LogMelSpectrogram

__all__ = ["MFCC", "AudioDecode", "AudioPadOrTrim", "Framing", "LogMelSpectrogram"]
