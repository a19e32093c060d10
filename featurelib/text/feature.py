"""The record that text transforms hand on."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from featurelib.errors import FeatureError
from featurelib.sample import Sample

__all__ = ["NO_LABEL", "TextFeature", "as_feature"]

NO_LABEL = -1


class TextFeature(dict):
    """A text and what is known of it, a dict (Analytics Zoo's `TextFeature`, with its keys).

    =================  ==========================================================================
    key                value
    =================  ==========================================================================
    ``text``           the text itself
    ``label``          a class, counted from 0
    ``uri``            where it came from, or its name in a corpus
    ``tokens``         its words, made by `Tokenizer`
    ``indexedTokens``  their numbers, int32, made by `WordIndexer`
    ``sample``         a `featurelib.sample.Sample`, made by `TextFeatureToSample`
    ``predict``        what a network made of it
    =================  ==========================================================================

    `numpy.asarray` gives the sample's first tensor if there is one, else the numbers of the words.

    >>> feature = TextFeature("Hello World", label=1, uri="a.txt")
    >>> feature.keys(), feature.get_label(), TextFeature("?").get_label()
    (['text', 'label', 'uri'], 1, -1)
    """

    def __init__(self, text: str | None = None, label: int | None = None, uri: str | None = None) -> None:
        super().__init__()
        given = {"text": text, "label": label if label is None else int(label), "uri": uri}
        self.update((key, value) for key, value in given.items() if value is not None)

    def replace(self, **changes: Any) -> TextFeature:
        """A copy with other values under some keys; the original stays as it is."""
        copy = TextFeature()
        copy.update(self, **changes)
        return copy

    def get_text(self) -> str | None:
        """The text, or None."""
        return self.get("text")

    def get_label(self) -> int:
        """The label, -1 if there is none."""
        return self.get("label", NO_LABEL)

    def has_label(self) -> bool:
        """Whether there is a label."""
        return "label" in self

    def set_label(self, label: int) -> TextFeature:
        """Set the label of this record; returns it."""
        self["label"] = int(label)
        return self

    def get_uri(self) -> str | None:
        """Where the text came from, or None."""
        return self.get("uri")

    def get_tokens(self) -> list[str] | None:
        """The words, None before `Tokenizer`."""
        return self.get("tokens")

    def get_sample(self) -> Sample | None:
        """The sample, None before `TextFeatureToSample`."""
        return self.get("sample")

    def keys(self) -> list[str]:  # type: ignore[override]
        """What is known, as a list."""
        return list(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        sample = self.get_sample()
        array = self.get("indexedTokens") if sample is None else sample.features[0]
        if array is None:
            raise FeatureError(
                f"TextFeature holds no numbers yet, only {self.keys()}. Hint: Tokenizer(), then WordIndexer(map)."
            )
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def __repr__(self) -> str:
        return f"TextFeature({', '.join(f'{key}={reprlib.repr(value)}' for key, value in self.items())})"


def as_feature(value: Any) -> TextFeature:
    """Take a `TextFeature` as it is, wrap a text, its words or their numbers; `FeatureError` for anything else.

    >>> as_feature("to be"), as_feature(["to", "be"])
    (TextFeature(text='to be'), TextFeature(tokens=['to', 'be']))
    """
    if isinstance(value, TextFeature):
        return value
    if isinstance(value, str):
        return TextFeature(value)
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return TextFeature().replace(tokens=list(value))
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        return TextFeature().replace(indexedTokens=_int32(value))
    received = "null" if value is None else type(value).__name__
    raise FeatureError(f"a text must be a str, a list of words or a TextFeature. Received: {received}.")


def _int32(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype.itemsize >= 4 and numbers.size:
        low, high, limits = numbers.min(), numbers.max(), np.iinfo(np.int32)
        if low < limits.min or high > limits.max:
            raise FeatureError(f"the numbers of words must be within 32 bits. Received: {low} to {high}.")
    return numbers.astype(np.int32)
