from __future__ import annotations

import copy
import errno
import os
import signal
import struct

import numpy as np
import pytest

from nnframes.errors import ArgumentError, DataError
from nnframes.optim import SGD, Exponential
from nnframes.train import EveryEpoch, MaxEpoch, SerialSync, SeveralIteration, TrainSettings, TrainState, train
from nnframes.train.events import EventWriter, crc32c, histogram, read_records, read_scalars
from nnframes.train.summary import SummaryListener, TrainSummary, ValidationSummary
from nnframes.train.validation import EvaluatedResult
from tests.nnframes.train.softmax import SoftmaxReplica, data

# ---------------------------------------------------------------- an independent reader


def bitwise_crc(content: bytes) -> int:
    """CRC-32C as a division of polynomials over GF(2), bit by bit, most significant first."""
    bits = [byte >> i & 1 for byte in content for i in range(8)] + [0] * 32
    for i in range(32):
        bits[i] ^= 1
    for i in range(len(bits) - 32):
        if bits[i]:
            for j in range(33):
                bits[i + j] ^= 0x11EDC6F41 >> (32 - j) & 1
    return sum((bit ^ 1) << i for i, bit in enumerate(bits[-32:]))


def masked(content: bytes) -> int:
    crc = bitwise_crc(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


def frames(content: bytes) -> list[bytes]:
    found, place = [], 0
    while place < len(content):
        length, check = struct.unpack_from("<QI", content, place)
        assert check == masked(content[place : place + 8])
        event = content[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", content, place + 12 + length)[0] == masked(event)
        found.append(event)
        place += 16 + length
    return found


@pytest.mark.parametrize(
    ("content", "crc"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],  # RFC 3720, B.4
)
def test_checksums(content, crc):
    assert crc32c(content) == bitwise_crc(content) == crc


def test_the_exact_bytes_of_a_file(tmp_path):
    with EventWriter(tmp_path / "a" / "b") as writer:
        writer.scalar("Loss", 0.5, step=300)
        writer.restart(2)
    version, scalar, restart = frames(writer.path.read_bytes())
    assert version[9:] == b"\x10\x00\x1a\x0dbrain.Event:2"
    assert scalar[:1] == b"\x09"
    assert scalar[9:] == b"\x10\xac\x02" + b"\x2a\x0d\x0a\x0b\x0a\x04Loss\x15" + struct.pack("<f", 0.5)
    assert restart[9:] == b"\x10\x02\x3a\x02\x08\x01"
    assert list(read_records(writer.path)) == [version, scalar, restart]


def test_histograms():
    values = np.array([0.0, 1.0, 3.0, np.nan, np.inf, -np.inf, 1.0], np.float32)
    content = histogram(values)
    assert content[:45:9] == bytes([9, 17, 25, 33, 41])
    assert [struct.unpack_from("<d", content, 9 * k + 1)[0] for k in range(5)] == [0, 3, 4, 5, 11]
    assert content[45:48] == b"\x32\xf0\x01"
    limits, counts = np.frombuffer(content[48:288], "<f8"), np.frombuffer(content[291:], "<f8")
    assert content[288:291] == b"\x3a\xf0\x01"
    assert limits[-1] == 3
    assert counts[[0, 10, 29]].tolist() == [1, 2, 1]
    assert counts.sum() == 4
    for plain in ([], [np.nan], [2.0], [1e300], [-3.4e38, 3.4e38], [1e-45, 0]):
        assert len(histogram(np.array(plain))) in (45, 45 + 2 * 243)


# ---------------------------------------------------------------- crashes


def test_a_torn_record_costs_that_record_only(tmp_path):
    with EventWriter(tmp_path) as first:
        for step in (1, 2):
            first.scalar("Loss", step, step)
    whole = first.path.read_bytes()
    starts = [len(whole) - 16 - len(frames(whole)[-1]), len(whole)]
    for cut in range(starts[0], starts[1]):
        first.path.write_bytes(whole[:cut])
        assert [point.step for point in read_scalars(tmp_path)["Loss"]] == [1]
    with EventWriter(tmp_path) as second:
        second.scalar("Loss", 3, 3)
    assert second.path != first.path
    assert [point.step for point in read_scalars(tmp_path)["Loss"]] == [1, 3]


def test_damage_ends_the_reading_of_a_file(tmp_path):
    with EventWriter(tmp_path) as writer:
        for step in range(3):
            writer.scalar("Loss", step, step)
    whole = writer.path.read_bytes()
    for place in range(len(whole)):
        writer.path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        points = read_scalars(tmp_path).get("Loss", [])
        assert points == sorted(points)
        assert len(points) < 3


def test_a_record_that_is_no_event(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer._file.write(struct.pack("<Q", 2) + struct.pack("<I", masked(struct.pack("<Q", 2))))
        writer._file.write(b"\x2a\x70" + struct.pack("<I", masked(b"\x2a\x70")))
    with pytest.raises(DataError, match="protobuf"):
        read_scalars(tmp_path)


def write_and_die(folder):
    summary = TrainSummary(folder, "app")
    for step in range(1, 8):
        summary.add_scalar("Loss", 1 / step, step)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_every_point(tmp_path, spawn):
    with pytest.raises(pytest.fail.Exception, match="ended with -9"):
        spawn(write_and_die, str(tmp_path))
    assert TrainSummary(tmp_path, "app").read_scalar("Loss")[:, 0].tolist() == list(range(1, 8))


def test_a_full_disk_is_said_once_and_costs_no_training(tmp_path):
    class Full(EventWriter):
        def scalar(self, tag, value, step):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    summary = TrainSummary(tmp_path, "app")
    summary.add_scalar("Loss", 1.0, 1)
    summary._folder._writer.close()
    summary._folder._writer = Full(tmp_path / "app" / "train")
    with pytest.warns(UserWarning, match=r"app/train ends here: .*No space left on device. Training goes on."):
        summary.add_scalar("Loss", 1.0, 2)
    summary.add_scalar("Loss", 1.0, 3)
    assert len(summary.read_scalar("Loss")) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="ends here"):
        TrainSummary(tmp_path / "file", "app").add_scalar("Loss", 1.0, 1)


# ---------------------------------------------------------------- summaries


def test_files_are_where_the_peers_put_them(tmp_path):
    summaries = TrainSummary(str(tmp_path), "app"), ValidationSummary(str(tmp_path), "app")
    assert not any(tmp_path.iterdir())
    summaries[0].add_scalar("Loss", 1.0, 1)
    summaries[1].add_results([EvaluatedResult(0.5, 9, "Top1Accuracy"), EvaluatedResult(2.0, 9, "Loss")], 1)
    for summary, part in zip(summaries, ("train", "validation"), strict=True):
        (path,) = (tmp_path / "app" / part).iterdir()
        assert path.name.startswith("events.out.tfevents.")
        summary.close()
    assert summaries[1].read_scalar("Top1Accuracy")[0, :2].tolist() == [1, 0.5]
    assert summaries[1].read_scalar("Loss").shape == (1, 3)
    assert summaries[1].read_scalar("MAE").shape == (0, 3)
    assert 1.7e9 < summaries[0].read_scalar("Loss")[0, 2] < 1e11


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -1e-300, 0.0])
def test_any_figure_can_be_written(tmp_path, value):
    summary = TrainSummary(tmp_path, "app")
    summary.add_scalar("ä" * 200, value, 2**40)
    summary.close()
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(summary.read_scalar("ä" * 200)[0, :2], [2**40, np.float32(value)])


