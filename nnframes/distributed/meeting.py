"""How the ranks of a gang meet: a link (driver or barrier) says who is where, then everybody connects to everybody.

The lower rank accepts, the higher one dials and shows the token that it has for this meeting, which one that was
replaced does not know.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nnframes.distributed.faults import PeerLost
from nnframes.distributed.link import Link
from nnframes.distributed.mesh import Mesh, Peer
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, close_all, dial, send_frame

__all__ = ["meet"]

TICK_SECONDS = 0.2

Guests = queue.Queue[tuple[socket.socket, dict]]


def meet(
    link: Link, hello: Mapping[str, Any], secret: Secret, ranks: int, deadline: float
) -> tuple[dict[str, Any], Mesh] | None:
    """Join the group through `link` and connect to all other ranks; returns the link's answer and the mesh.

    None when all is done already. One rank alone opens no socket here. Raises `PeerLost` naming who could not be
    reached.
    """
    guests: Guests = queue.Queue()
    door = Doorkeeper(link.own_address, secret, lambda sock, first: guests.put((sock, first))) if ranks > 1 else None
    try:
        port = door.port if door is not None else 0
        own = {"host": socket.gethostname(), "address": link.own_address, "port": port}
        answer = link.join({**hello, **own})
        if answer is None:
            return None
        return answer, _connected(answer["rank"], answer["peers"], guests, link, secret, deadline)
    finally:
        if door is not None:
            door.close()


def _connected(
    rank: int, listed: Sequence[Mapping[str, Any]], guests: Guests, link: Link, secret: Secret, deadline: float
) -> Mesh:
    """Dial the lower ranks, await the higher ones."""
    names = [Peer(other, each["host"], f"{each['address']}:{each['port']}") for other, each in enumerate(listed)]
    sockets: dict[int, socket.socket] = {}
    try:
        for other in range(rank):
            try:
                address = (listed[other]["address"], listed[other]["port"])
                sockets[other] = dial(address, secret, Deadline(deadline))
                send_frame(sockets[other], {"rank": rank, "token": listed[rank]["token"]}, Deadline(deadline))
            except OSError as error:
                raise PeerLost(
                    f"{names[rank]} must reach {names[other]}. Received: {error}. "
                    "Hint: executors must be able to connect to each other on any port."
                ) from error
        expected = {other: listed[other]["token"] for other in range(rank + 1, len(listed))}
        _await_guests(expected, sockets, guests, link, names, deadline)
    except BaseException:
        close_all(list(sockets.values()))
        raise
    mesh = Mesh(rank, sockets, {other: names[other] for other in sockets}, deadline, link.orders)
    try:
        own = _place(listed[rank])
        mesh.introduce(other for other in sockets if _place(listed[other]) == own)
    except BaseException:
        mesh.close()
        raise
    return mesh


def _place(peer: Mapping[str, Any]) -> tuple[str, str]:
    return peer["host"], peer["address"]


def _await_guests(
    expected: dict[int, str],
    sockets: dict[int, socket.socket],
    guests: Guests,
    link: Link,
    names: Sequence[Peer],
    deadline: float,
) -> None:
    end = time.monotonic() + deadline
    while expected:
        link.check()
        try:
            sock, first = guests.get(timeout=TICK_SECONDS)
        except queue.Empty:
            if time.monotonic() >= end:
                missing = ", ".join(str(names[other]) for other in expected)
                raise PeerLost(
                    f"A connection must come within {deadline:g} s. Received: none from {missing}. "
                    "Hint: executors must be able to connect to each other on any port."
                ) from None
            continue
        other = first.get("rank")
        if isinstance(other, int) and expected.get(other) == first.get("token", ""):
            sockets[other] = sock
            del expected[other]
        else:
            sock.close()
