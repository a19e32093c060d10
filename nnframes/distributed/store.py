"""The samples of a worker's shards, read from files: the `ShardData` of training on Spark."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featurelib import RowStreams
from kernels.random import stream
from nnframes.distributed.files import ShardFile
from nnframes.distributed.gather import placed, shares, within
from nnframes.distributed.samples import Tail
from nnframes.errors import DataError
from nnframes.train import MiniBatch

__all__ = ["FilePiece", "ShardStore"]

FilePiece = tuple[ShardFile, int, int]

# Keeps the tail's random numbers apart from the network's, whose keys have the number of a node in this place.
TAIL = 0x7A11


class ShardStore:
    """Balanced shards made of pieces of files, and the random part of preprocessing.

    `pieces` gives per shard (file, low, high) in order. Row r of shard s of epoch e draws from the stream
    (seed, e, s, r, TAIL), wherever and in whichever batch it is used. With a tail `threads` threads may run it ahead.
    """

    def __init__(
        self, pieces: Mapping[int, Sequence[FilePiece]], tail: Tail | None, seed: int, threads: int = 1
    ) -> None:
        self.producers = 0 if tail is None else threads
        # One slice of a file is mapped at a time, whoever reads it.
        self._reading = threading.Lock()
        self._pieces = {shard: list(parts) for shard, parts in pieces.items()}
        self._bounds = {
            shard: np.cumsum([0] + [high - low for _, low, high in parts]) for shard, parts in self._pieces.items()
        }
        self._tail, self._seed = tail, seed

    def rows(self, shard: int) -> int:
        """Return the number of rows of `shard`."""
        return int(self._bounds[shard][-1])

    def batch(self, shard: int, epoch: int, indices: np.ndarray) -> MiniBatch:
        """Return rows `indices` of `shard` in that order, after the random part of preprocessing."""
        first = self._pieces[shard][0][0]
        with self._reading:
            fields = self._take(shard, indices)
        inputs, targets = tuple(fields[: first.inputs]), tuple(fields[first.inputs :])
        target: Any = targets if first.tuple_target else targets[0]
        if self._tail is not None:
            streams = RowStreams(lambda row: stream(self._seed, epoch, shard, row, TAIL), indices)
            batch = self._tail(inputs, target, streams)
            return replace(batch, target=_plain(batch.target)) if isinstance(batch.target, list) else batch
        plain = tuple(_plain(values) for values in targets)
        return MiniBatch(tuple(_plain(values) for values in inputs), plain if first.tuple_target else plain[0])

    def _take(self, shard: int, indices: np.ndarray) -> list[Any]:
        """Return the rows of every field."""
        pieces, bounds = self._pieces[shard], self._bounds[shard]
        if len(pieces) == 1 or not len(indices):
            file, low, _ = pieces[0]
            return [field.take(indices + low) for field in file.fields]
        fields: list[Any] = [None] * len(pieces[0][0].fields)
        for number, places in shares(np.searchsorted(bounds, indices, "right") - 1):
            file, low, high = pieces[number]
            rows = within(indices[places] - bounds[number] + low, low, high)
            fields = [placed(whole, places, field.take(rows)) for whole, field in zip(fields, file.fields, strict=True)]
        return fields


def _plain(values: Any) -> np.ndarray:
    """Return what a network takes: float32 or int32, one array."""
    if isinstance(values, list):
        shapes = sorted({value.shape for value in values})
        if len(shapes) != 1:
            raise DataError(
                f"Samples of one batch must have one shape. Received: {', '.join(map(str, shapes[:4]))}. "
                "Hint: add a step that resizes, crops or pads to the chain."
            )
        values = np.stack(values)
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int32, copy=False)
