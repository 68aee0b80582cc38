"""What the cookie does over NATS: nobody who lacks it, the server included, can read a message, or make one.

A message is sealed for one subject, with XChaCha20-Poly1305: one that is moved to another subject cannot be opened.
Without a cookie nothing is sealed, and who may send is for the server to say.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from functools import lru_cache
from typing import Protocol

__all__ = ["Seal", "make_seal"]

_NONCE_BYTES = 24
_TAG_BYTES = 16


class Seal(Protocol):
    """Seals messages, and opens those that were sealed with the same cookie."""

    label: str
    """Tells the cookie from others, and does not give it away; "" without one."""

    extra_bytes: int
    """What it adds to a message."""

    def seal(self, subject: str, data: bytes) -> bytes:
        """Give what is to be published to a subject."""

    def open(self, subject: str, data: bytes) -> bytes | None:
        """Give what was sealed for this subject; None if it was not, or not by us."""


def make_seal(cookie: bytes | None) -> Seal:
    """Give the seal of the clusters whose cookie this is."""
    return _Sealed(*_derive(cookie)) if cookie else _Unsealed()


@lru_cache(maxsize=8)
def _derive(cookie: bytes) -> tuple[bytes, str]:
    # As costly to guess as the keys that lock links over ZeroMQ: all users of the server can see the label.
    derived = hashlib.scrypt(cookie, salt=b"manifold nats keys 1", n=1 << 14, r=8, p=1, dklen=40)
    return derived[:32], derived[32:].hex()


class _Unsealed:
    label = ""
    extra_bytes = 0

    def seal(self, subject: str, data: bytes) -> bytes:  # noqa: ARG002
        return data

    def open(self, subject: str, data: bytes) -> bytes | None:  # noqa: ARG002
        return data


class _Sealed:
    extra_bytes = _NONCE_BYTES + _TAG_BYTES

    def __init__(self, key: bytes, label: str) -> None:
        from nacl import bindings
        from nacl.exceptions import CryptoError

        self.label = label
        self._key = key
        self._encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        self._decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
        self._wrong = (CryptoError, ValueError, TypeError)
        # No nonce comes twice: the first half is this object's own, the other counts.
        self._nonce = secrets.token_bytes(_NONCE_BYTES - 8)
        self._count = itertools.count()

    def seal(self, subject: str, data: bytes) -> bytes:
        nonce = self._nonce + next(self._count).to_bytes(8, "little")
        return nonce + self._encrypt(data, subject.encode(), nonce, self._key)

    def open(self, subject: str, data: bytes) -> bytes | None:
        try:
            return self._decrypt(data[_NONCE_BYTES:], subject.encode(), data[:_NONCE_BYTES], self._key)
        except self._wrong:
            return None
