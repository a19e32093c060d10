"""Compiled programs: a flat list of prepared calls over planned memory.

`compile_graph` turns what some outputs need into a `Program`. With oneDNN at hand the calls are its primitives;
without it the same graph is evaluated by the numpy references. A program belongs to one thread at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.config import PROVIDERS, gemm_library, native_library
from kernels.errors import ArgumentError, ShapeError, UnsupportedError
from kernels.graph import INPUT, Value, needed
from kernels.reference import evaluate

Feeds = Mapping[str, np.ndarray]


class Program(Protocol):
    """What running a graph offers, whichever way it is run."""

    def bind(self, leaves: Feeds) -> None:
        """Use these arrays (no copy: float32, C-contiguous) as parameters, buffers and tables from now on."""

    def run(self, inputs: Feeds, results: Sequence[np.ndarray | None] = ()) -> list[np.ndarray]:
        """Compute the outputs, into `results` where given."""

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
    if threads < 1:
        raise ArgumentError(f"threads must be >= 1. Received: {threads}.")
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
        self._leaves: dict[str, np.ndarray] = {}

    def bind(self, leaves: Feeds) -> None:
        self._leaves.update(leaves)

    def run(self, inputs: Feeds, results: Sequence[np.ndarray | None] = ()) -> list[np.ndarray]:
        checked = {name: checked_input(value, inputs) for name, value in self._inputs.items()}
        computed = evaluate(self._outputs, {**self._leaves, **checked})
        given = [*results, *[None] * (len(self._outputs) - len(results))]
        arrays = [checked_result(value, array) for value, array in zip(self._outputs, given, strict=True)]
        for target, array in zip(arrays, computed, strict=True):
            target[...] = array.reshape(target.shape)
        return arrays

    def describe(self) -> list[str]:
        return [f"{node.op.name:32} numpy  {node.label}" for node in needed(self._outputs)]


def input_specs(outputs: Sequence[Value]) -> dict[str, Value]:
    """The inputs that these outputs read."""
    return {node.attrs["name"]: node.outputs[0] for node in needed(outputs) if node.op is INPUT}


def checked_input(value: Value, inputs: Feeds) -> np.ndarray:
    """The array given for an input, dense and of its type; `ShapeError` where it does not fit."""
    name = value.node.attrs["name"]
    if name not in inputs:
        raise ArgumentError(f"Input '{name}' must be given. Received: {sorted(inputs)}.")
    array = np.asarray(inputs[name], dtype=value.dtype, order="C")
    if array.shape != value.shape:
        raise ShapeError(f"Input '{name}' expects {value.shape}, received {array.shape}.")
    return array


def checked_result(value: Value, given: np.ndarray | None) -> np.ndarray:
    """Memory for an output: what the caller gave (any shape of as many numbers), else a new array."""
    if given is None:
        return np.empty(value.shape, value.dtype)
    fits = given.dtype == value.dtype and given.size == math.prod(value.shape)
    if not (fits and given.flags.c_contiguous and given.flags.writeable):
        raise ArgumentError(
            f"A result must be a dense writeable {value.dtype} array of {math.prod(value.shape)} numbers. "
            f"Received: {given.dtype} {given.shape}, writeable: {given.flags.writeable}."
        )
    return given
