"""The cases over which every layer and criterion is checked. To add a layer: a line in the catalog and one here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import ops
from kernels.gradient import Gradient, differentiate
from kernels.graph import Graph, Value
from kernels.reference import evaluate
from nnframes import nn
from nnframes.nn.nest import flatten, map_nested, unflatten

RANDOM_KEY = np.array([7, 3, 1, 0], np.int64)

# What inputs are drawn from: name -> function of (rng, shape).
DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "any": lambda rng, shape: rng.normal(0, 1, shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 2.0, shape),
    "ids": lambda rng, shape: rng.integers(0, 5, shape).astype(np.float64),
    "boxes": lambda rng, shape: np.sort(rng.uniform(0, 10, shape), axis=-1),
}


@dataclass(frozen=True)
class Case:
    """One layer: its constructor's arguments, its children, the shape it takes (a list for a table) and gives."""

    layer: str
    input: Any
    output: Any
    args: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    children: tuple[Case, ...] = ()
    wrong: Any = None  # an input shape that it refuses; None: a table where it takes a tensor, and the other way round
    draw: str = "any"
    gradient: bool = True

    def __str__(self) -> str:
        args = ",".join(f"{key}={value}" for key, value in self.args.items() if np.ndim(value) == 0)
        return f"{self.layer}({args}){self.input}".replace(" ", "")

    def build(self) -> nn.Layer:
        layer = nn.LAYERS[self.layer](**{key: _fresh(value) for key, value in self.args.items()})
        for child in self.children:
            layer.add(child.build())
        return layer

    def inputs(self) -> list[np.ndarray]:
        rng = np.random.default_rng(11)
        return [DRAWS[self.draw](rng, shape) for shape in flatten(self.input)]


def _fresh(value: Any) -> Any:
    return value() if callable(value) and not isinstance(value, nn.Layer) else value


