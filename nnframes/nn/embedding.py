"""Embeddings: rows of a learned table, by number."""

from __future__ import annotations

import numpy as np

from kernels import ops
from kernels.graph import INT32, Value
from nnframes.errors import ArgumentError
from nnframes.nn.initialisers import RandomNormal
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import TABLE, Parameter, positive
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.trace import Trace

__all__ = ["LookupTable"]

EXACT_IDS = 2**24  # float32, as inputs of networks are, holds all whole numbers up to here


class LookupTable(Layer):
    """Rows of a table: ids (batch, ...) in [0, n_index) to vectors (batch, ..., n_output).

    Ids count from 0 (BigDL: from 1). The table (n_index, n_output) starts standard normal; it is kept beside the flat
    parameter vector and a step touches only the rows that were looked up. The id `padding_value`, where given, yields
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
        ids = x if x.dtype == INT32 else ops.cast(x, INT32)
        rows = ops.gather_rows(t(self.weight), ids)
        if self.padding_value is None:
            return rows
        is_padding = ops.equal(ids, t.graph.constant(np.full(1, self.padding_value, np.int32)))
        return ops.multiply(rows, ops.expand_dims(ops.affine(is_padding, -1.0, 1.0), -1))
