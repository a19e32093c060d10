"""The cases over which every op is checked: shapes, gradients, PyTorch, native calls.

To add a case: one line below. To add an op: at least one case, and a line in torch_table.py (or in NOT_IN_TORCH).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import ops
from kernels.gradient import Gradient, differentiate
from kernels.graph import INPUT, Graph, Value

RANDOM_KEY = np.array([7, 3, 1, 0], np.int64)


@dataclass(frozen=True)
class Feed:
    """One leaf: uniform numbers in [low, high), whole ones if the type is of integers."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str = "float32"
    leaf: str = "input"  # or parameter, table, buffer
    gradient: bool = True  # False: an argument that its op takes as constant

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.dtype != "float32":
            return rng.integers(int(self.low), int(self.high), self.shape, self.dtype)
        return rng.uniform(self.low, self.high, self.shape).astype(np.float32)

    def value(self, graph: Graph, name: str) -> Value:
        if self.leaf == "input":
            return graph.input(name, self.shape, self.dtype)
        return getattr(graph, self.leaf)(name, self.shape)


@dataclass(frozen=True)
class Case:
    """A public function of kernels.ops on leaves; `listed`: it takes them as one list."""

    function: str
    feeds: tuple[Feed, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = False
    rtol: float = 1e-4
    atol: float = 1e-5

    def __str__(self) -> str:
        shapes = ",".join("x".join(map(str, feed.shape)) or "scalar" for feed in self.feeds)
        attrs = ",".join(f"{name}={value}" for name, value in self.attrs.items() if not callable(value))
        return f"{self.function}({shapes})[{attrs}]".replace(" ", "")

    def arrays(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(20240229)
        return {f"x{i}": feed.draw(rng) for i, feed in enumerate(self.feeds)}


@dataclass(frozen=True)
class Built:
    """A case as a graph: outputs, gradients of sum(output * seed) for each float leaf, and all feeds."""

    graph: Graph
    leaves: tuple[Value, ...]
    outputs: tuple[Value, ...]
    seeds: dict[Value, Value]
    gradients: dict[Value, Gradient | None]
    feeds: dict[str, np.ndarray]


def build(case: Case) -> Built:
    """Build the case; seeds are inputs seed0, seed1, ..."""
    graph = Graph()
    leaves = tuple(feed.value(graph, f"x{i}") for i, feed in enumerate(case.feeds))
    function = LOCAL.get(case.function) or getattr(ops, case.function)
    result = function(list(leaves), **case.attrs) if case.listed else function(*leaves, **case.attrs)
    outputs = _flat(result)
    feeds = case.arrays()
    rng = np.random.default_rng(4)
    seeds = {}
    for i, output in enumerate(dict.fromkeys(outputs)):
        if output.dtype == "float32":
            seeds[output] = graph.input(f"seed{i}", output.shape)
            feeds[f"seed{i}"] = rng.uniform(-1, 1, output.shape).astype(np.float32)
    if "random_key" in graph.leaves(INPUT):
        feeds["random_key"] = RANDOM_KEY
    wrt = [leaf for leaf, feed in zip(leaves, case.feeds, strict=True) if feed.dtype == "float32" and feed.gradient]
    return Built(graph, leaves, outputs, seeds, differentiate(seeds, wrt), feeds)


def _flat(result: Value | Sequence[Any]) -> tuple[Value, ...]:
    if isinstance(result, Value):
        return (result,)
    return tuple(value for part in result for value in _flat(part))


def _case(function: str, *feeds: Any, listed: bool = False, **attrs: Any) -> Case:
    return Case(function, tuple(f if isinstance(f, Feed) else Feed(f) for f in feeds), attrs, listed)


def _positive(*shape: int) -> Feed:
    return Feed(shape, 0.2, 3.0)


def _integers(shape: tuple[int, ...], high: int, low: int = 0) -> Feed:
    return Feed(shape, low, high, "int32")


def _weights(*shape: int) -> Feed:
    return Feed(shape, -1.0, 1.0, leaf="parameter")


_X = (3, 5, 7)

_UNARY = [
    _case("abs_", _X),
    _case("affine", _X, alpha=-1.5, beta=0.25),
    _case("clip", _X, minimum=-0.5, maximum=1.0),
    _case("elu", _X),
    _case("elu", (33,), alpha=0.3),
    _case("exp", _X),
    _case("gelu_erf", _X),
    _case("gelu_tanh", _X),
    _case("hard_shrink", _X, alpha=0.7),
    _case("hard_sigmoid", Feed(_X, -5, 5)),
    _case("log", _positive(3, 17)),
    _case("log_sigmoid", Feed(_X, -9, 9)),
    _case("negative", (1,)),
    _case("power", _positive(3, 17), exponent=2.5, scale=0.5),
    _case("power", _positive(3, 17), exponent=-0.5),
    _case("power", _X, exponent=3.0),
    _case("relu", _X),
    _case("relu", (1, 1, 1, 1), negative_slope=0.1),
    _case("relu", (2, 33, 5, 3), negative_slope=0.1),
    _case("sigmoid", Feed(_X, -9, 9)),
    _case("sign", _X),
    _case("soft_shrink", _X, alpha=0.7),
    _case("soft_sign", _X),
    _case("softplus", Feed(_X, -9, 9)),
    _case("softplus", _X, alpha=2.0),
    _case("sqrt", _positive(3, 17)),
    _case("square", _X),
    _case("swish", _X),
    _case("swish", _X, alpha=1.7),
    _case("tanh", _X),
    _case("tanh", ()),
    _case("tanh_shrink", _X),
    _case("threshold", _X, limit=0.3, value=-0.7),
]

_BROADCASTS = [
    ((3, 5), (3, 5)),
    ((2, 3, 5), (3, 1)),
    ((1, 5), (4, 1)),
    ((1, 5), (5,)),
    ((1, 3, 5), (3, 5)),
    ((4,), ()),
    ((), ()),
    ((2, 17, 3, 3), (17, 1, 1)),
]

_BINARY = [
    *(_case(name, a, b) for name in ("add", "subtract", "multiply", "maximum", "minimum") for a, b in _BROADCASTS),
    *(_case("divide", a, Feed(b, 0.5, 2.0)) for a, b in _BROADCASTS),
    *(_case(name, (3, 5), (5,)) for name in ("greater", "less")),
    _case("equal", _integers((3, 5), 3), _integers((5,), 3)),
    _case("greater", _integers((3, 5), 3), _integers((5,), 3)),
    _case("add_n", (3, 5), (3, 5), (3, 5), listed=True),
    _case("cast", _integers((3, 5), 100, -100), dtype="float32"),
    _case("cast", Feed((3, 5), -9, 9, gradient=False), dtype="int32"),
]

_LINEAR = [
    _case("linear", (4, 7), _weights(3, 7), _weights(3)),
    _case("linear", (1, 17), _weights(33, 17)),
    _case("linear", (5, 1), _weights(1, 1), _weights(1)),
    _case("linear_backward_data", (4, 3), _weights(3, 7)),
    *(
        _case("matmul", a, b, transpose_a=ta, transpose_b=tb)
        for a, b, ta, tb in [
            ((3, 5), (5, 7), False, False),
            ((5, 3), (5, 7), True, False),
            ((3, 5), (7, 5), False, True),
            ((5, 3), (7, 5), True, True),
            ((4, 3, 5), (4, 5, 7), False, False),
            ((4, 5, 3), (4, 7, 5), True, True),
            ((2, 1, 3, 5), (4, 5, 1), False, False),
            ((4, 3, 5), (7, 5), False, True),
        ]
    ),
]

# x, weights, bias?, attributes
_CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((1, 1, 7, 7), (1, 1, 3, 3), False, {}),
    ((2, 3, 9, 8), (5, 3, 3, 3), True, {"padding": ((1, 1), (1, 1))}),
    ((2, 3, 11, 9), (17, 3, 5, 3), True, {"strides": (2, 3), "padding": ((2, 2), (1, 1))}),
    ((1, 33, 5, 5), (3, 33, 1, 1), True, {}),
    ((2, 16, 6, 6), (32, 16, 3, 3), True, {"padding": ((1, 1), (1, 1))}),
    ((2, 3, 8, 8), (4, 3, 2, 2), True, {"padding": ((0, 1), (0, 1))}),
    ((2, 3, 8, 9), (4, 3, 3, 2), False, {"padding": ((2, 0), (0, 3)), "strides": (3, 1)}),
    ((2, 4, 9, 9), (6, 2, 3, 3), True, {"groups": 2}),
    ((2, 5, 7, 7), (5, 1, 3, 3), True, {"groups": 5, "padding": ((1, 1), (1, 1))}),
    ((1, 3, 7, 7), (6, 1, 3, 3), False, {"groups": 3, "strides": (2, 2)}),
    ((2, 3, 11, 11), (4, 3, 3, 3), True, {"dilation": (2, 3), "padding": ((2, 2), (3, 3))}),
    ((1, 2, 9, 10), (4, 1, 3, 2), True, {"dilation": (2, 1), "groups": 2, "strides": (3, 2)}),
    ((2, 3, 13), (5, 3, 4), True, {"strides": (3,), "padding": ((1, 2),)}),
    ((3, 1, 9), (1, 1, 9), False, {}),
    ((1, 2, 5, 6, 4), (3, 2, 3, 2, 2), True, {"strides": (2, 1, 2), "padding": ((1, 1), (0, 1), (0, 0))}),
    ((1, 2, 4, 4, 4), (2, 1, 2, 2, 2), False, {"groups": 2}),
]


def _output(x: tuple[int, ...], w: tuple[int, ...], attrs: Mapping[str, Any]) -> tuple[int, ...]:
    graph = Graph()
    return ops.convolution(graph.input("x", x), graph.input("w", w), **attrs).shape


_CONVOLUTION = [
    *(_case("convolution", x, _weights(*w), *([_weights(w[0])] * b), **attrs) for x, w, b, attrs in _CONVOLUTIONS),
    *(  # the transposed convolutions
        _case("convolution_backward_data", _output(x, w, attrs), _weights(*w), input_shape=x, **attrs)
        for x, w, _, attrs in _CONVOLUTIONS[::2]
    ),
]

# x, attributes of both poolings; hanging last windows come from pool_padding(..., ceil=True)
_POOLINGS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 4, 4), {"kernel": (2, 2)}),
    ((2, 3, 7, 7), {"kernel": (3, 3), "strides": (2, 2)}),
    ((2, 17, 8, 8), {"kernel": (3, 3), "strides": (2, 2), "padding": ((0, 1), (0, 1))}),
    ((2, 16, 8, 8), {"kernel": (3, 3), "strides": (1, 1), "padding": ((1, 1), (1, 1))}),
    ((1, 33, 6, 5), {"kernel": (2, 3), "strides": (3, 1), "padding": ((1, 0), (0, 2))}),
    ((2, 3, 5, 6), {"kernel": (2, 2), "strides": (2, 2), "padding": ((1, 1), (1, 1))}),
    ((2, 5, 7, 7), {"kernel": (7, 7)}),
    ((3, 5, 10), {"kernel": (3,), "strides": (3,), "padding": ((1, 1),)}),
    ((1, 3, 5, 4, 6), {"kernel": (2, 2, 3), "strides": (2, 1, 2), "padding": ((1, 0), (0, 0), (1, 1))}),
]

