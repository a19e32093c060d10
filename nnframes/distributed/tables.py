"""Row-sparse gradients as buffers that travel between ranks; nothing in them is executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np

from kernels.sparse import RowSparse
from nnframes.errors import SyncError
from nnframes.train.reduce import Node

__all__ = ["decode", "encode"]


def encode(tables: Mapping[Node, Mapping[str, RowSparse]]) -> list[np.ndarray]:
    """Return the row-sparse sums as buffers: length and JSON of (node, name, rows, dim), then rows and values."""
    entries = [(node, name, matrix) for node, named in tables.items() for name, matrix in named.items()]
    if not entries:
        return []
    listed = [[*node, name, len(matrix.rows), matrix.dim] for node, name, matrix in entries]
    text = json.dumps(listed).encode()
    head = np.frombuffer(struct.pack("<I", len(text)) + text, np.uint8)
    arrays = [array for _, _, matrix in entries for array in (matrix.rows, matrix.values)]
    return [head, *(np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays)]


def decode(blob: np.ndarray, peer: str) -> dict[Node, dict[str, RowSparse]]:
    """Read what `encode` wrote; raises `SyncError` naming the peer when it is something else."""
    tables: dict[Node, dict[str, RowSparse]] = {}
    try:
        (size,) = struct.unpack("<I", blob[:4].tobytes())
        place = 4 + size
        for low, high, name, count, dim in json.loads(blob[4:place].tobytes()):
            middle, end = place + 4 * count, place + 4 * count * (1 + dim)
            # Copies are aligned, and writable: clipping works in place.
            rows = blob[place:middle].copy().view("<i4")
            values = blob[middle:end].copy().view("<f4").reshape(count, dim)
            tables.setdefault((low, high), {})[name] = RowSparse(rows, values)
            place = end
    except (ValueError, TypeError, struct.error) as error:
        raise SyncError(f"Row-sparse gradients of {peer} must be readable. Received: {error}.") from error
    return tables
