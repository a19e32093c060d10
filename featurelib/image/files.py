"""Image files in folders: what a path stands for, and reading one file with bounds.

A list of files is never needed as a whole: `find_files` walks folders in the order of names, so that many tasks can
walk alike and take every n-th file each.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from featurelib.errors import DecodeError, FeatureError

__all__ = [
    "MAX_BYTES",
    "class_folders",
    "expanded",
    "find_files",
    "local_path",
    "named_bytes",
    "origin_of",
    "read_file",
    "rooted",
    "split_paths",
]

MAX_BYTES = 1 << 30
"""A file beyond this is no picture that anyone wants in memory."""


def split_paths(path: str | os.PathLike | Sequence[str]) -> list[str]:
    """The parts of a comma list, where commas in braces belong to a part; the items of a list as they are.

    >>> split_paths("a/{b,c}/*.jpg,d")
    ['a/{b,c}/*.jpg', 'd']
    """
    if not isinstance(path, (str, os.PathLike)):
        parts = [os.fspath(part) for part in path]
    elif isinstance(path, os.PathLike):
        parts = [os.fspath(path)]
    else:
        parts = _between_commas(path)
    parts = [part for part in parts if part.strip()]
    if not parts:
        raise FeatureError(f"path must name a file or a folder. Received: {path!r}.")
    return parts


def local_path(path: str) -> str:
    """A path without the scheme ``file:``.

    >>> local_path("file:///a/b"), local_path("file:/a/b"), local_path("a/b")
    ('/a/b', '/a/b', 'a/b')
    """
    return re.sub(r"^file:(//(?=/))?", "", path)


def rooted(path: str) -> str:
    """A local path or pattern from the root on, for processes that work in other folders.

    >>> rooted("file:/a/*.png"), rooted("b.png") == f"{Path.cwd()}/b.png"
    ('/a/*.png', True)
    """
    plain, here = local_path(path), str(Path.cwd())
    if plain.startswith(os.sep):
        return plain
    full = here.rstrip(os.sep) + os.sep + plain
    return full if os.path.lexists(full) or not glob.has_magic(plain) else glob.escape(here) + os.sep + plain


def origin_of(path: str) -> str:
    """The name of a local file as Spark's own sources give it, in UTF-8 whatever its bytes are.

    >>> origin_of("/a/b c.png")
    'file:/a/b c.png'
    """
    return "file:" + os.fsencode(Path(path).absolute()).decode("utf-8", "replace")


def expanded(path: str) -> list[str]:
    """The files and folders that a path or a pattern with * ? [..] {..} stands for, sorted; `FeatureError` for none."""
    plain = local_path(path)
    if os.path.lexists(plain):  # False, not an error, for what can be no name
        return [plain]
    # Path.glob takes no absolute pattern, and finds hidden files.
    found = sorted({each for pattern in _without_braces(plain) for each in glob.glob(pattern)})  # noqa: PTH207
    if not found:
        raise FeatureError(f"path must be that of a file or a folder, or match one. Received: {path!r}.")
    return found


def find_files(paths: Sequence[str]) -> Iterator[str]:
    """All that is no folder at and below local `paths`, folder by folder in the order of names.

    Names that begin with a dot or an underscore are left out below folders, as Spark does. Links are followed, but not
    into a folder that they lie in. Raises `FeatureError` for a path that matches nothing and for a folder that cannot
    be listed.
    """
    for path in paths:
        for each in expanded(path):
            if Path(each).is_dir():
                yield from _below(each)
            else:
                yield each


def class_folders(path: str) -> list[str]:
    """The names of the folders right in local `path`, sorted: the classes of a set with labels."""
    return sorted(_Folder(local_path(path)).folders)


def read_file(path: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a file; `DecodeError` for one that is missing, unreadable, no regular file or too large."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise DecodeError("a file must be a regular one. Received: a pipe, a device or a folder.")
        if status.st_size > max_bytes:
            raise DecodeError(f"a file must have at most {max_bytes} bytes. Received: {status.st_size}.")
        with Path(path).open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise DecodeError(f"the file cannot be read: {error.strerror}.") from None


def named_bytes(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> bytes:
    """The same for a file that must be there: `FeatureError`, which names it."""
    try:
        return read_file(os.fspath(path), max_bytes)
    except DecodeError as error:
        raise FeatureError(f"{os.fspath(path)}: {error}") from None


def _between_commas(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth = max(depth + (letter == "{") - (letter == "}"), 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _below(folder: str) -> Iterator[str]:
    # The folders on the way down, not calls of this function: paths may be deeper than Python's stack.
    levels = [_Folder(folder)]
    while levels:
        level = levels[-1]
        for name in level.names:
            path = level.prefix + name
            if name not in level.folders:
                yield path
                continue
            below = _Folder(path)
            if all(below.identity != above.identity for above in levels):
                levels.append(below)
                break
        else:
            levels.pop()


class _Folder:
    """A folder that is being walked: what it is, by whatever path, and its names, in order."""

    def __init__(self, path: str) -> None:
        self.prefix = path.rstrip(os.sep) + os.sep
        self.folders: set[str] = set()
        names = []
        try:
            status = Path(path).stat()
            with os.scandir(path) as found:
                for entry in found:
                    if entry.name[0] not in "._":
                        names.append(entry.name)
                        if _is_folder(entry):
                            self.folders.add(entry.name)
        except OSError as error:
            raise FeatureError(f"folder {path!r} cannot be listed: {error.strerror}.") from None
        self.identity = (status.st_dev, status.st_ino)
        names.sort()
        self.names = iter(names)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: whoever reads it says what is wrong
        return False


def _without_braces(pattern: str) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [each for choice in found[1].split(",") for each in _without_braces(before + choice + after)]
