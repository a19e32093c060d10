"""Where the processes of a fit listen: on the one address that they are called at."""

from __future__ import annotations

import socket

import pytest

from nnframes.distributed.link import DriverLink
from nnframes.distributed.meeting import meet
from nnframes.distributed.rendezvous import Rendezvous
from nnframes.distributed.wire import Deadline, Secret, dial

SECRET = Secret.fresh()


class Overheard(Exception):
    """Ends the meeting of a rank that has opened its door."""


class Link:
    """Tells where else the rank that joins can be reached."""

    own_address, orders, recorded = "127.0.0.3", None, ()

    def join(self, hello):
        assert hello["address"] == self.own_address
        socket.create_connection((self.own_address, hello["port"]), timeout=5).close()
        for other in ("127.0.0.1", "127.0.0.2"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, hello["port"]), timeout=5)
        raise Overheard


def test_a_rank_listens_on_its_own_address_alone():
    """The whole of 127.0.0.0/8 is this machine's: a door that is open on all addresses would answer."""
    with pytest.raises(Overheard):
        meet(Link(), {}, SECRET, 2, 5.0)


def test_a_rank_s_own_address_is_the_one_that_it_calls_the_driver_from():
    meeting = Rendezvous("127.0.0.2", SECRET, 1, [[]], 30.0)
    try:
        link = DriverLink(("127.0.0.2", meeting.port), SECRET)
        assert link.own_address == link._sock.getsockname()[0] != "0.0.0.0"
        link.close()
    finally:
        meeting.close()


def test_the_driver_listens_where_it_is_bound_alone():
    meeting = Rendezvous("127.0.0.2", SECRET, 1, [[]], 30.0)
    try:
        with pytest.raises(ConnectionRefusedError):
            dial(("127.0.0.1", meeting.port), SECRET, Deadline(5))
        dial(("127.0.0.2", meeting.port), SECRET, Deadline(5)).close()
    finally:
        meeting.close()


def test_one_rank_alone_listens_nowhere():
    class Alone(Link):
        def join(self, hello):
            assert hello["port"] == 0
            raise Overheard

    with pytest.raises(Overheard):
        meet(Alone(), {}, SECRET, 1, 5.0)
