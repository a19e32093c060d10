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
    from nnframes.spark.image_reader import NNImageReader, with_origin_column
    from nnframes.spark.image_sequences import SeqFileFolder
    from nnframes.spark.image_set import DistributedImageSet, ImageFrame, ImageSet
    from nnframes.spark.image_source import register_sources

__all__ = [
    "DistributedImageSet",
    "DistributedTextSet",
    "ImageFrame",
    "ImageSet",
    "NNClassifier",
    "NNClassifierModel",
    "NNEstimator",
    "NNImageReader",
    "NNModel",
    "Relations",
    "SeqFileFolder",
    "TextIndexer",
    "TextIndexerModel",
    "TextSet",
    "__version__",
    "as_udf",
    "init_nncontext",
    "register",
    "register_sources",
    "with_origin_column",
]

# These import OpenCV, which stages that see no images do without.
_OF_IMAGES = {
    "DistributedImageSet": "image_set",
    "ImageFrame": "image_set",
    "ImageSet": "image_set",
    "NNImageReader": "image_reader",
    "SeqFileFolder": "image_sequences",
    "register_sources": "image_source",
    "with_origin_column": "image_reader",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nnframes' has no attribute '{name}'")
    module = f"nnframes.spark.{_OF_IMAGES[name]}" if name in _OF_IMAGES else "nnframes.spark"
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
