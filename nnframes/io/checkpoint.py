"""Snapshots of a training run on any file system that pyarrow reaches: local, HDFS, S3 and others.

    path/snapshot.<iteration>/state.safetensors     all arrays; counters and the caller's notes as its metadata, JSON
    path/snapshot.<iteration>/manifest.json         format, version, iteration, size and SHA-256 of the other file

A snapshot gets a folder of its own, the manifest is written last, and nothing is renamed or written twice. So a reader
that finds no whole manifest takes the snapshot before it, also on stores that cannot rename, and a writer that dies at
any step leaves the old snapshot or the new one. A later run in the same folder adds its number to the names
(``snapshot.20.1``), so that its snapshots are the newer ones whatever their iteration. Nothing is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.version import __version__
from nnframes.errors import ArgumentError, ModelFileError, NNFramesError, TrainingError
from nnframes.io.tensors import pieces, unpack
from nnframes.train.state import TrainState

__all__ = ["Checkpoint", "CheckpointStore", "checkpoint_bytes", "checkpoint_from_bytes"]

STATE, MANIFEST = "state.safetensors", "manifest.json"
FORMAT, VERSION = "nnframes.checkpoint", 1
MAX_MANIFEST = 1 << 16
_KEY = "training"
_PROBE = ".probe-"
_DTYPES = ("float32", "float64", "int32", "int64", "uint8")
_NAME = re.compile(r"snapshot\.(0|[1-9]\d{0,17})(?:\.([1-9]\d{0,8}))?")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

Snapshot = tuple[int, int]
"""(number of the run in its folder, iteration): the order of snapshots."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A snapshot that was read: the replica's arrays (read-only), the run's counters, the caller's notes (JSON)."""

    state: dict[str, np.ndarray]
    train_state: TrainState
    meta: dict[str, Any]
    path: str


