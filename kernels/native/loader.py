"""Find and open the shared libraries: where they may be, in which order, and what to say when they are not there."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


class LibraryNotFound(OSError):
    """No candidate could be opened; the message lists every one and why, and ends with the cure."""


def open_library(
    name: str, *, sonames: Sequence[str], symbol: str, variable: str, distribution: str, cure: str
) -> ctypes.CDLL:
    """Open a shared library: named by the environment variable, else in the PyPI distribution, else the system's.

    `symbol` is a function that only the right library has. Raises `LibraryNotFound` listing what was tried.
    """
    reasons = []
    for candidate in _candidates(sonames, variable, distribution):
        try:
            library = ctypes.CDLL(candidate)
        except OSError as error:
            reasons.append(f"  {candidate}: {error}")
            continue
        if hasattr(library, symbol):
            return library
        reasons.append(f"  {candidate}: is another library, it has no {symbol}")
    places = f"{distribution}, {sys.prefix}/lib or the system's folders"
    tried = "\n".join(reasons) or f"  no file named {' or '.join(sonames)} in {places}"
    raise LibraryNotFound(f"{name} could not be loaded. Tried:\n{tried}\n{cure}")


def _candidates(sonames: Sequence[str], variable: str, distribution: str) -> list[str]:
    named = os.environ.get(variable)
    if named:
        return [named]
    places = [
        place
        for soname in sonames
        for place in (
            *_files_of(distribution, soname),
            Path(sys.prefix) / "lib" / soname,
            Path(sys.base_prefix) / "lib" / soname,
        )
    ]
    found = [str(place) for place in dict.fromkeys(places) if place.is_file()]
    system = ctypes.util.find_library(sonames[0].split(".so")[0].removeprefix("lib"))
    return [*found, *([system] if system else [])]


def _files_of(distribution: str, soname: str) -> list[Path]:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name == soname]
