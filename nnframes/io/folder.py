"""Folders that are whole or not there: written beside their place, sealed by a manifest, then renamed.

`manifest.json` is written last and lists size and SHA-256 of every other file; reading checks all of it first.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnframes.errors import ModelFileError

__all__ = ["MANIFEST", "read_folder", "write_folder"]

MANIFEST = "manifest.json"
_FORMAT = {"format": "nnframes.manifest", "version": 1}
_MAX_MANIFEST = 1 << 20
_REPLACED = ".replaced"


def write_folder(path: Path, files: Mapping[str, bytes], overwrite: bool) -> None:
    """Write `files` and their manifest to a new folder `path`.

    Everything is on the disk before the folder gets its name. `overwrite` replaces a folder that has a manifest, and
    no other. Raises `ModelFileError` where something stands in the way.
    """
    _check_place(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    fresh.mkdir()
    try:
        for name, content in files.items():
            _write(fresh / name, content)
        entries = {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()}
        manifest = json.dumps({**_FORMAT, "files": entries}, indent=1)
        _write(fresh / MANIFEST, manifest.encode())
        _sync(fresh)
        _rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_folder(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files `names` of a folder, after checking them against its manifest.

    Raises `ModelFileError` for a folder that is missing, foreign, newer, incomplete, changed, or that holds more.
    """
    _check_folder(path)
    entries = _manifest(path / MANIFEST)
    if set(entries) != set(names):
        raise ModelFileError(f"{path / MANIFEST}: expected the files {sorted(names)}, received {sorted(entries)}.")
    # Hidden files are left by file managers and file systems (.DS_Store, .name.crc).
    extra = sorted(item.name for item in path.iterdir() if item.name not in {*names, MANIFEST} and item.name[0] != ".")
    if extra:
        raise ModelFileError(
            f"{path}: expected only {', '.join(names)}, {MANIFEST}, received also {', '.join(extra[:5])}."
        )
    return {name: _verified(path / name, entries[name]) for name in names}


def _check_place(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise ModelFileError(f"{path} exists already. Hint: overwrite=True replaces a saved model.")
    if not (path / MANIFEST).is_file():
        raise ModelFileError(f"{path} is not a saved model and is not overwritten. Hint: choose another path.")


def _check_folder(path: Path) -> None:
    if path.is_dir() and (path / MANIFEST).is_file():
        return
    left = path.with_name(path.name + _REPLACED)
    if not path.exists() and left.is_dir():
        raise ModelFileError(
            f"{path}: expected a folder, received nothing. Hint: an overwrite was cut short: rename {left}."
        )
    received = "nothing" if not path.exists() else "a file" if not path.is_dir() else f"a folder without {MANIFEST}"
    raise ModelFileError(f"{path}: expected a folder that save_model wrote, received {received}.")


def _manifest(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_MANIFEST:
        raise ModelFileError(f"{path} must have at most {_MAX_MANIFEST} bytes. Received: {path.stat().st_size}.")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} must be JSON. Received: {error}. Hint: save the model again.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT["format"]:
        raise ModelFileError(f"{path} must have the format {_FORMAT['format']}: this is another program's folder.")
    if manifest.get("version") != _FORMAT["version"]:
        raise ModelFileError(
            f"{path}: expected version {_FORMAT['version']}, received {str(manifest.get('version'))[:40]}. "
            "Hint: read it with the nnframes that wrote it, or a newer one."
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(map(_is_entry, files.values())):
        raise ModelFileError(f"{path} must list size and sha256 of every file. Hint: save the model again.")
    return files


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        return False
    return type(entry["size"]) is int and entry["size"] >= 0 and isinstance(entry["sha256"], str)


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    try:
        found = path.stat()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}. Hint: copy the folder again.") from None
    # Looked at before reading: a device or a grown file would fill the memory.
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry["size"]:
        received = f"{found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "no regular file"
        raise ModelFileError(f"{path}: expected {entry['size']} bytes, received {received}. Hint: copy it again.")
    data = path.read_bytes()
    if _sha256(data) != entry["sha256"]:
        raise ModelFileError(
            f"{path}: expected SHA-256 {entry['sha256'][:64]}, received {_sha256(data)}. Hint: the file was changed or "
            "damaged; copy the folder again."
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(fresh: Path, path: Path) -> None:
    old = path.with_name(path.name + _REPLACED)
    if os.path.lexists(path):
        if old.is_dir():
            shutil.rmtree(old)
        path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    _sync(path.parent)
    if old.is_dir():
        shutil.rmtree(old)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
