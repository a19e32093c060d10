"""The driver's end: who is let in, who is left waiting, what is heard when one goes."""

from __future__ import annotations

import socket
import threading

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
        send_frame(sock, {"kind": "join", **hello, "shards": list(shards)}, Deadline(5))
        return sock

    yield dialled
    for sock in sockets:
        sock.close()


def heard(meeting):
    return meeting.events.get(timeout=10)


def kinds(meeting, count):
    return [heard(meeting).kind for _ in range(count)]


def told(sock):
    return receive_frame(sock, Deadline(10))


def back(sock, rank, position=(0, 0), shards=()):
    """Come back to the driver after a peer was lost."""
    hello = {"partition": 0, "host": f"host-{rank}", "address": "127.0.0.1", "port": 1, "shards": list(shards)}
    send_frame(sock, {"kind": "join", **hello, "rank": rank, "position": position, "reason": "it is gone"}, Deadline(5))


def test_ranks_meet_next_to_their_files(meeting, call):
    first, second = call(0, [1]), call(1, [0])
    answers = [told(sock) for sock in (first, second)]
    assert [answer["rank"] for answer in answers] == [1, 0]
    assert [peer["host"] for peer in answers[0]["peers"]] == ["host-1", "host-0"]
    assert [peer["position"] for peer in answers[0]["peers"]] == [[0, 0], [0, 0]]
    assert answers[0]["transfers"] == answers[0]["unreachable"] == []
    assert kinds(meeting, 3) == ["arrived", "arrived", "started"]
    assert meeting.complete
    send_frame(second, {"kind": "progress", "states": []}, Deadline(5))
    event = heard(meeting)
    assert (event.kind, event.rank, event.host) == ("progress", 0, "host-1")
    first.close()
    assert (heard(meeting).kind, meeting.arrived, meeting.complete) == ("lost", 1, False)


def test_a_lost_rank_is_replaced_and_the_others_keep_theirs(meeting, call):
    first, second = call(0, [0]), call(1, [1])
    token = told(first)["peers"][1]["token"]
    told(second)
    second.close()
    assert told(first) == {"kind": "regroup", "meeting": 1}
    assert kinds(meeting, 4) == ["arrived", "arrived", "started", "lost"]
    back(first, 0, (7, 5), [0])
    assert heard(meeting).data["reason"] == "it is gone"
    fresh = call(1, [1])
    answers = [told(sock) for sock in (first, fresh)]
    assert [(answer["rank"], answer["meeting"]) for answer in answers] == [(0, 2), (1, 2)]
    assert [peer["position"] for peer in answers[1]["peers"]] == [[7, 5], [0, 0]]
    # Whoever was taken for lost does not know the new token.
    assert answers[0]["peers"][1]["token"] != token
    assert kinds(meeting, 2) == ["arrived", "started"]


def test_rows_travel_to_the_newcomer_only(meeting, call):
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        told(sock)
    first.close()
    told(second)
    back(second, 1, (3, 0), [0])
    call(0)
    answer = told(second)
    assert answer["transfers"] == [[1, 0, 0, 0, 4]]
    assert answer["unreachable"] == []


def test_ranks_that_lost_each_other_meet_again(meeting, call):
    """A connection was cut, nobody has died."""
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        told(sock)
    back(first, 0, (2, 0))
    assert told(second)["kind"] == "regroup"
    back(second, 1, (3, 0))
    answers = [told(sock) for sock in (first, second)]
    assert [peer["position"] for peer in answers[0]["peers"]] == [[2, 0], [3, 0]]
    assert [answer["meeting"] for answer in answers] == [2, 2]


def test_the_result_releases_all_and_who_comes_later(meeting, call):
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        told(sock)
    send_frame(first, {"kind": "done"}, Deadline(5))
    assert told(second) == {"kind": "release"}
    second.close()
    # Lost before Spark knew that it had ended: its successor has nothing to do.
    assert told(call(1)) == {"kind": "release"}
    first.close()
    assert kinds(meeting, 4) == ["arrived", "arrived", "started", "done"]


def test_a_successor_of_the_rank_with_the_result_is_stopped(meeting, call):
    """Spark starts it when the executor was lost before the result had come: the job must be run again."""
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        told(sock)
    send_frame(first, {"kind": "done"}, Deadline(5))
    assert told(second)["kind"] == "release"
    assert told(call(0))["reason"] == "this rank has finished already."


def test_a_duplicate_of_the_rank_with_the_result_is_stopped(meeting, call):
    """Spark would take what ends first for the result, and a duplicate ends without rows."""
    first, second = call(0, [0]), call(1, [1])
    for sock in (first, second):
        told(sock)
    duplicates = call(0), call(1)
    deadline = Deadline(10)
    while deadline.left() and min(map(len, meeting._lines.values())) < 2:
        threading.Event().wait(0.01)
    send_frame(first, {"kind": "done"}, Deadline(5))
    assert told(duplicates[0])["reason"] == "this rank has finished already."
    assert told(second) == told(duplicates[1]) == {"kind": "release"}


def test_a_duplicate_waits_and_is_stopped_with_the_others(meeting, call):
    original = call(0)
    assert heard(meeting).kind == "arrived"
    duplicate = call(0)
    with pytest.raises(TimeoutError):
        receive_frame(duplicate, Deadline(0.3))
    meeting.stop("enough")
    for sock in (original, duplicate, call(1)):
        assert told(sock) == {"kind": "stop", "reason": "enough", "resume": False}


def test_a_duplicate_takes_over_when_the_first_is_lost(meeting, call):
    original, other = call(0, [0]), call(1, [1])
    assert kinds(meeting, 3) == ["arrived", "arrived", "started"]
    duplicate = call(0, [0])
    for sock in (original, other):
        told(sock)
    original.close()
    assert told(other)["kind"] == "regroup"
    back(other, 1)
    assert told(duplicate)["rank"] == 0


def test_a_fault_in_dealing_ranks_is_heard(meeting, call):
    call(0, ["0"])
    call(1, [[]])
    events = [heard(meeting) for _ in range(3)]
    assert [event.kind for event in events] == ["arrived", "arrived", "failed"]
    assert events[2].data["error"] == "TypeError"


def test_who_comes_when_all_is_over_is_stopped(meeting, call):
    """Its handshake was under way when the driver closed."""
    meeting.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        guest = threading.Thread(target=meeting._arrive, args=(theirs, {"partition": 0}))
        guest.start()
        assert told(ours) == {"kind": "stop", "reason": "it has ended.", "resume": False}
        ours.close()
        guest.join(10)


@pytest.mark.parametrize("partition", [2, -1, "0", None])
def test_unknown_partitions_are_shown_out(meeting, call, partition):
    with pytest.raises(ConnectionError):
        receive_frame(call(partition), Deadline(10))
    assert meeting.events.empty()
