"""How a rank that knows less than the others comes to their state, and what a host keeps for the worst case.

Ranks differ by one iteration at most when one is lost, and all that are at an iteration have the same bits. So after
every meeting the lowest rank among those that are furthest hands its state to those behind (`level`), of which a new
process is one: at most the iteration under way is repeated.

Where no rank lives on (local masters, which allow no task failure; Spark Connect; several hosts at once), the next
group starts from files: the lowest rank of each host keeps a copy of its state in the fit's folder there, every few
seconds, or less often where copies take long (`HostState`). At which iteration that is does not show in the result:
any state leads to the same one. From these files ranks also go on whose updates are by slices
(`nnframes.distributed.collective`): a slice of the state is lost with one of them, and what was done since the last
copy is repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from nnframes.distributed.cache import candidates, existing_folders, fit_folder, room
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.reports import Recent
from nnframes.distributed.transfer import Parcel, send_parcel
from nnframes.errors import NNFramesError, SyncError
from nnframes.io.background import BackgroundWriter
from nnframes.io.checkpoint import Checkpoint, CheckpointStore
from nnframes.train import Course, Listener, TrainState
from nnframes.train.course import PASSED

__all__ = ["MESSAGES", "HostState", "Position", "level", "position_of"]

_LOG = logging.getLogger("nnframes")
Position = tuple[int, int]
"""Iterations done, and the last one whose milestone is passed."""

MESSAGES = "messages"
"""The array, in a kept state, of what rank 0 may have to say again."""

SHARE = 100
"""Copies of the state may take one part in so many of the time, what their writing takes of a processor included."""


def level(course: Course, mesh: Mesh, positions: Sequence[Position], recent: Recent) -> None:
    """Bring the ranks that are behind to the state of the lowest one that is ahead, and rank 0 to what it remembers."""
    ahead = max(positions)
    source = positions.index(ahead)
    behind = [rank for rank, position in enumerate(positions) if position < ahead]
    what = f"the state of rank {source} after iteration {ahead[0]}"
    if behind and mesh.rank == source:
        arrays, notes = course.snapshot()
        shapes = {name: [array.dtype.str, *array.shape] for name, array in arrays.items()}
        header = {"arrays": shapes, "state": course.state.to_json(), "notes": notes}
        send_parcel(mesh, behind, header, {name: _bytes(array) for name, array in arrays.items()}, what)
    elif mesh.rank in behind:
        parcel = Parcel(mesh, source, what)
        arrays = dict(_arrays(parcel, what))
        course.restore(arrays, TrainState.from_json(parcel.header["state"]), parcel.header["notes"])
    if source == 0 or ahead == (0, 0):
        return
    what = f"the messages of rank {source}"
    if mesh.rank == source:
        send_parcel(mesh, [0], {}, {MESSAGES: recent.packed()}, what)
    elif mesh.rank == 0:
        recent.recall(np.concatenate(list(Parcel(mesh, source, what).chunks(MESSAGES))))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _arrays(parcel: Parcel, what: str) -> Iterator[tuple[str, np.ndarray]]:
    for name, (dtype, *shape) in parcel.header["arrays"].items():
        array = np.empty(shape, dtype)
        if array.nbytes != parcel.sizes.get(name):
            raise SyncError(f"'{name}' in {what} must have {array.nbytes} bytes. Received: {parcel.sizes.get(name)}.")
        flat, place = array.reshape(-1).view(np.uint8), 0
        for chunk in parcel.chunks(name):
            flat[place : place + chunk.size] = chunk
            place += chunk.size
        yield name, array


def position_of(found: Checkpoint | None) -> Position:
    """Return how far a kept state is; (0, 0) for none."""
    if found is None:
        return 0, 0
    return found.train_state.iteration, found.meta.get(PASSED, found.train_state.iteration)


class HostState(Listener):
    """Copies of a rank's state in the fit's folder of its host, every so many `seconds`, written in the background.

    They are made less often where they would take more than a hundredth of the time (`SHARE`). What cannot be written
    for lack of room is left out: these copies only save work. The messages of `recent` go with them.
    """

    def __init__(self, fit: str, folder: str | None, seconds: float) -> None:
        self._fit, self._folder, self._seconds, self.recent = fit, folder, seconds, Recent()
        self._rank = 0
        self._course: Course | None = None
        self._writer: BackgroundWriter | None = None
        self._arrays: dict[str, np.ndarray] | None = None  # of the last copy: their memory serves the next one
        self._due = self._asked = 0.0

    def newest(self) -> Checkpoint | None:
        """Return the state that is furthest among those kept on this host; None when there is none."""
        stores = []
        for home in existing_folders(self._fit, self._folder):
            for path in sorted(home.glob("state-*")):
                with suppress(NNFramesError, OSError):
                    store = CheckpointStore(path)
                    stores.append((store.latest() or 0, store))
        for _, store in sorted(stores, key=lambda each: -each[0]):
            with suppress(NNFramesError, OSError):  # half written, or just removed: an older one will do
                return store.read()
        return None

    def back(self) -> Checkpoint | None:
        """Forget what was said since the newest copy, and return that, when it is written."""
        self.close()
        self.recent = Recent()
        return self.newest()

    def watch(self, course: Course, rank: int) -> HostState:
        """Begin to copy the state of `course`, whenever it is time; returns the listener for that."""
        self._course, self._rank = course, rank
        self._due = time.monotonic() + self._seconds
        return self

    @property
    def are_kept(self) -> bool:
        """Whether this rank copies its state, and there is room."""
        return self._course is not None

    def is_due(self) -> bool:
        """Return whether it is time to copy the state; the time from then on counts as the cost of the copy."""
        now = time.monotonic()
        if self._course is None or now < self._due:
            return False
        self._asked = self._asked or now
        return True

    def hasten(self) -> None:
        """Copy the state after this iteration."""
        self._due = 0.0

    def on_iteration(self, state: TrainState) -> None:
        """Copy the state, if it is time and all of it is here."""
        if self.is_due() and self._course is not None and self._course.is_complete:
            self._write(self._course)
            taken = time.monotonic() - self._asked + (self._writer.seconds if self._writer is not None else 0.0)
            self._due, self._asked = self._asked + max(self._seconds, SHARE * taken), 0.0

    def keep(self, course: Course, rank: int, claim: str) -> None:
        """Copy the state now, and wait until it is written; of the ranks of a host the first to `claim` it does.

        A state that is not complete stays where it is: the last copy counts.
        """
        if not course.is_complete:
            return
        self._rank = rank
        with suppress(OSError, NNFramesError):
            self._place(0).with_name(f"claim-{claim}").touch(exist_ok=False)
            self._write(course)
            self.close()

    def close(self) -> None:
        """Wait for the copy that is on its way."""
        if self._writer is not None:
            with suppress(NNFramesError):
                self._writer.close()

    def _write(self, course: Course) -> None:
        try:
            is_free = self._writer is not None and self._writer.is_idle
            arrays, notes = course.snapshot(self._arrays if is_free else None)
            if self._writer is None:
                size = 2 * sum(array.nbytes for array in arrays.values())
                self._writer = BackgroundWriter(CheckpointStore(self._place(size)))
            self._arrays = arrays
            self._writer.write({**arrays, MESSAGES: self.recent.packed()}, course.state, notes)
        except (NNFramesError, OSError) as error:
            _LOG.info("No copy of the state is kept on this host: %s", error)
            self._course = self._writer = self._arrays = None

    def _place(self, size: int) -> Path:
        root = next((root for root in candidates(self._folder) if room(root) >= size), None)
        if root is None:
            raise SyncError(f"There is no room for {size} bytes.")
        return fit_folder(root, self._fit) / f"state-{self._rank}"