def test_going_back_takes_points_back(tmp_path):
    """Within a process, and in a new one that goes on from a checkpoint; TensorBoard reads the same mark."""
    summary = TrainSummary(tmp_path, "app")
    for step in (1, 2, 3, 2, 3):
        summary.add_scalar("Loss", 10 + step, step)
    summary.close()
    assert summary.read_scalar("Loss")[:, 0].tolist() == [1, 2, 3]
    again = TrainSummary(tmp_path, "app")
    for step in (3, 4):
        again.add_scalar("Loss", 20 + step, step)
    again.close()
    assert again.read_scalar("Loss")[:, :2].tolist() == [[1, 11], [2, 12], [3, 23], [4, 24]]


def test_many_writers_in_one_second_keep_their_order(tmp_path):
    for step in range(12):
        with EventWriter(tmp_path) as writer:
            writer.scalar("Loss", 0, step)
    assert [point.step for point in read_scalars(tmp_path)["Loss"]] == list(range(12))


def test_a_copy_writes_its_own_file(tmp_path):
    summary = TrainSummary(tmp_path, "app")
    summary.add_scalar("Loss", 1.0, 1)
    other = copy.deepcopy(summary).set_summary_trigger("Loss", EveryEpoch())
    other.add_scalar("Loss", 1.0, 2)
    summary.close()
    other.close()
    assert len(list((tmp_path / "app" / "train").iterdir())) == 2
    assert isinstance(summary.get_summary_trigger("Loss"), SeveralIteration)
    assert summary.get_summary_trigger("Parameters") is None


