"""Random masks, which oneDNN knows nothing of: numpy draws them where they belong, without a copy; their products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.graph import UINT8, Node
from kernels.native.dnnl import BINARY, DST, SRC, SRC_1
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import Activation, Layout, Primitive, blocked, channels_last, plain
from kernels.onednn.elementwise import ALGORITHMS
from kernels.ops.random import draw_mask

BLOCKS = 16, 8


def bernoulli_mask(c: Compiler, node: Node) -> None:
    """Ones and zeros, a byte each."""
    mask = node.outputs[0]
    settings = {name: value for name, value in node.attrs.items() if name != "shape"}

    def draw(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
        draw_mask(reads[0], writes[0], **settings)

    c.compute(draw, [c.plain(node.inputs[0])], [c.make(mask, plain(mask.shape, UINT8))], "numpy: in its place")


def masked(c: Compiler, node: Node) -> None:
    """y = x mask scale, in the layout of x, to which the mask's bytes are brought: a quarter of what numbers take."""
    x, mask = node.inputs
    source = c.tensor(x)
    if mask.shape == x.shape:
        order = _bytes_like(source.layout)
        if order is None:
            source, order = c.plain(x), plain(x.shape, UINT8)
        drawn = c.want(mask, order)
    else:
        shape = (1,) * (len(x.shape) - len(mask.shape)) + mask.shape
        drawn = c.want_viewed(mask, plain(shape, UINT8), plain(shape, UINT8))
    linear, scale = ALGORITHMS["linear"][0], node.attrs["scale"]
    primitive = Primitive(
        "binary",
        BINARY["multiply"],
        source.layout,
        drawn.layout,
        source.layout,
        activation=None if scale == 1.0 else Activation(linear, scale, 0.0),
    )
    c.execute(primitive, {SRC: source, SRC_1: drawn, DST: c.make_over(node.outputs[0], x, source)})


def _bytes_like(layout: Layout) -> Layout | None:
    """The same order for bytes; None for an order that is none of the usual ones."""
    shape = layout.shape
    if layout.same(plain(shape)):
        return plain(shape, UINT8)
    if len(shape) > 2 and layout.same(channels_last(shape)):
        return channels_last(shape, UINT8)
    if len(shape) == 4:
        return next((blocked(shape, block, UINT8) for block in BLOCKS if layout.same(blocked(shape, block))), None)
    return None
