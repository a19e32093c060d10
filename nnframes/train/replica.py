"""The network, its criterion and its optim method as the training loop sees them: gradients out, sums in."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import RowGradient, Spec, Value, compile_graph, differentiate, ops
from kernels.graph import INPUT
from kernels.native.memory import aligned_floats
from kernels.native.threads import set_threads, survived
from kernels.program import Program
from kernels.random import signed
from kernels.sparse import RowSparse, coalesce
from kernels.vectors import all_finite, scaled
from nnframes.errors import ShapeError, TrainingError
from nnframes.nn.criterion import Criterion
from nnframes.nn.layer import Layer
from nnframes.nn.network import Segment, segments, trace
from nnframes.nn.parameter import BUFFER, DENSE, TABLE
from nnframes.nn.regularizers import Regularizer
from nnframes.optim import Clipping, OptimMethod, block_squares, clip, global_norm
from nnframes.train.data import MiniBatch
from nnframes.train.evaluation import NetworkEvaluator, Partial
from nnframes.train.share import Share
from nnframes.train.validation import ValidationMethod

__all__ = ["NetworkReplica"]

KEPT_PROGRAMS = 4
TAIL = 3  # after gradients and statistics a message ends with: loss sum, weight sum, rows


@dataclass
class _Step:
    """A compiled gradient computation for one batch size."""

    program: Program
    target_shape: tuple[int, ...]
    parts: list[slice]  # where each dense output goes in a message; the tables' outputs follow them
    tables: list[str]
    idle: list[slice]  # parts of a message that this graph does not compute
    dense: int  # how many of the parts are gradients
    draws: bool  # whether it wants random numbers
    # The same array objects run after run, because a program binds memory anew for new ones; of one message a shard.
    views: dict[int, tuple[np.ndarray, tuple[np.ndarray, ...]]] = field(default_factory=dict)

    def mark(self, reached: Callable[[int], None]) -> Callable[[Sequence[int]], None]:
        """Return what hears which outputs are complete, and tells where what is left of the gradients ends."""
        left = {number: self.parts[number].stop for number in range(self.dense)}

        def finished(outputs: Sequence[int]) -> None:
            before = len(left)
            for number in outputs:
                left.pop(number, None)
            if len(left) < before:
                reached(max(left.values(), default=0))

        return finished

    def views_of(self, shard: int, out: np.ndarray) -> tuple[np.ndarray, ...]:
        """The parts of the message of `shard` that the program fills."""
        kept = self.views.get(shard)
        if kept is None or kept[0] is not out:
            kept = self.views[shard] = (out, tuple(out[part] for part in self.parts))
        return kept[1]


class NetworkReplica:
    """One copy of a network in training; see `nnframes.train.protocols.Replica`.

    Weights are one flat float32 vector, the network's parameters are views of it. A message holds the sums over the
    rows of a batch: gradients (P numbers), batch statistics of buffers (S), loss, weights of the rows, number of rows.
    """

    def __init__(
        self,
        layer: Layer,
        criterion: Criterion,
        optim_method: OptimMethod,
        clippings: Sequence[Clipping] = (),
        seed: int = 0,
        threads: int = 1,
        gemm: str = "onednn",
    ) -> None:
        layer.initialise()
        self.layer, self.criterion, self.optim_method = layer, criterion, optim_method
        self.clippings, self.seed, self.threads, self.gemm = tuple(clippings), seed, threads, gemm
        self._dense, self._buffers = segments(layer, DENSE), segments(layer, BUFFER)
        self._table_segments = segments(layer, TABLE)
        self._tables = {segment.path: segment.value for segment in self._table_segments}
        self._dense_places = [segment.place for segment in self._dense]
        self._penalties = _penalties(self._dense)
        self._table_penalties = _penalties(self._table_segments)
        self._weights, self._statistics = _flattened(self._dense), _flattened(self._buffers)
        self._takes_sums = optim_method.takes_sums and not (clippings or self._penalties or self._table_penalties)
        self.gradient_size = len(self._weights)
        self._whole = Share.whole(self.gradient_size)
        optim_method.check(self.gradient_size)
        self.message_size = len(self._weights) + len(self._statistics) + TAIL
        self._optim = optim_method.init(len(self._weights))
        self._table_optim = {path: optim_method.init_rows(*table.shape) for path, table in self._tables.items()}
        self._seen: tuple[weakref.ref[np.ndarray], weakref.ref[Share]] | None = None
        self._parts: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]] | None = None
        self._updates = 0
        self._steps: OrderedDict[Any, _Step] = OrderedDict()
        self._last: tuple[Any, _Step] | None = None
        self._evaluator = NetworkEvaluator(layer, criterion, threads)

    def gradient(
        self,
        shard: int,
        batch: MiniBatch,
        iteration: int,
        out: np.ndarray,
        reached: Callable[[int], None] | None = None,
    ) -> dict[str, RowSparse]:
        """Write the sums over `batch` to `out` (message_size,) and return the tables' gradient sums.

        `reached(start)` is told, as it becomes so, that the gradients in `out` are complete from `start` on, parameter
        by parameter; they may be overwritten at once.
        """
        step = self._step_for(batch)
        for part in step.idle:
            out[part] = 0
        feeds = {"target": self._target(batch, step.target_shape)}
        if step.draws:
            feeds["random_key"] = np.array([signed(self.seed), iteration, shard, 0], np.int64)
        for number, array in enumerate(batch.inputs):
            feeds[f"input_{number}"] = array
        results = step.program.run(feeds, step.views_of(shard, out), None if reached is None else step.mark(reached))
        out[-1] = len(batch)
        sparse = results[len(step.parts) :]
        return {
            path: coalesce(rows, values)
            for path, rows, values in zip(step.tables, sparse[::2], sparse[1::2], strict=True)
        }

    def mean_loss(self, message: np.ndarray) -> float:
        """Return the mean loss from the last numbers of a summed message."""
        loss, divisor, _ = self._loss_of(message)
        return loss / divisor

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse], share: Share | None = None) -> float:
        """Make one update from the sums over all shards and return the mean loss; overwrites `message` and `sparse`."""
        share = share or self._whole
        loss, divisor, rows = self._loss_of(message)
        gradient, weights, state = self._own(message, share)
        if not math.isfinite(loss):
            raise FloatingPointError(self._lost(loss, share, gradient, sparse))
        if survived():
            set_threads(self.threads)
        factor = 1.0 / divisor
        # Where it is above 1, means may overflow that are finite as sums.
        scale = factor if self._takes_sums and factor <= 1.0 else 1.0
        scaling = {} if scale == 1.0 else {"scale": scale}  # a method of a user's own need not know of it
        tables = sparse
        if scale != factor:
            scaled(factor, gradient)
            tables = {path: RowSparse(part.rows, part.values * np.float32(factor)) for path, part in sparse.items()}
        self._regularise(share, message, tables)
        if self.clippings:
            self._clip(share, gradient, tables)
        statistics = message[len(self._weights) : -TAIL]
        self._check_finite(share, gradient, statistics, tables)
        method = self.optim_method
        method.prepare(weights, gradient, self._dense_places)
        method.step(weights, gradient, state, self._updates, start=share.own.start, **scaling)
        for path, part in tables.items():
            method.prepare(self._tables[path][part.rows], part.values, [slice(0, len(part.rows))])
            method.step_rows(self._tables[path], part, self._table_optim[path], self._updates, **scaling)
        self._move_buffers(statistics, rows)
        self._updates += 1
        return loss / divisor

    def vectors(self) -> list[np.ndarray] | None:
        """Return the dense weights, and the optim method's state of them; None where it looks at whole parameters."""
        return [self._weights, *self._optim.values()] if self.optim_method.by_slices else None

    def evaluator(self, methods: Sequence[ValidationMethod], batch_size: int) -> Partial:
        """Return what validates batches of 1 to `batch_size` rows with the weights of this moment."""
        return self._evaluator.start(methods, batch_size)

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters, buffers and tables under their paths; views that the next update changes."""
        return {segment.path: segment.value for segment in [*self._dense, *self._buffers]} | self._tables

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Copies of the weights and of the optim method's state: all that a restart needs.

        They go to the arrays `into` that an earlier call has returned: memory that is new to a process is slow.
        """
        optim = {f"optim/{name}": array for name, array in self._optim.items()}
        tables = {
            f"optim/{path}/{name}": array for path, state in self._table_optim.items() for name, array in state.items()
        }
        state = {**self.weights(), **optim, **tables, "optim/updates": np.array([self._updates], np.int64)}
        copies = {name: np.empty_like(array) if into is None else into[name] for name, array in state.items()}
        for name, array in state.items():
            np.copyto(copies[name], array)
        return copies

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` returned; raises `TrainingError` where something is missing or of another shape."""
        current = self.weights()
        current.update((f"optim/{name}", array) for name, array in self._optim.items())
        for path, table in self._table_optim.items():
            current.update((f"optim/{path}/{name}", array) for name, array in table.items())
        for name, array in current.items():
            if name not in state or state[name].shape != array.shape:
                found = state[name].shape if name in state else "nothing"
                raise TrainingError(f"State '{name}' expects {array.shape}, received {found}.")
            array[...] = state[name]
        self._updates = int(state["optim/updates"][0])

    def _own(self, message: np.ndarray, share: Share) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The share's parts of a message, of the weights and of the optim method's state.

        The same arrays each time for a message that comes again; one that does not is not kept.
        """
        if self._seen is None or self._seen[0]() is not message or self._seen[1]() is not share:
            self._seen, self._parts = (weakref.ref(message), weakref.ref(share)), None
            return self._parts_of(message, share)
        if self._parts is None:
            self._parts = self._parts_of(message, share)
        return self._parts

    def _parts_of(self, message: np.ndarray, share: Share) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        own = share.own
        return message[own], self._weights[own], {name: slot[own] for name, slot in self._optim.items()}

    def _loss_of(self, message: np.ndarray) -> tuple[float, float, float]:
        """Return the loss sum, what sums are divided by, and the number of rows."""
        loss, weight, rows = message[-TAIL:].tolist()
        return loss, (weight or 1.0) if self.criterion.size_average else 1.0, rows

    def _step_for(self, batch: MiniBatch) -> _Step:
        key = tuple([array.shape for array in batch.inputs])
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if key not in self._steps:
            self._steps[key] = self._compile(list(key) if len(key) > 1 else key[0])
            if len(self._steps) > KEPT_PROGRAMS:
                self._steps.popitem(last=False)
        self._steps.move_to_end(key)
        self._last = key, self._steps[key]
        return self._steps[key]

    def _compile(self, shapes: Any) -> _Step:
        traced = trace(self.layer, shapes, training=True)
        spec = self.criterion.target_spec(Spec(traced.output.shape, traced.output.dtype))
        target = traced.graph.input("target", spec.shape, spec.dtype)
        loss, weight = self.criterion.loss(traced.trace, traced.output, target)
        dense, tables = traced.values(self.layer, DENSE), traced.values(self.layer, TABLE)
        one = traced.graph.constant(np.ones(loss.shape, np.float32))
        gradients = differentiate({loss: one}, [*dense.values(), *tables.values()])
        computed = [path for path, value in dense.items() if gradients[value] is not None]
        outputs = [g for value in dense.values() if isinstance(g := gradients[value], Value)]
        rows = float(traced.inputs[0].shape[0])
        statistics = {path: ops.affine(value, rows) for path, value in traced.trace.statistics().items()}
        sparse = {path: g for path, value in tables.items() if isinstance(g := gradients[value], RowGradient)}
        program = compile_graph(
            [*outputs, *statistics.values(), loss, weight, *(part for g in sparse.values() for part in g)],
            threads=self.threads,
            gemm=self.gemm,
        )
        program.bind(self.weights())
        parts, idle = self._places([*computed, *statistics])
        draws = "random_key" in traced.graph.leaves(INPUT)
        return _Step(program, target.shape, parts, list(sparse), idle, len(computed), draws)

    def _places(self, used: Sequence[str]) -> tuple[list[slice], list[slice]]:
        size, end = len(self._weights), self.message_size - TAIL
        places = {segment.path: segment.place for segment in self._dense}
        places.update(
            {segment.path: slice(size + segment.place.start, size + segment.place.stop) for segment in self._buffers}
        )
        tail = [slice(end, end + 1), slice(end + 1, end + 2)]
        return [places[path] for path in used] + tail, [places[path] for path in places if path not in used]

    def _target(self, batch: MiniBatch, shape: tuple[int, ...]) -> np.ndarray:
        target = batch.target[0] if isinstance(batch.target, tuple) and len(batch.target) == 1 else batch.target
        if isinstance(target, np.ndarray) and target.shape == shape:
            return target
        if isinstance(target, tuple) or target.size != math.prod(shape):
            found = f"{len(target)} targets" if isinstance(target, tuple) else target.shape[1:]
            raise ShapeError(
                f"{type(self.criterion).__name__} expects a target of shape {shape[1:]} per row, received {found}. "
                "Hint: the label must hold as many numbers as the network's output."
            )
        return target.reshape(shape)

    def _clip(self, share: Share, gradient: np.ndarray, tables: Mapping[str, RowSparse]) -> None:
        values, norm = _values(tables), None
        if any(clipping.needs_norm for clipping in self.clippings):
            squares, own = np.zeros(share.blocks), block_squares(gradient)
            squares[: len(own)] = own
            norm = global_norm([share.tell(squares), *map(block_squares, values)])
        clip([gradient, *values], self.clippings, norm)

    def _check_finite(
        self, share: Share, gradient: np.ndarray, statistics: np.ndarray, tables: Mapping[str, RowSparse]
    ) -> None:
        if share is self._whole and all(map(all_finite, (gradient, statistics, *_values(tables)))):
            return
        odd = self._odd(share, gradient, tables)
        if odd is None and not all_finite(statistics):
            named = ((s.path, _first_odd(statistics[s.place])) for s in self._buffers)
            odd = next((f"The batch statistic of '{path}'", number) for path, (_, number) in named if number)
        if odd is not None:
            raise FloatingPointError(f"{odd[0]} must stay finite. Received: {odd[1]}")

    def _lost(self, loss: float, share: Share, gradient: np.ndarray, tables: Mapping[str, RowSparse]) -> str:
        """Say that the loss is not finite, and of which parameter the gradient is not either."""
        odd = self._odd(share, gradient, tables)
        rest = "all gradients are finite" if odd is None else f"nor is {odd[0][0].lower()}{odd[0][1:]}"
        domain = f"; {self.criterion.domain}" if self.criterion.domain else ""
        return f"The loss must stay finite. Received: {loss} ({rest}{domain})"

    def _odd(self, share: Share, gradient: np.ndarray, tables: Mapping[str, RowSparse]) -> tuple[str, float] | None:
        """Return the first gradient in anybody's part that is not finite, and the number; None when all are."""
        place, number = _first_odd(gradient)
        found = share.tell(np.array([share.own.start + place, number])).tolist()
        place, number = min(found, key=lambda each: each[0])
        odd = {segment.path: number for segment in self._dense if segment.place.start <= place < segment.place.stop}
        odd.update((path, number) for path, part in tables.items() if (number := _first_odd(part.values)[1]))
        return next(((f"The gradient of '{path}'", number) for path, number in odd.items()), None)

    def _regularise(self, share: Share, message: np.ndarray, tables: Mapping[str, RowSparse]) -> None:
        for segment, regularizer in self._penalties:
            own = share.of(segment.place)
            _penalise(regularizer, message[own], self._weights[own])
        for segment, regularizer in self._table_penalties:
            part = tables.get(segment.path)
            if part is not None:
                _penalise(regularizer, part.values, self._tables[segment.path][part.rows])

    def _move_buffers(self, statistics: np.ndarray, rows: float) -> None:
        if rows:
            for segment in self._buffers:
                mean = statistics[segment.place] / np.float32(rows)
                current = self._statistics[segment.place]
                current += np.float32(segment.parameter.momentum or 0.0) * (mean - current)


def _values(tables: Mapping[str, RowSparse]) -> list[np.ndarray]:
    return [part.values for part in tables.values()]


def _first_odd(values: np.ndarray) -> tuple[float, float]:
    """Return the place and value of the first number that is not finite; (infinity, 0) when there is none."""
    if all_finite(values):
        return math.inf, 0.0
    flat = values.reshape(-1)
    place = int(np.argmin(np.isfinite(flat)))
    return place, float(flat[place])


def _penalties(parts: Sequence[Segment]) -> list[tuple[Segment, Regularizer]]:
    """The parameters that have a regulariser."""
    return [(part, found) for part in parts if (found := part.parameter.regularizer) is not None]


def _penalise(regularizer: Regularizer, gradient: np.ndarray, weights: np.ndarray) -> None:
    """gradient += l1 sign(w) + l2 w."""
    if regularizer.l1:
        gradient += np.float32(regularizer.l1) * np.sign(weights)
    if regularizer.l2:
        gradient += np.float32(regularizer.l2) * weights


def _flattened(parts: Sequence[Segment]) -> np.ndarray:
    """One vector with the values of these parameters, which become views of it."""
    vector = aligned_floats(sum(segment.parameter.size for segment in parts))
    for segment in parts:
        view = vector[segment.place].reshape(segment.parameter.shape)
        view[...] = segment.value
        segment.parameter.value = view
    return vector
