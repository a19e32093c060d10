from __future__ import annotations

import inspect
import itertools
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnframes.optim as optim
from featurelib.config import from_config, to_config
from kernels.config import native_library
from kernels.onednn.vectors import NativeCall
from kernels.sparse import RowSparse, coalesce
from kernels.vectors import LONG
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn import Linear, MSECriterion, Sequential
from nnframes.optim import OPTIM_METHODS, SCHEDULES, SGD, Adam, LarsSGD, OptimMethod, Poly, Step
from nnframes.optim.base import BLOCK, ROWS_BLOCK
from nnframes.train.replica import NetworkReplica

SIZE = 37
VARIED = np.linspace(0.1, 2.0, SIZE, dtype=np.float32)

METHODS = {
    "sgd": SGD(learningrate=0.1),
    "sgd decay": SGD(learningrate=0.1, learningrate_decay=0.3),
    "sgd weight decay": SGD(learningrate=0.1, weightdecay=0.05),
    "sgd momentum, dampening unset": SGD(learningrate=0.1, momentum=0.8),
    "sgd momentum, dampening 0": SGD(learningrate=0.1, momentum=0.8, dampening=0.0),
    "sgd momentum, dampening 0.3, decays": SGD(0.1, 0.1, weightdecay=0.02, momentum=0.8, dampening=0.3),
    "sgd nesterov": SGD(learningrate=0.1, momentum=0.8, dampening=0.0, nesterov=True, weightdecay=0.01),
    "sgd vectors": SGD(learningrate=0.1, momentum=0.5, learningrates=VARIED, weightdecays=VARIED / 10),
    "sgd schedule": SGD(learningrate=0.1, leaningrate_schedule=Step(2, 0.5)),
    "sgd schedule, spelt": SGD(learningrate=0.1, learningrate_schedule=Poly(2.0, 20)),
    "lars, decay of the rate": LarsSGD(trust=0.5, learningrate=0.1),
    "lars without momentum, weight decay": LarsSGD(0.02, 0.5, 0.0, weightdecay=0.0, momentum=0.0),
    "adam": Adam(learningrate=0.1),
    "adam decay": Adam(learningrate=0.1, learningrate_decay=0.3, beta1=0.7, beta2=0.9, epsilon=1e-3),
}


