"""Compiled programs: what they take and give, on oneDNN, on MKL and on the reference."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from kernels import Graph, compile_graph, evaluate, ops
from kernels.errors import ArgumentError, ShapeError
from kernels.native.memory import aligned_floats
from tests.kernels.programs import Compile, draw, network, same, split

# ---------------------------------------------------------------- values


@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_and_its_gradients(compiled: Compile, fold: bool, threads: int) -> None:
    outputs = network()
    feeds = draw(outputs)
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs, fold=fold, threads=threads)
    program.bind(leaves)
    same(program.run(inputs), evaluate(outputs, feeds))


@pytest.mark.parametrize("threads", [1, 2])
def test_reruns_are_bit_identical(compiled: Compile, threads: int) -> None:
    outputs = network(batch=32)
    inputs, leaves = split(outputs, draw(outputs))
    seen = set()
    for program in (compiled(outputs, threads=threads), compiled(network(batch=32), threads=threads)):
        program.bind(leaves)
        for shift in (0, 1, 3):  # floats off the aligned address
            moved = {name: shifted(array, shift) for name, array in inputs.items()}
            seen.add(b"".join(result.tobytes() for result in program.run(moved)))
    assert len(seen) == 1


def shifted(array: np.ndarray, floats: int) -> np.ndarray:
    memory = aligned_floats(array.size + floats)[floats:].reshape(array.shape)
    memory[...] = array
    return memory


def test_an_input_a_constant_and_a_parameter_as_outputs(compiled: Compile) -> None:
    graph = Graph()
    x, w = graph.input("x", (2, 3)), graph.parameter("w", (3,))
    key, i = graph.random_key(), graph.input("i", (2,), "int32")
    constant = graph.constant(np.array([[1.5], [2.5]], np.float32))
    outputs = [x, w, constant, key, i, ops.add(x, constant), x, ops.transpose(x, (1, 0))]
    feeds = draw(outputs)
    feeds["random_key"] = np.array([-1, 2**62, 0x7FF0000000000001, 0], np.int64)  # not to be taken for floats
    for fold in (False, True):
        program = compiled(outputs, fold=fold)
        program.bind({"w": feeds["w"]})
        results = program.run({name: feeds[name] for name in ("x", "random_key", "i")})
        for ours, theirs in zip(results, evaluate(outputs, feeds), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_parts_of_int64_as_outputs(compiled: Compile) -> None:
    """oneDNN cannot cut them; what takes over must still write where the caller looks."""
    graph = Graph()
    i = graph.input("i", (4, 6), "int64")
    outputs = [ops.slice_(i, (0, 1), (4, 5)), ops.narrow(i, 0, 1, 3), ops.reshape(i, (24,)), ops.transpose(i, (1, 0))]
    feeds = {"i": np.arange(24).reshape(4, 6) + 2**62}
    for ours, theirs in zip(compiled(outputs).run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_value_as_two_outputs_is_in_two_arrays(compiled: Compile) -> None:
    graph = Graph()
    y = ops.relu(graph.input("x", (2, 17)))
    feeds = draw([y])
    first, second, third = compiled([y, ops.square(y), y]).run(feeds)
    np.testing.assert_array_equal(first, third)
    assert not np.shares_memory(first, third)
    np.testing.assert_allclose(second, first**2, rtol=1e-6)


def test_a_value_that_is_read_after_its_activation_stays(compiled: Compile) -> None:
    """In place and fused activations must not destroy what another node or the caller still reads."""
    graph = Graph()
    x = graph.input("x", (3, 16, 5, 5))
    y = ops.convolution(x, graph.parameter("w", (16, 16, 3, 3)))
    z = ops.exp(y)
    outputs = [ops.tanh(z), z, ops.relu(y), ops.add(y, z)]
    feeds = draw(outputs)
    program = compiled(outputs)
    program.bind({"w": feeds["w"]})
    same(program.run({"x": feeds["x"]}), evaluate(outputs, feeds))


def test_empty_batches(compiled: Compile) -> None:
    outputs = network(batch=0)
    feeds = draw(outputs)
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs)
    program.bind(leaves)
    results = program.run(inputs)
    assert [result.shape for result in results] == [value.shape for value in outputs]
    assert not any(result.any() for result in results)


def test_random_masks_follow_the_key(compiled: Compile) -> None:
    graph = Graph()
    x = graph.input("x", (64, 9))
    outputs = [ops.dropout(x, keep=0.5), ops.dropout(x, keep=0.5)]
    program = compiled(outputs)

    def run(*key: int) -> list[bytes]:
        results = program.run({"x": np.ones(x.shape, np.float32), "random_key": np.array(key, np.int64)})
        return [result.tobytes() for result in results]

    first = run(7, 0, 0, 0)
    assert first == run(7, 0, 0, 0)
    assert len({*first, *run(8, 0, 0, 0), *run(7, 1, 0, 0), *run(7, 0, 1, 0)}) == 8


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_results_go_where_the_caller_wants(compiled: Compile, shift: int) -> None:
    outputs = network()
    feeds = draw(outputs)
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs)
    program.bind(leaves)
    total = sum(int(np.prod(value.shape)) for value in outputs)
    vector = aligned_floats(total + shift + 1)
    vector[:] = np.nan
    parts, place = [], shift
    for value in outputs:
        size = int(np.prod(value.shape))
        parts.append(vector[place : place + size])  # flat, as a trainer keeps its gradients
        place += size
    for _ in range(2):
        results = program.run(inputs, parts)
        assert all(result is part for result, part in zip(results, parts, strict=True))
        same([part.reshape(v.shape) for part, v in zip(parts, outputs, strict=True)], evaluate(outputs, feeds))
    assert np.isnan(vector[:shift]).all()
    assert np.isnan(vector[place:]).all()
    mixed = program.run(inputs, [None, parts[1]])
    assert mixed[1] is parts[1]
    same([mixed[0]], [parts[0].reshape(outputs[0].shape)])


@pytest.mark.parametrize("kind", [tuple, list])
def test_results_that_come_again_are_written_again(compiled: Compile, kind: type) -> None:
    graph = Graph()
    x = graph.input("x", (4,))
    program = compiled([ops.square(x), ops.exp(x)])
    one, other = (kind(np.empty(4, np.float32) for _ in range(2)) for _ in range(2))
    mixed = kind([other[0], one[1]])
    for number, results in enumerate((one, one, other, one, mixed, mixed, (), one, other[:1], other)):
        given = np.full(4, number, np.float32) / 4
        found = program.run({"x": given}, results)
        assert all(array is result for array, result in zip(found, results, strict=False))
        same(found, [np.square(given), np.exp(given)])


def test_results_of_two_runs_are_two_arrays(compiled: Compile) -> None:
    x = Graph().input("x", (2, 2))
    program = compiled([ops.square(x)])
    first = program.run({"x": np.full((2, 2), 2, np.float32)})[0]
    program.run({"x": np.full((2, 2), 3, np.float32)})
    assert first.tolist() == [[4, 4], [4, 4]]


def test_programs_take_turns_in_one_arena(compiled: Compile) -> None:
    """The second is larger, so the arena moves under the first."""
    prepared = []
    for batch, side in ((2, 8), (5, 30), (3, 14), (9, 40)):
        outputs = network(batch, side)
        feeds = draw(outputs)
        inputs, leaves = split(outputs, feeds)
        program = compiled(outputs)
        program.bind(leaves)
        prepared.append((program, inputs, evaluate(outputs, feeds)))
        for each, given, expected in [*prepared, *reversed(prepared)]:
            same(each.run(given), expected)


def test_programs_of_two_threads_do_not_meet(compiled: Compile) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    def work(seed: int) -> None:
        try:
            outputs = network(batch=8, side=16 + 4 * seed)
            feeds = draw(outputs, seed)
            inputs, leaves = split(outputs, feeds)
            program = compiled(outputs)
            program.bind(leaves)
            expected = evaluate(outputs, feeds)
            barrier.wait(60)
            for _ in range(30):
                same(program.run(inputs), expected)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    in_threads(work, 2)
    assert not failures


def test_a_program_moves_from_thread_to_thread(compiled: Compile) -> None:
    outputs = network()
    feeds = draw(outputs)
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs, fold=True)
    program.bind(leaves)
    results = []

    def work(_: int) -> None:
        results.append(program.run(inputs))

    work(0)
    in_threads(work, 1)
    work(0)
    assert len(results) == 3
    for each in results:
        same(each, evaluate(outputs, feeds))


def test_two_threads_that_share_a_program_wait_for_each_other(compiled: Compile) -> None:
    outputs = network(batch=8, side=16)
    inputs, leaves = split(outputs, draw(outputs))
    other = {name: array[::-1].copy() for name, array in inputs.items()}
    program = compiled(outputs)
    program.bind(leaves)
    expected = [program.run(given) for given in (inputs, other)]
    wrong = []

    def work(number: int) -> None:
        for _ in range(50):
            results = program.run((inputs, other)[number])
            wrong.extend(a for a, b in zip(results, expected[number], strict=True) if a.tobytes() != b.tobytes())

    in_threads(work, 2)
    assert not wrong


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_weights_are_used_where_they_lie(compiled: Compile) -> None:
    graph = Graph()
    y = ops.linear(graph.input("x", (1, 2)), graph.parameter("w", (1, 2)))
    w, x = np.ones((1, 2), np.float32), {"x": np.array([[2, 3]], np.float32)}
    program = compiled([y])
    program.bind({"w": w})
    assert program.run(x)[0].item() == 5
    w[:] = 2
    assert program.run(x)[0].item() == 10
    program.bind({"w": np.zeros((1, 2), np.float32)})
    assert program.run(x)[0].item() == 0


# ---------------------------------------------------------------- errors


def bad_inputs() -> list[tuple[str, dict[str, np.ndarray], type[Exception], str]]:
    x = np.zeros((2, 3), np.float32)
    return [
        ("missing", {}, ArgumentError, r"'x' must be given"),
        ("shape", {"x": x.T}, ShapeError, r"'x' expects \(2, 3\), received \(3, 2\)"),
        ("rank", {"x": x[0]}, ShapeError, r"'x' expects \(2, 3\), received \(3,\)"),
    ]


@pytest.mark.parametrize(
    ("inputs", "error", "text"), [case[1:] for case in bad_inputs()], ids=["missing", "shape", "rank"]
)
def test_inputs_that_do_not_fit(
    compiled: Compile, inputs: dict[str, np.ndarray], error: type[Exception], text: str
) -> None:
    program = compiled([ops.relu(Graph().input("x", (2, 3)))])
    with pytest.raises(error, match=text):
        program.run(inputs)


@pytest.mark.parametrize("ids", [[0.0, 1.5], [0.0, np.nan], [0, 2**32 + 1]], ids=["fraction", "nan", "too large"])
def test_whole_numbers_are_not_made_by_rounding(compiled: Compile, ids: list[float]) -> None:
    program = compiled([ops.cast(Graph().input("i", (2,), "int32"), "float32")])
    assert program.run({"i": [0.0, 7.0]})[0].tolist() == [0, 7]
    with pytest.raises(ArgumentError, match="Input 'i' must hold whole numbers that fit int32"):
        program.run({"i": np.array(ids)})


def test_inputs_of_another_type_or_order_are_converted(compiled: Compile) -> None:
    program = compiled([ops.square(Graph().input("x", (2, 3)))])
    for x in (np.arange(6).reshape(2, 3), np.arange(6, dtype=np.float64).reshape(3, 2).T, [[0, 1, 2], [3, 4, 5]]):
        np.testing.assert_array_equal(program.run({"x": x})[0], np.square(np.asarray(x, np.float32)))


READ_ONLY = np.zeros(6, np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "result",
    [np.zeros(5, "f"), np.zeros(6), np.zeros((3, 4), "f")[:, ::2], READ_ONLY, [0.0] * 6],
    ids=["size", "type", "strided", "read-only", "list"],
)
def test_results_that_do_not_fit(compiled: Compile, result: np.ndarray) -> None:
    program = compiled([ops.relu(Graph().input("x", (2, 3)))])
    with pytest.raises(ArgumentError, match="dense writeable float32 array of 6 numbers"):
        program.run({"x": np.ones((2, 3), np.float32)}, [result])


def test_too_many_results(compiled: Compile) -> None:
    program = compiled([ops.relu(Graph().input("x", (2, 3)))])
    with pytest.raises(ArgumentError, match="At most 1 results"):
        program.run({"x": np.ones((2, 3), np.float32)}, [None, None])


def test_parameters_must_be_bound(compiled: Compile) -> None:
    graph = Graph()
    x = graph.input("x", (1, 2))
    program = compiled([ops.linear(x, graph.parameter("fc.w", (3, 2)), graph.parameter("fc.b", (3,)))])
    program.bind({"fc.w": np.zeros((3, 2), np.float32), "unknown": np.zeros(1, np.float32)})
    with pytest.raises(ArgumentError, match=r"fc\.b"):
        program.run({"x": np.zeros((1, 2), np.float32)})


@pytest.mark.parametrize(
    "weights",
    [np.zeros((2, 2), "f"), np.zeros((3, 2)), np.zeros((2, 3), "f").T, [0.0] * 6],
    ids=["size", "type", "order", "list"],
)
def test_parameters_that_do_not_fit(compiled: Compile, weights: np.ndarray) -> None:
    graph = Graph()
    program = compiled([ops.linear(graph.input("x", (1, 2)), graph.parameter("w", (3, 2)))])
    with pytest.raises(ArgumentError, match="'w' must be a dense float32 array of 6 numbers"):
        program.bind({"w": weights})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 0}, "threads must be an integer >= 1"),
        ({"threads": 1.5}, "threads must be an integer >= 1"),
        ({"threads": 10**6}, "at most 1024. Received: 1000000"),
        ({"gemm": "blas"}, "gemm must be one of onednn, mkl"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        compile_graph([ops.relu(Graph().input("x", (2, 3)))], **options)