_POOLING = [
    *(_case("max_pool", x, **attrs) for x, attrs in _POOLINGS),
    *(_case("avg_pool", x, include_padding=i, **attrs) for x, attrs in _POOLINGS for i in (True, False)),
]

_NORMALIZATION = [
    *(
        _case("batch_norm", x, _weights(x[1]), _weights(x[1]), eps=eps)
        for x, eps in [((6, 3), 1e-5), ((2, 17, 3, 5), 1e-3), ((4, 1, 3, 3), 1e-5), ((3, 16, 4, 4), 1e-5)]
    ),
    _case("batch_norm", (3, 2, 5), _weights(2), _weights(2)),
    _case("batch_norm", (2, 3, 2, 3, 2), _weights(3), _weights(3)),
    *(
        _case(
            "batch_norm_inference",
            x,
            _weights(x[1]),
            _weights(x[1]),
            Feed((x[1],), leaf="buffer"),
            Feed((x[1],), 0.3, 2.0, leaf="buffer"),
        )
        for x in [(6, 3), (1, 17, 3, 5), (2, 16, 4, 4), (2, 3, 2, 3, 2)]
    ),
    _case("lrn", (2, 7, 3, 5), size=5, alpha=0.5, beta=0.75, k=1.0),
    _case("lrn", (1, 3, 4, 4), size=5, alpha=1.0, beta=0.5, k=2.0),
    _case("lrn", (2, 33, 2, 3), size=3, alpha=0.1, beta=0.75, k=1.0),
    *(
        _case(f, x, axis=a)
        for f in ("softmax", "log_softmax")
        for x, a in [((4, 10), -1), ((1, 17), 1), ((2, 5, 3, 2), 1)]
    ),
    _case("softmax", (7,), axis=0),
    _case("softmax", Feed((3, 5), -90, 90), axis=0),
    _case("log_softmax", Feed((3, 5), -90, 90), axis=1),
]

