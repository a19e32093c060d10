"""The data cache levels: the same rows at each, memory within bounds, full disks, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from nnframes.distributed import cache, files
from nnframes.distributed.cache import CacheLevel, candidates, fit_folder, remove_fit
from nnframes.distributed.capacity import PROCESS, Demand, Supply, free_memory, shortage, supply_of
from nnframes.distributed.files import ShardFile, ShardWriter
from nnframes.errors import ArgumentError, DataError
from tests.nnframes.distributed import levels

MB = 1 << 20
GB = 1 << 30


# ---------------------------------------------------------------- levels


def test_levels_by_name():
    assert CacheLevel.of("Dram") == CacheLevel()
    assert CacheLevel.of("disk_and_dram") == CacheLevel("DISK_AND_DRAM", 4)
    assert CacheLevel.of("DISK_AND_DRAM", np.int64(7)).slices == 7
    assert [CacheLevel.of(name).by_epoch for name in ("DRAM", "DISK_AND_DRAM", "DIRECT")] == [False, False, True]
    with pytest.raises(ArgumentError, match=r"PMEM.*no longer made. Hint: setDataCacheLevel"):
        CacheLevel.of("pmem")


def test_only_dram_goes_to_the_memory_file_system(tmp_path):
    assert candidates(str(tmp_path)) == candidates(str(tmp_path), on_disk=True) == [tmp_path]
    assert candidates(None, on_disk=True) == [Path(tempfile.gettempdir())]
    if os.access(cache.MEMORY, os.W_OK):
        assert candidates(None) == [cache.MEMORY, Path(tempfile.gettempdir())]


# ---------------------------------------------------------------- slices

ROWS = 500


def blocks(kind: str):
    """A field of one shape, or of many, some of them empty and one larger than a slice."""
    rng = np.random.default_rng(3)
    if kind == "arrays":
        return rng.normal(size=(ROWS, 7, 3)).astype(np.float32)
    sizes = rng.integers(0, 60, ROWS)
    sizes[100], sizes[-3:] = 30_000, 0
    return [rng.integers(0, 255, (int(size), 2), np.uint8) for size in sizes]


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAST", 64)

    def write(kind: str, slices: int) -> ShardFile:
        writer = ShardWriter("fit", slices, str(tmp_path), CacheLevel("DISK_AND_DRAM", slices))
        values = blocks(kind)
        for low in range(0, ROWS, 50):
            writer.add((values[low : low + 50], np.arange(low, low + 50)), 1, False)
        return ShardFile(writer.close())

    return write


@pytest.mark.parametrize("kind", ["arrays", "ragged"])
@pytest.mark.parametrize("slices", [1, 2, 7, 499, 10_000])
def test_slices_give_what_was_written(written, kind, slices):
    file, rng = written(kind, slices), np.random.default_rng(1)
    values = blocks(kind)
    for count in (0, 1, 3, 200):
        rows = rng.integers(0, ROWS, count)
        found = file.fields[0].take(rows)
        assert isinstance(found, list) == (kind == "ragged")
        assert all(np.array_equal(value, values[row]) for value, row in zip(found, rows, strict=True))
        assert file.fields[1].take(rows).tolist() == rows.tolist()


def mapped(path: Path) -> int:
    """The bytes of a file that this process has mapped."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    spans = [line.split()[0].split("-") for line in lines if str(path) in line]
    return sum(int(high, 16) - int(low, 16) for low, high in spans)


def test_one_slice_is_mapped_at_a_time(written, monkeypatch):
    file = written("arrays", 4)
    path, page = file.path / "0.bin", 4096
    assert mapped(path) == 0
    file.fields[0].take(np.arange(ROWS))
    assert 0 < mapped(path) <= path.stat().st_size // 4 + 2 * page
    whole = written("arrays", 1)
    whole.fields[0].take(np.arange(3))
    assert mapped(whole.path / "0.bin") >= path.stat().st_size
    del file, whole
    assert mapped(path) == 0


