"""How rows of a DataFrame become training samples: a deterministic head run once, a random tail run per batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from featurelib import RowStreams
from nnframes.errors import ArgumentError, DataError
from nnframes.train import MiniBatch

__all__ = ["SampleBlock", "SamplePlan"]

Head = Callable[[pa.RecordBatch], "SampleBlock"]
Tail = Callable[[tuple, Any, RowStreams], MiniBatch]

ON_ERROR = ("fail", "drop")


@dataclass(frozen=True, eq=False)
class SampleBlock:
    """What the head of a chain made of one batch of rows.

    `inputs` holds per network input one array (n, ...) or a list of n arrays, whose shapes may differ; `target` is an
    array (n, ...), a list of n arrays, a tuple of those for several targets, or () for none. `errors` says for rows of
    the batch why no sample came of them: they are absent from `inputs` and `target`, the others stay in order.

    >>> import numpy as np
    >>> SampleBlock((np.zeros((2, 3)),), np.zeros(2)).rows
    2
    """

    inputs: tuple[Any, ...]
    target: Any
    errors: Mapping[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.inputs[0])

    @property
    def fields(self) -> tuple[Any, ...]:
        """Inputs and targets, one after the other; `DataError` when their numbers of samples differ."""
        fields = (*self.inputs, *(self.target if isinstance(self.target, tuple) else (self.target,)))
        if len({len(values) for values in fields}) != 1:
            raise DataError(
                "Inputs and targets of a block must have the same number of samples. "
                f"Received: {[len(values) for values in fields]}."
            )
        return fields


@dataclass(frozen=True)
class SamplePlan:
    """The way from rows to mini-batches; travels to the executors, so all functions are module-level ones.

    `columns` are the columns used: all that is shipped and hashed. `make_head(settings)` builds the deterministic part
    once per task: it takes a record batch of exactly these columns, without nulls, ML vectors as list<float>, and must
    work row by row. `make_tail(settings)` builds the random part: `tail(inputs, target, streams)` with one generator
    per row, made when it is asked for; inputs and target come as arrays (n, ...) where the rows have one shape, else as
    lists; without a tail the stored arrays are the batch. `on_error` "fail" raises `DataError` for rows without a
    sample or with a null, "drop" leaves them out and counts them. `finding` is for the user: a query that finds rows by
    their hashes, which take the place of "{hashes}" in it. `ranges` says whether the summary is to tell the
    ranges of the inputs.
    """

    columns: tuple[str, ...]
    make_head: Callable[[str], Head]
    make_tail: Callable[[str], Tail] | None = None
    settings: str = "{}"
    on_error: str = "fail"
    finding: str = ""
    ranges: bool = False

    def __post_init__(self) -> None:
        if not self.columns:
            raise ArgumentError("SamplePlan columns must name at least one column. Received: none.")
        if self.on_error not in ON_ERROR:
            raise ArgumentError(
                f"SamplePlan on_error must be one of {', '.join(ON_ERROR)}. Received: {self.on_error!r}."
            )
