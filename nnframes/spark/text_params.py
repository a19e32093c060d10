"""The mixins that give text stages their params."""

from __future__ import annotations

from nnframes.spark.params import Self, StageParams, _param

__all__ = ["HasTextColumns", "HasWordChoice"]


class HasTextColumns(StageParams):
    """From which column to which, and how many numbers a text gets."""

    inputCol = _param("inputCol")
    outputCol = _param("outputCol")
    length = _param("length")
    truncMode = _param("truncMode")

    def setInputCol(self: Self, value: str) -> Self:
        """Set the column of texts (string), or of their words (array<string>), as Spark's tokenizers make them."""
        return self._put(inputCol=value)

    def getInputCol(self) -> str:
        """Return the column of texts."""
        return self._value("inputCol")

    def setOutputCol(self: Self, value: str) -> Self:
        """Set the name of the column of numbers, array<int>; it must not exist."""
        return self._put(outputCol=value)

    def getOutputCol(self) -> str:
        """Return the column of numbers."""
        return self._value("outputCol")

    def setLength(self: Self, value: int) -> Self:
        """Set how many numbers each text gets, >= 1; 0 follows where there are fewer words."""
        return self._put(length=value)

    def getLength(self) -> int:
        """Return how many numbers each text gets."""
        return self._value("length")

    def setTruncMode(self: Self, value: str) -> Self:
        """Set what goes of a text with more words: "pre", its beginning, or "post", its end."""
        return self._put(truncMode=value)

    def getTruncMode(self) -> str:
        """Return what goes of a text with more words."""
        return self._value("truncMode")


class HasWordChoice(StageParams):
    """Which words get a number."""

    minFreq = _param("minFreq")
    maxWords = _param("maxWords")
    removeTop = _param("removeTop")

    def setMinFreq(self: Self, value: int) -> Self:
        """Set how often a word must come to get a number, >= 1."""
        return self._put(minFreq=value)

    def getMinFreq(self) -> int:
        """Return how often a word must come."""
        return self._value("minFreq")

    def setMaxWords(self: Self, value: int) -> Self:
        """Set how many words get a number at most, the most frequent ones, >= 1."""
        return self._put(maxWords=value)

    def getMaxWords(self) -> int:
        """Return how many words get a number at most."""
        return self._value("maxWords")

    def setRemoveTop(self: Self, value: int) -> Self:
        """Set how many of the most frequent words get no number, >= 0."""
        return self._put(removeTop=value)

    def getRemoveTop(self) -> int:
        """Return how many of the most frequent words get no number."""
        return self._value("removeTop")
