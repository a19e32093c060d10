"""Ranks that are lost: the bits of the quiet run, whoever takes their place."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import threading

import numpy as np
import pytest

from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark, recovery
from nnframes.distributed.cache import existing_folders
from nnframes.distributed.faults import PeerLost, Suspended
from nnframes.distributed.link import DriverLink
from nnframes.distributed.mesh import Mesh, Peer
from nnframes.distributed.recovery import MESSAGES, HostState, level, position_of
from nnframes.distributed.reports import Recent
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, send_frame
from nnframes.errors import SyncError
from nnframes.io.background import BackgroundWriter
from nnframes.train import Course, Listener, MaxEpoch, MaxIteration, Milestones, TrainSettings, TrainState
from tests.nnframes.distributed import cluster, softmax
from tests.nnframes.distributed.test_fit import ROWS, SCHEMA, left_in

ITERATIONS = 10  # of 37 rows in batches of 8, twice


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(softmax.rows_of(ROWS), SCHEMA).coalesce(1).cache()


def fitted(frame, folder, fault: dict | None = None, listener: Listener | None = None, **changes):
    values = {"batch_size": 8, "end_when": MaxEpoch(2), "shards": 2, "seed": 3, "cache_folder": str(folder)}
    source = ReplicaSource(softmax.load, json.dumps({"extra": 1000, "fault": fault}).encode())
    return fit_on_spark(frame, softmax.plan_of(), FitSettings(**{**values, **changes}), source, listener=listener)


@pytest.mark.parametrize("keep_seconds", [0.001, 60.0], ids=["from a kept state", "from the start"])
def test_where_spark_allows_no_failure_the_job_is_run_again(frame, tmp_path, caplog, keep_seconds):
    quiet = fitted(frame, tmp_path)
    heard = cluster.Heard()
    fault = {"kind": "die", "shard": 1, "iteration": 6, "once": str(tmp_path / "died")}
    found = fitted(frame, tmp_path, fault, heard, keep_seconds=keep_seconds)
    assert (tmp_path / "died").exists()
    assert softmax.equal(found.weights, quiet.weights)
    assert found.state == quiet.state
    assert heard.iterations == list(range(1, ITERATIONS + 1))
    assert "its process ended without a word" in caplog.text
    assert "Training starts again from the last state kept (1 of 2)" in caplog.text
    assert [name for name in left_in(tmp_path) if name != "died"] == []


def test_rows_that_are_gone_are_evaluated_again(frame, tmp_path, caplog):
    """The host that had them is lost with the rank: no other has them."""
    quiet = fitted(frame, tmp_path)

    class Thief(Listener):
        def on_iteration(self, state: TrainState) -> None:
            if state.iteration == 2:
                for folder in tmp_path.glob("nnframes-*/*/shard-*"):
                    shutil.rmtree(folder)

    # Rank 1 dies late, so that the listener comes first.
    fault = {"kind": "die", "shard": 1, "iteration": 9, "once": str(tmp_path / "died")}
    found = fitted(frame, tmp_path, fault, Thief(), keep_seconds=0.001)
    assert softmax.equal(found.weights, quiet.weights)
    assert "No training task can open the rows of shards" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("master", ["local[2,4]", "local-cluster[2,1,1024]"])
def test_a_killed_worker_is_replaced_by_spark_alone(spawn, tmp_path, master):
    """The first iteration, one in the middle, the last; the rank with the result and another."""
    deaths = [[0, 0], [2, 3], [0, 9], [2, 9]]
    found = spawn(cluster.with_workers_killed, master, str(tmp_path), deaths, timeout=300)
    for case in found["found"]:
        assert case == {"same": True, "died": True, "heard": list(range(1, ITERATIONS + 1))}
    assert found["left"] == []


# ---------------------------------------------------------------- parts


def course_of(iteration: int = 0, value: float = 0.0) -> Course:
    settings = TrainSettings(8, 4, MaxIteration(100), 2, 0)
    course = Course(settings, Milestones(), softmax.Softmax(5000))
    if iteration:
        arrays = {name: array + np.float32(value) for name, array in course.replica.state().items()}
        course.restore(arrays, TrainState(iteration=iteration), {"passed": iteration - 1})
    return course


@pytest.fixture
def meshes():
    """Three ranks in this process."""
    pairs = {frozenset(pair): socket.socketpair() for pair in ((0, 1), (0, 2), (1, 2))}
    made = []
    for rank in range(3):
        others = [other for other in range(3) if other != rank]
        sockets = {other: pairs[frozenset((rank, other))][int(rank > other)] for other in others}
        made.append(Mesh(rank, sockets, {other: Peer(other, "here", "") for other in others}, 10.0))
    yield made
    for mesh in made:
        mesh.close()


def test_those_behind_get_the_state_of_the_lowest_that_is_ahead(meshes):
    courses = [course_of(), course_of(5, 1.0), course_of(5, 1.0)]
    positions, recents = [course.position for course in courses], [Recent() for _ in courses]
    recents[1].on_iteration(TrainState(iteration=5))
    assert positions == [(0, 0), (5, 4), (5, 4)]
    ranks = [
        threading.Thread(target=level, args=(courses[rank], meshes[rank], positions, recents[rank]))
        for rank in range(3)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(20)
    assert [course.position for course in courses] == [(5, 4)] * 3
    assert softmax.equal(courses[0].replica.state(), courses[1].replica.state())
    assert courses[0].state == courses[1].state
    # What a rank 0 before this one may not have said.
    assert recents[0].messages() == recents[1].messages() != recents[2].messages()


@pytest.mark.parametrize("is_idle", [True, False], ids=["written", "being written"])
def test_a_copy_takes_the_memory_of_the_last_one_once_that_is_written(tmp_path, monkeypatch, is_idle):
    settings = TrainSettings(8, 4, MaxIteration(100), 2, 0)
    asked: list[object] = []

    class Asked(softmax.Softmax):
        def state(self, into=None):
            asked.append(into)
            return super().state(into)

    kept = HostState("fit", str(tmp_path), 5.0).watch(Course(settings, Milestones(), Asked(50)), 0)
    monkeypatch.setattr(BackgroundWriter, "is_idle", is_idle)
    for iteration in range(1, 4):
        kept.hasten()
        kept.on_iteration(TrainState(iteration=iteration))
    kept.close()
    assert [into is not None for into in asked] == [False, is_idle, is_idle]


def test_copies_that_take_long_are_made_less_often(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(recovery.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(recovery.HostState, "_write", lambda kept, course: setattr(kept, "_writer", Writer()))

    class Writer:
        seconds = 0.2

    kept = HostState("fit", str(tmp_path), 5.0).watch(course_of(), 0)
    made = []
    for tenth in range(600):
        now[0] = 1000.0 + tenth / 10
        before = kept._due
        kept.on_iteration(TrainState(iteration=tenth + 1))
        made += [tenth / 10] * (kept._due != before)
    assert made == [5.0, 25.0, 45.0]


def test_equal_ranks_send_nothing(meshes):
    level(course_of(5), meshes[0], [(5, 4)] * 3, Recent())


def test_a_host_keeps_the_state_that_is_furthest(tmp_path):
    folder = str(tmp_path)
    assert HostState("fit", folder, 5.0).newest() is None
    assert position_of(None) == (0, 0)
    for rank, iteration in ((0, 4), (1, 7), (0, 6)):
        kept = HostState("fit", folder, 5.0)
        kept.recent.on_iteration(TrainState(iteration=iteration))
        kept.keep(course_of(iteration, iteration), rank, f"{rank}-{iteration}")
    found = HostState("fit", folder, 5.0).newest()
    assert found is not None
    assert position_of(found) == (7, 6)
    recent, state = Recent(), dict(found.state)
    recent.recall(state.pop(MESSAGES))
    assert [message["states"][0]["iteration"] for message in recent.messages()] == [7]
    assert softmax.equal(state, course_of(7, 7.0).replica.state())
    assert HostState("other", folder, 5.0).newest() is None


def test_a_damaged_copy_is_passed_over(tmp_path):
    for rank, iteration in ((0, 4), (1, 7)):
        HostState("fit", str(tmp_path), 5.0).keep(course_of(iteration), rank, str(rank))
    (home,) = existing_folders("fit", str(tmp_path))
    (file,) = home.glob("state-1/*/state.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    found = HostState("fit", str(tmp_path), 5.0).newest()
    assert found is not None
    assert found.train_state.iteration == 4


class Parted:
    """Where parts of the state of a course are elsewhere."""

    is_complete = False


def test_only_a_whole_state_is_copied_and_going_back_waits_for_it(tmp_path):
    kept, course = HostState("fit", str(tmp_path), 1e-9), course_of(3, 3.0)
    assert not kept.are_kept
    kept.watch(course, 0)
    assert kept.are_kept
    assert kept.is_due()
    course._sync = Parted()
    kept.on_iteration(course.state)
    kept.keep(course, 0, "claim")
    assert kept.back() is None
    course._sync = None
    kept.recent.on_iteration(course.state)
    kept.on_iteration(course.state)
    assert position_of(kept.back()) == (3, 2)
    assert kept.recent.messages() == []


def test_copies_of_several_hosts_are_of_one_iteration(tmp_path):
    kept = HostState("fit", str(tmp_path), 600.0).watch(course_of(3), 0)
    kept.on_iteration(TrainState(iteration=3))
    assert not kept.is_due()
    kept.hasten()
    assert kept.is_due()
    kept.on_iteration(TrainState(iteration=3))
    assert not kept.is_due()
    assert position_of(kept.back()) == (3, 2)


def test_without_room_nothing_is_kept_and_nothing_fails(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "nnframes")
    monkeypatch.setattr("nnframes.distributed.recovery.room", lambda root: 10)
    kept = HostState("fit", str(tmp_path), 0.0)
    kept.watch(course_of(3), 0).on_iteration(TrainState(iteration=3))
    kept.close()
    assert not kept.are_kept
    assert kept.newest() is None
    assert "No copy of the state is kept on this host" in caplog.text


# ---------------------------------------------------------------- orders of the driver


@pytest.fixture
def called():
    """A rank's link that has joined meeting 1, and the driver's end of it."""
    secret, guests = Secret.fresh(), queue.Queue()
    door = Doorkeeper("127.0.0.1", secret, lambda sock, hello: guests.put(sock))
    link = DriverLink(("127.0.0.1", door.port), secret)
    joined = threading.Thread(target=link.join, args=({},))
    joined.start()
    sock = guests.get(timeout=10)
    tell(sock, {"kind": "start", "meeting": 1})
    joined.join(10)
    yield link, sock
    link.close()
    sock.close()
    door.close()


def tell(sock, order: dict) -> None:
    send_frame(sock, order, Deadline(10))


def test_a_release_that_was_read_in_a_wait_is_not_waited_for_again(called):
    link, sock = called
    tell(sock, {"kind": "release"})
    while not link._released:
        link.check()
    link.hold()
    assert link.join({}) is None


def test_a_call_to_meet_anew_is_heard_by_every_wait_until_it_is_followed(called):
    link, sock = called
    tell(sock, {"kind": "regroup", "meeting": 1})
    for wait in (link.hold, link.check, link.check):
        with pytest.raises(PeerLost):
            wait()
    # One that is overtaken by the next start counts too.
    tell(sock, {"kind": "regroup", "meeting": 2})
    tell(sock, {"kind": "start", "meeting": 2})
    with pytest.raises(PeerLost):
        link.join({})
    tell(sock, {"kind": "start", "meeting": 3})
    assert link.join({}) == {"kind": "start", "meeting": 3}
    link.check()


@pytest.mark.parametrize(("resume", "kind"), [(True, Suspended), (False, SyncError)])
def test_a_stop_stays(called, resume, kind):
    link, sock = called
    tell(sock, {"kind": "stop", "reason": "enough", "resume": resume})
    for wait in (link.hold, link.check, link.hold):
        with pytest.raises(kind, match="The driver stopped the training: enough"):
            wait()