_SHAPE = [
    _case("reshape", (2, 3, 4), shape=(4, -1)),
    _case("reshape", (6,), shape=(1, 6, 1)),
    _case("expand_dims", (2, 3), axis=1),
    _case("squeeze", (2, 1, 3), axis=-2),
    _case("transpose", (2, 3, 5), permutation=(2, 0, 1)),
    _case("transpose", (2, 3, 5, 1), permutation=(0, 2, 3, 1)),
    _case("transpose", _integers((3, 5), 9), permutation=(1, 0)),
    _case("slice_", (4, 9, 3), starts=(1, None, 0), stops=(3, -1, None), steps=(1, 3, 2)),
    _case("slice_", (5, 6), starts=(None, 4), stops=(None, 0), steps=(-1, -2)),
    _case("slice_backward", (2, 3), input_shape=(4, 5), starts=(1, 0), stops=(3, 5), steps=(1, 2)),
    _case("transpose", (), permutation=()),
    _case("slice_", (), starts=(), stops=()),
    _case("narrow", (4, 9), axis=-1, start=2, stop=5),
    _case("select", (4, 9, 3), axis=1, index=-1),
    _case("split", (3, 9), sizes=(2, 4, 3), axis=1),
    _case("concat", (2, 3, 5), (2, 1, 5), (2, 17, 5), listed=True, axis=1),
    _case("concat", (1, 3), (4, 3), listed=True, axis=0),
    _case("concat", _integers((3,), 9), _integers((2,), 9), listed=True, axis=0),
    _case("stack", (2, 3), (2, 3), listed=True, axis=-1),
    _case("pad", (2, 3, 5), padding=((0, 0), (1, 2), (3, 0))),
    _case("pad", (2, 3), padding=(1, (0, 2)), value=-1.5),
    _case("broadcast_to", (3, 1), shape=(2, 3, 4)),
    _case("broadcast_to", (5,), shape=(3, 5)),
]

