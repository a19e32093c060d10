"""What a worker keeps is not looked at after every task; what was garbage is collected; elsewhere nothing changes."""

from __future__ import annotations

import gc
import weakref

from nnframes.distributed.garbage import settle


class Ring:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def looked_at(tasks):
    """What a collection leaves out before, after, and anew; and whether garbage that was left out goes."""
    from nnframes.distributed.garbage import settle

    gc.unfreeze()
    settle()
    first = gc.get_freeze_count()
    ring = Ring()
    gone = weakref.ref(ring)
    gc.freeze()
    del ring
    again = gc.get_freeze_count()
    settle()
    kept = gc.get_freeze_count() == again and gone() is not None
    settle(anew=True)
    yield first > 10_000, kept, gone() is None, gc.get_freeze_count() > 10_000


def test_in_a_task(spark):
    assert spark.sparkContext.range(1, numSlices=1).mapPartitions(looked_at).collect() == [(True, True, True, True)]


def test_elsewhere_the_process_is_not_ours():
    before = gc.get_freeze_count()
    settle()
    settle(anew=True)
    assert gc.get_freeze_count() == before
