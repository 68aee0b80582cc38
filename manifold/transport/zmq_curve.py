"""Who may come in: whoever knows the cookie, since all keys are made of it. The rest is ZeroMQ's CURVE.

Every node of a cluster listens with one pair of keys and dials with another one, the same on all nodes. A dialler must
know the public key of the first to be understood, and the listener takes no dialler but the second.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

if TYPE_CHECKING:
    from collections.abc import Callable

    Socket = zmq.Socket[bytes]

__all__ = ["CURVE_BYTES", "Doorkeeper", "Keys", "derive_keys"]

CURVE_BYTES = 33
"""What encryption adds to every packet."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a cluster, as ZeroMQ writes them (z85)."""

    listen_public: bytes = field(repr=False)
    listen_secret: bytes = field(repr=False)
    dial_public: bytes = field(repr=False)
    dial_secret: bytes = field(repr=False)

    def lock(self, listener: Socket) -> None:
        """Have a socket that listens encrypt, and ask the doorkeeper about each who dials."""
        listener.curve_server = True
        listener.curve_secretkey = self.listen_secret

    def unlock(self, dialler: Socket) -> None:
        """Have a socket that dials encrypt, and talk to nobody but a node of this cluster."""
        dialler.curve_serverkey = self.listen_public
        dialler.curve_publickey = self.dial_public
        dialler.curve_secretkey = self.dial_secret


@lru_cache(maxsize=8)
def derive_keys(cookie: bytes) -> Keys:
    """Give the keys of the clusters whose cookie this is.

    Who records a connection can try guesses of the cookie on it, at leisure. scrypt makes each try cost 16 MB and some
    50 ms, a nuisance for short words and hopeless for 80 random bits.
    """
    seed = hashlib.scrypt(cookie, salt=b"manifold cluster keys 1", n=1 << 14, r=8, p=1, dklen=64)
    listen_secret, dial_secret = z85.encode(seed[:32]), z85.encode(seed[32:])
    return Keys(zmq.curve_public(listen_secret), listen_secret, zmq.curve_public(dial_secret), dial_secret)


class Doorkeeper:
    """Answers libzmq, which asks for each connection that comes in (ZAP, RFC 27), on the thread of the transport.

    Without keys it lets everybody in who speaks the protocol: libzmq then asks only of peers that do, not of those who
    speak its first version, for which any bytes pass.
    """

    def __init__(self, context: zmq.Context[Socket], keys: Keys | None, refused: Callable[[str, str], None]) -> None:
        self._key = z85.decode(keys.dial_public) if keys else None
        self._refused = refused
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Answer all that was asked."""
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            version, request, _, address, _, mechanism, *credentials = self.socket.recv_multipart()
            is_welcome = self._is_welcome(mechanism, credentials)
            verdict = [b"200", b"OK"] if is_welcome else [b"400", b"not of this cluster"]
            self.socket.send_multipart([version, request, *verdict, b"", b""])
            if not is_welcome:
                self._refused(address.decode(errors="replace"), "it does not know the cookie")

    def _is_welcome(self, mechanism: bytes, credentials: list[bytes]) -> bool:
        if self._key is None:
            return mechanism == b"NULL"
        return mechanism == b"CURVE" and len(credentials) == 1 and hmac.compare_digest(credentials[0], self._key)

    def close(self) -> None:
        self.socket.close()
