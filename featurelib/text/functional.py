"""Texts to tokens to numbers: pure functions, and what each does with the letters of the world."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

__all__ = ["MAX_INDEX", "indices", "letters", "normalized", "shaped", "tokens"]

MAX_INDEX = (1 << 31) - 1


def tokens(text: str) -> list[str]:
    r"""The words of a text: what stands between white space of any script; none in an empty text.

    Scripts written without spaces, such as Chinese, come out as whole sentences.

    >>> tokens("Hello,  World!\u3000你好")
    ['Hello,', 'World!', '你好']
    """
    return text.split()


def normalized(words: Iterable[str]) -> list[str]:
    """Words in lower case with nothing but letters, without those that hold none.

    >>> normalized(["Don't", "PANIC!", "42", "😀"])
    ['dont', 'panic']
    """
    return [word for word in map(letters, words) if word]


def letters(word: str) -> str:
    r"""The letters of a word in lower case, in composed form (NFC).

    Letters are those of any script, with the combining marks that follow them: accents that have no composed form, the
    vowel signs of Devanagari, Thai or Arabic. A mark behind anything else, as in emoji, goes with it.

    >>> letters("E\u0301t\u00c9!"), letters("हिन्दी"), letters("❤\ufe0f")
    ('été', 'हिन्दी', '')
    """
    lower = word.lower()
    if lower.isascii():
        return lower if lower.isalpha() else "".join(filter(str.isalpha, lower))
    kept, after_letter = [], False
    for char in unicodedata.normalize("NFC", lower):
        category = unicodedata.category(char)
        after_letter = category[0] == "L" or (category[0] == "M" and after_letter)
        if after_letter:
            kept.append(char)
    return "".join(kept)


def indices(words: Iterable[str], index: Mapping[str, int]) -> np.ndarray:
    """The numbers of the words that the index knows, int32, in their order.

    >>> indices(["to", "be", "or", "not", "to", "be"], {"to": 1, "be": 2})
    array([1, 2, 1, 2], dtype=int32)
    """
    return np.array([index[word] for word in words if word in index], np.int32)


def shaped(numbers: Sequence[int] | np.ndarray, length: int, keep_end: bool, pad: int) -> np.ndarray:
    """Exactly `length` numbers: of more, the last (`keep_end`) or the first; fewer are followed by `pad`.

    >>> shaped([1, 2, 3], 2, True, 0), shaped([1, 2, 3], 5, True, 0)
    (array([2, 3], dtype=int32), array([1, 2, 3, 0, 0], dtype=int32))
    """
    given = np.asarray(numbers, np.int32)
    kept = given[max(0, len(given) - length) :] if keep_end else given[:length]
    result = np.full(length, pad, np.int32)
    result[: len(kept)] = kept
    return result
