"""Changes of shape: mostly other views of the same memory, copied only where a consumer needs another order."""

from __future__ import annotations

from kernels.errors import UnsupportedError
from kernels.graph import Node
from kernels.native.dnnl import DST, MULTIPLE_SRC
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Primitive, any_layout, layout_array, plain


def reshape(c: Compiler, node: Node) -> None:
    """The same numbers in the same order under another shape."""
    x, y = node.inputs[0], node.outputs[0]
    c.alias(y, c.plain(x), plain(y.shape, y.dtype))


def transpose(c: Compiler, node: Node) -> None:
    """Axes permuted: a view whose strides differ."""
    x, y = node.inputs[0], node.outputs[0]
    source = c.tensor(x)
    c.alias(y, source, source.layout.permute(node.attrs["permutation"]))


def slice_(c: Compiler, node: Node) -> None:
    """A rectangular part, copied out; cut from the layout at hand where the cut falls between blocks."""
    x, y = node.inputs[0], node.outputs[0]
    if any(step != 1 for step in node.attrs["steps"]):
        raise UnsupportedError("slices with steps")
    source = c.tensor(x)
    try:
        part = source.layout.part(y.shape, node.attrs["starts"])
    except UnsupportedError:
        source = c.plain(x)
        part = source.layout.part(y.shape, node.attrs["starts"])
    # A concatenation of one tensor copies it to a dense tensor in the block format of the source.
    primitive = Primitive("concat", any_layout(y.shape), 1, 0, layout_array([part]))
    target = c.make(y, primitive.layout("dst", y.shape))
    c.execute(primitive, {MULTIPLE_SRC: Tensor(source.buffer, part), DST: target})


def concat(c: Compiler, node: Node) -> None:
    """Tensors one after the other along an axis."""
    y = node.outputs[0]
    sources = [c.tensor(value) for value in node.inputs]
    if y.dtype != "float32":
        raise UnsupportedError("only float32")
    primitive = Primitive(
        "concat",
        any_layout(y.shape),
        len(sources),
        node.attrs["axis"] % len(y.shape),
        layout_array([source.layout for source in sources]),
    )
    arguments = {MULTIPLE_SRC + number: source for number, source in enumerate(sources)}
    c.execute(primitive, {**arguments, DST: c.make(y, primitive.layout("dst", y.shape))})
