"""Softmax regression with a word table, by analytic gradient in numpy: a small but whole `Replica`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from kernels.random import stream
from kernels.sparse import RowSparse, coalesce
from nnframes.optim import Clipping, OptimMethod, clip
from nnframes.train import ArrayData, MiniBatch
from nnframes.train.reduce import add_sparse, combine, partial_sums

FEATURES, CLASSES, WORDS = 4, 3, 7


class SoftmaxReplica:
    """logits = x W + b + table[word]; the loss is the cross entropy."""

    def __init__(self, method: OptimMethod, clippings: Sequence[Clipping] = ()) -> None:
        self.method, self.clippings = method, clippings
        self.size = (FEATURES + 1) * CLASSES
        self.gradient_size, self.message_size = self.size, self.size + 2
        self.weights = stream(1).standard_normal(self.size).astype(np.float32) * np.float32(0.1)
        self.table = np.zeros((WORDS, CLASSES), np.float32)
        self.optim = method.init(self.size)
        self.optim_table = method.init_rows(WORDS, CLASSES)
        self.updates = 0

    def logits(self, x: np.ndarray, words: np.ndarray) -> np.ndarray:
        matrix = self.weights.reshape(FEATURES + 1, CLASSES)
        return x @ matrix[:-1] + matrix[-1] + self.table[words]

    def gradient(
        self, shard: int, batch: MiniBatch, iteration: int, out: np.ndarray, reached=None
    ) -> dict[str, RowSparse]:
        x, words = batch.inputs
        logits = self.logits(x, words)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        rows = np.arange(len(batch))
        out[-2:] = -logits[rows, batch.target].sum(), len(batch)
        delta = np.exp(logits)
        delta[rows, batch.target] -= 1
        out[: FEATURES * CLASSES] = (x.T @ delta).reshape(-1)
        out[FEATURES * CLASSES : self.size] = delta.sum(axis=0)
        return {"words": coalesce(words, delta)}

    def mean_loss(self, message: np.ndarray) -> float:
        return float(message[-2] / message[-1])

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse]) -> float:
        loss, weight = message[-2:].tolist()
        gradient = message[: self.size]
        gradient /= weight
        table = RowSparse(sparse["words"].rows, sparse["words"].values / np.float32(weight))
        clip([gradient, table.values], self.clippings)
        self.method.step(self.weights, gradient, self.optim, self.updates)
        self.method.step_rows(self.table, table, self.optim_table, self.updates)
        self.updates += 1
        return loss / weight

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        own = {"weights": self.weights, "table": self.table, "updates": np.array(self.updates)}
        return {**own, **self.optim, **{f"table {name}": array for name, array in self.optim_table.items()}}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        for name, array in self.state().items():
            if name == "updates":
                self.updates = int(state[name])
            else:
                array[...] = state[name]


def digits(rows: int = 90, seed: int = 5) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return inputs (features and words) and zero-based labels of three classes that a linear model can tell apart."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, CLASSES, rows)
    centres = 3.0 * np.eye(CLASSES, FEATURES)
    return (rng.standard_normal((rows, FEATURES)) * 0.5 + centres[target], rng.integers(0, WORDS, rows)), target


def data(shards: int, rows: int = 90) -> ArrayData:
    inputs, target = digits(rows)
    return ArrayData(inputs, target, shards)


class Exchange:
    """What threads of one process meet at; each adds its partial sums, all get the whole."""

    def __init__(self, workers: int, shards: int) -> None:
        self.total, self.barrier = shards, threading.Barrier(workers, timeout=20)
        self.dense: dict = {}
        self.sparse: dict = {}

    def reduce(self, messages: dict, sparse: dict) -> tuple[np.ndarray, dict[str, RowSparse]]:
        self.dense.update(partial_sums(messages, self.total))
        self.sparse.update(partial_sums(sparse, self.total, add_sparse))
        self.barrier.wait()
        # Each thread sums copies, since the nodes are other threads' working memory.
        nodes = {node: array.copy() for node, array in reversed(self.dense.items())}
        result = combine(nodes, self.total), combine(dict(self.sparse), self.total, add_sparse)
        self.barrier.wait()
        return result


class ThreadSync:
    def __init__(self, shards: Iterable[int], exchange: Exchange) -> None:
        self.shards = list(shards)
        self.exchange = exchange

    def begin(self, messages: dict, gradients: int) -> None:
        return None

    def step(self, replica: SoftmaxReplica, messages: dict, sparse: dict) -> float:
        return replica.update(*self.exchange.reduce(messages, sparse))


def run_threads(work: Callable[[ThreadSync], object], placement: Sequence[Sequence[int]]) -> list:
    """Run `work(sync)` in a thread for each worker of `placement` and return what they return."""
    exchange = Exchange(len(placement), sum(map(len, placement)))
    results: list = [None] * len(placement)

    def one(rank: int) -> None:
        results[rank] = work(ThreadSync(placement[rank], exchange))

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(placement))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
