"""What must be alike on all executors before training: the packages' version, the native library, the ISA."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence

from kernels.config import instruction_set, missing_library, native_library
from kernels.errors import NativeLibraryWarning
from kernels.version import __version__
from nnframes.errors import TrainingError

__all__ = ["MISSING", "check_engines", "engine_info"]

MISSING = "missing"
"""Why an executor has no native library: no difference between engines, but something to be told of."""


def engine_info() -> dict[str, str]:
    """Return what decides the bits that this process computes, and what it lacks; opens the native library.

    >>> sorted(engine_info())
    ['isa', 'library', 'machine', 'missing', 'nnframes']
    """
    library = native_library()
    name = "numpy" if library is None else f"oneDNN {library.version}"
    known = {"nnframes": __version__, "library": name, "isa": instruction_set(), "machine": platform.machine()}
    return {**known, MISSING: missing_library()}


def check_engines(driver_version: str, engines: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Compare (host, engine) of all executors with each other and their version with the driver's.

    Raises `TrainingError` naming both sides of a difference, and the cure. Warns where they run on numpy for want of a
    library: their own warnings stay in their logs.
    """
    for host, engine in engines:
        if engine["nnframes"] != driver_version:
            raise TrainingError(
                f"Driver and executors must have the same nnframes. Received: {driver_version} on the driver, "
                f"{engine['nnframes']} on {host}. Hint: install one version everywhere, or ship a packed environment "
                "with spark.archives."
            )
        first_host, first = engines[0]
        differing = [name for name in sorted(first) if name != MISSING and first[name] != engine.get(name)]
        if differing:
            here = ", ".join(f"{name} {first[name]}" for name in differing)
            there = ", ".join(f"{name} {engine.get(name)}" for name in differing)
            raise TrainingError(
                f"All executors must have the same engine, or their sums differ. Received: {here} on {first_host}, "
                f"{there} on {host}. Hint: use one image for all executors; on mixed processors set "
                "spark.executorEnv.ONEDNN_MAX_CPU_ISA to the lowest one."
            )
    host, missing = next(((host, engine[MISSING]) for host, engine in engines if engine.get(MISSING)), ("", ""))
    if missing:
        text = f"The engine runs on numpy on {host}, many times slower: {missing}"
        warnings.warn(text, category=NativeLibraryWarning, stacklevel=2)
