"""Encryption: nothing passes in the clear, only the certificate of the fit is believed, the bits stay the same."""

from __future__ import annotations

import pickle
import queue
import socket
import ssl
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from nnframes.distributed import group, wire
from nnframes.distributed.mesh import Mesh, Peer
from nnframes.distributed.rendezvous import Rendezvous
from nnframes.distributed.tls import RECORD, _joined, make_certificate
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, dial, readable, receive_frame, send_frame
from nnframes.errors import UnsupportedError
from nnframes.train.compression import Rounding
from tests.nnframes.distributed import cluster, peers
from tests.nnframes.distributed.relay import Relay, relayed

PLAIN, SECRET = Secret.fresh(), Secret.fresh(encrypted=True)
PATTERN = bytes(range(1, 251))


@pytest.fixture
def met():
    """`met(secret)`: both ends of a connection, and what a stranger in the middle hears of it."""
    ends = []

    def connect(secret: Secret):
        welcomed: queue.Queue = queue.Queue()
        door = Doorkeeper("127.0.0.1", secret, lambda sock, hello: welcomed.put(sock))
        ends.append(door)
        relay = relayed(("127.0.0.1", door.port))
        heard = relay.__enter__()
        ends.append(relay)
        outer = dial(heard.address, secret, Deadline(10))
        send_frame(outer, {"kind": "hello there"}, Deadline(10))
        inner = welcomed.get(timeout=10)
        ends.extend([outer, inner])
        return outer, inner, heard

    yield connect
    for end in reversed(ends):
        end.__exit__(None, None, None) if hasattr(end, "__exit__") else end.close()


def meshes(outer: socket.socket, inner: socket.socket) -> tuple[Mesh, Mesh]:
    return (
        Mesh(0, {1: outer}, {1: Peer(1, "there", "inner")}, 10.0),
        Mesh(1, {0: inner}, {0: Peer(0, "here", "outer")}, 10.0),
    )


@pytest.mark.parametrize(("secret", "clear"), [(PLAIN, True), (SECRET, False)], ids=["plain", "encrypted"])
def test_nothing_passes_in_the_clear(met, secret, clear):
    outer, inner, relay = met(secret)
    sent = [np.frombuffer(PATTERN * count, np.uint8) for count in (1, 3, 4000, 1, 80)]
    came = [[np.empty_like(array) for array in sent] for _ in range(2)]
    near, far = meshes(outer, inner)
    thread = threading.Thread(target=far.exchange, args=({0: sent}, {0: came[0]}, "the test"))
    thread.start()
    near.exchange({1: sent}, {1: came[1]}, "the test")
    thread.join()
    for arrays in came:
        assert all(np.array_equal(*pair) for pair in zip(arrays, sent, strict=True))
    assert len(relay.heard) > 2 * sum(map(len, sent))
    for words in (b"nnframes", b"hello there", PATTERN[:16]):
        assert (words in relay.heard) is clear


def test_it_is_the_newest_tls(met):
    outer, _, _ = met(SECRET)
    assert isinstance(outer, ssl.SSLSocket)
    assert outer.version() == "TLSv1.3"


def test_who_has_the_key_but_shows_another_certificate_is_not_believed():
    """Not even one that took the whole connection over: it hears nothing of the proof."""
    impostor = Doorkeeper("127.0.0.1", replace(SECRET, certificate=make_certificate()), lambda *_: None)
    try:
        with pytest.raises(ConnectionError, match="it does not show the certificate of this fit"):
            dial(("127.0.0.1", impostor.port), SECRET, Deadline(10))
    finally:
        impostor.close()


def test_a_plain_caller_is_shown_out(monkeypatch):
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.5)
    door = Doorkeeper("127.0.0.1", SECRET, lambda *_: None)
    try:
        with pytest.raises(ConnectionError, match="the connection was closed"):
            dial(("127.0.0.1", door.port), PLAIN, Deadline(10))
    finally:
        door.close()


def test_a_plain_door_is_recognised():
    door = Doorkeeper("127.0.0.1", PLAIN, lambda *_: None)
    try:
        with pytest.raises(ConnectionError, match=r"it does not encrypt as this fit does \(WRONG_VERSION_NUMBER\)"):
            dial(("127.0.0.1", door.port), SECRET, Deadline(10))
    finally:
        door.close()


def test_a_door_that_says_nothing_is_left_after_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        dial(silent.getsockname(), SECRET, Deadline(0.3))


