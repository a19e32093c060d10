"""Compiled programs: a flat list of prepared calls over planned memory.

`compile_graph` turns what some outputs need into a `Program`. With oneDNN at hand the calls are its primitives;
without it the same graph is evaluated by the numpy references. A program belongs to one thread at a time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from kernels.config import PROVIDERS, gemm_library, native_library
from kernels.errors import ArgumentError, ShapeError, UnsupportedError
from kernels.graph import BUFFER, INPUT, PARAMETER, TABLE, Value, needed
from kernels.reference import evaluate

Feeds = Mapping[str, np.ndarray]
MAXIMUM_THREADS = 1024  # OpenMP ends the process where it cannot have as many as it was told


class Program(Protocol):
    """What running a graph offers, whichever way it is run."""

    def bind(self, leaves: Feeds) -> None:
        """Use these arrays (no copy: float32, C-contiguous) as parameters, buffers and tables from now on."""

    def run(self, inputs: Feeds, results: Sequence[np.ndarray | None] = ()) -> list[np.ndarray]:
        """Compute the outputs, into `results` where given, which must not overlap inputs or what is bound."""

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

    def run(self, inputs: Feeds, results: Sequence[np.ndarray | None] = ()) -> list[np.ndarray]:
        check_bound(self._leaves.keys() - self._bound.keys())
        checked = {name: checked_input(value, inputs) for name, value in self._inputs.items()}
        given = result_slots(self._outputs, results)
        arrays = [checked_result(value, array) for value, array in zip(self._outputs, given, strict=True)]
        for target, array in zip(arrays, evaluate(self._outputs, {**self._bound, **checked}), strict=True):
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
    given = np.asarray(inputs[name])
    if given.shape != value.shape:
        raise ShapeError(f"Input '{name}' expects {value.shape}, received {given.shape}.")
    if given.dtype == value.dtype:
        return np.asarray(given, order="C")
    with np.errstate(invalid="ignore"):
        array = np.asarray(given, dtype=value.dtype, order="C")
    if array.dtype.kind in "iu" and not np.array_equal(array, given):
        raise ArgumentError(f"Input '{name}' must hold whole numbers that fit {value.dtype}. Received: {given.dtype}.")
    return array


def checked_leaf(name: str, array: np.ndarray, size: int) -> np.ndarray:
    """The memory of a parameter, buffer or table of so many numbers, of any shape."""
    fits = isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size == size
    if not (fits and array.flags.c_contiguous):
        raise ArgumentError(f"'{name}' must be a dense float32 array of {size} numbers. Received: {_described(array)}.")
    return array


def check_bound(missing: Collection[str]) -> None:
    """Raise `ArgumentError` while a parameter, buffer or table has no memory yet."""
    if missing:
        names = ", ".join(sorted(missing))
        raise ArgumentError(f"Every parameter must be bound before a run. Missing: {names}.")


def result_slots(outputs: Sequence[Value], results: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """What the caller gave for each output; None for the rest."""
    if len(results) > len(outputs):
        raise ArgumentError(f"At most {len(outputs)} results can be given. Received: {len(results)}.")
    return [*results, *[None] * (len(outputs) - len(results))]


def checked_result(value: Value, given: np.ndarray | None) -> np.ndarray:
    """Memory for an output: what the caller gave (any shape of as many numbers), else a new array."""
    if given is None:
        return np.empty(value.shape, value.dtype)
    fits = isinstance(given, np.ndarray) and given.dtype == value.dtype and given.size == math.prod(value.shape)
    if not (fits and given.flags.c_contiguous and given.flags.writeable):
        raise ArgumentError(
            f"A result must be a dense writeable {value.dtype} array of {math.prod(value.shape)} numbers. "
            f"Received: {_described(given)}."
        )
    return given


def _described(given: object) -> str:
    if not isinstance(given, np.ndarray):
        return type(given).__name__
    remarks = [", not dense"] * (not given.flags.c_contiguous) + [", read-only"] * (not given.flags.writeable)
    return f"{given.dtype} {given.shape}{''.join(remarks)}"
