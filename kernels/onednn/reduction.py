"""Reductions by oneDNN."""

from __future__ import annotations

from kernels.errors import UnsupportedError
from kernels.graph import Node
from kernels.native.dnnl import DST, REDUCTION, SRC
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Primitive, plain


def reduce(c: Compiler, node: Node) -> None:
    """Sum, mean, maximum or minimum over some axes."""
    x, y = node.inputs[0], node.outputs[0]
    axes = {axis % len(x.shape) for axis in node.attrs["axes"]}
    if not axes or node.attrs["kind"] not in REDUCTION:
        raise UnsupportedError("nothing to reduce")
    if all(x.shape[axis] == 1 for axis in axes):  # which oneDNN refuses
        c.alias(y, c.plain(x), plain(y.shape, y.dtype))
        return
    kept = plain([1 if axis in axes else size for axis, size in enumerate(x.shape)])
    source = c.tensor(x)
    primitive = Primitive("reduction", REDUCTION[node.attrs["kind"]], source.layout, kept, 0.0, 0.0)
    target = c.make(y, plain(y.shape))
    c.execute(primitive, {SRC: source, DST: Tensor(target.buffer, kept)})
