"""Sums that begin early and fail: who is told, what ends, and that nothing is kept of them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from nnframes.distributed.balance import ranges
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.early import Early, stretches
from nnframes.distributed.faults import PeerLost
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.region import Region
from nnframes.distributed.ways import EARLY, WHOLE
from nnframes.distributed.wire import Secret
from nnframes.io.replica_file import load_replica
from nnframes.train.compression import Rounding
from tests.nnframes.distributed import together

PLAIN, ENCRYPTED = Secret.fresh(), Secret.fresh(encrypted=True)

pytestmark = pytest.mark.usefixtures("small", "no_thread_is_left")


class Fault:
    """Has rank 1 fail beside the exchange of the first stretch: its own, or `alone` that of rank 0.

    Whoever is not in that exchange tells of nothing before, so that it cannot end.
    """

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.under_way, self.raised = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, sync: GroupSync) -> None:
        """Train until that, and see that the sync ends its thread."""
        replica = load_replica(together.network_bytes(), 1)
        gradient, exchange = replica.gradient, sync._mesh.exchange
        before = self._before(sync, stretches(replica.gradient_size)[0][0])

        def failing(shard, batch, iteration, out, reached=None):
            def told(start: int) -> None:
                before(start)
                reached(start)

            return gradient(shard, batch, iteration, out, told if iteration == 1 else reached)

        def noted(*args, **options) -> None:
            thread = threading.current_thread()
            if thread.name == "nnframes-early":
                self.threads.append(thread)
                self.under_way.set()
            exchange(*args, **options)

        replica.gradient, sync._mesh.exchange = failing, noted
        try:
            together.fitted(sync, together.settings_of(2, 4), replica, [WHOLE, EARLY])
        finally:
            started = sync._early  # not finished
            sync.close()
            assert started is not None
            assert not started._thread.is_alive()

    def _before(self, sync: GroupSync, first: int) -> Callable[[int], None]:
        told = []

        def before(start: int) -> None:
            if sync.rank == 0 and not self.alone:
                assert self.raised.wait(together.PATIENCE)
            elif sync.rank == 1 and (self.alone or min(told, default=start) <= first):
                assert self.under_way.wait(together.PATIENCE)
                self.raised.set()
                raise ValueError("this network has a fault")
            told.append(start)

        return before


@pytest.mark.parametrize("secret", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
@pytest.mark.parametrize("alone", [False, True], ids=["its own", "that of the other"])
def test_a_failure_beside_a_stretch_ends_both_ranks_and_their_threads(alone, secret):
    fault = Fault(alone)
    found = together.run_together(2, 2, fault, secret=secret)
    assert [type(error) for error in found] == [PeerLost, ValueError]
    assert "Rank 0 lost rank 1 on here (thread:1)" in str(found[0])
    assert "while it waited for the gradients of iteration 2 of" in str(found[0])
    assert fault.threads
    assert not any(thread.is_alive() for thread in fault.threads)


# ---------------------------------------------------------------- the thread

SIZE = 20_000


@pytest.fixture
def meshes() -> Iterator[list[Mesh]]:
    with together.connected(2) as both:
        yield both


@pytest.fixture
def _uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def regions_of(size: int) -> list[Region]:
    return [Region(*ends, [[(0, 1)], [(1, 2)]], 0, 2, Rounding()) for ends in stretches(size)]


@pytest.mark.parametrize("how", ["reached", "finish"])
def test_what_the_exchange_raised_is_raised_where_gradients_are_told_of_or_awaited(how):
    fault, regions = OSError("the exchange failed"), regions_of(SIZE)

    def exchange(region: Region) -> None:
        assert region is regions[0]
        raise fault

    begun = Early(regions, exchange)
    begun.reached(regions[0].start)
    begun._thread.join()
    with pytest.raises(OSError, match="the exchange failed") as caught:
        begun.reached(0) if how == "reached" else begun.finish()
    assert caught.value is fault


def test_regions_are_summed_in_order_and_all_of_them_by_the_end():
    regions, done = regions_of(SIZE), []
    begun = Early(regions, done.append)
    begun.reached(SIZE - 1)
    begun.finish()
    assert done == regions


def test_a_thread_that_waits_for_gradients_ends_when_it_is_abandoned(meshes):
    done = []
    begun = Early(regions_of(SIZE), done.append)
    begun.reached(SIZE)
    begun.abandon(meshes[0].interrupt)
    assert not begun._thread.is_alive()
    assert not done
    with pytest.raises(PeerLost, match="Rank 1 lost rank 0 on here"):
        meshes[1].exchange({}, {0: [np.empty(1)]}, "what never comes")


@pytest.mark.parametrize("secret", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
def test_a_thread_in_an_exchange_ends_when_it_is_abandoned(secret):
    """Also when it has more to send than a connection holds."""
    under_way, rooms = threading.Event(), [np.empty(1)]
    with together.connected(2, secret) as meshes:

        def exchange(region: Region) -> None:
            under_way.set()
            meshes[0].exchange({1: [np.zeros(4 << 20)]}, {1: rooms}, "what never comes")

        begun = Early(regions_of(SIZE), exchange)
        begun.reached(0)
        assert under_way.wait(together.PATIENCE)
        begun.abandon(meshes[0].interrupt)
        assert not begun._thread.is_alive()
        begun.finish()  # what the interruption raised is not of interest


def failed(sync: GroupSync, how: str) -> weakref.ref:
    """Have an exchange fail, and take notice of it in this way; returns a reference to the message."""
    messages = {0: np.zeros(SIZE + 2, np.float32)}
    reached = sync.begin(messages, SIZE)
    assert reached is not None
    reached(0)
    sync._early._thread.join()
    said = ""
    try:
        if how == "reached":
            reached(0)
        elif how == "step":
            sync.all_reduce(messages, {0: {}})
        else:
            sync.close()
    except PeerLost as error:
        said = str(error)
    assert said.startswith("Rank 0 lost rank 1") is (how != "close")
    return weakref.ref(messages[0])


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("how", ["reached", "step", "close"])
def test_an_error_that_is_gone_keeps_no_message(how, meshes):
    """A message may be a hundred megabytes, and the group that comes next makes its own."""
    sync = GroupSync(ranges(2, 2), 0, meshes[0])
    sync._way = EARLY
    meshes[1].close()
    message = failed(sync, how)
    sync.close()
    assert message() is None


def dropped(how: str) -> weakref.ref:
    """Have the exchange of a message fail, and take notice of it in this way; returns a reference to the message."""
    message = np.zeros(SIZE, np.float32)

    def exchange(region: Region) -> None:
        message.fill(1)
        raise OSError("the exchange failed")

    begun = Early(regions_of(SIZE), exchange)
    begun.reached(0)
    begun._thread.join()
    try:
        begun.reached(0) if how == "reached" else begun.finish()
    except OSError:
        assert message.all()
    return weakref.ref(message)


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("how", ["reached", "finish"])
def test_an_error_that_was_raised_is_not_kept_beside(how):
    """Nobody need abandon a thread that has ended."""
    assert dropped(how)() is None


def test_an_error_names_the_iteration_that_it_is_in(meshes):
    """Also where nothing was told of before the end, as when the last shard has no rows."""
    with closing(GroupSync(ranges(2, 2), 0, meshes[0])) as sync:
        sync._way = EARLY
        messages = {0: np.zeros(SIZE + 2, np.float32)}
        sync.begin(messages, SIZE)
        meshes[1].close()
        with pytest.raises(PeerLost, match="the gradients of iteration 1 of this group"):
            sync.all_reduce(messages, {0: {}})