@pytest.mark.slow
def test_data_four_times_the_memory_trains(spawn, tmp_path):
    """256 MB of samples in 64 MB of address space, file mappings included; without slices they do not fit."""
    data, memory = 256 * MB, 64 * MB
    done = spawn(levels.train_in, str(tmp_path / "cut"), 16, data, memory)
    assert done["bytes"] >= data
    assert (done["seen"], done["epochs"]) == (True, 2)
    assert done["peak"] <= memory
    assert spawn(levels.train_in, str(tmp_path / "whole"), 1, data, memory) in (
        {"error": "OSError"},
        {"error": "MemoryError"},
    )


# ---------------------------------------------------------------- full disks


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "owners"]


def block(seed: int):
    return (np.full((16, 1 << 14), seed, np.float32), np.arange(16))


def fill(writer: ShardWriter, count: int = 8) -> None:
    for number in range(count):
        writer.add(block(number), 1, False)


FULL = (
    r"The cache folder \S+tiny must have room for 1048640 more bytes of samples, after \d+ of this shard.* Hint: free"
)


def test_a_full_disk_is_told_and_left_empty(tiny):
    with pytest.raises(DataError, match=FULL + r" space there, or choose another folder with setCacheFolder"):
        fill(ShardWriter("fit", 0, str(tiny)))
    assert left_in(tiny) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DataError, match=r"The cache folder \S+file/samples must be one that .* Hint: .* setCacheFolder"
    ):
        ShardWriter("fit", 0, str(tmp_path / "file" / "samples"))


def test_a_disk_that_others_fill_meanwhile_is_told_too(tiny, monkeypatch):
    """The room is there when it is asked for, and gone when it is used."""
    monkeypatch.setattr(files, "room", lambda root: GB)
    with pytest.raises(DataError, match=FULL) as caught:
        fill(ShardWriter("fit", 0, str(tiny)))
    assert isinstance(caught.value.__cause__, OSError)
    assert left_in(tiny) == []


