"""Sockets that always have a deadline, and the handshake that every connection starts with.

    accepting side                          dialling side
    where encrypted: TLS, in which all that follows runs (`nnframes.distributed.tls`)
    MAGIC | nonce a (32)             ->
                                     <-     nonce b (32) | HMAC-SHA256(secret, "dial" a b)
    HMAC-SHA256(secret, "accept" a b)  ->
    then frames: length (4, big-endian) | JSON

All lengths are fixed or limited before anything is allocated; nothing is unpickled. Each accepted connection is
challenged in a thread of its own, so that a stranger who says nothing keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nnframes.distributed.tls import Certificate, make_certificate
from nnframes.errors import SyncError

__all__ = [
    "Deadline",
    "Doorkeeper",
    "Secret",
    "accept_challenge",
    "dial",
    "readable",
    "receive_frame",
    "receive_into",
    "send_frame",
]

MAGIC = b"nnframes"
NONCE = 32
FRAME_LIMIT = 64 << 20
HANDSHAKE_SECONDS = 5.0
STRANGERS = 128
"""Connections that may be in their handshake at once: one more ends the one that has been longest in its own."""


@dataclass(frozen=True)
class Secret:
    """What the processes of one fit share: a key to prove themselves with, a certificate where they encrypt."""

    key: bytes = field(repr=False)
    certificate: Certificate | None = field(default=None, repr=False)

    @classmethod
    def fresh(cls, encrypted: bool = False) -> Secret:
        """Return a new secret; raises `UnsupportedError` where `encrypted` needs a package that is missing."""
        return cls(secrets.token_bytes(32), make_certificate() if encrypted else None)


class Deadline:
    """A point in time that all waits of one operation share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, > 0; raises `TimeoutError` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing came for {self.seconds:g} s")
        return left


def _await(sock: socket.socket, event: int, deadline: Deadline) -> None:
    """Wait for one socket. A socket's own timeout would be shared by the threads that read it and write it."""
    poller = select.poll()
    try:
        poller.register(sock, event)
    except ValueError as error:  # another thread closed it
        raise ConnectionError("the connection was closed") from error
    while not poller.poll(deadline.left() * 1000):
        pass