def test_what_is_decrypted_already_is_readable(met):
    outer, inner, _ = met(SECRET)
    inner.setblocking(True)
    inner.sendall(b"abcd" * 2)
    buffer = memoryview(bytearray(4))
    for _ in range(2):
        wire.receive_into(outer, buffer, Deadline(10))
        assert bytes(buffer) == b"abcd"
        assert readable(outer) is bool(outer.pending())
    assert not readable(outer)
    inner.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionError, match="the connection was closed"):
        wire.receive_into(outer, buffer, Deadline(10))


def test_two_threads_may_use_one_connection(met):
    outer, inner, _ = met(SECRET)
    text, count = "x" * 40_000, 50

    def echo():
        for _ in range(count):
            send_frame(inner, receive_frame(inner, Deadline(10)), Deadline(10))

    def say():
        for number in range(count):
            send_frame(outer, {"number": number, "text": text}, Deadline(10))

    threads = [threading.Thread(target=each) for each in (echo, say)]
    for thread in threads:
        thread.start()
    assert [receive_frame(outer, Deadline(10))["number"] for _ in range(count)] == list(range(count))
    for thread in threads:
        thread.join()


def test_short_buffers_share_a_record():
    views = [memoryview(bytes([number]) * size) for number, size in enumerate((3, 0, 5, RECORD, 1))]
    joined = _joined(views)
    assert (len(joined), bytes(joined[:9])) == (RECORD, b"\0\0\0\2\2\2\2\2\3")
    assert bytes(_joined(views)) == bytes(joined)
    assert _joined(views[3:]) == views[3]
    assert _joined(views[:1]) == views[0]


@pytest.mark.parametrize(("ranks", "shards", "size", "sparse"), [(2, 3, 100_001, True), (3, 4, 1_000_000, False)])
def test_sums_have_the_bits_of_one_process(ranks, shards, size, sparse):
    found = peers.run_ranks(ranks, shards, peers.sums, size, 3, sparse, secret=SECRET)
    assert found == dict.fromkeys(range(ranks), peers.serial(shards, size, 3, sparse))


def test_a_peer_that_dies_is_named():
    found = peers.run_ranks(2, 2, peers.dies, 100_000, 50, False, secret=SECRET)
    assert "PeerLost: Rank 0 lost rank 1 on" in found[0]


def test_a_peer_that_stalls_is_named_after_the_deadline():
    found = peers.run_ranks(2, 2, peers.stalls, 1000, 2, False, deadline=1.0, secret=SECRET)
    assert "PeerLost: Rank 0 waited 1 s to receive from rank 1 on" in found[0]


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_compressed_sums_have_them_too(kind):
    rounding = Rounding(kind, 99_990)
    found = peers.run_ranks(2, 3, peers.sums, 100_001, 3, True, secret=SECRET, rounding=rounding)
    assert found == dict.fromkeys(range(2), peers.serial(3, 100_001, 3, True, rounding))


def test_a_secret_travels_and_shows_nothing():
    copy = pickle.loads(pickle.dumps(SECRET))
    assert copy == SECRET
    assert repr(copy) == "Secret()"
    assert repr(copy.certificate) == "Certificate()"
    assert b"ENCRYPTED PRIVATE KEY" in copy.certificate.pem


def test_a_missing_package_is_said_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UnsupportedError, match=r"need the package cryptography.*Hint: pip install nnframes\[tls\]"):
        Secret.fresh(encrypted=True)
    Secret.fresh()


class Tapped(Rendezvous):
    """Ranks reach the driver through a stranger."""

    heard: list[bytearray] = []

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self._relay = Relay(("127.0.0.1", self.port))
        self.port = self._relay.address[1]
        self.heard.append(self._relay.heard)

    def close(self) -> None:
        super().close()
        self._relay.close()


def tapped_fit(folder: str, settings: dict[str, str]) -> dict:
    """Fit with a Spark of a fresh process; say what came of it and which words were heard in the clear."""
    with cluster.own_spark("local[2]", folder, settings) as spark:
        group.Rendezvous = Tapped
        result = cluster.fit(cluster.frame_of(spark), folder + "/cache")
        (heard,) = Tapped.heard
        words = [word for word in ("nnframes", "partition", "states", "done") if word.encode() in heard]
        return {"tasks": result.tasks, "weights": cluster.digest(result.weights), "words": words, "heard": len(heard)}


@pytest.mark.slow
def test_a_fit_is_encrypted_where_spark_is(spark, spawn, tmp_path):
    # Spark encrypts only where it authenticates.
    settings = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
    found = spawn(tapped_fit, str(tmp_path / "encrypted"), settings, timeout=180)
    plain = cluster.digest(cluster.fit(cluster.frame_of(spark), str(tmp_path / "plain")).weights)
    assert found.pop("heard") > 1000
    assert found == {"tasks": 2, "weights": plain, "words": []}
