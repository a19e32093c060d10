"""Embeddings: rows of a learned table, by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import ops
from kernels.graph import INT32, Value, needed
from kernels.ops.embedding import ROW_IDS
from nnframes.errors import ArgumentError
from nnframes.nn.initialisers import RandomNormal
from nnframes.nn.layer import Layer
from nnframes.nn.network import trace
from nnframes.nn.parameter import TABLE, Parameter, positive
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.trace import Trace

__all__ = ["LookupTable", "id_inputs"]

EXACT_IDS = 2**24  # float32, as inputs of networks are, holds all whole numbers up to here


class LookupTable(Layer):
    """Rows of a table: ids (batch, ...) in [0, n_index) to vectors (batch, ..., n_output).

    Ids count from 0 (BigDL: from 1); `ArgumentError` for what is no whole number in that range, in `forward` and in
    `backward`. The table (n_index, n_output) starts standard normal; it is kept beside the flat parameter vector and a
    step touches only the rows that were looked up. The id `padding_value`, where given, yields
    zeros and trains nothing.

    >>> LookupTable(10000, 64).output_shape((32, 20))
    (32, 20, 64)
    """

    def __init__(
        self,
        n_index: int,
        n_output: int,
        padding_value: int | None = None,
        wRegularizer: Regularizer | None = None,
        init_weight: np.ndarray | None = None,
    ) -> None:
        positive(self, n_index=n_index, n_output=n_output)
        if padding_value is not None and not 0 <= padding_value < n_index:
            raise ArgumentError(
                f"LookupTable padding_value must be an id in [0, {n_index}) or None. Received: {padding_value}."
            )
        self.n_index = n_index
        self.n_output = n_output
        self.padding_value = padding_value
        self.wRegularizer = wRegularizer
        self.init_weight = init_weight
        init = RandomNormal(0.0, 1.0) if init_weight is None else init_weight
        self.weight = Parameter("weight", (n_index, n_output), init, wRegularizer, kind=TABLE)

    def call(self, t: Trace, x: Value) -> Value:
        exact = x.dtype == INT32 or self.n_index <= EXACT_IDS
        t.expect(exact, f"int32 ids for a table of more than {EXACT_IDS} rows", x.dtype)
        ids = ops.row_ids(x, self.n_index)
        rows = ops.gather_rows(t(self.weight), ids)
        if self.padding_value is None:
            return rows
        is_padding = ops.equal(ids, t.graph.constant(np.full(1, self.padding_value, np.int32)))
        return ops.multiply(rows, ops.expand_dims(ops.affine(is_padding, -1.0, 1.0), -1))


def id_inputs(layer: Layer, shapes: Any) -> dict[int, tuple[int, str]]:
    """Which inputs of a network, for inputs of these shapes, are ids themselves: {number: (rows, the table's layer)}.

    >>> id_inputs(LookupTable(100, 8), (32, 20))
    {0: (100, "LookupTable 'lookuptable_1'")}
    """
    traced = trace(layer, shapes, training=False)
    numbers = {value: number for number, value in enumerate(traced.inputs)}
    found: dict[int, tuple[int, str]] = {}
    for node in needed(traced.outputs):
        if node.op is ROW_IDS and node.inputs[0] in numbers:
            number, one = numbers[node.inputs[0]], (node.attrs["rows"], node.label)
            found[number] = min(found.get(number, one), one)
    return found
