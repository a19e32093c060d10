"""The numbers of words: which words get one, how they are kept in a file, and the vectors that others have trained."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from featurelib import _checks
from featurelib.errors import ConfigError, FeatureError
from featurelib.text.functional import MAX_INDEX
from kernels.errors import ArgumentError

__all__ = ["check_choice", "check_word_index", "load_word_index", "read_glove", "save_word_index", "word_index"]

FORMAT, VERSION = "nnframes.word_index", 1
MAX_LINE = 1 << 20
_BOUND = 0.05  # of the random vectors of words that have none


def word_index(
    counts: Mapping[str, int],
    remove_topN: int = 0,
    max_words_num: int = -1,
    min_freq: int = 1,
    existing_map: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Number words by how often they come, from 1, equally frequent ones in the order of their letters.

    Without words rarer than `min_freq` and the `remove_topN` most frequent ones, at most `max_words_num` of them (-1:
    all). The words of an `existing_map` keep their numbers; new ones are counted on from its highest.

    >>> word_index({"be": 2, "or": 1, "to": 2, "not": 1}, max_words_num=3)
    {'be': 1, 'to': 2, 'not': 3}
    """
    check_choice(remove_topN, max_words_num, min_freq)
    index = {} if existing_map is None else dict(check_word_index(existing_map))
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_freq)
    end = None if max_words_num == -1 else remove_topN + max_words_num
    new = (word for _, word in frequent[remove_topN:end] if word not in index)
    return {**index, **{word: number for number, word in enumerate(new, max(index.values(), default=0) + 1)}}


def check_choice(remove_topN: int, max_words_num: int, min_freq: int) -> None:
    """Raise `ArgumentError` for numbers that choose no words."""
    _checks.whole("remove_topN", remove_topN, 0)
    _checks.whole("min_freq", min_freq, 1)
    if max_words_num != -1:
        _checks.whole("max_words_num, where it is not -1,", max_words_num, 1)


def check_word_index(index: Mapping[str, int]) -> Mapping[str, int]:
    """Return a {word: number} of numbers from 1; raises `ArgumentError` for anything else."""
    if not isinstance(index, dict):
        raise ArgumentError(f"A word index must be a dict from words to numbers. Received: {type(index).__name__}.")
    for word, number in index.items():
        if type(word) is not str or type(number) is not int or not 1 <= number <= MAX_INDEX:
            raise ArgumentError(f"A word index must give numbers >= 1 to words. Received: {word!r}: {number!r}.")
    return index


def save_word_index(path: str | os.PathLike, index: Mapping[str, int]) -> None:
    """Write an index as a JSON file, whole or not at all."""
    content = {"format": FORMAT, "version": VERSION, "words": dict(check_word_index(index))}
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(content), encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def load_word_index(path: str | os.PathLike) -> dict[str, int]:
    """Read what `save_word_index` wrote; raises `ConfigError` naming the file for anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} must be a word index in JSON. Received: {error}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(f"{path} must have the format {FORMAT}. Hint: save_word_index(path) writes it.")
    if content.get("version") != VERSION:
        raise ConfigError(f"{path}: expected version {VERSION}, received {str(content.get('version'))[:40]}.")
    try:
        return dict(check_word_index(content.get("words", {})))
    except ArgumentError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_glove(path: str | os.PathLike, word_index: Mapping[str, int], seed: int | None = None) -> np.ndarray:
    """The vectors of the words of an index from a GloVe file, as the table of a `LookupTable`: float32 (rows, numbers).

    A line of the file is a word and its numbers, with spaces between. Row i is the vector of word number i, row 0, for
    padding, is zeros. Words that the file lacks get zeros, or with a `seed` uniform numbers in [-0.05, 0.05). The file
    is read line by line; of a word that comes twice the first counts. Raises `FeatureError` with the number of the line
    that is no word with as many finite numbers as the first line has.
    """
    rows = max(check_word_index(word_index).values(), default=0) + 1
    table: np.ndarray | None = None
    found = np.zeros(rows, bool)
    with Path(path).open("rb") as file:
        for number, line in _lines(path, file):
            if table is None:
                table = np.zeros((rows, line.count(" ")), np.float32)
            word, vector = _vector(f"{path}, line {number}", line, table.shape[1])
            row = word_index.get(word, 0)
            if row and not found[row]:
                table[row], found[row] = vector, True
    if table is None:
        raise FeatureError(f"{path} must hold a word and its numbers in each line. Received: an empty file.")
    if seed is not None:
        found[0] = True
        drawn = np.random.default_rng(seed).uniform(-_BOUND, _BOUND, table.shape)
        table[~found] = drawn[~found]
    return table


def _lines(path: str | os.PathLike, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1, none of them without end."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise FeatureError(f"{path}, line {number}: a line must have at most {MAX_LINE} bytes.")
        try:
            yield number, line.decode("utf-8").rstrip(" \r\n")
        except UnicodeDecodeError as error:
            raise FeatureError(f"{path}, line {number}: must be UTF-8. Received: {error.reason}.") from None


def _vector(where: str, line: str, size: int) -> tuple[str, np.ndarray]:
    # From the right: some words of the large files hold spaces.
    word, *numbers = line.rsplit(" ", size)
    if not word or not numbers or len(numbers) != size:
        raise FeatureError(f"{where}: expected a word and {max(1, size)} numbers. Received: {line[:60]!r}.")
    try:
        vector = np.array([float(text) for text in numbers], np.float32)
    except ValueError as error:
        raise FeatureError(f"{where}: expected a word and {size} numbers. Received: {error}.") from None
    if not math.isfinite(vector.sum(dtype=np.float64)):
        raise FeatureError(f"{where}: expected finite numbers. Received: {line[:60]!r}.")
    return word, vector
