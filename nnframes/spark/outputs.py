"""What a network's output means for a classifier: predictions, probabilities, raw predictions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nnframes.errors import ShapeError
from nnframes.nn import Layer, Model, Sequential, Sigmoid, SoftMax
from nnframes.spark.specs import DEFAULT_THRESHOLD

__all__ = [
    "arrays_column",
    "check_output",
    "gives_probabilities",
    "predictions",
    "probabilities",
    "raw_predictions",
    "rows_of",
]

_DENSE = 1
_CURE = "Hint: end the network with Reshape([k]), or JoinTable for several outputs."


def gives_probabilities(layer: Layer) -> bool:
    """Whether a network ends in SoftMax or Sigmoid; anything else is a score or a log-probability.

    >>> from nnframes.nn import Linear
    >>> gives_probabilities(Sequential().add(Linear(4, 3)).add(SoftMax())), gives_probabilities(Linear(4, 3))
    (True, False)
    """
    while isinstance(layer, (Sequential, Model)):
        last = _last(layer)
        if last is None:
            return False
        layer = last
    return isinstance(layer, (SoftMax, Sigmoid))


def _last(layer: Sequential | Model) -> Layer | None:
    if isinstance(layer, Model):
        return layer.nodes[layer.outputs[0]].layer if len(layer.outputs) == 1 else None
    return layer.layers[-1] if layer.layers else None


def rows_of(output: object) -> np.ndarray:
    """The output of a batch as (n, k); raises `ShapeError` for several outputs or more dimensions."""
    if not isinstance(output, np.ndarray):
        raise ShapeError(f"A stage expects a network with one output, received several. {_CURE}")
    check_output(output.shape)
    return output if output.ndim == 2 else output[:, None]


def check_output(shape: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless an output is (batch, k) or (batch,)."""
    if len(shape) > 2:
        raise ShapeError(f"A stage expects a network with an output (batch, k), received {shape}. {_CURE}")


def predictions(output: np.ndarray, probability: bool, threshold: float) -> np.ndarray:
    """The classes that rows (n, k) are predicted to be, float64 (n,).

    One output: class 1 above `threshold`. Two classes: class 1 if its probability is above a `threshold` that is not
    the default. Otherwise the largest output wins. NaN where an output is NaN: such a row is of no class.
    """
    if output.shape[1] == 1:
        found = output[:, 0] > threshold
    elif output.shape[1] == 2 and threshold != DEFAULT_THRESHOLD:
        found = probabilities(output, probability)[:, 1] > threshold
    else:
        found = output.argmax(axis=1)
    classes = found.astype(np.float64)
    classes[np.isnan(output).any(axis=1)] = np.nan
    return classes


def probabilities(output: np.ndarray, probability: bool) -> np.ndarray:
    """The probabilities of all classes, float64 (n, k); (n, 2) for one output.

    Scores go through softmax, which leaves log-probabilities what they are; one output is taken as that of class 1.
    """
    wide = output.astype(np.float64)
    if wide.shape[1] == 1:
        one = np.clip(wide, 0.0, 1.0)
        return np.hstack([1.0 - one, one])
    if probability:
        return wide
    np.exp(np.subtract(wide, wide.max(axis=1, keepdims=True), out=wide), out=wide)
    return np.divide(wide, wide.sum(axis=1, keepdims=True), out=wide)


def raw_predictions(output: np.ndarray) -> np.ndarray:
    """The outputs themselves, float64 (n, k); (1 - x, x) for one output x, since evaluators read one per class."""
    wide = output.astype(np.float64)
    return wide if wide.shape[1] > 1 else np.hstack([1.0 - wide, wide])


def arrays_column(rows: np.ndarray, valid: np.ndarray, as_vector: bool) -> pa.Array:
    """An Arrow column of n rows: (m, k) numbers where `valid` (n,) is true, nulls elsewhere; arrays or ML vectors."""
    lengths = np.where(valid, rows.shape[1], 0)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    mask = pa.array(~valid)
    if not as_vector:
        return pa.ListArray.from_arrays(offsets, flat, mask=mask)
    count = len(valid)
    parts = [
        pa.array(np.full(count, _DENSE, np.int8)),
        pa.nulls(count, pa.int32()),
        pa.nulls(count, pa.list_(pa.int32())),
        pa.ListArray.from_arrays(offsets, flat),
    ]
    return pa.StructArray.from_arrays(parts, ["type", "size", "indices", "values"], mask=mask)
