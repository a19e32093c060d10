"""What a training task needs and does not have: payloads, pieces of shards that lie on another host, a peer's state."""

from __future__ import annotations

import json
import secrets
import shutil
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import SparkFiles

from nnframes.distributed.balance import Piece
from nnframes.distributed.cache import candidates, fit_folder, full_disk, room
from nnframes.distributed.files import Bytes, ShardFile, write_all
from nnframes.distributed.mesh import Mesh
from nnframes.errors import SyncError

__all__ = ["Parcel", "fetch", "send_parcel", "shipped"]

CHUNK = 4 << 20
HEADER_LIMIT = 16 << 20


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
                    header, contents = files[source].part(low, high)
                    what = f"rows {low} to {high} of {files[source].path.name}"
                    send_parcel(mesh, [receiver], header, contents, what)
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


def _receive(mesh: Mesh, sender: int, piece: Piece, fit: str, folder: str | None) -> ShardFile:
    parcel = Parcel(mesh, sender, f"rows {piece.low} to {piece.high} of shard {piece.source}")
    # The level travels in the header: what was on disk stays on disk.
    roots, total = candidates(folder, parcel.header["slices"] > 1), sum(parcel.sizes.values())
    root = next((root for root in roots if room(root) >= total), roots[-1])
    path = fit_folder(root, fit) / f"piece-{piece.source:05d}-{secrets.token_hex(6)}"
    try:
        with full_disk(root, total):
            _fill(path, parcel)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)  # another try writes under another name
        raise
    return ShardFile(path)


def _fill(path: Path, parcel: Parcel) -> None:
    path.mkdir()
    for name in parcel.sizes:
        with (path / Path(name).name).open("wb", buffering=0) as file:
            for chunk in parcel.chunks(name):
                write_all(file, chunk.data)
    (path / "header.json").write_text(json.dumps(parcel.header), encoding="utf-8")


def send_parcel(
    mesh: Mesh, receivers: Sequence[int], header: Mapping[str, Any], contents: Mapping[str, Bytes], what: str
) -> None:
    """Send a header (JSON) and named bytes (uint8) to ranks, each of which takes it as a `Parcel`."""
    text = json.dumps({"header": header, "sizes": {name: data.size for name, data in contents.items()}}).encode()
    start = np.frombuffer(struct.pack("<I", len(text)) + text, np.uint8)
    mesh.send(receivers, start, what)
    for data in contents.values():
        for low in range(0, data.size, CHUNK):
            mesh.send(receivers, data[low : low + CHUNK], what)


class Parcel:
    """What `send_parcel` of `sender` sent: `header`, `sizes` by name, and the bytes, to be taken in that order."""

    def __init__(self, mesh: Mesh, sender: int, what: str) -> None:
        self._mesh, self._sender, self._what = mesh, sender, what
        size = int(self._take(4).view("<u4")[0])
        if size > HEADER_LIMIT:
            raise SyncError(f"The header of {what} must have at most {HEADER_LIMIT} bytes. Received: {size}.")
        message = json.loads(self._take(size).tobytes())
        self.header: dict[str, Any] = message["header"]
        self.sizes: dict[str, int] = message["sizes"]

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yield the bytes of `name`."""
        for start in range(0, self.sizes[name], CHUNK):
            yield self._take(min(CHUNK, self.sizes[name] - start))

    def _take(self, size: int) -> np.ndarray:
        data = np.empty(size, np.uint8)
        self._mesh.receive(self._sender, data, self._what)
        return data
