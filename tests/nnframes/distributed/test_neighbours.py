"""Ranks of one host read each other's arrays: the bits that sockets bring, and nobody goes on with half of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from kernels.native.processes import read_memory
from nnframes.distributed import meeting, mesh, neighbours
from nnframes.distributed.faults import PeerLost
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.neighbours import Card, Neighbour, table_room
from nnframes.distributed.transfer import Parcel, send_parcel
from nnframes.distributed.wire import Secret
from nnframes.errors import SyncError
from tests.nnframes.distributed import peers
from tests.nnframes.distributed.together import connected

SHORT = 4096


def near_sums(sync, size, iterations, sparse):
    """As `peers.sums`, with all but headers read by neighbours; each must have read its part."""
    reads: list[int] = []
    read = neighbours.read_memory

    def counted(pid, address, out):
        assert pid != os.getpid()
        read(pid, address, out)
        reads.append(out.nbytes)

    neighbours.LEAST, neighbours.read_memory = 64, counted
    assert sorted(sync._mesh._neighbours) == sync._others
    found = peers.sums(sync, size, iterations, sparse)
    assert sum(reads) >= iterations * 4 * size // len(sync._nodes)
    return found


@pytest.mark.parametrize(("ranks", "shards", "size", "sparse"), [(2, 3, 100_001, True), (3, 7, 70_000, True)])
def test_sums_are_those_of_one_process(ranks, shards, size, sparse):
    found = peers.run_ranks(ranks, shards, near_sums, size, 3, sparse)
    assert found == dict.fromkeys(range(ranks), peers.serial(shards, size, 3, sparse))


@pytest.fixture
def pair(monkeypatch):
    """Two ranks in this process, introduced, for which a page is long."""
    monkeypatch.setattr(neighbours, "LEAST", SHORT)
    with connected(2) as meshes:
        together(*((mesh.introduce, [1 - rank]) for rank, mesh in enumerate(meshes)))
        assert [list(mesh._neighbours) for mesh in meshes] == [[1], [0]]
        yield meshes


def together(*calls):
    """Call all of (function, *arguments) at once; return what each raised."""
    raised: list[BaseException | None] = [None] * len(calls)

    def run(number, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number, *call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


def test_short_and_long_arrays_come_to_their_places(pair):
    rng = np.random.default_rng(0)
    sizes = [3, SHORT, 0, SHORT - 1, 5 * SHORT, 1]
    sent = [[rng.integers(0, 99, size, np.uint8) for size in sizes] for _ in pair]
    came = [[np.zeros(size, np.uint8) for size in sizes] for _ in pair]
    exchanges = ((mesh.exchange, {1 - me: sent[me]}, {1 - me: came[me]}, "this") for me, mesh in enumerate(pair))
    assert together(*exchanges) == [None, None]
    assert all(np.array_equal(*each) for me in (0, 1) for each in zip(came[me], sent[1 - me], strict=True))


def test_arrays_need_not_be_the_same_on_both_sides(pair):
    sent, came = np.arange(3 * SHORT, dtype=np.int32), np.zeros(3 * SHORT, np.int32)
    parts, rooms = np.split(sent, [0, 1, 2, SHORT]), np.split(came, [5, 2 * SHORT])
    near, far = pair
    assert together((near.exchange, {1: parts}, {}, "it"), (far.exchange, {}, {0: rooms}, "it")) == [None, None]
    assert np.array_equal(came, sent)


def test_one_way_is_enough(pair):
    sent, came = np.arange(SHORT), np.zeros(SHORT, int)
    near, far = pair
    assert together((near.exchange, {1: [sent]}, {}, "it"), (far.exchange, {}, {0: [came]}, "it")) == [None, None]
    assert np.array_equal(came, sent)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_nobody_goes_on_with_what_a_rank_that_gave_up_has_shown(pair, rounds, monkeypatch):
    """It may have used the memory for something else before the other has read it."""
    near, far = pair
    swap = Mesh._swap
    left = [rounds]

    def swapped(self, *arguments):
        if self is far:
            if not left[0]:
                far.interrupt()
                raise PeerLost("another rank is gone")
            left[0] -= 1
        swap(self, *arguments)

    monkeypatch.setattr(Mesh, "_swap", swapped)
    came = np.zeros(SHORT, int)
    raised = together((near.exchange, {}, {1: [came]}, "the sums"), (far.exchange, {0: [came + 1]}, {}, "the sums"))
    assert [type(error) for error in raised] == [PeerLost, PeerLost]
    assert "Rank 0 lost rank 1 on here (thread:1) while it waited for the sums" in str(raised[0])


def test_a_rank_that_gives_up_once_it_has_read_is_lost_to_one_that_still_reads(pair, monkeypatch):
    near, far = pair
    goes_on, slow = threading.Event(), near._neighbours[1]
    read, swap, words = slow.read, Mesh._swap, []

    def late(*arguments):
        goes_on.wait(20)
        read(*arguments)

    def swapped(self, outgoing, *arguments):
        if self is far and [array.nbytes for array in outgoing.get(0, ())] == [1]:
            words.append(1)
            far._sockets[0].send(b"\0")  # its word is on its way
            sent[1][:] = 7
            far.interrupt()
            goes_on.set()
            raise PeerLost("another rank is gone")
        swap(self, outgoing, *arguments)

    monkeypatch.setattr(slow, "read", late)
    monkeypatch.setattr(Mesh, "_swap", swapped)
    sent, came = [np.zeros(SHORT), np.zeros(SHORT)], [np.zeros(SHORT), np.zeros(SHORT)]
    exchanges = ((mesh.exchange, {1 - me: [sent[me]]}, {1 - me: [came[me]]}, "it") for me, mesh in enumerate(pair))
    assert [type(error) for error in together(*exchanges)] == [PeerLost, PeerLost]
    assert words == [1]
    assert came[0][0] == 7, "it must have read too late for the test to say anything"


@pytest.mark.parametrize("secret", [None, Secret.fresh(encrypted=True)], ids=["plain", "encrypted"])
def test_near_and_far_ranks_in_one_exchange(secret, monkeypatch):
    """Ranks 0 and 1 are neighbours, rank 2 is not; over TLS, too, nothing of neighbours goes through sockets."""
    monkeypatch.setattr(neighbours, "LEAST", SHORT)
    sent = [np.full(SHORT, rank, np.int16) for rank in range(3)]
    came = [{other: np.empty(SHORT, np.int16) for other in range(3) if other != rank} for rank in range(3)]
    with connected(3, secret) as meshes:
        assert together((meshes[0].introduce, [1]), (meshes[1].introduce, [0]), (meshes[2].introduce, [])) == [None] * 3
        exchanges = []
        for me, each in enumerate(meshes):
            rooms = {other: [room] for other, room in came[me].items()}
            exchanges.append((each.exchange, {other: [sent[me]] for other in rooms}, rooms, "it"))
        assert together(*exchanges) == [None] * 3
    assert all((room == other).all() for rooms in came for other, room in rooms.items())


def test_parcels_of_neighbours_may_have_long_headers_and_pass_both_ways(pair):
    header = {"notes": ["x" * 100] * SHORT}
    contents = {"rows": np.arange(3 * SHORT, dtype=np.int32).view(np.uint8)}
    found: dict[int, tuple[object, bytes]] = {}

    def take(me):
        parcel = Parcel(pair[me], 1 - me, "rows")
        found[me] = parcel.header, b"".join(chunk.tobytes() for chunk in parcel.chunks("rows"))

    sends = [(send_parcel, pair[me], [1 - me], header, contents, "rows") for me in (0, 1)]
    assert together(*sends, (take, 0), (take, 1)) == [None] * 4
    assert found == dict.fromkeys((0, 1), (header, contents["rows"].tobytes()))


@pytest.mark.parametrize("side", ["sent", "filled", "filled, read-only"])
def test_memory_in_pieces_is_refused(pair, side):
    whole = np.zeros((64, 64))
    still = whole.copy()
    still.flags.writeable = False
    near, far = pair
    sent, room = (whole.T, whole) if side == "sent" else (whole, still if "only" in side else whole.copy().T)
    pair[0].deadline = pair[1].deadline = 1.0
    raised = together((near.exchange, {1: [sent]}, {}, "it"), (far.exchange, {}, {0: [room]}, "it"))
    assert type(raised[0 if side == "sent" else 1]) is TypeError


def test_a_rank_that_cannot_be_read_sends(monkeypatch):
    def refuse(pid, address, out):
        raise PermissionError("not here")

    monkeypatch.setattr(neighbours, "read_memory", refuse)
    monkeypatch.setattr(neighbours, "LEAST", SHORT)
    sent, came = np.arange(SHORT), np.zeros(SHORT, int)
    with connected(2) as (near, far):
        assert together((near.introduce, [1]), (far.introduce, [0])) == [None, None]
        assert not near._neighbours
        assert not far._neighbours
        assert together((near.exchange, {1: [sent]}, {}, "it"), (far.exchange, {}, {0: [came]}, "it")) == [None, None]
    assert np.array_equal(came, sent)


def test_where_one_cannot_read_neither_does(monkeypatch):
    class Blind(Neighbour):
        def __init__(self, card):
            if threading.current_thread().name == "blind":
                raise PermissionError("not here")
            super().__init__(card)

    monkeypatch.setattr(mesh, "Neighbour", Blind)
    with connected(2) as (near, far):
        blind = threading.Thread(target=near.introduce, args=([1],), name="blind")
        blind.start()
        far.introduce([0])
        blind.join()
        assert not near._neighbours
        assert not far._neighbours


def test_a_neighbour_is_the_process_that_shows_the_probe():
    card = Card()
    Neighbour(card.numbers).close()
    other = card.numbers.copy()
    other[2] += 1
    with pytest.raises(OSError, match="another process has this number here"):
        Neighbour(other)
    nowhere = card.numbers.copy()
    nowhere[1] = 1
    with pytest.raises(OSError, match="cannot be read"):
        Neighbour(nowhere)


def test_a_process_that_has_ended_is_lost_even_where_its_number_lives_on(monkeypatch):
    sleeper = "import sys; sys.stdin.read()"
    with ExitStack() as opened:
        process = opened.enter_context(subprocess.Popen([sys.executable, "-c", sleeper], stdin=subprocess.PIPE))
        monkeypatch.setattr(
            neighbours, "read_memory", lambda pid, address, out: np.copyto(out, card[2:].view(np.uint8))
        )
        card = np.array([process.pid, 0, 1, 2, 3, 4])
        neighbour = Neighbour(card)
        opened.callback(neighbour.close)
        process.kill()
        process.wait()
        with pytest.raises(ProcessLookupError, match="has ended"):
            neighbour.read([(0, 32)], [np.empty(4, np.int64)])


@pytest.mark.parametrize("sizes", [(0,), (16,), (40,), (-8, 40), (0, 32)])
def test_what_is_shown_must_fill_the_room(sizes):
    card = Card()
    neighbour = Neighbour(card.numbers)
    with pytest.raises(
        SyncError, match=r"as many bytes as another expects, 32\. Received: \d+ in \d arrays of process"
    ):
        neighbour.read([(int(card.numbers[1]), size) for size in sizes], [np.empty(4, np.int64)])
    neighbour.close()


@pytest.mark.parametrize("count", [-1, 0, neighbours.MOST + 1, 1 << 62])
def test_a_number_of_arrays_that_nobody_has_is_refused(count):
    with pytest.raises(SyncError, match=f"Received: {count}"):
        table_room(count)


def test_memory_that_is_gone_cannot_be_read():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(OSError, match=f"process {process.pid} cannot be read"):
            read_memory(process.pid, 4096, np.empty(3))


def test_ranks_with_other_addresses_are_on_other_hosts():
    """Network namespaces of one host, for instance: what is between them would not be used, nor measured."""
    here = {"host": "a", "address": "10.0.0.1", "port": 1}
    assert meeting._place(here) == meeting._place({**here, "port": 2})
    assert meeting._place(here) != meeting._place({**here, "address": "10.0.0.2"})
    assert meeting._place(here) != meeting._place({**here, "host": "b"})
