"""Encryption of a fit's connections: TLS 1.3 with a certificate made for the fit.

The driver makes the certificate; it travels with the secret in the tasks' closure, and only who has that can be called.
The dialling side holds what it is shown against the fingerprint: no authority, no host names, no dates. The challenge
of `nnframes.distributed.wire` then runs inside and proves the dialling side. Job mode has no connections of its own.

Only the driver needs the library `cryptography` (extra `tls`); all sides use Python's own `ssl`.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nnframes.errors import UnsupportedError

__all__ = ["Certificate", "TlsSocket", "check_cryptography", "make_certificate"]

RECORD = 16 << 10
"""The most that TLS encrypts at once; shorter buffers are joined up to it."""

WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
LIFETIME = datetime.timedelta(days=3650)
"""Nobody looks at the dates: the fingerprint is what counts."""


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate with its private key, encrypted under `password`, and the SHA-256 of the former."""

    pem: bytes = field(repr=False)
    password: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)

    def accepting(self) -> ssl.SSLContext:
        """Return the context of a side that shows the certificate."""
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        # Nobody resumes; so what arrives behind the handshake is data.
        context.num_tickets = 0
        # Python's ssl reads from files only: this one is its owner's alone, encrypted, and soon gone.
        with tempfile.NamedTemporaryFile(prefix="nnframes-", suffix=".pem") as file:
            file.write(self.pem)
            file.flush()
            context.load_cert_chain(file.name, password=self.password)
        return context

    def dialling(self) -> ssl.SSLContext:
        """Return the context of a side that is shown a certificate, which `check` must see."""
        context = _context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def check(self, sock: ssl.SSLSocket) -> None:
        """Raise `ConnectionError` unless the other side of the finished handshake showed this certificate."""
        shown = sock.getpeercert(binary_form=True) or b""
        if not hmac.compare_digest(hashlib.sha256(shown).digest(), self.fingerprint):
            raise ConnectionError("it does not show the certificate of this fit")


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.sslsocket_class = TlsSocket
    return context


class TlsSocket(ssl.SSLSocket):
    """An encrypted socket that behaves like a plain non-blocking one where this package uses it.

    A wait is a `BlockingIOError`, whatever it is for, and two threads may use it at once, which OpenSSL does not allow.
    What is decrypted already does not make it readable for `poll`: read until it would block, or ask `pending()`.
    """

    _turn: threading.Lock

    def __new__(cls, *args: Any, **kwargs: Any) -> TlsSocket:
        sock = super().__new__(cls, *args, **kwargs)
        sock._turn = threading.Lock()
        return sock

    def send(self, data: Any, flags: int = 0) -> int:
        with self._turn:
            try:
                return super().send(data, flags)
            except WAITS as error:
                raise BlockingIOError from error

    def sendmsg(self, buffers: Any, *args: Any) -> int:  # type: ignore[override]
        return self.send(_joined(buffers))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        with self._turn:
            try:
                return super().recv_into(buffer, nbytes, flags)
            except WAITS as error:
                raise BlockingIOError from error

    def shutdown(self, how: int) -> None:
        # That of SSLSocket would let a thread that is still reading go on without decrypting.
        socket.socket.shutdown(self, how)


def _joined(buffers: Sequence[memoryview]) -> memoryview:
    """Return what goes into the next record; the same for the same buffers, as OpenSSL asks of one that tries again."""
    if len(buffers) == 1 or len(buffers[0]) >= RECORD:
        return buffers[0][:RECORD]
    data = bytearray()
    for buffer in buffers:
        data += buffer[: RECORD - len(data)]
    return memoryview(data)


def check_cryptography() -> None:
    """Raise `UnsupportedError` where certificates cannot be made."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            f"Encrypted connections, which this Spark asks for, need the package cryptography. Received: {error}. "
            "Hint: pip install nnframes[tls] on the driver; executors need none."
        ) from error


def make_certificate() -> Certificate:
    """Return a fresh certificate; raises `UnsupportedError` without `cryptography`."""
    check_cryptography()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nnframes")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - LIFETIME)
    made = builder.not_valid_after(now + LIFETIME).sign(key, hashes.SHA256())
    encoding, password = serialization.Encoding.PEM, secrets.token_hex(32).encode()
    lock = serialization.BestAvailableEncryption(password)
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, lock) + made.public_bytes(encoding)
    return Certificate(pem, password, made.fingerprint(hashes.SHA256()))
