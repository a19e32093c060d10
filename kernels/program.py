"""Compiled programs: a flat list of prepared calls over planned memory.

`compile_graph` turns what some outputs need into a `Program`. With oneDNN at hand the calls are its primitives;
without it the same graph is evaluated by the numpy references. A program belongs to one thread at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kernels.config import PROVIDERS, gemm_library, native_library
from kernels.errors import ArgumentError, UnsupportedError
from kernels.feeds import (
    Feeds,
    Finished,
    check_bound,
    checked_input,
    checked_leaf,
    checked_result,
    input_specs,
    result_slots,
)
from kernels.graph import BUFFER, PARAMETER, TABLE, Value, needed
from kernels.reference import evaluate

MAXIMUM_THREADS = 1024  # OpenMP ends the process where it cannot have as many as it was told


class Program(Protocol):
    """What running a graph offers, whichever way it is run."""

    def bind(self, leaves: Feeds) -> None:
        """Use these arrays (no copy: float32, C-contiguous) as parameters, buffers and tables from now on."""

    def run(
        self, inputs: Feeds, results: Sequence[np.ndarray | None] = (), finished: Finished | None = None
    ) -> list[np.ndarray]:
        """Compute the outputs, into `results` where given, which must not overlap inputs or what is bound.

        `finished(numbers)` is told of outputs as they are complete, each once. Nothing reads or writes them any more,
        so that they may be changed at once, also by another thread.
        """

    def describe(self) -> list[str]:
        """One line a call: which kernel runs which node."""


def compile_graph(outputs: Sequence[Value], *, threads: int = 1, fold: bool = False, gemm: str = "onednn") -> Program:
    """Prepare the computation of `outputs`.

    `threads` is part of the result: sums of another number of threads differ in the last bits. `fold` computes what
    depends on parameters alone once at `bind` (inference) and not at every run (training). `gemm` says whose products
    of matrices to use, "onednn" or "mkl"; it changes the last bits too (see `gemm_provider`).

    >>> from kernels import ops
    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> y = ops.relu(graph.input("x", (2, 2)))
    >>> compile_graph([y]).run({"x": np.array([[-1, 2], [3, -4]], np.float32)})[0]
    array([[0., 2.],
           [3., 0.]], dtype=float32)
    """
    if not isinstance(threads, (int, np.integer)) or not 1 <= threads <= MAXIMUM_THREADS:
        raise ArgumentError(f"threads must be an integer >= 1, at most {MAXIMUM_THREADS}. Received: {threads}.")
    if gemm not in PROVIDERS:
        raise ArgumentError(f"gemm must be one of {', '.join(PROVIDERS)}. Received: {gemm}.")
    if native_library() is None:
        return ReferenceProgram(outputs)
    from kernels.onednn import EMITTERS  # opens the library: not before it is wanted
    from kernels.onednn.program import NativeProgram

    if gemm == "onednn":
        return NativeProgram(outputs, EMITTERS, threads, fold)
    library = gemm_library()
    if isinstance(library, str):
        raise UnsupportedError(f"gemm='mkl' needs MKL. {library}")
    from kernels.mkl import EMITTERS as MKL_EMITTERS

    return NativeProgram(outputs, {**EMITTERS, **MKL_EMITTERS}, threads, fold)


class ReferenceProgram:
    """The graph evaluated by the definition of each op."""

    def __init__(self, outputs: Sequence[Value]) -> None:
        self._outputs = list(outputs)
        self._inputs = input_specs(outputs)
        self._leaves = {
            node.attrs["name"]: node.outputs[0] for node in needed(outputs) if node.op in (PARAMETER, BUFFER, TABLE)
        }
        self._bound: dict[str, np.ndarray] = {}

    def bind(self, leaves: Feeds) -> None:
        for name, array in leaves.items():
            if name in self._leaves:
                shape = self._leaves[name].shape
                self._bound[name] = checked_leaf(name, array, math.prod(shape)).reshape(shape)

    def run(
        self, inputs: Feeds, results: Sequence[np.ndarray | None] = (), finished: Finished | None = None
    ) -> list[np.ndarray]:
        check_bound(self._leaves.keys() - self._bound.keys())
        checked = {name: checked_input(value, inputs) for name, value in self._inputs.items()}
        given = result_slots(self._outputs, results)
        arrays = [checked_result(value, array) for value, array in zip(self._outputs, given, strict=True)]
        for target, array in zip(arrays, evaluate(self._outputs, {**self._bound, **checked}), strict=True):
            target[...] = array.reshape(target.shape)
        if finished is not None:
            finished(range(len(arrays)))
        return arrays

    def describe(self) -> list[str]:
        return [f"{node.op.name:32} numpy  {node.label}" for node in needed(self._outputs)]
