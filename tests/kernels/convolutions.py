"""3x3 convolutions with their gradients, to be compared with the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import Value, compile_graph, differentiate, evaluate, ops
from kernels.graph import Graph
from kernels.native.memory import ARENA

SAME = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
TOLERANCE = 3e-5
"""Of the results' deviation."""


class Built:
    """A convolution with its gradients, and numbers for it."""

    def __init__(self, shape: tuple[int, ...], bias: bool, relu: bool) -> None:
        pictures, inputs, outputs, height, width = shape
        rng = np.random.default_rng(sum(shape))
        graph = Graph()
        x = graph.input("x", (pictures, inputs, height, width))
        leaves = [graph.parameter("w", (outputs, inputs, 3, 3))]
        leaves += [graph.parameter("b", (outputs,))] if bias else []
        y = ops.convolution(x, *leaves, **SAME)
        y = ops.relu(y) if relu else y
        gradients = differentiate({y: graph.input("dy", y.shape)}, [x, *leaves])
        self.outputs = [y, *(g for g in gradients.values() if isinstance(g, Value))]
        self.inputs = {name: rng.standard_normal(v, np.float32) for name, v in (("x", x.shape), ("dy", y.shape))}
        self.leaves = {v.node.attrs["name"]: rng.standard_normal(v.shape, np.float32) / 8 for v in leaves}

    def result(self) -> np.ndarray:
        """Of the convolution alone."""
        program = compile_graph(self.outputs[:1])
        program.bind(self.leaves)
        return program.run(self.inputs)[0]

    def run(self, **how: Any) -> list[np.ndarray]:
        """Results and gradients, the same in memory of any content."""
        program = compile_graph(self.outputs, **how)
        program.bind(self.leaves)
        first = program.run(self.inputs)
        ARENA.memory[:] = 255  # all not a number: whatever is not written must not be read
        again = program.run(self.inputs)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
        lines = program.describe()
        assert any("matmul" in line for line in lines)  # which a plain sum has none of
        assert not [line for line in lines if "numpy:" in line and "numpy: zeros" not in line]
        return again

    def reference(self) -> list[np.ndarray]:
        """The same by the definition."""
        return evaluate(self.outputs, {**self.inputs, **self.leaves})


def check(ours: list[np.ndarray], theirs: list[np.ndarray], tolerance: float = TOLERANCE) -> None:
    """All results within a part of their deviation."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * max(float(np.std(other)), 0.1))
