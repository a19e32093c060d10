"""Sums of a message that begin while the rest of it is still computed: the backward pass ends at the first layer.

Parameters are complete one by one, so what can be summed early depends on where the large ones are. A rank that waits
here for others also computes: the deadline of its wait begins earlier than one after its gradients would, by at most
the time of its own backward pass.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from nnframes.distributed.region import Region

__all__ = ["Early", "stretches"]

STRETCHES = 8
LEAST = 1 << 18
"""Numbers of a stretch: a megabyte, for which two rounds take long beside their start."""


def stretches(size: int) -> list[tuple[int, int]]:
    """Return where the stretches of `size` numbers begin and end, last first; the first numbers are in none.

    >>> stretches(1_000_000)
    [(737856, 1000000), (475712, 737856)]
    """
    length = max(LEAST, size // STRETCHES)
    ends = [size - length * number for number in range(size // length)]
    return list(zip(ends[1:], ends, strict=False))


class Early:
    """Has `exchange` sum regions, from `stop` down to `start`, in a thread: each when the message is complete there."""

    def __init__(self, regions: Sequence[Region], exchange: Callable[[Region], None]) -> None:
        self.start, self.stop = regions[-1].start, regions[0].stop
        self._regions, self._exchange = regions, exchange
        self._left = [region.start for region in regions]  # which nobody has been told of
        self._marks: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="nnframes-early", daemon=True)
        self._thread.start()

    def reached(self, start: int) -> None:
        """Say that the message is complete from `start` on; raises what the exchange did."""
        self._raise()
        if not self._left or start > self._left[0]:
            return  # not worth waking the thread
        while self._left and start <= self._left[0]:
            self._left.pop(0)
        self._marks.put(start)

    def finish(self) -> None:
        """Say that the message is complete, and wait for the sums; raises what the exchange did."""
        self._marks.put(0)
        self._thread.join()
        self._raise()

    def abandon(self, interrupt: Callable[[], None]) -> None:
        """End the thread; `interrupt` ends the exchange that it may be in."""
        self._marks.put(None)
        interrupt()
        self._thread.join()
        self._error = None

    def _raise(self) -> None:
        # Each lets go of the other, or what both hold would stay until the garbage is collected: whole messages.
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error

    def _run(self) -> None:
        try:
            reached: int | None = None
            for region in self._regions:
                while reached is None or reached > region.start:
                    reached = self._marks.get()
                    if reached is None:
                        return
                self._exchange(region)
        except BaseException as error:  # raised in the thread that trains
            self._error = error