def test_a_memory_file_system_that_others_fill_hands_over_in_the_middle_of_a_block(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "room", lambda root: GB)
    monkeypatch.setattr(files, "candidates", lambda folder, on_disk: [tiny, tmp_path / "disk"])
    writer = ShardWriter("fit", 0, None)
    fill(writer)
    file = ShardFile(writer.close())
    assert tmp_path / "disk" in file.path.parents
    assert left_in(tiny) == []
    rows = np.arange(8 * 16)
    assert file.fields[0].take(rows)[:, 0].tolist() == (rows // 16).tolist()
    assert file.fields[1].take(rows).tolist() == (rows % 16).tolist()


# ---------------------------------------------------------------- what dead fits left


def test_every_root_is_swept_whatever_the_level(tmp_path, monkeypatch):
    memory, disk, asked = (tmp_path / name for name in ("memory", "disk", "asked"))
    for folder in (memory, disk, asked):
        folder.mkdir()
    monkeypatch.setattr(cache, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    found = []
    for root in (memory, disk, asked):
        found.append(fit_folder(root, "dead"))
        for owner in (found[-1] / "owners").iterdir():
            owner.rename(owner.with_name(f"{owner.name.split(':')[0]}:1:before-this-boot"))
    cache.sweep(str(asked))
    assert not any(folder.exists() for folder in found)
    for root in (memory, disk, asked):
        fit_folder(root, "ended")
    remove_fit("ended", str(asked))
    assert not list(tmp_path.glob("*/*/ended"))


def members(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_the_next_fit_removes_what_a_killed_application_left(spark, tmp_path):
    """Driver, JVM and workers are killed while fits at all levels train."""
    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.train import MaxIteration
    from tests.nnframes.distributed import softmax

    code = f"from tests.nnframes.distributed import levels; levels.train_until_killed({str(tmp_path)!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    roots = [cache.MEMORY, tmp_path]
    homes = [root / cache._home_name() for root in roots]
    before = {folder for home in homes if home.is_dir() for folder in home.iterdir()}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        said = child.stdout.readline().split()
        # A worker that is being forked may be missed by one look.
        while running := members(child.pid):
            for pid in running:
                # It may have ended by itself since the look.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert said == ["training", str(child.pid)]
    left = {folder for home in homes if home.is_dir() for folder in home.iterdir()} - before
    assert len([folder for folder in left if tmp_path in folder.parents]) == 2
    assert len(left) >= 3
    settings = FitSettings(4, MaxIteration(1), 1, cache_folder=str(tmp_path))
    frame = spark.createDataFrame(softmax.rows_of(10), "features array<float>, label double")
    fit_on_spark(frame, softmax.plan_of(), settings, ReplicaSource(softmax.load, b"{}"))
    assert [folder for folder in left if folder.exists()] == []


# ---------------------------------------------------------------- the estimate


def test_the_estimate_counts_samples_network_and_processes():
    demand = Demand(samples=8 * GB, network=100 * MB, tasks=4, executors=2)
    assert (demand.tasks_here, demand.samples_here) == (2, 4 * GB)
    assert demand.task == 2 * GB + 400 * MB + PROCESS
    assert Demand(8 * GB, 100 * MB, 4, 2, slices=8).task == GB // 4 + 400 * MB + PROCESS


SHORT = [
    (Demand(GB, MB, 2), Supply(8 * GB, "the host"), None),
    (Demand(8 * GB, MB, 2), Supply(8 * GB, "the host"), "the host gives 8,192 MB. Hint: setDataCacheLevel('DISK_AND_"),
    (Demand(8 * GB, MB, 2, slices=8), Supply(8 * GB, "the host"), None),
    (Demand(64 * GB, MB, 2, slices=4), Supply(8 * GB, "the host"), "Hint: fewer rows per executor (more executors)."),
    (
        Demand(GB, MB, 2),
        Supply(384 * MB, "spark.executor.memoryOverhead"),
        "2 tasks on an executor need about 1,632 MB (each 512 MB of samples, 4 x 1 MB for the network, 300 MB for the "
        "process), and spark.executor.memoryOverhead gives 384 MB. Hint: setDataCacheLevel('DISK_AND_DRAM', 8), or "
        "fewer rows per executor (more executors), or more spark.executor.memoryOverhead.",
    ),
    (Demand(GB, MB, 2), Supply(8 * GB, "the host", 64 * MB), "1,024 MB of them on a host, and the memory file system"),
    (Demand(GB, MB, 2, 2), Supply(8 * GB, "the host", 600 * MB), None),
    (Demand(GB, MB, 2, slices=4), Supply(8 * GB, "the host", 64 * MB), None),
]


@pytest.mark.parametrize(("demand", "supply", "words"), SHORT)
def test_a_shortage_is_told_with_figures_and_cure(demand, supply, words):
    sentence = shortage(demand, supply)
    assert (sentence is None) == (words is None)
    assert words is None or words in sentence


YARN = {"spark.master": "yarn", "spark.executor.memory": "8g"}
SETTINGS = [
    ({"spark.master": "local[2]", "spark.executor.memoryOverhead": "1g"}, 5 * GB),
    ({"spark.master": "spark://host:7077"}, 5 * GB),
    ({"spark.master": "yarn"}, 384 * MB),
    (YARN, 8 * GB // 10),
    ({**YARN, "spark.executor.memoryOverheadFactor": "0.4"}, 8 * GB * 4 // 10),
    ({**YARN, "spark.executor.memoryOverhead": "2048"}, 2 * GB),
    ({**YARN, "spark.executor.memoryOverhead": "2g", "spark.executor.pyspark.memory": "3g"}, 3 * GB),
    ({"spark.master": "k8s://https://host"}, 384 * MB),
]


@pytest.mark.parametrize(("conf", "memory"), SETTINGS)
def test_what_an_executor_has(conf, memory):
    supply = supply_of(conf, 5 * GB, None)
    assert supply.memory == pytest.approx(memory, abs=MB)
    assert supply.source.startswith("spark.") == (conf["spark.master"].startswith(("yarn", "k8s")))


def test_free_memory_is_that_of_this_machine():
    assert 0 < free_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