def readable(sock: socket.socket) -> bool:
    """Return whether there is something to read, or an end, without waiting."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))


def receive_into(sock: socket.socket, buffer: memoryview, deadline: Deadline) -> None:
    """Fill `buffer` from a non-blocking socket; `ConnectionError` at an early end, `TimeoutError` past the deadline."""
    while len(buffer):
        try:
            count = sock.recv_into(buffer)
        except BlockingIOError:
            _await(sock, select.POLLIN, deadline)
            continue
        if not count:
            raise ConnectionError("the connection was closed")
        buffer = buffer[count:]


def receive_exact(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    """Return exactly `size` bytes."""
    data = bytearray(size)
    receive_into(sock, memoryview(data), deadline)
    return bytes(data)


def send_all(sock: socket.socket, data: bytes | memoryview, deadline: Deadline) -> None:
    """Send all of `data` through a non-blocking socket before the deadline."""
    view = memoryview(data)
    while len(view):
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            _await(sock, select.POLLOUT, deadline)


def send_frame(sock: socket.socket, message: dict, deadline: Deadline) -> None:
    """Send one JSON message."""
    data = json.dumps(message).encode()
    send_all(sock, struct.pack(">I", len(data)) + data, deadline)


def receive_frame(sock: socket.socket, deadline: Deadline, limit: int = FRAME_LIMIT) -> dict:
    """Receive one JSON message; raises `ConnectionError` when it is none or longer than `limit` bytes."""
    (size,) = struct.unpack(">I", receive_exact(sock, 4, deadline))
    if size > limit:
        raise ConnectionError(f"a message of {size} bytes came, the limit is {limit}")
    try:
        message = json.loads(receive_exact(sock, size, deadline))
    except ValueError as error:
        raise ConnectionError(f"a message that is not JSON came: {error}") from error
    if not isinstance(message, dict):
        raise ConnectionError("a message that is not an object came")
    return message


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _encrypted(sock: socket.socket, context: ssl.SSLContext, deadline: Deadline, accepting: bool) -> ssl.SSLSocket:
    """Return `sock` encrypted, which it hands over; raises `OSError` when the handshake fails."""
    wrapped = context.wrap_socket(sock, server_side=accepting, do_handshake_on_connect=False)
    try:
        _shake_hands(wrapped, deadline)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def _shake_hands(sock: ssl.SSLSocket, deadline: Deadline) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            _await(sock, select.POLLIN, deadline)
        except ssl.SSLWantWriteError:
            _await(sock, select.POLLOUT, deadline)
        except ssl.SSLError as error:
            raise ConnectionError(f"it does not encrypt as this fit does ({error.reason or error})") from error


def _proof(secret: Secret, side: bytes, a: bytes, b: bytes) -> bytes:
    return hmac.new(secret.key, MAGIC + side + a + b, hashlib.sha256).digest()


def accept_challenge(sock: socket.socket, secret: Secret, deadline: Deadline) -> None:
    """Prove the secret to each other, on the accepting side; raises `ConnectionError` for a stranger."""
    a = secrets.token_bytes(NONCE)
    send_all(sock, MAGIC + a, deadline)
    answer = receive_exact(sock, NONCE + hashlib.sha256().digest_size, deadline)
    b, proof = answer[:NONCE], answer[NONCE:]
    if not hmac.compare_digest(proof, _proof(secret, b"dial", a, b)):
        raise ConnectionError("a stranger without the secret of this fit called")
    send_all(sock, _proof(secret, b"accept", a, b), deadline)


def dial(address: tuple[str, int], secret: Secret, deadline: Deadline) -> socket.socket:
    """Connect and prove the secret to each other; raises `OSError` when that fails."""
    sock = socket.create_connection(address, timeout=deadline.left())
    try:
        _prepare(sock)
        if secret.certificate is not None:
            sock = wrapped = _encrypted(sock, secret.certificate.dialling(), deadline, accepting=False)
            secret.certificate.check(wrapped)
        greeting = receive_exact(sock, len(MAGIC) + NONCE, deadline)
        if not greeting.startswith(MAGIC):
            raise ConnectionError("it does not speak this protocol")
        a, b = greeting[len(MAGIC) :], secrets.token_bytes(NONCE)
        send_all(sock, b + _proof(secret, b"dial", a, b), deadline)
        proof = receive_exact(sock, hashlib.sha256().digest_size, deadline)
        if not hmac.compare_digest(proof, _proof(secret, b"accept", a, b)):
            raise ConnectionError("it does not know the secret of this fit")
    except BaseException:
        sock.close()
        raise
    return sock


class Doorkeeper:
    """Listens on one address and hands over connections that proved the secret, with their first message.

    `welcome(sock, hello)` runs in the connection's own thread and owns the socket from then on.
    """

    def __init__(self, host: str, secret: Secret, welcome: Callable[[socket.socket, dict], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, 0), family=family, backlog=STRANGERS)
        except OSError as error:
            raise SyncError(
                f"A socket on {host} must open. Received: {error}. Hint: check spark.driver.host."
            ) from error
        self.port: int = self._listener.getsockname()[1]
        self._secret, self._welcome = secret, welcome
        self._context = None if secret.certificate is None else secret.certificate.accepting()
        self._guests: deque[socket.socket] = deque()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener.settimeout(0.5)
        self._thread = threading.Thread(target=self._accept, name="nnframes-doorkeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; connections that were handed over stay open."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept at once where the platform does
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                sock, _ = self._listener.accept()
                handle = self._placed(sock)
            except TimeoutError:
                continue
            except OSError:
                self._closed.wait(0.1)  # no descriptors left, say: do not spin
                continue
            threading.Thread(target=self._greet, args=(sock, handle), name="nnframes-guest", daemon=True).start()

    def _placed(self, sock: socket.socket) -> socket.socket:
        """Give a guest a place, so that a crowd of silent ones keeps nobody out; returns a handle to end it by."""
        handle = sock.dup()
        with self._lock:
            self._guests.append(handle)
            if len(self._guests) > STRANGERS:
                with contextlib.suppress(OSError):
                    self._guests.popleft().shutdown(socket.SHUT_RDWR)  # wakes its thread
        return handle

    def _greet(self, sock: socket.socket, handle: socket.socket) -> None:
        try:
            try:
                deadline = Deadline(HANDSHAKE_SECONDS)
                _prepare(sock)
                if self._context is not None:
                    sock = _encrypted(sock, self._context, deadline, accepting=True)
                accept_challenge(sock, self._secret, deadline)
                hello = receive_frame(sock, deadline)
            finally:
                self._leave(handle)
        except OSError:
            sock.close()
            return
        self._welcome(sock, hello)

    def _leave(self, handle: socket.socket) -> None:
        with self._lock:
            if handle in self._guests:
                self._guests.remove(handle)
            handle.close()


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close sockets, whatever state they are in."""
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
