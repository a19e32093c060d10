"""Features, local: transforms of values into tensors, and their chains. Knows no network and no Spark.

`featurelib.image` holds the image transforms (and imports OpenCV), `featurelib.audio` and `featurelib.volume` those of
sound and of 3-D images, `featurelib.catalog` the table of all transforms; `featurelib.series` makes windows of time
series (and imports pandas).
"""

from __future__ import annotations

from featurelib.adapters import (
    BigDLAdapter,
    FeatureLabelPreprocessing,
    FeatureToTupleAdapter,
    TensorToSample,
    ToTuple,
)
from featurelib.base import ChainedPreprocessing, Preprocessing, RowStreams, stack
from featurelib.config import from_config, to_config
from featurelib.errors import ConfigError, DecodeError, FeatureError
from featurelib.registry import register_class
from featurelib.sample import Sample
from featurelib.tensor import ArrayToTensor, MLlibVectorToTensor, ScalarToTensor, SeqToMultipleTensors, SeqToTensor

__all__ = [
    "ArrayToTensor",
    "BigDLAdapter",
    "ChainedPreprocessing",
    "ConfigError",
    "DecodeError",
    "FeatureError",
    "FeatureLabelPreprocessing",
    "FeatureToTupleAdapter",
    "MLlibVectorToTensor",
    "Preprocessing",
    "RowStreams",
    "Sample",
    "ScalarToTensor",
    "SeqToMultipleTensors",
    "SeqToTensor",
    "TensorToSample",
    "ToTuple",
    "from_config",
    "register_class",
    "stack",
    "to_config",
]
