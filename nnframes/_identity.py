"""Whether the package `kernels` is ours: an unrelated distribution uses the same import name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

__all__ = ["check_kernels"]

_CURE = (
    "Hint: the two cannot share an environment; give one of them its own (python -m venv), or where only nnframes is "
    "wanted: pip uninstall kernels, then pip install --force-reinstall --no-deps nnframes."
)


def check_kernels(found: str | None = None, wanted: str | None = None) -> None:
    """Raise `ImportError` unless Python finds `kernels` in the folder `wanted`, beside `nnframes` itself.

    Packages of one distribution, and so of one version, lie side by side. `found` is the file that Python finds; it is
    looked up without running it. The error names the distribution that is in the way.

    >>> check_kernels()
    """
    if found is None:
        spec = importlib.util.find_spec("kernels")
        found = spec.origin if spec is not None and spec.origin else "nothing"
    beside = Path(wanted or Path(__file__).parent.parent)
    if found != "nothing" and Path(found).resolve().parent.parent == beside.resolve():
        return
    raise ImportError(f"nnframes needs its own package 'kernels' in {beside}, received {found}{_owner()}. {_CURE}")


def _owner() -> str:
    """The other distributions that installed a `kernels`."""
    owners = importlib.metadata.packages_distributions().get("kernels", [])
    described = [f"{name} {importlib.metadata.version(name)}" for name in sorted(set(owners)) if name != "nnframes"]
    return f" of the distribution {', '.join(described)}" if described else ""