_REDUCTION = [
    *(
        _case("reduce", x, kind=kind, axes=axes, keepdims=keep)
        for kind in ("sum", "mean", "max", "min")
        for x, axes, keep in [((3, 5), None, False), ((2, 17, 3, 5), (0, 2, 3), False), ((4, 3, 5), -1, True)]
    ),
    _case("sum_to", (2, 3, 4), shape=(3, 1)),
    _case("sum_to", (2, 3, 4), shape=()),
]

_EMBEDDING = [
    _case("gather_rows", Feed((7, 3), leaf="table"), _integers((4, 5), 7)),
    _case("gather_rows", Feed((7, 3), leaf="table"), _integers((), 7)),
    _case("gather_rows", _weights(17, 1), _integers((33,), 17)),
    _case("row_ids", _integers((4, 5), 7), rows=7),
    _case("row_ids", _integers((1,), 3), rows=3),
    _case("scatter_rows", _integers((9,), 5), (9, 3), rows=5),
    _case("scatter_rows", _integers((1,), 5), (1, 17), rows=33),
]

_RANDOM = [
    _case("dropout", (3, 5, 7), keep=0.6),
    _case("dropout", (3, 5, 7), keep=0.6, scale=False),
    _case("dropout", (2, 17, 3, 3), keep=0.5, shape=(2, 17, 1, 1)),
    _case("masked", _X, Feed(_X, 0, 2, "uint8")),
    _case("masked", _X, Feed(_X, 0, 2, "uint8"), scale=1.25),
    _case("masked", (2, 17, 3, 3), Feed((17, 1, 1), 0, 2, "uint8"), scale=2.0),
]

