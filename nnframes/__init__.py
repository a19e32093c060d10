"""Deep learning as stages of Apache Spark ML pipelines.

The stages are handed on from `nnframes.spark` when first asked for, so that `import nnframes.nn` needs no Spark.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nnframes._identity import check_kernels

check_kernels()

from kernels.version import __version__  # noqa: E402  the check says what an import error would not

if TYPE_CHECKING:
    from nnframes.spark import (
        DistributedTextSet,
        NNClassifier,
        NNClassifierModel,
        NNEstimator,
        NNModel,
        Relations,
        TextIndexer,
        TextIndexerModel,
        TextSet,
        as_udf,
        init_nncontext,
        register,
    )

__all__ = [
    "DistributedTextSet",
    "NNClassifier",
    "NNClassifierModel",
    "NNEstimator",
    "NNModel",
    "Relations",
    "TextIndexer",
    "TextIndexerModel",
    "TextSet",
    "__version__",
    "as_udf",
    "init_nncontext",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nnframes' has no attribute '{name}'")
    return getattr(importlib.import_module("nnframes.spark"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
