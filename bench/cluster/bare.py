"""The floor of two processes that talk over ZeroMQ: bare pyzmq, blocking, PUSH and PULL, as the library uses them.

The child is `python -m bench.cluster.bare ADDRESS`. It takes packets, and answers each one that is marked with how many
it has taken since it last did, and the packet.
"""

from __future__ import annotations

import struct
import sys
import threading
from typing import Self

import zmq

from bench.cluster.child import Child, until_driver_ends
from bench.contenders import MESSAGE, WAIT_S, Miscounted, timed
from manifold.core.codec import encode

__all__ = ["BarePair"]

_HOST = "tcp://127.0.0.1"
_NUMBER = struct.Struct("<Q")
_MARK = b"!"


class BarePair:
    """This process and one other; what they send is as large as the library's message."""

    def __init__(self) -> None:
        self._packet = encode(MESSAGE)
        self._context = zmq.Context()
        self._in = self._context.socket(zmq.PULL)
        self._in.rcvtimeo = int(WAIT_S * 1000)
        self._child = Child("bench.cluster.bare", _bound(self._in))
        self._out = self._context.socket(zmq.PUSH)
        self._out.connect(self._child.line)

    def send(self, packets: int) -> list[float]:
        """Send so many, each by itself, wait until all were taken, and give the seconds of each call."""
        calls = timed(packets - 1, lambda: self._out.send(self._packet))
        calls += timed(1, lambda: self._out.send(self._packet + _MARK))
        answer = self._in.recv()
        if answer != _NUMBER.pack(packets) + self._packet + _MARK:
            msg = f"bare pyzmq: {packets} packets were sent, and {_NUMBER.unpack_from(answer)[0]} came"
            raise Miscounted(msg)
        return calls

    def close(self) -> None:
        """End the child."""
        self._context.destroy(linger=0)
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bound(socket: zmq.Socket[bytes]) -> str:
    return f"{_HOST}:{socket.bind_to_random_port(_HOST)}"


def _take(into: zmq.Socket[bytes], back: zmq.Socket[bytes]) -> None:
    taken = 0
    while True:
        packet = into.recv()
        taken += 1
        if packet.endswith(_MARK):
            back.send(_NUMBER.pack(taken) + packet)
            taken = 0


def _main(address: str) -> None:
    context = zmq.Context()
    into, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    here = _bound(into)
    back.connect(address)
    threading.Thread(target=_take, args=(into, back), daemon=True).start()
    until_driver_ends(here)


if __name__ == "__main__":
    _main(*sys.argv[1:])
