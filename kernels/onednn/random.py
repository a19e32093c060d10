"""Random masks, which oneDNN knows nothing of: numpy draws them where they belong, without a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.graph import Node
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import plain
from kernels.ops.random import draw_mask


def bernoulli_mask(c: Compiler, node: Node) -> None:
    """Zeros, and ones or 1 / keep."""
    mask = node.outputs[0]
    settings = {name: value for name, value in node.attrs.items() if name != "shape"}

    def draw(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
        draw_mask(reads[0], writes[0], **settings)

    c.compute(draw, [c.plain(node.inputs[0])], [c.make(mask, plain(mask.shape))], "numpy: in its place")
