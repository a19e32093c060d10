"""The table of all params of the stages: what each means, what it may be, where it starts.

`nnframes.spark.params` has the mixins with setters and getters.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featurelib.base import Preprocessing
from nnframes.distributed.cache import DISK_AND_DRAM, CacheLevel
from nnframes.distributed.settings import MODES
from nnframes.errors import ArgumentError
from nnframes.io.background import CheckpointSettings
from nnframes.optim import ConstantClipping, OptimMethod
from nnframes.train import EarlyStopping, TrainSummary, Trigger, ValidationSettings, ValidationSummary
from nnframes.train.compression import COMPRESSIONS

__all__ = ["DEFAULT_THRESHOLD", "ERROR", "KEEP", "SKIP", "SPECS", "ParamSpec", "instance"]

# What becomes of rows that cannot be used, in Spark ML's words.
ERROR, SKIP, KEEP = "error", "skip", "keep"

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ParamSpec:
    """One row of the table: what the param means, what it may be, where it starts."""

    doc: str
    convert: Callable[[str, Any], Any]
    default: Any


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ArgumentError(f"{name} must be the name of a column. Received: {value!r}.")
    return value


def _name_or_none(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be the name of a column, or '' for none. Received: {value!r}.")
    return value


def _whole(low: int) -> Callable[[str, Any], int]:
    def convert(name: str, value: Any) -> int:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not good or value != math.floor(value) or value < low:
            raise ArgumentError(f"{name} must be a whole number >= {low}. Received: {value!r}.")
        return int(value)

    return convert


def _number(low: float, high: float = math.inf, above: bool = False) -> Callable[[str, Any], float]:
    def convert(name: str, value: Any) -> float:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not good or value < low or (above and value == low) or value > high:
            upper = "" if high == math.inf else f" and <= {high:g}"
            raise ArgumentError(f"{name} must be {'>' if above else '>='} {low:g}{upper}. Received: {value!r}.")
        return float(value)

    return convert


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} must be True or False. Received: {value!r}.")
    return value


def _choice(*options: str) -> Callable[[str, Any], str]:
    def convert(name: str, value: Any) -> str:
        if value not in options:
            raise ArgumentError(f"{name} must be one of {', '.join(options)}. Received: {value!r}.")
        return value

    return convert


def _level(name: str, value: Any) -> str | list:
    """What persists of a data cache level: its name, with the number of slices if it has any to choose."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if not 1 <= len(parts) <= 2:
        raise ArgumentError(f"{name} must be a level, or (level, numSlice). Received: {value!r}.")
    level = CacheLevel.of(*parts)
    return [level.name, level.slices] if level.name == DISK_AND_DRAM else level.name


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be a path, '' for the default. Received: {value!r}.")
    return value


def _instance(kind: type, article: str) -> Callable[[str, Any], Any]:
    def convert(name: str, value: Any) -> Any:
        if value is not None and not isinstance(value, kind):
            hint = f" Hint: {value.__name__}(...)." if isinstance(value, type) else ""
            raise ArgumentError(f"{name} must be {article} {kind.__name__}. Received: {value!r}.{hint}")
        return value

    return convert