class CheckpointStore:
    """The snapshots under `path`, a local folder or an address such as ``hdfs://host/folder``, ``s3://bucket/folder``.

    With `overwrite` only the newest is kept: the older ones go when it is complete, so there must be room for two.
    `filesystem` is a `pyarrow.fs.FileSystem` made by yourself (keys, endpoints), and `path` then a path inside it.
    `run` is the number in this folder of a run that goes on with another store; after a write it is what was taken.
    One run at a time may write. Raises `ArgumentError` for an address that cannot be opened.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = CheckpointStore(folder)
    ...     _ = store.write({"w": np.ones(2, np.float32)}, TrainState(iteration=20), {"seed": 7})
    ...     found = store.read()
    ...     store.latest(), found.state["w"].tolist(), found.train_state.iteration, found.meta
    (20, [1.0, 1.0], 20, {'seed': 7})
    """

    def __init__(
        self, path: str | os.PathLike[str], overwrite: bool = True, filesystem: Any = None, run: int | None = None
    ) -> None:
        place = os.fspath(path)
        self.path = _shown(place)
        self.overwrite = overwrite
        self._files, self._root = (filesystem, place) if filesystem is not None else _opened(place)
        self.run = run

    def write(self, state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping | None = None) -> str:
        """Write the snapshot of iteration `train_state.iteration` and return its folder.

        `state` is what `Replica.state` gives: arrays (>= 1 dimension) of float32, float64, int32, int64 or uint8;
        `meta` is anything that JSON holds. Raises `ArgumentError` for other content, `TrainingError` when the folder
        cannot be written (disk full, no rights); what stood there stays.
        """
        content, iteration = _content(state, train_state, meta), train_state.iteration
        folder = None
        try:
            snapshot = self._free(iteration)
            folder = self._folder(snapshot)
            self._fill(folder, content, iteration)
        except OSError as error:
            if folder is not None:
                with suppress(OSError):
                    self._remove(folder)
            raise TrainingError(
                f"The snapshot of iteration {iteration} must be written to {self.path}. Received: {error}. "
                "Hint: free space or choose another path; earlier snapshots are kept."
            ) from error
        if self.overwrite:
            self._prune(snapshot)
        return folder

    def check(self, size: int) -> None:
        """Raise `TrainingError` unless a file can be written here and a local disk has `size` bytes free."""
        from pyarrow.fs import LocalFileSystem

        probe = f"{self._root}/{_PROBE}{secrets.token_hex(6)}"
        try:
            self._files.create_dir(self._root, recursive=True)
            self._put(probe, [b"nnframes"])
            self._files.delete_file(probe)
            free = shutil.disk_usage(self._root).free if isinstance(self._files, LocalFileSystem) else size
            if free < size:
                raise OSError(f"{free} bytes are free, a snapshot needs {size}")
        except OSError as error:
            with suppress(OSError):
                self._files.delete_file(probe)
            raise TrainingError(
                f"Snapshots must be written to {self.path}. Received: {error}. "
                "Hint: free space, see to its rights, or choose another path."
            ) from error

    def next_run(self) -> int:
        """Return the number that a new run takes; 0 where nothing can be listed, for `write` to say why."""
        try:
            return max((run for run, _ in self._listed()), default=-1) + 1
        except OSError:
            return 0

    def latest(self) -> int | None:
        """Return the iteration of the newest complete snapshot, None when there is none."""
        newest = self._newest()
        return None if newest is None else newest[1]

    def iterations(self) -> list[int]:
        """Return the iterations that have a complete snapshot, ascending."""
        return sorted({snapshot[1] for snapshot in self._listed() if self._manifest(snapshot) is not None})

    def read(self, iteration: int | None = None) -> Checkpoint:
        """Return the newest complete snapshot, or the one of `iteration`.

        Raises `ModelFileError` when there is none, when it was changed or damaged, and when a newer nnframes wrote it.
        """
        snapshot = self._newest(iteration)
        if snapshot is None:
            wanted = "a complete snapshot" if iteration is None else f"a complete snapshot of iteration {iteration}"
            raise ModelFileError(f"{self.path} must hold {wanted}. Received: {self.iterations() or 'none'}.")
        manifest = self._manifest(snapshot)
        if manifest is None:
            raise ModelFileError(f"{self._folder(snapshot)} was removed while it was read. Hint: read again.")
        path = f"{self._folder(snapshot)}/{STATE}"
        found = checkpoint_from_bytes(self._verified(path, manifest["files"][STATE]), path)
        if found.train_state.iteration != snapshot[1]:
            raise ModelFileError(
                f"{path} expects iteration {snapshot[1]}, received {found.train_state.iteration}. "
                "Hint: do not rename snapshots."
            )
        return found

    # ---------------------------------------------------------------- writing

    def _free(self, iteration: int) -> Snapshot:
        """A name behind all others: the first write takes a new run's number, going back within a run another."""
        last = max(self._listed(), default=(-1, 0))
        if self.run is None or (self.run, iteration) <= last:
            self.run = last[0] + 1
        return self.run, iteration

    def _fill(self, folder: str, content: Iterable[bytes | memoryview], iteration: int) -> None:
        self._files.create_dir(folder, recursive=True)
        entry = self._put(f"{folder}/{STATE}", content)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "written_by": __version__,
            "iteration": iteration,
            "files": {STATE: entry},
        }
        self._put(f"{folder}/{MANIFEST}", [json.dumps(manifest, indent=1).encode()])
        self._settle(folder)
        self._settle(self._root)

    def _put(self, path: str, content: Iterable[bytes | memoryview]) -> dict[str, Any]:
        """Write a file piece by piece; returns its size and hash, as a manifest lists them."""
        written, digest = 0, hashlib.sha256()
        with self._files.open_output_stream(path, compression=None) as stream:
            for piece in content:
                stream.write(piece)
                digest.update(piece)
                written += len(piece)
        self._settle(path)
        size = self._files.get_file_info(path).size
        if size != written:
            raise OSError(f"{path} has {size} of {written} bytes")
        return {"size": written, "sha256": digest.hexdigest()}

    def _settle(self, path: str) -> None:
        """Bring a local file or folder to the disk: without it a power cut may keep the manifest and lose the rest."""
        from pyarrow.fs import LocalFileSystem

        if isinstance(self._files, LocalFileSystem):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _prune(self, newest: Snapshot) -> None:
        try:
            for snapshot in self._listed():
                if snapshot < newest:
                    self._remove(self._folder(snapshot))
        except OSError as error:
            warnings.warn(f"Older snapshots in {self.path} cannot be removed: {error}.", UserWarning, stacklevel=3)

    def _remove(self, folder: str) -> None:
        """Remove a snapshot, its manifest first; a folder that holds anything else is not ours and stays."""
        names = {info.base_name for info in self._infos(folder)}
        if names - {STATE, MANIFEST}:
            return
        if MANIFEST in names:
            self._files.delete_file(f"{folder}/{MANIFEST}")
        self._files.delete_dir(folder)

    # ---------------------------------------------------------------- reading

    def _folder(self, snapshot: Snapshot) -> str:
        run, iteration = snapshot
        return f"{self._root}/snapshot.{iteration}" + (f".{run}" if run else "")

    def _infos(self, folder: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        return self._files.get_file_info(FileSelector(folder, allow_not_found=True))

    def _listed(self) -> list[Snapshot]:
        """All snapshots, complete or not, newest first."""
        found = [_NAME.fullmatch(info.base_name) for info in self._infos(self._root)]
        return sorted(((int(name[2] or 0), int(name[1])) for name in found if name), reverse=True)

    def _newest(self, iteration: int | None = None) -> Snapshot | None:
        try:
            wanted = [each for each in self._listed() if iteration is None or each[1] == iteration]
            return next((snapshot for snapshot in wanted if self._manifest(snapshot) is not None), None)
        except OSError as error:
            raise ModelFileError(f"{self.path} cannot be read: {error}.") from error

    def _manifest(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """Return a snapshot's manifest; None when it is not there or not whole."""
        path = f"{self._folder(snapshot)}/{MANIFEST}"
        info = self._files.get_file_info(path)
        if not info.is_file or info.size > MAX_MANIFEST:
            return None
        try:
            manifest = json.loads(self._get(path, info.size))
        except (ValueError, RecursionError, FileNotFoundError):
            return None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ModelFileError(f"{path} must have the format {FORMAT}: this is another program's folder.")
        if manifest.get("version") != VERSION:
            raise ModelFileError(
                f"{path}: expected version {VERSION}, received {str(manifest.get('version'))[:40]}, written by "
                f"nnframes {str(manifest.get('written_by'))[:40]}; this is {__version__}. Hint: update nnframes."
            )
        files = manifest.get("files")
        if not isinstance(files, dict) or set(files) != {STATE} or not _is_entry(files[STATE]):
            raise ModelFileError(f"{path} must list size and sha256 of {STATE}. Hint: read an earlier iteration.")
        return manifest

    def _verified(self, path: str, entry: Mapping[str, Any]) -> bytes:
        hint = "Hint: the snapshot was changed or damaged; read an earlier iteration, or remove its folder."
        info = self._files.get_file_info(path)
        # Looked at before reading: a file that has grown would fill the memory.
        if not info.is_file or info.size != entry["size"]:
            received = f"{info.size} bytes" if info.is_file else "no file"
            raise ModelFileError(f"{path}: expected {entry['size']} bytes, received {received}. {hint}")
        try:
            data = self._get(path, info.size)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error}.") from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry["sha256"]:
            raise ModelFileError(f"{path}: expected SHA-256 {entry['sha256'][:64]}, received {found}. {hint}")
        return data

    def _get(self, path: str, size: int) -> bytes:
        with self._files.open_input_stream(path, compression=None) as stream:
            return stream.read(size)


def absolute(path: str) -> str:
    """The path from the root; addresses as they are. Executors run in folders of their own.

    >>> absolute("s3://bucket/a"), absolute("a") == os.path.join(os.getcwd(), "a")
    ('s3://bucket/a', True)
    """
    return path if not path or _ADDRESS.match(path) else str(Path(path).absolute())


def _opened(path: str) -> tuple[Any, str]:
    """The file system of a path or address, and the path inside it."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, LocalFileSystem

    if path and not _ADDRESS.match(path):
        return LocalFileSystem(), str(Path(path).absolute())
    if not path or path.endswith("://"):
        raise ArgumentError(f"path must name a folder. Received: {path!r}.")
    try:
        # Hadoop's spellings of S3.
        files, root = FileSystem.from_uri(re.sub(r"^s3[an]:", "s3:", path))
    except (ArrowException, OSError, ValueError, ImportError) as error:
        cause = _shown(str(error).splitlines()[0])
        raise ArgumentError(
            "path must be a local folder or an address that pyarrow opens (hdfs://, s3://, gs://). "
            f"Received: {_shown(path)}: {cause}."
        ) from None
    return files, root.rstrip("/")


def _shown(text: str) -> str:
    """A path, or an error about it, without the keys that may stand in an address."""
    return re.sub(r"://[^/\s]*@", "://", text)


def checkpoint_bytes(state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping | None) -> bytes:
    """Return a snapshot as one file; see `CheckpointStore.write` for what it may hold."""
    return b"".join(_content(state, train_state, meta))


def _content(
    state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping | None
) -> Iterator[bytes | memoryview]:
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.dtype.name not in _DTYPES or not array.ndim:
            received = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ArgumentError(f"State '{name}' must be an array of {', '.join(_DTYPES)}. Received: {received}.")
    try:
        notes = json.dumps({"train_state": train_state.to_json(), "meta": dict(meta or {})}, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"meta must be what JSON holds. Received: {error}.") from None
    return pieces(state, {_KEY: notes})


def checkpoint_from_bytes(data: bytes, path: str) -> Checkpoint:
    """Read what `checkpoint_bytes` wrote; `path` stands for the bytes in errors (`ModelFileError`)."""
    state, metadata = unpack(data, path)
    try:
        notes = json.loads(metadata[_KEY])
        return Checkpoint(state, TrainState.from_json(notes["train_state"]), dict(notes["meta"]), path)
    except (KeyError, TypeError, ValueError, RecursionError, NNFramesError) as error:
        raise ModelFileError(f"{path} must hold the counters of a run. Received: {error!r}.") from error


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        return False
    return type(entry["size"]) is int and entry["size"] >= 0 and isinstance(entry["sha256"], str)