def sgd_formula(method: SGD, w: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """Torch7's optim.sgd in float64."""
    dampening = method.momentum if method.dampening is None else method.dampening
    velocity = None
    for n, g in enumerate(gradients):
        decay = method.weightdecay if method.weightdecays is None else method.weightdecays.astype(np.float64)
        g = g + decay * w
        if method.momentum:
            velocity = g.copy() if velocity is None else method.momentum * velocity + (1 - dampening) * g
            g = g + method.momentum * velocity if method.nesterov else velocity
        if method.leaningrate_schedule is not None:
            rate = method.learningrate * 0.5 ** (n // 2)
        elif method.learningrate_schedule is not None:
            rate = method.learningrate * (1 - n / 20) ** 2
        else:
            rate = method.learningrate / (1 + n * method.learningrate_decay)
        w = w - rate * (1 if method.learningrates is None else method.learningrates.astype(np.float64)) * g
    return w


def adam_formula(method: Adam, w: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """BigDL's Adam in float64."""
    m = v = np.zeros_like(w)
    for n, g in enumerate(gradients):
        m = method.beta1 * m + (1 - method.beta1) * g
        v = method.beta2 * v + (1 - method.beta2) * g * g
        rate = method.learningrate / (1 + n * method.learningrate_decay)
        rate *= np.sqrt(1 - method.beta2 ** (n + 1)) / (1 - method.beta1 ** (n + 1))
        w = w - rate * m / (np.sqrt(v) + method.epsilon)
    return w


def lars_formula(method: LarsSGD, w: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """The paper's, all weights as one parameter."""
    velocity = np.zeros_like(w)
    for n, g in enumerate(gradients):
        size = np.linalg.norm(w)
        local = method.trust * size / (np.linalg.norm(g) + method.weightdecay * size)
        velocity = method.momentum * velocity + local * (g + method.weightdecay * w)
        w = w - method.learningrate / (1 + n * method.learningrate_decay) * velocity
    return w


FORMULAS = {SGD: sgd_formula, LarsSGD: lars_formula, Adam: adam_formula}


def numbers(steps: int, size: int = SIZE, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal((steps + 1, size)).astype(np.float32)
    return draw[0], list(draw[1:])


SCALES = [1.0, 1 / 24]  # of gradients that are sums over 24 rows


def run(
    method: OptimMethod, weights: np.ndarray, gradients: list[np.ndarray], scale: float = 1.0
) -> tuple[np.ndarray, dict]:
    weights, state = weights.copy(), method.init(len(weights))
    for t, gradient in enumerate(gradients):
        method.step(weights, gradient, state, t, scale=scale if method.takes_sums else 1.0)
    return weights, state


def test_lars_sees_each_parameter_by_itself_and_leaves_zeros_alone():
    method = LarsSGD(trust=1.0, learningrate=1.0, weightdecay=0.0)
    weights = np.array([3.0, 4.0, 0.0, 6.0], np.float32)
    gradient = np.array([0.0, 2.0, 1.0, 0.0], np.float32)
    method.prepare(weights, gradient, [slice(0, 2), slice(2, 3), slice(3, 4)])
    assert gradient.tolist() == [0.0, 5.0, 1.0, 0.0]


@pytest.mark.parametrize("case", METHODS)
def test_follows_the_formula(case):
    method = METHODS[case]
    weights, gradients = numbers(8)
    reached, state = weights.copy(), method.init(SIZE)
    for t, gradient in enumerate(gradients):
        own = gradient.copy()
        method.prepare(reached, own, [slice(0, SIZE)])
        method.step(reached, own, state, t)
    expected = FORMULAS[type(method)](method, weights.astype(np.float64), [g.astype(np.float64) for g in gradients])
    np.testing.assert_allclose(reached, expected, rtol=2e-5, atol=2e-6)


SUMMED = [case for case in METHODS if case.startswith("sgd")]


@pytest.mark.parametrize("case", METHODS)
def test_sums_with_their_scale_move_like_means(case):
    method = METHODS[case]
    assert method.takes_sums == (case in SUMMED)
    weights, gradients = numbers(8)
    if not method.takes_sums:
        with pytest.raises(ArgumentError, match=f"{type(method).__name__} takes no scale but 1.0, received 0.25"):
            method.step(weights, gradients[0], method.init(SIZE), 0, scale=0.25)
        with pytest.raises(ArgumentError, match="takes no scale"):
            method.step_rows(weights[:, None], RowSparse.empty(1), method.init_rows(SIZE, 1), 0, scale=0.25)
        return
    reached, _ = run(method, weights, gradients, 0.25)
    assert np.array_equal(run(method, weights, [g * np.float32(0.25) for g in gradients])[0], reached)


@pytest.mark.skipif(native_library() is None, reason="needs oneDNN")
@pytest.mark.parametrize("case", [case for case in METHODS if "vectors" not in case])
def test_arrays_that_come_again_are_known_again(case, monkeypatch):
    """Else each step looks at all of them, which takes as long as a short step."""
    method, pointed = METHODS[case], []
    weights, (gradient,) = numbers(1, LONG)
    state = method.init(LONG)
    for t in range(2):
        method.step(weights, gradient, state, t)
    monkeypatch.setattr(NativeCall, "point", lambda call, arrays: pointed.append(arrays))
    for t in range(2, 6):
        method.step(weights, gradient, state, t)
    assert pointed == []


def test_a_method_of_ones_own_gets_means():
    class Clipped(SGD):
        def _update(self, weights, gradient, slots, update):
            super()._update(weights, np.clip(gradient, -1, 1), slots, update)

    class Prepared(SGD):
        def prepare(self, weights, gradient, places):
            gradient[:] = np.sign(gradient)

    class Older(SGD):
        def step(self, weights, gradient, state, t, rate=None, start=0):
            super().step(weights, gradient, state, t, rate, start)

    class OfRows(SGD):
        def step_rows(self, table, gradient, state, t, rate=None):
            super().step_rows(table, gradient, state, t, rate)

    assert SGD().takes_sums
    for method in (Clipped(), Prepared(), Older(), OfRows()):
        assert not method.takes_sums
        replica = NetworkReplica(Sequential().add(Linear(2, 1)), MSECriterion(), method)
        message = np.array([1.0, 1.0, 1.0, 4.0, 4.0, 4.0], np.float32)  # two weights, a bias; loss, weight, rows
        assert replica.update(message, {}) == 1.0


def test_every_method_is_in_the_tables():
    found = {
        name: cls
        for name, cls in vars(optim).items()
        if inspect.isclass(cls) and issubclass(cls, OptimMethod) and not inspect.isabstract(cls)
    }
    assert found == OPTIM_METHODS
    assert {type(method) for method in METHODS.values()} == set(OPTIM_METHODS.values()) == set(FORMULAS)


@pytest.mark.parametrize("case", METHODS)
def test_config_round_trip(case):
    method = METHODS[case]
    config = json.loads(json.dumps(to_config(method)))
    again = from_config(config, OPTIM_METHODS | SCHEDULES)
    weights, gradients = numbers(3)
    assert np.array_equal(run(method, weights, gradients)[0], run(again, weights, gradients)[0])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", METHODS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=4))
def test_slices_give_the_bits_of_the_whole(case, scale, cuts):
    method = METHODS[case]
    scale = scale if method.takes_sums else 1.0
    weights, gradients = numbers(4)
    whole, whole_state = run(method, weights, gradients, scale)
    bounds = [0, *sorted(cuts), SIZE]
    for low, high in itertools.pairwise(bounds):
        part, state = weights[low:high].copy(), method.init(high - low)
        for t, gradient in enumerate(gradients):
            method.step(part, gradient[low:high], state, t, start=low, scale=scale)
        assert np.array_equal(part, whole[low:high])
        assert all(np.array_equal(state[name], whole_state[name][low:high]) for name in state)


@pytest.mark.parametrize("case", [case for case in METHODS if "vectors" not in case])
@pytest.mark.parametrize("size", [0, 1, LONG + 5, BLOCK + LONG])
@pytest.mark.parametrize("scale", SCALES)
def test_long_vectors_are_walked_to_the_end(case, size, scale):
    method = METHODS[case]
    weights, gradients = numbers(2, size)
    reached, _ = run(method, weights, gradients, scale)
    parts = [slice(0, 7), slice(7, LONG), slice(LONG, None)]
    pieces = [run(method, weights[part], [g[part] for g in gradients], scale)[0] for part in parts]
    assert np.array_equal(reached, np.concatenate(pieces))


@pytest.mark.parametrize("case", METHODS)
def test_the_gradient_is_only_read(case):
    weights, gradients = numbers(2)
    copies = [gradient.copy() for gradient in gradients]
    run(METHODS[case], weights, gradients)
    assert all(np.array_equal(a, b) for a, b in zip(gradients, copies, strict=True))


@pytest.mark.parametrize("case", METHODS)
def test_a_given_rate_replaces_the_schedule(case):
    method = METHODS[case]
    weights, (gradient,) = numbers(1)
    frozen = weights.copy()
    method.step(frozen, gradient, method.init(SIZE), 0, rate=0.0)
    assert np.array_equal(frozen, weights)


def test_two_threads_do_not_share_scratch():
    weights, gradients = numbers(20, 3 * BLOCK)
    expected, _ = run(METHODS["adam"], weights, gradients)
    results: list[np.ndarray] = []

    def work() -> None:
        results.append(run(METHODS["adam"], weights, gradients)[0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(np.array_equal(result, expected) for result in results)


ROWS, DIM = 9, 3


def run_rows(
    method: OptimMethod, table: np.ndarray, gradients: list[RowSparse], times: list[int], scale: float = 1.0
) -> np.ndarray:
    table, state = table.copy(), method.init_rows(*table.shape)
    for t, gradient in zip(times, gradients, strict=True):
        method.step_rows(table, gradient, state, t, scale=scale if method.takes_sums else 1.0)
    return table


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", [case for case in METHODS if "vectors" not in case])
def test_a_table_touched_whole_moves_like_a_vector(case, scale):
    method = METHODS[case]
    weights, gradients = numbers(5, ROWS * DIM)
    rows = np.arange(ROWS, dtype=np.int32)
    table = run_rows(
        method,
        weights.reshape(ROWS, DIM),
        [RowSparse(rows, g.reshape(ROWS, DIM)) for g in gradients],
        list(range(5)),
        scale,
    )
    assert np.array_equal(table.reshape(-1), run(method, weights, gradients, scale)[0])


CONSTANT_RATE = [case for case in METHODS if not any(word in case for word in ("decay", "schedule", "vectors"))]


@pytest.mark.parametrize("case", [*CONSTANT_RATE, "sgd weight decay"])
def test_a_row_lives_in_its_own_time(case):
    """Without decay of the rate, each row ends where it would have alone, whatever steps left it out."""
    method = METHODS[case]
    weights, gradients = numbers(6, ROWS * DIM)
    table, touched = weights.reshape(ROWS, DIM), np.random.default_rng(1).random((6, ROWS)) < 0.4
    sparse = [
        RowSparse(np.flatnonzero(some).astype(np.int32), g.reshape(ROWS, DIM)[some])
        for some, g in zip(touched, gradients, strict=True)
    ]
    reached = run_rows(method, table, sparse, list(range(6)))
    for row in range(ROWS):
        mine = [g.reshape(ROWS, DIM)[row] for g, some in zip(gradients, touched, strict=True) if some[row]]
        assert np.array_equal(reached[row], run(method, table[row], mine)[0])


def test_rows_without_gradient_are_not_touched():
    method = Adam(0.1)
    table = np.full((4, 2), np.nan, np.float32)
    table[1] = 1.0
    state = method.init_rows(4, 2)
    method.step_rows(table, RowSparse(np.array([1], np.int32), np.ones((1, 2), np.float32)), state, 0)
    assert np.isnan(table[[0, 2, 3]]).all()
    assert state["steps"].tolist() == [0, 1, 0, 0]
    assert np.isfinite(table[1]).all()


def test_many_rows_are_walked_to_the_end():
    method, rows = Adam(0.1), 3 * ROWS_BLOCK
    gradient = coalesce(np.arange(0, rows, 2), np.ones((-(-rows // 2), 2), np.float32))
    table = np.zeros((rows, 2), np.float32)
    method.step_rows(table, gradient, method.init_rows(rows, 2), 0)
    assert np.allclose(table[::2], -0.1)
    assert not table[1::2].any()


def test_an_empty_row_gradient_changes_nothing():
    for method in METHODS.values():
        table, state = np.ones((2, 2), np.float32), method.init_rows(2, 2)
        method.step_rows(table, RowSparse.empty(2), state, 0)
        assert (table == 1).all()


REFUSED = {
    "rate": (lambda: SGD(learningrate=-1), r"SGD learningrate must be >= 0. Received: -1"),
    "nan": (lambda: SGD(momentum=float("nan")), "SGD momentum must be >= 0. Received: nan"),
    "text": (lambda: Adam(learningrate="fast"), "Received: 'fast'"),
    "nesterov alone": (lambda: SGD(nesterov=True), "momentum > 0"),
    "nesterov damped": (lambda: SGD(momentum=0.9, nesterov=True), "dampening=0.0"),
    "both decays": (lambda: SGD(weightdecay=0.1, weightdecays=[0.1]), "not both"),
    "both schedules": (lambda: SGD(leaningrate_schedule=Step(1, 1), learningrate_schedule=Step(1, 1)), "one of"),
    "no schedule": (lambda: SGD(learningrate_schedule=0.5), "must be a Schedule"),
    "vector": (lambda: SGD(learningrates=[[1.0]]), "one finite number per weight"),
    "beta": (lambda: Adam(beta2=1.0), r"Adam beta2 must be >= 0 and < 1. Received: 1.0"),
    "epsilon": (lambda: Adam(epsilon=0.0), r"Adam epsilon must be > 0. Received: 0.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        make()


def test_misfits_are_refused():
    f32, method = np.float32, Adam()
    with pytest.raises(ShapeError, match="one shape"):
        method.step(np.zeros(3, f32), np.zeros(4, f32), method.init(3), 0)
    with pytest.raises(ShapeError, match="float64"):
        method.step(np.zeros(3, f32), np.zeros(3), method.init(3), 0)
    with pytest.raises(ShapeError, match=r"float32 state of shape \(3,\), received float32 \(2,\)"):
        method.step(np.zeros(3, f32), np.zeros(3, f32), method.init(2), 0)
    with pytest.raises(ArgumentError, match="init"):
        method.step(np.zeros(3, f32), np.zeros(3, f32), {}, 0)
    with pytest.raises(ShapeError, match="row 5"):
        method.step_rows(
            np.zeros((5, 1), f32), RowSparse(np.array([5], np.int32), np.zeros((1, 1), f32)), method.init_rows(5, 1), 0
        )
    for vector in ("learningrates", "weightdecays"):
        with pytest.raises(ShapeError, match=rf"SGD {vector} must hold one .* network's 4 dense weights, received 5"):
            SGD(**{vector: [1.0] * 5}).check(4)
        SGD(**{vector: [1.0] * 4}).check(4)
    with pytest.raises(ShapeError, match="one number per weight"):
        SGD(learningrates=[1.0]).step(np.zeros(2, f32), np.zeros(2, f32), {}, 0)
