"""What a training task needs and does not have: payloads, and pieces of shards that lie on another host."""

from __future__ import annotations

import json
import secrets
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pyspark import SparkFiles

from nnframes.distributed.balance import Piece
from nnframes.distributed.cache import candidates, fit_folder, room
from nnframes.distributed.collective import Mesh
from nnframes.distributed.files import ShardFile
from nnframes.errors import SyncError

__all__ = ["fetch", "shipped"]

CHUNK = 4 << 20
HEADER_LIMIT = 1 << 20


def shipped(content: bytes | str) -> bytes:
    """Return what travelled with the task, or as a file of the session under this name."""
    return content if isinstance(content, bytes) else Path(SparkFiles.get(content)).read_bytes()


def fetch(
    mesh: Mesh, transfers: Sequence[Sequence[int]], files: Mapping[int, ShardFile], fit: str, folder: str | None
) -> dict[Piece, ShardFile]:
    """Serve and fetch what `transfers` [from rank, to rank, source, low, high] say; return the fetched pieces.

    All ranks walk through one list in one order, so the first transfer that is not done always has both its ends.
    """
    failures: list[Exception] = []

    def serve() -> None:
        try:
            for sender, receiver, source, low, high in transfers:
                if sender == mesh.rank:
                    _send(mesh, receiver, files[source], low, high)
        except Exception as error:  # raised below, in the thread that reports to the driver
            failures.append(error)

    server = threading.Thread(target=serve, name="nnframes-serve", daemon=True)
    server.start()
    fetched = {}
    try:
        for sender, receiver, *piece in transfers:
            if receiver == mesh.rank:
                fetched[Piece(*piece)] = _receive(mesh, sender, Piece(*piece), fit, folder)
    finally:
        server.join()
    if failures:
        raise failures[0]
    return fetched


def _send(mesh: Mesh, receiver: int, file: ShardFile, low: int, high: int) -> None:
    header, contents = file.part(low, high)
    text = json.dumps({"header": header, "sizes": {name: data.size for name, data in contents.items()}}).encode()
    what = f"rows {low} to {high} of {file.path.name}"
    mesh.exchange({receiver: [np.frombuffer(struct.pack("<I", len(text)) + text, np.uint8)]}, {}, what)
    for data in contents.values():
        for start in range(0, data.size, CHUNK):
            mesh.exchange({receiver: [data[start : start + CHUNK]]}, {}, what)


def _receive(mesh: Mesh, sender: int, piece: Piece, fit: str, folder: str | None) -> ShardFile:
    what = f"rows {piece.low} to {piece.high} of shard {piece.source}"

    def take(size: int) -> np.ndarray:
        data = np.empty(size, np.uint8)
        mesh.exchange({}, {sender: [data]}, what)
        return data

    size = int(take(4).view("<u4")[0])
    if size > HEADER_LIMIT:
        raise SyncError(f"The header of {what} must have at most {HEADER_LIMIT} bytes. Received: {size}.")
    message = json.loads(take(size).tobytes())
    total = sum(message["sizes"].values())
    roots = candidates(folder)
    root = next((root for root in roots if room(root) >= total), roots[-1])
    path = fit_folder(root, fit) / f"piece-{piece.source:05d}-{secrets.token_hex(6)}"
    path.mkdir()
    for name, left in message["sizes"].items():
        with (path / Path(name).name).open("wb") as file:
            for start in range(0, left, CHUNK):
                file.write(take(min(CHUNK, left - start)).data)
    (path / "header.json").write_text(json.dumps(message["header"]), encoding="utf-8")
    return ShardFile(path)
