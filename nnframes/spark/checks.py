"""What must fit before training: network, criterion and shapes on the driver, the data once it is materialised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from featurelib.base import Preprocessing
from featurelib.errors import FeatureError
from kernels.graph import INT32, Graph, Spec
from kernels.random import stream
from nnframes.distributed import DataSummary
from nnframes.errors import DataError, ShapeError
from nnframes.nn import BCECriterion, Criterion, Layer, LookupTable, layers_in
from nnframes.nn.embedding import id_inputs
from nnframes.nn.trace import Trace
from nnframes.spark.columns import BINARY, IMAGE, FeatureColumn
from nnframes.spark.features import inputs_of, static_sizes
from nnframes.spark.samples import run_tail
from nnframes.train import ValidationMethod, check_methods

__all__ = ["DataCheck", "class_count", "looks_up", "network_output", "possible_sizes", "takes_classes", "tried"]

Shape = tuple[int, ...]
R = TypeVar("R")

# What a chain makes of images of two sizes alike, it makes of any; how many channels there are, only the data tell.
_PROBES, _CHANNELS = ((48, 64), (80, 72)), (3, 1, 4)
_OF_CHANNELS = {1: 0, 3: 16, 4: 24}
_PADDING = -1


def takes_classes(criterion: Criterion) -> bool:
    """Whether targets are class numbers."""
    return criterion.target_spec(Spec((2, 2))).dtype == INT32


def possible_sizes(preprocessing: Preprocessing | None, column: FeatureColumn) -> list[tuple[Shape, ...]]:
    """The shapes of a row's tensors as far as chain and schema tell.

    One where they are known, several where they depend on the channels of images, none when only the data can tell.
    """
    sizes = static_sizes(preprocessing, column.size)
    if sizes is not None or preprocessing is None or column.kind not in (BINARY, IMAGE):
        return [] if sizes is None else [sizes]
    chain = preprocessing.deterministic()
    found = (_image_sizes(chain, column.kind, channels) for channels in _CHANNELS)
    return list(dict.fromkeys(sizes for sizes in found if sizes is not None))


def tried(sizes: Sequence[tuple[Shape, ...]], check: Callable[[tuple[Shape, ...]], R]) -> R | None:
    """Run `check` with each of the possible sizes; raises its `ShapeError` where none of them passes.

    Returns what `check` does where there is one size, else None. Of several errors it is that of the size which got
    beyond the network's first layer: images of other channels are not what was meant.
    """
    results, errors = [], []
    for one in sizes:
        try:
            results.append(check(one))
        except ShapeError as error:
            errors.append((str(one[0])[1:] in str(error), error))
    if errors and not results:
        raise min(errors, key=lambda each: each[0])[1]
    return results[0] if len(sizes) == 1 else None


def _image_sizes(chain: Preprocessing, kind: str, channels: int) -> tuple[Shape, ...] | None:
    """What a chain makes of images with so many channels, whatever their size; None where that differs or fails."""
    from featurelib.image.functional import encode_png

    found = set()
    for height, width in _PROBES:
        picture = np.zeros((height, width, channels), np.uint8)
        inputs, errors = inputs_of(chain, [encode_png(picture) if kind == BINARY else _struct(picture)])
        found.add(None if errors else tuple(array.shape[1:] for array in inputs))
    return found.pop() if len(found) == 1 else None


def _struct(picture: np.ndarray) -> dict:
    height, width, channels = picture.shape
    sizes = {"height": height, "width": width, "nChannels": channels}
    return {"origin": "", **sizes, "mode": _OF_CHANNELS[channels], "data": picture.tobytes()}


def network_output(model: Layer, sizes: tuple[Shape, ...], batch_size: int) -> Shape:
    """The shape of a batch's output; raises `ShapeError` naming the layer that does not take what it would get."""
    shapes = [(batch_size, *size) for size in sizes]
    output = model.output_shape(shapes if len(shapes) > 1 else shapes[0])
    if isinstance(output, list):
        raise ShapeError(f"{type(model).__name__} must have one output to be used in a stage. Received: {len(output)}.")
    return output


def looks_up(model: Layer) -> bool:
    """Whether a network has tables whose rows its inputs may name."""
    return any(isinstance(layer, LookupTable) for layer in layers_in(model))


def class_count(output: Shape) -> int:
    """How many classes an output (batch, k) tells apart; a single number tells two."""
    return output[-1] if len(output) > 1 and output[-1] > 1 else 2


def _target(criterion: Criterion, output: Shape) -> Spec:
    """What a criterion compares an output with; its loss is built too, which shows class weights of another number."""
    graph, spec = Graph(), criterion.target_spec(Spec(output))
    values = graph.input("output", output), graph.input("target", spec.shape, spec.dtype)
    criterion.loss(Trace(None, graph, True), *values)
    return spec


