"""What a fit will need beside what there is: memory of training tasks, room in the memory file system.

A training task is a Python process beside the executor's JVM. It needs its part of the samples (files in memory count,
of files on disk only the slice that is mapped), the network with gradients and the state of the optim method (taken as
four times its file), and what Python, numpy and the engine take. `shortage` compares, and says in one sentence what is
short and what helps; it is a guess and only a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Demand", "Supply", "free_memory", "megabytes", "shortage", "supply_of"]

PROCESS = 300 << 20
"""Bytes of a training task without samples and network."""

COPIES = 4
"""Weights, gradients, and two more that an optim method such as Adam keeps."""

OVERHEAD, LEAST_OVERHEAD = 0.1, 384 << 20
"""What Spark takes for spark.executor.memoryOverhead where it is not set."""

LIMITED = ("yarn", "k8s://")
"""Masters that kill an executor, Python tasks included, for going beyond its memory."""

UNITS = {"": 20, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


@dataclass(frozen=True)
class Demand:
    """What a fit needs: bytes of all samples and of the network's file, how many tasks, on how many executors.

    Of the samples on disk, 1/`slices` is in memory at a time; `slices` 0 stands for samples in memory.
    """

    samples: int
    network: int
    tasks: int
    executors: int = 1
    slices: int = 0

    @property
    def tasks_here(self) -> int:
        """The tasks on the fullest executor."""
        return -(-self.tasks // self.executors)

    @property
    def samples_here(self) -> int:
        """The bytes of samples that lie on the host of the fullest executor."""
        return self.samples * self.tasks_here // self.tasks

    @property
    def task(self) -> int:
        """The bytes of memory that a training task needs."""
        return self.samples // self.tasks // max(1, self.slices) + COPIES * self.network + PROCESS


@dataclass(frozen=True)
class Supply:
    """What there is on a host: `memory` bytes for the Python tasks of an executor, by `source`; `room` for files.

    `room` is that of the memory file system; None where samples go elsewhere.
    """

    memory: int
    source: str
    room: int | None = None


def shortage(demand: Demand, supply: Supply) -> str | None:
    """Return a sentence that names what will be short, the figures and the cure; None where all fits.

    >>> shortage(Demand(samples=1 << 30, network=1 << 20, tasks=2), Supply(8 << 30, "MemAvailable"))
    >>> print(shortage(Demand(samples=8 << 30, network=1 << 20, tasks=2), Supply(4 << 30, "MemAvailable")))
    Training may run out of memory: 2 tasks on an executor need about 8,800 MB (each 4,096 MB of samples, 4 x 1 MB ...
    """
    needed, cures = demand.tasks_here * demand.task, []
    if not demand.slices:
        cures.append("setDataCacheLevel('DISK_AND_DRAM', 8)")
    cures.append("fewer rows per executor (more executors)")
    if needed > supply.memory:
        cure = ", or ".join([*cures, *(["more spark.executor.memoryOverhead"] if "spark." in supply.source else [])])
        held, process = megabytes(demand.samples // demand.tasks // max(1, demand.slices)), megabytes(PROCESS)
        return (
            f"Training may run out of memory: {demand.tasks_here} tasks on an executor need about {megabytes(needed)} "
            f"(each {held} of samples, {COPIES} x {megabytes(demand.network)} for the network, {process} for the "
            f"process), and {supply.source} gives {megabytes(supply.memory)}. Hint: {cure}."
        )
    if supply.room is not None and not demand.slices and demand.samples_here > supply.room:
        return (
            f"The samples will not stay in memory: {megabytes(demand.samples_here)} of them on a host, and the memory "
            f"file system there has room for {megabytes(supply.room)}: the others go to disk and are slower. Hint: "
            f"{', or '.join(cures)}."
        )
    return None


def supply_of(conf: Mapping[str, str], available: int, room: int | None) -> Supply:
    """Return what an executor has by Spark's settings where a cluster manager enforces them, else `available`.

    >>> supply_of({"spark.master": "yarn", "spark.executor.memory": "8g"}, 0, None).memory >> 20
    819
    """
    if not conf.get("spark.master", "").startswith(LIMITED):
        return Supply(available, "the host (MemAvailable)", room)
    heap = _bytes(conf.get("spark.executor.memory", "1g"))
    factor = float(conf.get("spark.executor.memoryOverheadFactor", OVERHEAD))
    overhead = _bytes(conf.get("spark.executor.memoryOverhead", "")) or max(int(factor * heap), LEAST_OVERHEAD)
    python = _bytes(conf.get("spark.executor.pyspark.memory", ""))
    if python:
        return Supply(python, "spark.executor.pyspark.memory", room)
    return Supply(overhead, "spark.executor.memoryOverhead", room)


def _bytes(text: str) -> int:
    """Return a size as Spark writes them; a bare number is one of megabytes.

    >>> _bytes("2g"), _bytes("512"), _bytes("64kb"), _bytes("")
    (2147483648, 536870912, 65536, 0)
    """
    plain = text.strip().lower()
    digits = plain.rstrip("bkmgtp")
    if not digits.isdigit():
        return 0
    unit = plain[len(digits) :]
    return int(digits) << UNITS[unit if unit == "b" else unit.rstrip("b")]


def megabytes(size: int) -> str:
    """Return a size in words.

    >>> megabytes(3 << 30), megabytes(1)
    ('3,072 MB', '1 MB')
    """
    return f"{-(-size // (1 << 20)):,} MB"


def free_memory() -> int:
    """Return the bytes that processes of this host, or of this container where it has less, can still take."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    free = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return min([free.get("MemAvailable", 0), *(_left_in(*paths) for paths in CGROUPS if Path(paths[0]).is_file())])


def _left_in(limit: str, usage: str, statistics: str) -> int:
    """Return what a control group has left; what it keeps of files counts as free."""
    try:
        most = Path(limit).read_text(encoding="ascii").strip()
        used = int(Path(usage).read_text(encoding="ascii"))
        lines = Path(statistics).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 1 << 62
    files = sum(int(value) for name, value in map(str.split, lines) if name in ("inactive_file", "total_inactive_file"))
    return (1 << 62) if most == "max" else max(0, int(most) - used + files)
