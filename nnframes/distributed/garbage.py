"""Garbage in Spark's Python workers, which the daemon that they come from collects after every task.

A collection looks at every object that is tracked: 40 ms with our modules and their libraries loaded, however short the
task. What lives as long as the worker need not be looked at.
"""

from __future__ import annotations

import gc

from pyspark import TaskContext

__all__ = ["settle"]


def settle(anew: bool = False) -> None:
    """Leave what a worker has loaded out of later collections; the first time, or `anew` where more has come since.

    What has become garbage by then is collected first, also of what was left out before. Elsewhere than in a task of
    Spark nothing is done: the process is not ours.
    """
    if TaskContext.get() is None or (gc.get_freeze_count() and not anew):
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
