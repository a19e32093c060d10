"""The handshake: who knows the secret comes in, nobody else does, and nobody waits for anybody else."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from dataclasses import replace

import pytest

from nnframes.distributed import wire
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, dial, receive_frame, send_frame

SECRETS = {"plain": Secret.fresh(), "encrypted": Secret.fresh(encrypted=True)}


@pytest.fixture(params=sorted(SECRETS))
def secret(request) -> Secret:
    return SECRETS[request.param]


@pytest.fixture
def door(monkeypatch, secret):
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.5)
    welcomed = queue.Queue()
    keeper = Doorkeeper("127.0.0.1", secret, lambda sock, hello: welcomed.put((sock, hello)))
    keeper.secret, keeper.welcomed = secret, welcomed
    yield keeper
    keeper.close()
    while not welcomed.empty():
        welcomed.get()[0].close()


def visit(door, secret=None) -> socket.socket:
    return dial(("127.0.0.1", door.port), secret or door.secret, Deadline(5))


def refused(sock: socket.socket) -> bool:
    """Whether the other side closes without letting this one in."""
    sock.settimeout(10)
    try:
        while sock.recv(1000):
            pass
    except ConnectionError:
        pass
    return True


def test_who_knows_the_secret_comes_in(door):
    with visit(door) as sock:
        send_frame(sock, {"partition": 3}, Deadline(5))
        inside, hello = door.welcomed.get(timeout=5)
        assert hello == {"partition": 3}
        send_frame(inside, {"kind": "start"}, Deadline(5))
        assert receive_frame(sock, Deadline(5)) == {"kind": "start"}
        inside.close()


def test_another_secret_is_refused_on_both_sides(door):
    with pytest.raises(ConnectionError):
        visit(door, replace(door.secret, key=b"x" * 32))
    assert door.welcomed.empty()


STRANGERS = {
    "silent": b"",
    "http": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" + b" " * 64,
    "zeros": bytes(10_000),
    "short": b"\x00" * 10,
}


@pytest.mark.parametrize("kind", sorted(STRANGERS))
def test_strangers_are_shown_out_and_hold_up_nobody(door, kind):
    with socket.create_connection(("127.0.0.1", door.port), timeout=5) as stranger:
        if STRANGERS[kind]:
            stranger.sendall(STRANGERS[kind])
        with visit(door) as friend:
            send_frame(friend, {}, Deadline(5))
            door.welcomed.get(timeout=5)[0].close()
        assert refused(stranger)
    assert door.welcomed.empty()


@pytest.mark.parametrize(
    "data", [struct.pack(">I", 1 << 30), struct.pack(">I", 4) + b"nope", struct.pack(">I", 2) + b"[]"]
)
def test_bad_frames_are_refused_before_they_cost_memory(door, data):
    with visit(door) as sock:
        sock.setblocking(True)
        sock.sendall(data)
        assert refused(sock)
    assert door.welcomed.empty()


@pytest.mark.parametrize("secret", [SECRETS["plain"]])
def test_a_replayed_proof_is_worthless(door):
    """The same answer to another challenge does not open."""
    with visit(door):
        pass
    with socket.create_connection(("127.0.0.1", door.port), timeout=5) as sock:
        first = sock.recv(8 + wire.NONCE)[8:]
        proof = wire._proof(door.secret, b"dial", bytes(wire.NONCE), bytes(wire.NONCE))
        assert first != bytes(wire.NONCE)
        sock.sendall(bytes(wire.NONCE) + proof)
        assert refused(sock)


def test_an_impostor_without_the_secret_learns_nothing():
    """A server that only echoes cannot pass for the driver."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = queue.Queue()

        def answer():
            sock, _ = server.accept()
            with sock:
                sock.sendall(wire.MAGIC + bytes(wire.NONCE))
                said = sock.recv(64)
                sock.sendall(said[wire.NONCE :])
                client.put(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionError, match="it does not know the secret"):
            dial(server.getsockname(), SECRETS["plain"], Deadline(5))
        thread.join()


def test_a_door_is_open_on_its_own_address_alone(door):
    """The whole of 127.0.0.0/8 is this machine's, so what listens everywhere would answer."""
    with pytest.raises(ConnectionRefusedError):
        dial(("127.0.0.2", door.port), door.secret, Deadline(5))


def test_a_deadline_ends_a_wait(door):
    with visit(door) as sock, pytest.raises(TimeoutError, match=r"nothing came for 0\.2 s"):
        receive_frame(sock, Deadline(0.2))


def test_a_crowd_of_strangers_keeps_nobody_out(door):
    """All places are taken: whoever has had one longest loses it."""
    crowd = [socket.create_connection(("127.0.0.1", door.port), timeout=10) for _ in range(wire.STRANGERS)]
    try:
        with visit(door) as sock:
            send_frame(sock, {"partition": 3}, Deadline(5))
            inside, _ = door.welcomed.get(timeout=5)
            inside.close()
        assert refused(crowd[0])
    finally:
        for stranger in crowd:
            stranger.close()