_LOSS = [
    _case("nll", Feed((8, 10), -5, 0), _integers((8,), 10)),
    _case("nll", Feed((1, 3), -5, 0), _integers((1,), 3)),
    _case("nll", Feed((17, 5), -5, 0), _integers((17,), 5), Feed((5,), 0.1, 2.0, gradient=False)),
    _case("nll", Feed((17, 5), -5, 0), _integers((17,), 5, -1), padding=-1),
    _case("nll", Feed((9, 3), -5, 0), _integers((9,), 3), Feed((3,), 0.1, 2.0, gradient=False), padding=0),
]

_HOST = [
    _case(
        "non_max_suppression",
        Feed((30, 4), 0, 9, gradient=False),
        Feed((30,), 0, 1, gradient=False),
        iou_threshold=0.3,
        score_threshold=0.2,
        max_output=9,
    )
]


def elman(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    """h = tanh(W x + U h), the custom cell of the tests."""
    h = ops.tanh(ops.add(ops.linear(inputs[0], constants[0]), ops.linear(states[0], constants[1])))
    return (h,), (h,)


def decay(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    """Two states, one of which passes through; no sequence."""
    moved = ops.multiply(states[0], states[1])
    return (ops.add(moved, constants[0]), states[1]), (ops.square(moved),)


def _scan_flat(*leaves: Value, body: Any, counts: tuple[int, int, int], length: int | None = None) -> Any:
    """`ops.scan` with states, sequences and constants in one row."""
    n, m = counts[0], counts[0] + counts[1]
    return ops.scan(body, leaves[:n], leaves[n:m], leaves[m:], length)


def _slice_backward(dy: Value, **attrs: Any) -> Value:
    return dy.graph.apply(ops.OPS["slice_backward"], [dy], attrs)[0]


LOCAL = {"scan_flat": _scan_flat, "slice_backward": _slice_backward}

_SCAN = [
    _case("scan_flat", (2, 5), (7, 2, 3), _weights(5, 3), _weights(5, 5), body=elman, counts=(1, 1, 2)),
    _case("scan_flat", (1, 1), (1, 1, 17), _weights(1, 17), _weights(1, 1), body=elman, counts=(1, 1, 2)),
    _case("scan_flat", (2, 3), (2, 3), (3,), body=decay, counts=(2, 0, 1), length=4),
]

CASES: list[Case] = [
    *(_UNARY + _BINARY + _LINEAR + _CONVOLUTION + _POOLING + _NORMALIZATION + _SHAPE + _REDUCTION),
    *(_EMBEDDING + _RANDOM + _LOSS + _HOST + _SCAN),
]
