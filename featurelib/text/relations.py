"""Which texts belong together: questions and answers, queries and documents, as samples for ranking."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from featurelib.errors import FeatureError
from featurelib.sample import Sample
from featurelib.text.feature import TextFeature
from featurelib.text.files import csv_rows

__all__ = ["Relation", "Relations", "lists", "numbered", "pairs"]


@dataclass(frozen=True)
class Relation:
    """That the text `id2` of one corpus answers the text `id1` of another (`label` > 0), or does not (0).

    >>> Relation("q1", "a7", 1)
    Relation(id1='q1', id2='a7', label=1)
    """

    id1: str
    id2: str
    label: int


class Relations:
    """Reads relations."""

    @staticmethod
    def read(path: str | os.PathLike) -> list[Relation]:
        """Return the rows id1, id2, label of a CSV or text file without header, in UTF-8."""
        return [_relation(f"{path}, line {line}", *row) for line, row in csv_rows(path, "id1,id2,label")]

    @staticmethod
    def read_parquet(path: str | os.PathLike) -> list[Relation]:
        """Return the rows of a Parquet file or folder with the columns id1, id2 and label."""
        import pyarrow.parquet  # CSV needs none

        columns = pyarrow.parquet.read_table(path, columns=["id1", "id2", "label"]).to_pydict().values()
        return [_relation(f"{path}, row {number}", *row) for number, row in enumerate(zip(*columns, strict=True))]


def _relation(where: str, id1: object, id2: object, label: object) -> Relation:
    try:
        number = int(label)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise FeatureError(f"{where}: a label must be a whole number. Received: {label!r}.") from None
    return Relation(str(id1), str(id2), number)


def numbered(name: str, features: Iterable[TextFeature]) -> dict[str, np.ndarray]:
    """The numbers of the words of a corpus by uri; raises `FeatureError` where texts are not of one length yet."""
    found: dict[str, np.ndarray] = {}
    for feature in features:
        uri, numbers = feature.get_uri(), feature.get("indexedTokens")
        if uri is None or uri in found:
            raise FeatureError(f"The texts of {name} must have different uris. Received: {uri!r}.")
        length = next(map(len, found.values()), None if numbers is None else len(numbers))
        if numbers is None or len(numbers) != length:
            received = "no numbers of words" if numbers is None else f"{len(numbers)} words after {length}"
            raise FeatureError(
                f"The texts of {name} must have one length. Received: {received}. "
                "Hint: word2idx(), then shape_sequence(len)."
            )
        found[uri] = numbers
    return found


def pairs(
    relations: Iterable[Relation], first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> Iterator[TextFeature]:
    """For each id1 every answer with every text that is none: (2, length 1 + length 2), labels [1, 0]; id1 is the uri.

    In the order of the ids.
    """
    for id1, group in _grouped(relations):
        right = [one for one in group if one.label > 0]
        wrong = [one for one in group if one.label <= 0]
        for one in right:
            for other in wrong:
                rows = [_joined(first, second, each) for each in (one, other)]
                yield _sampled(id1, np.stack(rows), np.array([1, 0], np.int32))


def lists(
    relations: Iterable[Relation], first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> Iterator[TextFeature]:
    """For each id1 all its n relations: (n, length 1 + length 2), labels (n, 1); id1 is the uri. Ordered by id."""
    for id1, group in _grouped(relations):
        labels = np.array([[one.label] for one in group], np.int32)
        yield _sampled(id1, np.stack([_joined(first, second, one) for one in group]), labels)


def _grouped(relations: Iterable[Relation]) -> Iterator[tuple[str, list[Relation]]]:
    groups: dict[str, list[Relation]] = {}
    for relation in relations:
        groups.setdefault(relation.id1, []).append(relation)
    for id1 in sorted(groups):
        yield id1, sorted(groups[id1], key=lambda one: (one.id2, one.label))


def _joined(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], one: Relation) -> np.ndarray:
    for uri, corpus, name in ((one.id1, first, "corpus1"), (one.id2, second, "corpus2")):
        if uri not in corpus:
            raise FeatureError(f"{name} must hold the text {uri!r} of {one}. Received: none of that uri.")
    return np.concatenate([first[one.id1], second[one.id2]])


def _sampled(uri: str, features: np.ndarray, labels: np.ndarray) -> TextFeature:
    return TextFeature(uri=uri).replace(sample=Sample((features,), (labels,)))
