"""How a stage's rows become training samples: module-level functions that travel to executors with JSON settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from featurelib.base import ChainedPreprocessing, Preprocessing, RowStreams, stack
from featurelib.errors import FeatureError
from featurelib.registry import WithClasses
from nnframes.distributed import SampleBlock, SamplePlan
from nnframes.spark.columns import BINARY, FeatureColumn
from nnframes.spark.features import (
    as_chain,
    chain_classes,
    chain_from_json,
    chain_to_json,
    finite_rows,
    inputs_of,
    taken,
    values_of,
)
from nnframes.train import MiniBatch

__all__ = ["SampleSettings", "cut", "is_encoded", "make_head", "make_tail", "run_tail", "sample_plan"]

_OF_PICTURE = {"floats", "imageTensor", "mat"}  # what a stored sample, an array, says of a record


@dataclass(frozen=True)
class SampleSettings:
    """What head and tail need to know; chains are JSON configs, '' for none."""

    features: str
    label: str
    head: str
    tail: str
    label_chain: str
    encoded: bool  # samples are the bytes of images, decoded by the tail
    target_size: int | None  # numbers in a row's target, where it is known beforehand
    drop: bool


def sample_plan(
    columns: tuple[FeatureColumn, str],
    chains: tuple[Preprocessing | None, Preprocessing | None, Preprocessing | None],
    target_size: int | None,
    drop: bool,
) -> SamplePlan:
    """Return the plan for (features, label) columns and the chains (head, tail, of the label).

    `drop` leaves rows out that give no sample or hold NaN.
    """
    features, label = columns
    head, tail, label_chain = chains
    settings = SampleSettings(
        features=features.name,
        label=label,
        head=chain_to_json(head),
        tail=chain_to_json(tail),
        label_chain=chain_to_json(label_chain),
        encoded=is_encoded(features, head),
        target_size=target_size,
        drop=drop,
    )
    text, on_error = json.dumps(asdict(settings)), "drop" if drop else "fail"
    of_head = WithClasses(make_head, chain_classes(head, tail, label_chain))
    of_tail = WithClasses(make_tail, chain_classes(tail)) if tail else None
    return SamplePlan((features.name, label), of_head, of_tail, text, on_error)


def is_encoded(features: FeatureColumn, head: Preprocessing | None) -> bool:
    """Whether samples are kept as the bytes of images."""
    return features.kind == BINARY and head is None


def cut(preprocessing: Preprocessing | None, caching: bool) -> tuple[Preprocessing | None, Preprocessing | None]:
    """Cut a chain into what runs once per row and what runs every time a row is used, None for an empty part.

    The cut comes before the first random transform; right away without `caching`, and where what follows asks for more
    of a record than its picture, such as its first size.
    """
    chain = as_chain(preprocessing)
    if chain is None:
        return None, None
    head, tail = chain.split_at_random()
    if not caching or any(set(getattr(stage, "input_keys", ())) - _OF_PICTURE for stage in tail.transformers):
        # A stored sample is an array, so the struct of an image row is opened in any case.
        opened = sum(type(stage).__name__ == "RowToImageFeature" for stage in chain.transformers[:1])
        head = ChainedPreprocessing(chain.transformers[:opened])
        tail = ChainedPreprocessing(chain.transformers[opened:])
    return (head if head.transformers else None), (tail if tail.transformers else None)


def make_head(settings: str) -> Callable[[pa.RecordBatch], SampleBlock]:
    """Build the deterministic part: record batch to samples and errors by row."""
    known = SampleSettings(**json.loads(settings))
    # Encoded images stay what they are, once they have been seen to be images that the tail takes.
    chain = chain_from_json(known.tail if known.encoded else known.head)
    chain = None if chain is None else chain.deterministic()
    label_chain = chain_from_json(known.label_chain)

    def head(batch: pa.RecordBatch) -> SampleBlock:
        values = values_of(batch.column(known.features))
        inputs, errors = _encoded(chain, values) if known.encoded else inputs_of(chain, values)
        targets, target_errors = _targets(label_chain, values_of(batch.column(known.label)))
        return _joined(known, (inputs, errors), (targets, target_errors), batch.num_rows)

    return head


def make_tail(settings: str) -> Callable[[tuple, Any, RowStreams], MiniBatch]:
    """Build the part that runs per batch: augmentation, and without caching all preprocessing."""
    known = SampleSettings(**json.loads(settings))
    chain = as_chain(chain_from_json(known.tail)) or ChainedPreprocessing([])

    def tail(inputs: tuple, target: Any, generators: RowStreams) -> MiniBatch:
        return MiniBatch(run_tail(chain, inputs, generators, known.encoded), target)

    return tail


def run_tail(chain: Preprocessing, inputs: tuple, generators: Any, encoded: bool) -> tuple[np.ndarray, ...]:
    """Apply the second part of a chain to stored samples."""
    values = [row.tobytes() for row in inputs[0]] if encoded else inputs[0]
    result = stack(chain.batch(values, generators))
    return result if isinstance(result, tuple) else (result,)


def _encoded(chain: Preprocessing | None, values: Any) -> tuple[tuple, dict[int, str]]:
    """The bytes of the images that a chain takes, one picture in memory at a time, and why it does not take others."""
    kept, errors = [], {}
    for row, value in enumerate(values):
        try:
            if chain is not None:
                chain.apply(value)
            kept.append(np.frombuffer(value, np.uint8))
        except FeatureError as error:
            errors[row] = str(error)
    return (kept,), errors


def _targets(chain: Preprocessing | None, values: Any) -> tuple[Any, dict[int, str]]:
    targets, errors = inputs_of(chain, values)
    return (targets[0] if targets else np.empty((0, 1), np.float32)), errors


def _joined(
    known: SampleSettings, features: tuple[tuple, dict[int, str]], labels: tuple[Any, dict[int, str]], rows: int
) -> SampleBlock:
    """Keep the rows that have both a sample and a target; with `drop`, also only finite ones."""
    (inputs, errors), (target, target_errors) = features, labels
    numbers = np.arange(rows)
    of_inputs = np.delete(numbers, list(errors))
    of_target = np.delete(numbers, list(target_errors))
    found = dict(target_errors) | errors
    sizes = np.array([np.size(row) for row in target])
    if known.target_size is not None:
        wrong = of_target[sizes != known.target_size]
        found |= {int(row): f"a label must have {known.target_size} numbers" for row in wrong if row not in errors}
    if known.drop and inputs:
        found |= {int(row): "NaN or infinity in the features" for row in of_inputs[~finite_rows(inputs)]}
    if known.drop and len(of_target):
        found |= {int(row): "NaN or infinity in the label" for row in of_target[~finite_rows((target,))]}
    if not found:
        return SampleBlock(inputs, target)
    keep_inputs, keep_target = ~np.isin(of_inputs, list(found)), ~np.isin(of_target, list(found))
    kept = taken(inputs, keep_inputs) if inputs else ()
    if not kept or not keep_inputs.any():
        kept = (np.empty((0, 1), np.float32),)
    return SampleBlock(kept, taken((target,), keep_target)[0], found)
