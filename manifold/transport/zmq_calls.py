"""Sending and receiving that never waits, and so need not give up the GIL, which pyzmq does with every call.

A thread that gives it up may get it back only after the switch interval. Beside one busy thread of Python, on two cores
with nothing else to do, a packet took 170 to 1,000 us to send through pyzmq and 1 to 5 us through here; to receive, up
to 200 us and 1 to 8 us. Alone, both ways cost the same. Where the functions of libzmq cannot be reached (Windows,
PyPy), it goes by pyzmq.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable

    Socket = zmq.Socket[bytes]

__all__ = ["receiver", "sender"]

_LARGE_BYTES = 256 << 10  # from here on copying takes longer than it may be worth to keep other threads waiting
_NOW = int(zmq.DONTWAIT)


def _load() -> ctypes.PyDLL | None:
    """Give the libzmq that pyzmq uses: its symbols are found through the extension module that is linked to it."""
    try:
        import zmq.backend.cython._zmq as extension

        library = ctypes.PyDLL(extension.__file__)
        library.zmq_send.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
        library.zmq_msg_recv.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        library.zmq_msg_data.argtypes = library.zmq_msg_init.argtypes = [ctypes.c_void_p]
        library.zmq_msg_close.argtypes = [ctypes.c_void_p]
        library.zmq_msg_data.restype = ctypes.c_void_p
    except (ImportError, OSError, AttributeError):
        return None
    return library


_library = _load()


def sender(socket: Socket) -> Callable[[bytes], bool]:
    """Give a function that sends a packet, and gives False if it cannot just now; for as long as the socket is open."""
    if _library is None:
        return lambda packet: _send(socket, packet)
    send, handle = _library.zmq_send, socket.underlying

    def send_now(packet: bytes) -> bool:
        size = len(packet)
        if size > _LARGE_BYTES:
            return _send(socket, packet)
        return bool(send(handle, packet, size, _NOW) == size)

    return send_now


def receiver(socket: Socket) -> Callable[[], bytes | None]:
    """Give a function that gives the next part, None if there is none just now; for as long as the socket is open."""
    if _library is None:
        return lambda: _receive(socket)
    receive, content, handle = _library.zmq_msg_recv, _library.zmq_msg_data, socket.underlying
    message = (ctypes.c_uint64 * 8)()  # a zmq_msg_t
    place = ctypes.addressof(message)
    _library.zmq_msg_init(place)
    string_at, renew = ctypes.string_at, _renew

    def receive_now(_keep: object = message) -> bytes | None:
        size = receive(place, handle, _NOW)
        if size < 0:
            return None
        packet = string_at(content(place), size)
        if size > _LARGE_BYTES:
            renew(place)
        return packet

    return receive_now


def _renew(message: int) -> None:
    """Let go of the memory of a large packet, which would else be held until the next one comes."""
    assert _library is not None
    _library.zmq_msg_close(message)
    _library.zmq_msg_init(message)


def _send(socket: Socket, packet: bytes) -> bool:
    try:
        socket.send(packet, _NOW)
    except zmq.Again:
        return False
    return True


def _receive(socket: Socket) -> bytes | None:
    try:
        return socket.recv(_NOW)
    except zmq.Again:
        return None
