"""One host of the simulated network: a process in a network namespace of its own that does as it is told.

It reads orders from its standard input, JSON a line, and answers each with a line. It ends with its input, whatever it
is doing: what ends the switch ends its hosts, and a namespace ends with its last process.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from nnframes.distributed.collective import GroupSync
from nnframes.distributed.link import DriverLink
from nnframes.distributed.meeting import meet
from nnframes.distributed.wire import Secret
from tests.bench.exchange import WORKS

DEADLINE = 60.0


def command(*words: str) -> None:
    """Run `ip` or `tc`; what it says goes into the error."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def shape(device: str, limits: list[str]) -> None:
    """Limit what leaves by `device`, as `tc qdisc` says it; nothing: no limit."""
    command("tc", "qdisc", "replace", "dev", device, "root", *(limits or ["pfifo", "limit", "10000"]))


def join(address: str) -> None:
    """Give the own interface its address."""
    command("ip", "link", "set", "lo", "up")
    command("ip", "address", "add", f"{address}/24", "dev", "eth0")
    command("ip", "link", "set", "eth0", "up")
    use_reno()


def use_reno() -> None:
    """Control congestion as clusters do: cubic is Reno where round trips are short, and not free in a namespace."""
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno\n")


def exchange(
    driver: list[Any], secret: str, place: list[int], work: str, sizes: list[int], repeat: int
) -> dict[str, Any]:
    """Meet the other ranks and time `work` for each of the sizes; `place` is the own partition and all ranks."""
    key, (partition, ranks) = Secret(bytes.fromhex(secret)), place
    link = DriverLink((driver[0], driver[1]), key)
    try:
        answer, mesh = meet(link, {"partition": partition, "shards": []}, key, ranks, DEADLINE)
        try:
            sync = GroupSync([[rank] for rank in range(ranks)], answer["rank"], mesh)
            times = [WORKS[work](sync, size, repeat) for size in sizes]
            link.done()
            return {"rank": answer["rank"], "seconds": times}
        finally:
            mesh.close()
    finally:
        link.close()


ACTIONS = {"join": join, "shape": shape, "exchange": exchange}


def listen(orders: queue.SimpleQueue[str]) -> None:
    """Take orders until there are no more, then end the process."""
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


def main() -> None:
    """Say ready, then follow orders."""
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(orders,), daemon=True).start()
    print("ready", flush=True)
    while True:
        order = json.loads(orders.get())
        print(json.dumps(ACTIONS[order.pop("do")](**order)), flush=True)


if __name__ == "__main__":
    main()
