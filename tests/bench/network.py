"""A network of hosts on one machine: processes in network namespaces, joined by a bridge, over links of a chosen rate.

No namespace has a name, so there is nothing to clean up: each lives as long as its process. The switch is a process in
a namespace of its own that holds the bridge and starts the hosts; a host ends when its standard input does, and the
switch when its own does. Thus all of it ends with the benchmark, also when that is killed. Nothing of it can be reached
from outside, or reach it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnframes.distributed.rendezvous import Rendezvous
from nnframes.distributed.wire import Secret
from tests.bench.host import DEADLINE, command, shape, use_reno

ROOT = Path(__file__).resolve().parents[2]
SWITCH = "10.77.0.254"
TRIAL = """
ip link add one type bridge
ip link add two type veth peer name three
tc qdisc add dev two root tbf rate 1mbit burst 9kb limit 9kb
"""
BUFFER = 4 << 20
"""Bytes that wait at a port of the switch at most."""


def why_not() -> str | None:
    """Why this machine cannot simulate a network; None if it can."""
    missing = [name for name in ("ip", "tc", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} must be installed: apt-get install iproute2 util-linux"
    words = [*unshare(), "sh", "-ec", TRIAL]
    done = subprocess.run(words, capture_output=True, text=True)
    return f"network namespaces are not allowed here: {done.stderr.strip()}" if done.returncode else None


def unshare() -> list[str]:
    """The command that starts a program in a network namespace of its own; who is not root becomes it in there."""
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]


def simulate(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the plan of `order` in a switch process and return what it found."""
    words = [*unshare(), sys.executable, "-m", "tests.bench.network", json.dumps(order)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as switch:
        assert switch.stdout is not None
        found = switch.stdout.read()
    if switch.returncode:
        raise RuntimeError(f"The simulated network stopped with code {switch.returncode}; its error is above.")
    return json.loads(found)


class Host:
    """The switch's end of a host's process."""

    def __init__(self, number: int) -> None:
        self.number, self.port = number, f"port{number}"
        words = ["unshare", "--net", sys.executable, "-m", "tests.bench.host"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def plug(self) -> None:
        """Lay a cable from the host to the bridge."""
        self._line()
        peer = ["peer", "name", "eth0", "netns", str(self.process.pid)]
        command("ip", "link", "add", self.port, "type", "veth", *peer)
        command("ip", "link", "set", self.port, "master", "bridge", "up")
        self.tell(do="join", address=f"10.77.0.{self.number + 1}")
        self.answer()

    def tell(self, **order: Any) -> None:
        """Send an order; the host works while others are told."""
        assert self.process.stdin is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        """Wait for what came of the order."""
        return json.loads(self._line())

    def stop(self) -> None:
        """End the process, and with it the namespace."""
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"Host {self.number} stopped with code {self.process.wait()}; its error is above.")
        return line


def run_plan(hosts: Sequence[Host], steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run each step, {"hosts", "rate", "work", "sizes", "repeat"}, and return it with "seconds", one for each size."""
    return [{**step, "seconds": _step(hosts[: step["hosts"]], step)} for step in steps]


def _step(hosts: Sequence[Host], step: dict[str, Any]) -> list[float]:
    _limit(hosts, step["rate"])
    secret, ranks = Secret.fresh(), len(hosts)
    meeting = Rendezvous(SWITCH, secret, ranks, [[] for _ in hosts], DEADLINE)
    try:
        what = {name: step[name] for name in ("work", "sizes", "repeat")}
        for host in hosts:
            place = [host.number, ranks]
            host.tell(do="exchange", driver=[SWITCH, meeting.port], secret=secret.key.hex(), place=place, **what)
        found = [host.answer()["seconds"] for host in hosts]
    finally:
        meeting.close()
    return [statistics.mean(column) for column in zip(*found, strict=True)]


def _limit(hosts: Sequence[Host], rate: float | None) -> None:
    """Limit both ends of every cable to `rate` bytes a second."""
    limits = []
    if rate is not None:
        # A bucket of 2 ms, and at least one packet of the largest size that the kernel hands over at once.
        limits = ["tbf", "rate", f"{8 * rate:.0f}bit", "burst", str(max(70_000, int(rate / 500))), "limit", str(BUFFER)]
    for host in hosts:
        host.tell(do="shape", device="eth0", limits=limits)
        shape(host.port, limits)
        host.answer()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Be the switch: lay the network, run the plan, print what came of it."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    order = json.loads(sys.argv[1])
    use_reno()
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "add", "bridge", "type", "bridge")
    command("ip", "address", "add", f"{SWITCH}/24", "dev", "bridge")
    command("ip", "link", "set", "bridge", "up")
    hosts = [Host(number) for number in range(order["hosts"])]
    try:
        for host in hosts:
            host.plug()
        found = run_plan(hosts, order["steps"])
    finally:
        for host in hosts:
            host.stop()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
