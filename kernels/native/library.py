"""Find and open the shared libraries: where they may be, in which order, and what to say when they are not there."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from importlib import metadata
from pathlib import Path


class LibraryNotFound(OSError):
    """No candidate could be opened; the message lists every one and why, and ends with the cure."""


def open_library(name: str, *, soname: str, variable: str, distribution: str, cure: str) -> ctypes.CDLL:
    """Open a shared library: named by the environment variable, else in the PyPI distribution, else the system's.

    Raises `LibraryNotFound` listing what was tried.
    """
    reasons = []
    for candidate in _candidates(soname, variable, distribution):
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            reasons.append(f"  {candidate}: {error}")
    tried = (
        "\n".join(reasons) or f"  no file named {soname} in {distribution}, {sys.prefix}/lib or the system's folders"
    )
    raise LibraryNotFound(f"{name} could not be loaded. Tried:\n{tried}\n{cure}")


def _candidates(soname: str, variable: str, distribution: str) -> list[str]:
    named = os.environ.get(variable)
    if named:
        return [named]
    places = [
        *_files_of(distribution, soname),
        Path(sys.prefix) / "lib" / soname,
        Path(sys.base_prefix) / "lib" / soname,
    ]
    found = [str(place) for place in dict.fromkeys(places) if place.is_file()]
    stem = soname.split(".so")[0].removeprefix("lib")
    system = ctypes.util.find_library(stem)
    return [*found, *([system] if system else [])]


def _files_of(distribution: str, soname: str) -> list[Path]:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name == soname]
