"""Element-wise functions by oneDNN, alone or as part of the primitive before them."""

from __future__ import annotations

from collections.abc import Callable

from kernels.errors import UnsupportedError
from kernels.graph import Node
from kernels.native.dnnl import BINARY, DIFF_DST, DIFF_SRC, DST, FORWARD_TRAINING, MULTIPLE_SRC, SRC, SRC_1, floats
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import Activation, Primitive, layout_array, plain

# kind -> (algorithm, algorithm of the gradient, alpha and beta as oneDNN wants them).
Parameters = Callable[[float, float], tuple[float, float]]


def _same(alpha: float, beta: float) -> tuple[float, float]:
    return alpha, beta


ALGORITHMS: dict[str, tuple[int, int, Parameters]] = {
    "relu": (32, 256, lambda a, b: (a, 0.0)),
    "tanh": (33, 257, _same),
    "elu": (34, 258, lambda a, b: (a, 0.0)),
    "square": (35, 35, _same),
    "abs": (36, 36, _same),
    "sqrt": (37, 259, _same),
    "linear": (38, 38, _same),
    "sigmoid": (41, 260, _same),
    "exp": (42, 261, _same),
    "swish": (44, 44, lambda a, b: (a, 0.0)),
    "log": (45, 45, _same),
    "clip": (47, 262, _same),
    "gelu_erf": (49, 49, _same),
    "gelu_tanh": (43, 43, _same),
}
# What primitives take as a post-op in training: the gradient must need nothing but the result.
FUSABLE = ("relu", "tanh", "elu", "sigmoid", "clip")


def activation_of(node: Node) -> Activation | None:
    """A node as a post-op, if it can be one."""
    if node.op.name != "unary" or node.attrs["kind"] not in FUSABLE:
        return None
    algorithm, _, parameters = ALGORITHMS[node.attrs["kind"]]
    return Activation(algorithm, *parameters(node.attrs["alpha"], node.attrs["beta"]))


def unary(c: Compiler, node: Node) -> None:
    """y = f(x), in the layout of x."""
    x = node.inputs[0]
    algorithm, _, parameters = _algorithm(node)
    source = c.tensor(x)
    primitive = Primitive(
        "eltwise_forward",
        FORWARD_TRAINING,
        algorithm,
        source.layout,
        source.layout,
        *parameters(node.attrs["alpha"], node.attrs["beta"]),
    )
    c.execute(primitive, {SRC: source, DST: c.make_over(node.outputs[0], x, source)})


def unary_gradient(c: Compiler, node: Node) -> None:
    """dx = dy f'(x), from y where f' is a function of it, else from x."""
    saved, dy = node.inputs
    algorithm, backward, parameters = _algorithm(node)
    layout = c.layout(saved)
    alpha, beta = parameters(node.attrs["alpha"], node.attrs["beta"])
    hint = Primitive("eltwise_forward", FORWARD_TRAINING, algorithm, layout, layout, alpha, beta)
    primitive = Primitive("eltwise_backward", backward, layout, layout, layout, alpha, beta, hint)
    gradient = c.want(dy, layout)
    by_result = backward >= 256
    c.execute(
        primitive,
        {
            DST if by_result else SRC: c.tensor(saved),
            DIFF_DST: gradient,
            DIFF_SRC: c.make_over(node.outputs[0], dy, gradient),
        },
    )


def _algorithm(node: Node) -> tuple[int, int, Parameters]:
    kind = node.attrs["kind"]
    if kind not in ALGORITHMS:
        raise UnsupportedError(f"oneDNN has no '{kind}'")
    return ALGORITHMS[kind]


def binary(c: Compiler, node: Node) -> None:
    """z = x op y where y has the shape of x, or 1 in the dimensions along which it is repeated."""
    x, y = node.inputs
    z = node.outputs[0]
    if x.dtype != "float32" or y.dtype != "float32" or x.shape != z.shape:
        raise UnsupportedError("only the second operand can be repeated")
    shape = (1,) * (len(x.shape) - len(y.shape)) + y.shape  # that of x, where x has one row and y is one
    first = c.tensor(x)
    second = c.want(y, first.layout) if y.shape == x.shape else c.want_viewed(y, plain(shape), plain(shape))
    primitive = Primitive("binary", BINARY[node.op.name], first.layout, second.layout, first.layout)
    c.execute(primitive, {SRC: first, SRC_1: second, DST: c.make_over(z, x, first)})


def add_n(c: Compiler, node: Node) -> None:
    """The sum of several tensors, in the layout of the first."""
    layout = c.layout(node.inputs[0])
    sources = [c.want(value, layout) for value in node.inputs]
    primitive = Primitive(
        "sum", layout, len(sources), floats([1.0] * len(sources)), layout_array([layout] * len(sources))
    )
    target = c.make(node.outputs[0], layout)
    c.execute(primitive, {**{MULTIPLE_SRC + i: source for i, source in enumerate(sources)}, DST: target})
