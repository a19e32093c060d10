"""The driver's end: who is let in, who is left waiting, what is heard when one goes."""

from __future__ import annotations

import socket

import pytest

from nnframes.distributed.balance import Piece
from nnframes.distributed.rendezvous import Rendezvous
from nnframes.distributed.wire import Deadline, Secret, dial, receive_frame, send_frame

SECRET = Secret.fresh()


@pytest.fixture
def meeting():
    rendezvous = Rendezvous("127.0.0.1", SECRET, 2, [[Piece(0, 0, 4)], [Piece(1, 0, 4)]], 30.0)
    yield rendezvous
    rendezvous.close()


@pytest.fixture
def call(meeting):
    sockets = []

    def dialled(partition, shards=()):
        sock = dial(("127.0.0.1", meeting.port), SECRET, Deadline(5))
        sockets.append(sock)
        hello = {"partition": partition, "host": f"host-{partition}", "address": "127.0.0.1", "port": 1}
        send_frame(sock, {**hello, "shards": list(shards)}, Deadline(5))
        return sock

    yield dialled
    for sock in sockets:
        sock.close()


def heard(meeting):
    return meeting.events.get(timeout=10)


def test_ranks_meet_next_to_their_files(meeting, call):
    first, second = call(0, [1]), call(1, [0])
    answers = [receive_frame(sock, Deadline(10)) for sock in (first, second)]
    assert [answer["rank"] for answer in answers] == [1, 0]
    assert [peer["host"] for peer in answers[0]["peers"]] == ["host-1", "host-0"]
    assert answers[0]["transfers"] == answers[0]["unreachable"] == []
    assert {heard(meeting).kind, heard(meeting).kind} == {"arrived"}
    send_frame(second, {"kind": "progress", "states": []}, Deadline(5))
    event = heard(meeting)
    assert (event.kind, event.rank, event.host) == ("progress", 0, "host-1")
    first.close()
    assert (heard(meeting).kind, meeting.arrived) == ("lost", 2)


def test_who_has_said_how_it_ended_is_not_lost(meeting, call):
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        receive_frame(sock, Deadline(10))
    send_frame(first, {"kind": "done"}, Deadline(5))
    first.close()
    second.close()
    kinds = sorted(heard(meeting).kind for _ in range(4))
    assert kinds == ["arrived", "arrived", "done", "lost"]


def test_a_duplicate_waits_and_is_stopped_with_the_others(meeting, call):
    original = call(0)
    assert heard(meeting).kind == "arrived"
    duplicate = call(0)
    with pytest.raises(TimeoutError):
        receive_frame(duplicate, Deadline(0.3))
    meeting.stop("enough")
    for sock in (original, duplicate, call(1)):
        assert receive_frame(sock, Deadline(10)) == {"kind": "stop", "reason": "enough"}
    assert meeting.arrived == 1


def test_a_successor_of_a_finished_rank_is_stopped(meeting, call):
    """Spark starts it when the executor of a finished rank was lost; waiting, it would hold up the job for an hour."""
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        receive_frame(sock, Deadline(10))
    send_frame(first, {"kind": "done"}, Deadline(5))
    while heard(meeting).kind != "done":
        pass
    assert receive_frame(call(0), Deadline(10)) == {"kind": "stop", "reason": "this rank has finished already."}


def test_a_fault_in_dealing_ranks_is_heard(meeting, call):
    call(0, ["0"])
    call(1, [[]])
    events = [heard(meeting) for _ in range(3)]
    assert sorted(event.kind for event in events) == ["arrived", "arrived", "failed"]
    assert events[2].data["error"] == "TypeError"


def test_who_comes_when_all_is_over_is_stopped(meeting, call):
    """Its handshake was under way when the driver closed."""
    meeting.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        meeting._arrive(theirs, {"partition": 0})
        assert receive_frame(ours, Deadline(10)) == {"kind": "stop", "reason": "it has ended."}
    assert meeting.arrived == 0


@pytest.mark.parametrize("partition", [2, -1, "0", None])
def test_unknown_partitions_are_shown_out(meeting, call, partition):
    with pytest.raises(ConnectionError):
        receive_frame(call(partition), Deadline(10))
    assert meeting.events.empty()
