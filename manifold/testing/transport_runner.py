"""A transport with its I/O thread, as a test uses it: calls go to that thread, and what comes out is kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.transport import Transport

__all__ = ["TIMEOUT_S", "Runner"]

TIMEOUT_S = 20.0
"""How long anything that should happen may take."""

T = TypeVar("T")


class Runner:
    """A transport with its I/O thread, and what came out of it, in order. A context manager that closes it.

    `packets` and `connected` are what the callbacks were given; `strays` counts calls of them outside `poll`.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.packets: list[bytes] = []
        self.connected: list[str] = []
        self.strays = 0
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._polling = False
        self._stopping = False
        transport.open(self._on_packet, self._on_connected)
        self.address = transport.address
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)
        self._thread.start()

    def call(self, act: Callable[[], T]) -> T:
        """Have it done on the I/O thread, between two polls, and give what it gave."""
        done: Future[T] = Future()
        with self._changed:
            self._calls.append((act, done))
        self.transport.wake()
        return done.result(TIMEOUT_S)

    def dial(self, address: str) -> None:
        """Dial, and wait for the connection."""
        told = self.connected.count(address)
        self.call(lambda: self.transport.dial(address))
        self.wait(lambda: self.connected.count(address) > told)

    def send(self, address: str, *packets: bytes) -> None:
        """Send, each as soon as it is taken."""
        for packet in packets:
            end = time.monotonic() + TIMEOUT_S
            while not self.call(lambda packet=packet: self.transport.send(address, packet)):  # type: ignore[misc]
                assert time.monotonic() < end, f"nothing can be sent to {address}"

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; it is looked at whenever a callback was called."""
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT_S), "it did not happen in time"

    def close(self) -> None:
        """End the thread, and close the transport on it."""
        self._stopping = True
        self.transport.wake()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "poll does not return, or close does not"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopping:
            self._polling = True
            self.transport.poll(TIMEOUT_S)
            self._polling = False
            while self._calls:
                act, done = self._calls.popleft()
                try:
                    done.set_result(act())
                except Exception as error:  # noqa: BLE001
                    done.set_exception(error)
        self.transport.close()

    def _on_packet(self, packet: bytes) -> None:
        self._note(self.packets, packet)

    def _on_connected(self, address: str) -> None:
        self._note(self.connected, address)

    def _note(self, notes: list[T], what: T) -> None:
        with self._changed:
            self.strays += not self._polling or threading.get_ident() != self._thread.ident
            notes.append(what)
            self._changed.notify_all()