@pytest.mark.parametrize("make", [TrainSummary, ValidationSummary])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("", "app"), "log_dir must be a path"), (("logs", ""), "app_name"), (("hdfs://h/logs", "app"), "local.*Hint")],
)
def test_refused_folders(make, arguments, text):
    with pytest.raises(ArgumentError, match=text):
        make(*arguments)


def test_refused_triggers(tmp_path):
    with pytest.raises(ArgumentError, match=r"name must be one of .*Received: 'loss'"):
        TrainSummary(tmp_path, "app").set_summary_trigger("loss", EveryEpoch())
    with pytest.raises(ArgumentError, match="must be a Trigger"):
        TrainSummary(tmp_path, "app").set_summary_trigger("Loss", 5)


# ---------------------------------------------------------------- from a run


def run(folder, until=None, **triggers):
    summary = TrainSummary(folder, "app")
    for name, trigger in triggers.items():
        summary.set_summary_trigger(name, trigger)
    method = SGD(0.5, learningrate_schedule=Exponential(1, 0.5))
    replica, ticks = SoftmaxReplica(method), iter(range(10**6))
    listener = SummaryListener(summary, method, replica.state, clock=lambda: float(next(ticks)))
    settings, losses = TrainSettings(40, 16, MaxEpoch(2), 2), []
    state = TrainState()
    while not settings.end_when(state):
        state = train(replica, data(2, 40), SerialSync(2), settings, state, until, listener)
        losses.append(state.loss)
    return summary, losses, method


@pytest.mark.parametrize("until", [None, SeveralIteration(1)], ids=["whole", "groups"])
def test_a_run_is_written(tmp_path, until):
    summary, losses, method = run(tmp_path, until)
    loss, rate, speed = (summary.read_scalar(tag) for tag in ("Loss", "LearningRate", "Throughput"))
    assert loss[:, 0].tolist() == rate[:, 0].tolist() == speed[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert loss[-1, 1] == np.float32(losses[-1])
    np.testing.assert_array_equal(rate[:, 1], np.float32([method.rate(t) for t in range(6)]))
    # One second an iteration by this clock; the window is two seconds, a new group starts afresh.
    assert speed[:, 1].tolist() == ([16, 16, 12, 12, 16, 12] if until is None else [16, 16, 8, 16, 16, 8])
    (file,) = (tmp_path / "app" / "train").iterdir()
    assert b"Parameters" not in file.read_bytes()


def test_triggers_choose(tmp_path):
    summary, _, _ = run(tmp_path, Loss=SeveralIteration(4), LearningRate=EveryEpoch(), Parameters=EveryEpoch())
    assert summary.read_scalar("Loss")[:, 0].tolist() == [4]
    assert summary.read_scalar("LearningRate")[:, 0].tolist() == [3, 6]
    (file,) = (tmp_path / "app" / "train").iterdir()
    names = SoftmaxReplica(SGD()).state()
    assert all(file.read_bytes().count(f"\x0a{chr(len(name))}{name}".encode()) == 2 for name in names)


def test_states_that_come_in_bunches_give_a_sane_speed(tmp_path):
    times = iter([0.0, 1.0, 1.0, 1.0])
    listener = SummaryListener(TrainSummary(tmp_path, "app"), SGD(), clock=lambda: next(times))
    state = TrainState()
    listener.on_start(TrainSettings(40, 10, MaxEpoch(1)), state)
    for _ in range(3):
        state = state.after(1.0, 10, False)
        listener.on_iteration(state)
    listener.summary.close()
    assert listener.summary.read_scalar("Throughput")[:, 1].tolist() == [10, 20, 30]