@dataclass
class Run:
    """A layer traced at the shapes of `inputs` and ready to be evaluated by the reference, in any precision."""

    layer: nn.Layer
    trace: nn.Trace
    inputs: list[Value]
    outputs: Any
    feeds: dict[str, np.ndarray]

    @classmethod
    def of(cls, layer: nn.Layer, inputs: Any, training: bool = False, dtype: type = np.float64) -> Run:
        """`inputs` is an array or a nested list of arrays."""
        arrays = flatten(inputs)
        graph = Graph()
        values = [graph.input(f"x{i}", array.shape) for i, array in enumerate(arrays)]
        trace = nn.Trace(layer.initialise(), graph, training)
        outputs = trace.run(layer, unflatten(inputs, values))
        parameters = {path: own.value.astype(dtype) for path, own in nn.parameters_in(layer)}
        named = {f"x{i}": array.astype(dtype) for i, array in enumerate(arrays)}
        return cls(layer, trace, values, outputs, {"random_key": RANDOM_KEY, **parameters, **named})

    def result(self) -> Any:
        """What comes out: an array or a nested list of arrays."""
        return unflatten(self.outputs, evaluate(flatten(self.outputs), self.feeds))

    def leaves(self) -> dict[str, Value]:
        """Everything a gradient can go to, by name: inputs, and parameters that the graph uses."""
        trainable = {path: own for path, own in nn.parameters_in(self.layer) if own.kind != nn.BUFFER}
        found = {path: self.trace(own) for path, own in trainable.items() if self.trace.used(own)}
        return {**{f"x{i}": value for i, value in enumerate(self.inputs)}, **found}

    def gradients(self, seeds: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Gradients of the sum of `<output, seed>` to all leaves; zeros where there is none."""
        found, feeds = self.gradient_values(seeds)
        return {name: _dense(found[name], value, feeds) for name, value in self.leaves().items()}

    def gradient_values(self, seeds: list[np.ndarray]) -> tuple[dict[str, Gradient | None], dict[str, np.ndarray]]:
        """The same as part of the graph, and what it is to be fed with."""
        leaves, graph = self.leaves(), self.trace.graph
        given: dict[Value, Value] = {}
        for i, y in enumerate(flatten(self.outputs)):
            seed = graph.input(f"seed{i}", y.shape)
            given[y] = ops.add(given[y], seed) if y in given else seed
        found = differentiate(given, list(leaves.values()))
        feeds = {**self.feeds, **{f"seed{i}": seed for i, seed in enumerate(seeds)}}
        return {name: found[value] for name, value in leaves.items()}, feeds


def _dense(gradient: Gradient | None, leaf: Value, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    if gradient is None:
        return np.zeros(leaf.shape)
    if isinstance(gradient, Value):
        return evaluate([gradient], feeds)[0]
    rows, values = evaluate(list(gradient), feeds)
    total = np.zeros(leaf.shape, values.dtype)
    np.add.at(total, rows, values)
    return total


def shapes_of(nested: Any) -> Any:
    return map_nested(np.shape, nested)


_linear = Case("Linear", (4, 6), (4, 5), {"input_size": 6, "output_size": 5})
_wide = Case("Linear", (4, 6), (4, 3), {"input_size": 6, "output_size": 3})
_rnn = Case("RnnCell", [(4, 6), (4, 5)], [(4, 5), (4, 5)], {"input_size": 6, "hidden_size": 5}, 65)
_image = (2, 3, 7, 8)
_volume = {"k_t": 2, "k_w": 3, "k_h": 2, "d_t": 1, "d_w": 2, "d_h": 2}


def _elementwise(layer: str, draw: str = "any", **args: Any) -> Case:
    return Case(layer, (3, 4), (3, 4), args, draw=draw)


LAYERS: list[Case] = [
    # Linear and elementwise parameters
    Case("Linear", (4, 6), (4, 5), {"input_size": 6, "output_size": 5}, 35, wrong=(4, 7)),
    Case("Linear", (1, 1), (1, 1), {"input_size": 1, "output_size": 1, "with_bias": False}, 1, wrong=(4,)),
    Case("Linear", (4, 2), (4, 1), {"input_size": 2, "output_size": 1, "init_weight": np.array([[2.0, -1.0]])}, 3),
    Case("Linear", (4, 2), (4, 1), {"input_size": 2, "output_size": 1, "wRegularizer": nn.L2Regularizer(0.1)}, 3),
    Case("Add", (4, 6), (4, 6), {"input_size": 6}, 6, wrong=(4, 5)),
    Case("Mul", (4, 6), (4, 6), {}, 1),
    Case("CAdd", _image, _image, {"size": [3, 1, 1]}, 3, wrong=(2, 4, 7, 8)),
    Case("CMul", _image, _image, {"size": [1, 3, 7, 1]}, 21, wrong=(2, 4, 7, 8)),
    Case("PReLU", _image, _image, {}, 1),
    Case("PReLU", _image, _image, {"n_output_plane": 3}, 3, wrong=(2, 4, 7, 8)),
    # Convolutions
    *(
        Case(
            "SpatialConvolution", _image, output, {"n_input_plane": 3, "n_output_plane": 4, **args}, count, wrong=wrong
        )
        for output, count, wrong, args in [
            ((2, 4, 6, 6), 4 * 3 * 6 + 4, (2, 4, 7, 8), {"kernel_w": 3, "kernel_h": 2}),
            ((2, 4, 4, 8), 4 * 3 * 15 + 4, None, {"kernel_w": 5, "kernel_h": 3, "stride_h": 2, "pad_w": 2, "pad_h": 1}),
            (
                (2, 4, 4, 8),
                4 * 3 * 6 + 4,
                None,
                {"kernel_w": 3, "kernel_h": 2, "stride_h": 2, "pad_w": -1, "pad_h": -1},
            ),
            ((2, 4, 7, 8), 12, (3, 7, 8), {"kernel_w": 1, "kernel_h": 1, "with_bias": False}),
        ]
    ),
    Case(
        "SpatialConvolution",
        (1, 4, 5, 5),
        (1, 6, 3, 3),
        {"n_input_plane": 4, "n_output_plane": 6, "kernel_w": 3, "kernel_h": 3, "n_group": 2},
        6 * 2 * 9 + 6,
    ),
    Case(
        "SpatialConvolution",
        (2, 7, 8, 3),
        (2, 5, 7, 4),
        {"n_input_plane": 3, "n_output_plane": 4, "kernel_w": 2, "kernel_h": 3, "data_format": "NHWC"},
        76,
        wrong=(2, 3, 7, 8),
    ),
    Case(
        "SpatialDilatedConvolution",
        (2, 3, 9, 9),
        (2, 4, 5, 9),
        {"n_input_plane": 3, "n_output_plane": 4, "kw": 3, "kh": 3, "pad_w": 1, "dilation_h": 2},
        112,
        wrong=(2, 2, 9, 9),
    ),
    Case(
        "TemporalConvolution",
        (2, 9, 5),
        (2, 4, 6),
        {"input_frame_size": 5, "output_frame_size": 6, "kernel_w": 3, "stride_w": 2},
        96,
        wrong=(2, 9, 4),
    ),
    Case(
        "VolumetricConvolution",
        (1, 2, 4, 5, 6),
        (1, 3, 3, 3, 3),
        {"n_input_plane": 2, "n_output_plane": 3, "k_t": 2, "k_w": 4, "k_h": 3},
        3 * 2 * 24 + 3,
        wrong=(2, 4, 5, 6),
    ),
    # Poolings
    Case("SpatialMaxPooling", _image, (2, 3, 3, 3), {"kw": 3, "kh": 2, "dw": 2, "dh": 2}, wrong=(3, 7, 8)),
    Case("SpatialMaxPooling", _image, (2, 3, 4, 4), {"kw": 3, "kh": 2, "dw": 2, "dh": 2, "to_ceil": True}),
    Case("SpatialMaxPooling", _image, (2, 3, 4, 4), {"kw": 3, "kh": 3, "dw": 2, "dh": 2, "pad_w": -1, "pad_h": -1}),
    Case("SpatialMaxPooling", (2, 7, 8, 3), (2, 3, 4, 3), {"kw": 2, "kh": 2, "dw": 2, "dh": 2, "format": "NHWC"}),
    Case("SpatialAveragePooling", _image, (2, 3, 6, 6), {"kw": 3, "kh": 2}, wrong=(2, 7, 8)),
    Case("SpatialAveragePooling", _image, (2, 3, 1, 1), {"kw": 1, "kh": 1, "global_pooling": True}),
    Case(
        "SpatialAveragePooling",
        _image,
        (2, 3, 4, 5),
        {"kw": 3, "kh": 3, "dw": 2, "dh": 2, "pad_w": 1, "pad_h": 1, "ceil_mode": True, "count_include_pad": False},
    ),
    Case("SpatialAveragePooling", _image, (2, 3, 3, 4), {"kw": 2, "kh": 2, "dw": 2, "dh": 2, "divide": False}),
    Case("TemporalMaxPooling", (2, 9, 5), (2, 4, 5), {"k_w": 2}, wrong=(2, 9)),
    Case("VolumetricMaxPooling", (1, 2, 4, 5, 6), (1, 2, 3, 2, 2), _volume, wrong=_image),
    Case("VolumetricAveragePooling", (1, 2, 4, 5, 6), (1, 2, 3, 2, 2), _volume, wrong=_image),
    # Activations
    _elementwise("Clamp", min=-0.5, max=0.7),
    _elementwise("ELU", alpha=0.7),
    _elementwise("HardShrink"),
    _elementwise("HardSigmoid"),
    _elementwise("HardTanh", min_value=-0.4),
    _elementwise("LeakyReLU", negval=0.1),
    _elementwise("LogSigmoid"),
    _elementwise("LogSoftMax"),
    _elementwise("ReLU", ip=True),
    _elementwise("ReLU6"),
    _elementwise("Sigmoid"),
    _elementwise("SoftMax"),
    Case("SoftMax", _image, _image, {"pos": 3}),
    _elementwise("SoftMin"),
    _elementwise("SoftPlus", beta=2.0),
    _elementwise("SoftShrink", the_lambda=0.3),
    _elementwise("SoftSign"),
    _elementwise("Tanh"),
    _elementwise("TanhShrink"),
    _elementwise("Threshold", th=0.1, v=-1.0),
    # Arithmetic
    _elementwise("Abs"),
    _elementwise("AddConstant", constant_scalar=1.5),
    _elementwise("Exp"),
    _elementwise("Log", draw="positive"),
    _elementwise("MulConstant", scalar=-0.5),
    _elementwise("Power", draw="positive", power=1.5, scale=2.0, shift=0.1),
    _elementwise("Sqrt", draw="positive"),
    _elementwise("Square"),
    Case("Mean", (3, 4, 5), (3, 5), {}, wrong=(3,)),
    Case("Mean", (3, 4, 5), (3, 4, 1), {"dimension": 1, "n_input_dims": 2, "squeeze": False}),
    Case("Sum", (3, 4, 5), (3, 4), {"dimension": -1}),
    Case("Sum", (3, 4, 5), (3, 5), {"size_average": True}),
    Case("Max", (3, 4, 5), (3, 4), {"dim": 2}, wrong=(3, 4)),
    Case("Min", (3, 4, 5), (3, 5), {}, wrong=(3,)),
    Case("MM", [(3, 2, 4), (3, 4, 5)], (3, 2, 5), {}, wrong=[(3, 2, 4), (3, 5, 4)]),
    Case("MM", [(3, 4, 2), (3, 5, 4)], (3, 2, 5), {"trans_a": True, "trans_b": True}, wrong=[(3, 4, 2)]),
    # Normalisation, dropout, embedding
    Case("BatchNormalization", (6, 5), (6, 5), {"n_output": 5}, 10, wrong=(6, 4)),
    Case("BatchNormalization", (6, 5), (6, 5), {"n_output": 5, "affine": False, "momentum": 0.3}),
    Case("SpatialBatchNormalization", _image, _image, {"n_output": 3}, 6, wrong=(2, 4, 7, 8)),
    Case("SpatialBatchNormalization", (2, 4, 5, 3), (2, 4, 5, 3), {"n_output": 3, "data_format": "NHWC"}, 6),
    Case("SpatialCrossMapLRN", (2, 6, 3, 4), (2, 6, 3, 4), {"size": 3, "alpha": 0.5}, wrong=(2, 6)),
    Case("SpatialCrossMapLRN", (2, 3, 4, 6), (2, 3, 4, 6), {"alpha": 0.1, "data_format": "NHWC"}),
    Case("Dropout", (3, 4), (3, 4), {"init_p": 0.3}),
    Case("Dropout", (3, 4), (3, 4), {"init_p": 0.3, "scale": False}),
    Case("LookupTable", (3, 4), (3, 4, 6), {"n_index": 5, "n_output": 6}, 30, draw="ids"),
    Case("LookupTable", (3,), (3, 6), {"n_index": 5, "n_output": 6, "padding_value": 2}, 30, draw="ids"),
    # Shapes
    Case("Contiguous", (3, 4), (3, 4)),
    Case("Narrow", (3, 6), (3, 2), {"dimension": 1, "offset": 2, "length": 2}, wrong=(3, 3)),
    Case("Narrow", (3, 6), (3, 3), {"dimension": -1, "offset": -4, "length": -2}),
    Case("Padding", (3, 4), (3, 6), {"dim": 0, "pad": -2, "n_input_dim": 1, "value": 1.5}),
    Case("Padding", (3, 4), (3, 5), {"dim": 1, "pad": 1}, wrong=(3,)),
    Case("Reshape", (3, 4, 2), (3, 8), {"size": [8]}, wrong=(3, 5)),
    Case("Reshape", (3, 4, 2), (3, 2, 4), {"size": (-1, 4)}, wrong=(3, 5)),
    Case("Reshape", (3, 4, 2), (6, 4), {"size": (6, 4), "batch_mode": False}, wrong=(3, 4)),
    Case("Select", (3, 4, 2), (3, 2), {"dim": 1, "index": -1}, wrong=(3,)),
    Case(
        "SpatialZeroPadding",
        _image,
        (2, 3, 8, 10),
        {"pad_left": 1, "pad_right": 1, "pad_top": -1, "pad_bottom": 2},
        wrong=(3, 7, 8),
    ),
    Case("Squeeze", (3, 1, 4, 1), (3, 4), {}),
    Case("Squeeze", (3, 1, 4, 1), (3, 4, 1), {"dim": 1}, wrong=(3, 2)),
    Case("Squeeze", (3, 1, 4, 1), (3, 4), {"dim": [0, 2], "num_input_dims": 3}, wrong=(3, 1)),
    Case("Transpose", (2, 3, 4, 5), (2, 4, 5, 3), {"permutations": [(1, 2), (2, 3)]}, wrong=(2, 3)),
    Case("Unsqueeze", (3, 4), (3, 1, 4), {"pos": 1}, wrong=()),
    Case("Unsqueeze", (3, 4), (3, 1, 4), {"pos": 0, "num_input_dims": 1}),
    Case("View", (3, 4, 2), (3, 8), {"sizes": [8], "num_input_dims": 2}, wrong=(3, 8)),
    Case("View", (3, 4, 2), (3, 2, 4), {"sizes": [2, -1]}, wrong=(3, 3)),
    # Containers and tables
    Case("CAddTable", [(3, 4)] * 3, (3, 4)),
    Case("CAddTable", [(3, 4), (3, 1)], (3, 4), wrong=[(3, 4), (3, 2)]),
    Case("CMaxTable", [(3, 4)] * 2, (3, 4)),
    Case("CMulTable", [(3, 4), (3, 1), (1, 4)], (3, 4), wrong=[(3, 4), (3, 2)]),
    Case("CSubTable", [(3, 4)] * 2, (3, 4), wrong=[(3, 4)] * 3),
    Case("Concat", (4, 6), (4, 8), {"dimension": 1}, 56, (_linear, _wide), wrong=(4, 5)),
    Case("ConcatTable", (4, 6), [(4, 5), (4, 3)], {}, 56, (_linear, _wide), wrong=(4, 5)),
    Case("FlattenTable", [(3, 4), [(3, 1), (3, 2)]], [(3, 4), (3, 1), (3, 2)]),
    Case("Identity", [(3, 4), (3, 1)], [(3, 4), (3, 1)], wrong=False),
    Case("JoinTable", [(3, 4), (3, 1)], (3, 5), {"dimension": 1}, wrong=[(3, 4), (2, 4)]),
    Case("JoinTable", [(3, 4, 2), (3, 1, 2)], (3, 5, 2), {"dimension": 0, "n_input_dims": 2}),
    Case("ParallelTable", [(4, 6), (4, 6)], [(4, 5), (4, 3)], {}, 56, (_linear, _wide), wrong=[(4, 6)]),
    Case("SelectTable", [(3, 4), (3, 1)], (3, 1), {"index": -1}, wrong=[]),
    Case("Sequential", (4, 6), (4, 5), {}, 35, (_linear, Case("Tanh", (4, 5), (4, 5))), wrong=(4, 5)),
    # Recurrence and detection
    Case(
        "RnnCell", [(4, 6), (4, 5)], [(4, 5), (4, 5)], {"input_size": 6, "hidden_size": 5}, 65, wrong=[(4, 6), (4, 6)]
    ),
    Case(
        "RnnCell",
        [(4, 6), (4, 5)],
        [(4, 5), (4, 5)],
        {
            "input_size": 6,
            "hidden_size": 5,
            "activation": nn.Sigmoid,
            "isInputWithBias": False,
            "isHiddenWithBias": False,
        },
        55,
    ),
    Case("Recurrent", (4, 3, 6), (4, 3, 5), {}, 65, (_rnn,), wrong=(4, 6)),
    Case("NonMaxSuppression", [(6, 4), (6,)], [(3,), (1,)], {"max_output": 3}, draw="boxes", gradient=False),
]
# `Model` is made from nodes, not from plain arguments: tests/nnframes/nn/test_graph_model.py.
MADE_ELSEWHERE = {"Model"}