class DataCheck:
    """What will train on the data; calling it with a summary raises `DataError` or `ShapeError` where that cannot work.

    `columns` are features and label; `tail` is the part of the preprocessing that is still to come; `encoded` says that
    samples are still the bytes of images; `classifier` that labels are class numbers whatever the criterion;
    `label_size` is how many numbers a row's label has, where that is known beforehand. `methods` of a validation must
    take the network's output too.
    """

    def __init__(
        self,
        network: tuple[Layer, Criterion],
        columns: tuple[str, str],
        batch_size: int,
        tail: Preprocessing | None = None,
        encoded: bool = False,
        classifier: bool = False,
        label_size: int | None = None,
    ) -> None:
        self.model, self.criterion = network
        self.features, self.label = columns
        self.batch_size, self.tail, self.encoded = batch_size, tail, encoded
        self.classifier, self.label_size = classifier, label_size
        self.methods: Sequence[ValidationMethod] = ()
        self.count: int | None = None
        self.classes = classifier or takes_classes(self.criterion)
        # Class criterions skip label -1; a classifier's labels are all meant.
        self.lowest = 0 if classifier else _PADDING

    def __call__(self, summary: DataSummary) -> None:
        self._check_finite(summary)
        sizes = self._sizes(summary)
        if sizes is not None:
            self.check_network(sizes)
            self._check_ids(summary, sizes)
        if self.classes:
            self._check_labels(summary)
        elif isinstance(self.criterion, BCECriterion):
            self._check_probabilities(summary)

    def check_network(self, sizes: tuple[Shape, ...]) -> int:
        """Run the shapes of a row through network and criterion; returns how many numbers a row's target has."""
        output = network_output(self.model, sizes, self.batch_size)
        self.count = class_count(output)
        try:
            wanted = math.prod(_target(self.criterion, output).shape[1:])
        except ShapeError as error:
            name, text = type(self.criterion).__name__, str(error)
            raise ShapeError(f"{name} {text}" if text.startswith("expects") else text) from None
        self._check_target(output, wanted)
        check_methods(self.methods, self.criterion, output)
        return wanted

    def _check_target(self, output: Shape, wanted: int) -> None:
        name = type(self.criterion).__name__
        if self.classifier and takes_classes(self.criterion) and output[1:] == (1,):
            raise ShapeError(
                f"{name} expects an output for each class, received {output}. "
                "Hint: Linear(..., 2) and LogSoftMax(), or Sigmoid() with BCECriterion."
            )
        if self.label_size in (None, wanted):
            return
        hint = "Hint: class numbers take a criterion such as ClassNLLCriterion." if self.classifier else ""
        raise ShapeError(
            f"Column '{self.label}' must hold {wanted} numbers a row, as {name} compares them with the network's "
            f"output {output}. Received: {self.label_size}. {hint}".rstrip()
        )

    def _check_finite(self, summary: DataSummary) -> None:
        for column, count in ((self.features, summary.nan_inputs), (self.label, summary.nan_targets)):
            if count:
                raise DataError(
                    f"Column '{column}' must hold finite numbers. Received: NaN or infinity in {count} of "
                    f"{summary.rows} rows. Hint: df.na.drop() or df.na.fill(...), or setHandleInvalid('skip')."
                )

    def _check_ids(self, summary: DataSummary, sizes: tuple[Shape, ...]) -> None:
        if self.tail is not None or not summary.input_ranges:
            return
        shapes = [(self.batch_size, *size) for size in sizes]
        for number, (rows, table) in id_inputs(self.model, shapes if len(shapes) > 1 else shapes[0]).items():
            low, high, fractional = summary.input_ranges[number]
            if fractional or low < 0 or high >= rows:
                others = f"{fractional} of {summary.rows} rows with other numbers, in " if fractional else ""
                raise DataError(
                    f"Column '{self.features}' must hold whole numbers in [0, {rows}), the ids of {table}. Received: "
                    f"{others}{low:g} to {high:g}. Hint: ids count from 0; give the table as many rows as there are "
                    "ids, or number them with StringIndexer."
                )

    def _sizes(self, summary: DataSummary) -> tuple[Shape, ...] | None:
        if self.encoded:
            return None
        for shapes in summary.shapes:
            if len(shapes) > 1 and self.tail is None:
                raise DataError(
                    f"Rows of column '{self.features}' must give tensors of one shape. Received: "
                    f"{', '.join(map(str, shapes))}. Hint: resize, crop or pad in the preprocessing."
                )
        if self.tail is None:
            return tuple(shapes[0] for shapes in summary.shapes)
        found = {self._after_tail(shape) for shape in summary.shapes[0]}
        if len(found) > 1:
            raise DataError(
                f"Rows of column '{self.features}' must give tensors of one shape after preprocessing. Received: "
                f"{', '.join(map(str, sorted(found)))}. Hint: resize, crop or pad in the preprocessing."
            )
        return found.pop()

    def _after_tail(self, shape: Shape) -> tuple[Shape, ...]:
        assert self.tail is not None
        try:
            arrays = run_tail(self.tail, (np.zeros((1, *shape), np.uint8),), [stream(0)], False)
        except FeatureError as error:
            error.row = None
            raise DataError(f"The preprocessing does not take samples of shape {shape}: {error}") from error
        return tuple(array.shape[1:] for array in arrays)

    def _check_probabilities(self, summary: DataSummary) -> None:
        low, high = summary.target_min, summary.target_max
        if low is not None and high is not None and not 0 <= low <= high <= 1:
            raise DataError(
                f"Column '{self.label}' must hold numbers in [0, 1] for {type(self.criterion).__name__}. Received: "
                f"{low:g} to {high:g}. Hint: classes count from 0."
            )

    def _check_labels(self, summary: DataSummary) -> None:
        classes = self.count
        low, high = summary.target_min, summary.target_max
        if low is None or high is None:
            return
        wanted = "whole numbers >= 0" if classes is None else f"whole numbers in [0, {classes - 1}]"
        network = "" if classes is None else f" for a network of {classes} classes"
        hint = f"Hint: classes count from 0; StringIndexer(inputCol='{self.label}', outputCol=...) numbers any labels."
        if summary.fractional_targets:
            raise DataError(
                f"Column '{self.label}' must hold {wanted}{network}. Received: {summary.fractional_targets} rows with "
                f"other numbers, in {low:g} to {high:g}. {hint}"
            )
        if low < self.lowest or (classes is not None and high >= classes):
            raise DataError(f"Column '{self.label}' must hold {wanted}{network}. Received: {low:g} to {high:g}. {hint}")