def _bounds(name: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ArgumentError(f"{name} must be [min, max]. Received: {value!r}.")
    clipping = ConstantClipping(*value)
    return [float(clipping.min), float(clipping.max)]


def _norm(name: str, value: Any) -> float | None:
    return None if value is None else _number(0.0, above=True)(name, value)


def _labels(name: str, value: Any) -> list[str]:
    good = isinstance(value, (list, tuple)) and all(isinstance(label, str) for label in value)
    if not good or len(set(value)) != len(value):
        raise ArgumentError(f"{name} must be a list of different strings, [] for none. Received: {value!r}.")
    return list(value)


def instance(name: str, value: Any, kind: type, article: str) -> Any:
    """Return a constructor's argument; raises `ArgumentError` unless it is a `kind` of nnframes.nn."""
    if isinstance(value, kind):
        return value
    is_class = isinstance(value, type)
    received = f"the class {value.__name__}. Hint: {value.__name__}(...)" if is_class else type(value).__name__
    raise ArgumentError(f"{name} must be {article} of nnframes.nn. Received: {received}.")


SPECS: dict[str, ParamSpec] = {
    "featuresCol": ParamSpec("features column", _name, "features"),
    "labelCol": ParamSpec("label column", _name, "label"),
    "predictionCol": ParamSpec("column that predictions are written to", _name, "prediction"),
    "probabilityCol": ParamSpec("column for the probabilities of all classes; '' for none", _name_or_none, ""),
    "rawPredictionCol": ParamSpec("column for the network's outputs as a vector; '' for none", _name_or_none, ""),
    "batchSize": ParamSpec("rows in a batch (over the whole cluster when training), >= 1", _whole(1), 32),
    "maxEpoch": ParamSpec("training ends after this many epochs, unless endWhen is set, >= 1", _whole(1), 50),
    "endWhen": ParamSpec("trigger that ends training, in place of maxEpoch", _instance(Trigger, "a"), None),
    "optimMethod": ParamSpec("optim method; unset: SGD()", _instance(OptimMethod, "an"), None),
    "learningRate": ParamSpec("if set, the optim method's learning rate, > 0", _number(0.0, above=True), 1e-3),
    "learningRateDecay": ParamSpec("if set, the optim method's learning rate decay, >= 0", _number(0.0), 0.0),
    "cachingSample": ParamSpec(
        "whether samples are preprocessed once and kept, or anew in every epoch from the rows", _flag, True
    ),
    "dataCacheLevel": ParamSpec(
        "where samples are kept during a fit: 'DRAM', ('DISK_AND_DRAM', slices) or 'DIRECT'; the result is the same",
        _level,
        "DRAM",
    ),
    "cacheFolder": ParamSpec(
        "folder of the executors' hosts for the samples; '': memory file system or temporary folder, by dataCacheLevel",
        _text,
        "",
    ),
    "seed": ParamSpec("seed of the order of rows, dropout and augmentation, >= 0", _whole(0), 0),
    "numShards": ParamSpec(
        "parts that each batch is computed in; the result depends on it, but not on the cluster; 0: the task slots",
        _whole(0),
        0,
    ),
    "threadsPerShard": ParamSpec("engine threads of a training task, >= 1", _whole(1), 1),
    "gradientCompression": ParamSpec(
        "how gradients travel between tasks: 'none' (float32), 'bf16' or 'fp16' (half the bytes, rounded)",
        _choice(*COMPRESSIONS),
        "none",
    ),
    "threshold": ParamSpec(
        "with one output or two classes: class 1 is predicted above this, in [0, 1]",
        _number(0.0, 1.0),
        DEFAULT_THRESHOLD,
    ),
    "labels": ParamSpec(
        "names of the classes, for the metadata of the prediction column, where IndexToString finds them; [] for none",
        _labels,
        [],
    ),
    "samplePreprocessing": ParamSpec(
        "preprocessing from the feature column to the network's input, in place of feature_preprocessing",
        _instance(Preprocessing, "a"),
        None,
    ),
    "constantGradientClipping": ParamSpec("[min, max] that every gradient number is clipped to", _bounds, None),
    "gradientClippingByL2Norm": ParamSpec("norm that the whole gradient is scaled down to, > 0", _norm, None),
    "handleInvalid": ParamSpec(
        "rows with nulls, NaN or undecodable images: 'error', 'skip' (drop them) or 'keep' (null prediction; fit drops "
        "them)",
        _choice(ERROR, SKIP, KEEP),
        ERROR,
    ),
    "validation": ParamSpec(
        "trigger, methods and batch size of the validation; set by setValidation, which also takes the DataFrame",
        _instance(ValidationSettings, "a"),
        None,
    ),
    "earlyStopping": ParamSpec(
        "what ends training when validation gets no better; set by setEarlyStopping",
        _instance(EarlyStopping, "an"),
        None,
    ),
    "checkpoint": ParamSpec(
        "path and trigger of snapshots; set by setCheckpoint", _instance(CheckpointSettings, "a"), None
    ),
    "resume": ParamSpec("whether fit continues from the newest snapshot, if there is one", _flag, False),
    "trainSummary": ParamSpec("TensorBoard curves of training", _instance(TrainSummary, "a"), None),
    "validationSummary": ParamSpec("TensorBoard curves of the validation", _instance(ValidationSummary, "a"), None),
    "syncMode": ParamSpec(
        "how training tasks work together: 'group' (one gang), 'job' (a short job per iteration: executors may come "
        "and go) or 'auto'; the result is the same",
        _choice(*MODES),
        "auto",
    ),
    "deadline": ParamSpec(
        "seconds without a byte of a training task after which it is given up, > 0; longer than an iteration takes",
        _number(0.0, above=True),
        60.0,
    ),
    "showProgress": ParamSpec("whether fit shows a progress bar", _flag, True),
    "inputCol": ParamSpec("column of texts (string) or of their words (array<string>)", _name, "text"),
    "outputCol": ParamSpec("column that the numbers of the words are written to", _name, "ids"),
    "length": ParamSpec("how many numbers each text gets, >= 1", _whole(1), 100),
    "truncMode": ParamSpec(
        "which part of a text goes that has more words: 'pre' (its beginning) or 'post'", _choice("pre", "post"), "pre"
    ),
    "minFreq": ParamSpec("words that come less often get no number, >= 1", _whole(1), 1),
    "maxWords": ParamSpec("at most so many words get a number, the most frequent ones, >= 1", _whole(1), 1 << 18),
    "removeTop": ParamSpec("how many of the most frequent words get no number, >= 0", _whole(0), 0),
}
