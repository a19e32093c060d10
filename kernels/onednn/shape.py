"""Changes of shape: mostly other views of the same memory, copied only where a consumer needs another order."""

from __future__ import annotations

from kernels.errors import UnsupportedError
from kernels.graph import Node
from kernels.native.dnnl import DST, MULTIPLE_SRC
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import Layout, Primitive, any_layout, blocked, layout_array, plain


def reshape(c: Compiler, node: Node) -> None:
    """The same numbers in the same order under another shape."""
    x, y = node.inputs[0], node.outputs[0]
    c.alias(y, c.plain(x), plain(y.shape, y.dtype))


def transpose(c: Compiler, node: Node) -> None:
    """Axes permuted: a view whose strides differ."""
    x, y = node.inputs[0], node.outputs[0]
    if x.dtype == "int64":
        raise UnsupportedError("int64 in another order")
    source = c.tensor(x)
    c.alias(y, source, source.layout.permute(node.attrs["permutation"]))


def slice_(c: Compiler, node: Node) -> None:
    """A rectangular part, copied out."""
    x, y = node.inputs[0], node.outputs[0]
    if any(step != 1 for step in node.attrs["steps"]):
        raise UnsupportedError("slices with steps")
    if not y.shape:
        raise UnsupportedError("scalar slices")
    source, starts = c.tensor(x), node.attrs["starts"]
    for block in (16, 8):
        if _between_blocks(x.shape, y.shape, starts, block) and source.layout.same(blocked(x.shape, block, x.dtype)):
            c.copy(y, source, *_as_rows(x.shape, y.shape, starts[1], block), blocked(y.shape, block))
            return
    source = c.plain(x)
    c.copy(y, source, source.layout.part(y.shape, starts), plain(y.shape, y.dtype), plain(y.shape, y.dtype))


def _between_blocks(whole: tuple[int, ...], part: tuple[int, ...], starts: tuple[int, ...], block: int) -> bool:
    """Whole pictures, cut along the channels only, from the start of a block to the end of one."""
    if len(whole) != 4 or any(whole[axis] != part[axis] for axis in (0, 2, 3)) or starts[1] % block:
        return False
    return part[1] % block == 0 or starts[1] + part[1] == whole[1]


def _as_rows(whole: tuple[int, ...], part: tuple[int, ...], start: int, block: int) -> tuple[Layout, Layout]:
    """The same cut seen as columns of a matrix with a row a picture, which oneDNN copies fast."""
    pixels = whole[2] * whole[3]

    def columns(channels: int) -> int:
        return -(-channels // block) * block * pixels

    rows = plain((whole[0], columns(whole[1])))
    shape = (whole[0], columns(part[1]))
    return rows.part(shape, (0, start * pixels)), plain(shape)


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
