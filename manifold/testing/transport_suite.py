"""The contract of `manifold.transport.Transport` as tests, for pytest: derive a class, and say how yours is made.

    class TestMine(TransportSuite):
        def make(self, listen=""):
            return MyTransport(listen)

        def fresh_address(self):
            return f"mine://{next(numbers)}"

No test sleeps: what should happen is awaited, with a limit; what should not must not have happened when something that
was sent later has.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from manifold.testing.transport_runner import TIMEOUT_S, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifold.transport import Transport

__all__ = ["TIMEOUT_S", "Runner", "TransportSuite"]


class TransportSuite:
    """What every transport must keep. `make` and `fresh_address` are yours to say."""

    def make(self, listen: str = "") -> Transport:
        """Give a transport that is not open yet; one that listens at `listen`, unless that is empty."""
        raise NotImplementedError

    def fresh_address(self) -> str:
        """Give an address where nobody listens, and one can."""
        raise NotImplementedError

    def start(self, listen: str = "") -> Runner:
        """Give a running one, closed after the test."""
        runner = Runner(self.make(listen))
        self._running.append(runner)
        return runner

    def pair(self) -> tuple[Runner, Runner]:
        """Give one that listens and one that is connected to it."""
        receiver, sender = self.start(self.fresh_address()), self.start()
        sender.dial(receiver.address)
        return receiver, sender

    @contextmanager
    def by_hand(
        self,
        receive: Callable[[bytes], None] = lambda _: None,
        connected: Callable[[str], None] = lambda _: None,
        listen: str = "",
    ) -> Iterator[Transport]:
        """Give one that is open, to be polled by the test itself."""
        transport = self.make(listen)
        transport.open(receive, connected)
        try:
            yield transport
        finally:
            transport.close()

    @pytest.fixture(autouse=True)
    def _close_all(self) -> Iterator[None]:
        self._running: list[Runner] = []
        yield
        for runner in self._running:
            runner.close()
        assert not any(runner.strays for runner in self._running), "a callback was called outside of poll"

    def test_packets_arrive_whole_and_in_order(self) -> None:
        receiver, sender = self.pair()
        packets = [bytes([size % 251]) * size for size in (0, 1, 2, 255, 256, 8191, 65536, 1_000_000, 3, 300_000)]
        sender.send(receiver.address, *packets)
        receiver.wait(lambda: len(receiver.packets) == len(packets))
        assert receiver.packets == packets
        assert all(type(packet) is bytes for packet in receiver.packets)

    def test_big_packets(self) -> None:
        receiver, sender = self.pair()
        packets = [os.urandom(4 << 20) for _ in range(4)]
        sender.send(receiver.address, *packets)
        receiver.wait(lambda: len(receiver.packets) == 4)
        assert receiver.packets == packets

    def test_many_small_packets(self) -> None:
        receiver, sender = self.pair()
        count = 20_000

        def send_some() -> None:
            while todo and sender.transport.send(receiver.address, b"%d" % todo[0]):
                todo.popleft()

        todo = deque(range(count))
        while todo:
            sender.call(send_some)
        receiver.wait(lambda: len(receiver.packets) == count)
        assert receiver.packets == [b"%d" % number for number in range(count)]

    def test_send_refuses_rather_than_waits_and_poll_tells_of_room(self) -> None:
        receiver, sender = self.pair()
        blocking, free = threading.Event(), threading.Event()

        def block() -> None:
            blocking.set()
            free.wait(TIMEOUT_S)

        stuck = threading.Thread(target=receiver.call, args=(block,))
        stuck.start()
        assert blocking.wait(TIMEOUT_S)
        sent = sender.call(lambda: self._fill(sender.transport, receiver.address))
        assert not free.is_set()
        free.set()
        stuck.join(TIMEOUT_S)
        sender.send(receiver.address, b"last")
        receiver.wait(lambda: receiver.packets[-1:] == [b"last"])
        assert receiver.packets == [*(b"%06d" % number * 1000 for number in range(sent)), b"last"]

    def _fill(self, transport: Transport, address: str) -> int:
        """Send until it is refused, and refused still when it had time to go out; give how many were taken."""
        for number in itertools.count():
            end = time.monotonic() + 0.5
            while not transport.send(address, b"%06d" % number * 1000):
                if time.monotonic() > end:
                    return number
                transport.poll(0.05)
            assert number < 1_000_000, "what waits in it is not bounded"
        raise AssertionError

    def test_many_senders_to_one(self) -> None:
        receiver = self.start(self.fresh_address())
        senders = [self.start() for _ in range(5)]
        for number, sender in enumerate(senders):
            sender.dial(receiver.address)
            sender.send(receiver.address, *(b"%d %d" % (number, packet) for packet in range(200)))
        receiver.wait(lambda: len(receiver.packets) == 1000)
        for number in range(5):
            mine = [packet for packet in receiver.packets if packet.startswith(b"%d " % number)]
            assert mine == [b"%d %d" % (number, packet) for packet in range(200)]

    def test_both_ways(self) -> None:
        one, other = self.start(self.fresh_address()), self.start(self.fresh_address())
        one.dial(other.address)
        other.dial(one.address)
        one.send(other.address, b"there")
        other.send(one.address, b"back")
        one.wait(lambda: one.packets == [b"back"])
        other.wait(lambda: other.packets == [b"there"])

    def test_dial_before_anybody_listens(self) -> None:
        address, sender = self.fresh_address(), self.start()
        sender.call(lambda: sender.transport.dial(address))
        assert not sender.call(lambda: sender.transport.send(address, b"too early"))
        receiver = self.start(address)
        assert receiver.address == address
        sender.wait(lambda: sender.connected == [address])
        sender.send(address, b"now")
        receiver.wait(lambda: receiver.packets == [b"now"])

    def test_dialling_twice_is_dialling_once(self) -> None:
        receiver, sender = self.pair()
        sender.call(lambda: sender.transport.dial(receiver.address))
        sender.send(receiver.address, b"one", b"two")
        receiver.wait(lambda: len(receiver.packets) == 2)
        assert sender.connected == [receiver.address]
        assert receiver.packets == [b"one", b"two"]

    def test_an_address_that_is_none(self) -> None:
        from manifold.transport import AddressError

        sender = self.start()
        for nonsense in ("", "nonsense", "tcp://", "tcp://:", "tcp://127.0.0.1:70000", "ipc://", "gopher://x:1"):
            with pytest.raises(AddressError):
                sender.call(lambda text=nonsense: sender.transport.dial(text))  # type: ignore[misc]

    def test_two_cannot_listen_at_one_address(self) -> None:
        from manifold.transport import AddressError

        address = self.start(self.fresh_address()).address
        with pytest.raises(AddressError):
            self.start(address)

    def test_who_does_not_listen_has_no_address(self) -> None:
        assert self.start().address == ""

    def test_send_to_an_address_not_dialled(self) -> None:
        receiver, sender = self.start(self.fresh_address()), self.start()
        assert sender.call(lambda: sender.transport.send(receiver.address, b"lost")) is False

    def test_a_packet_that_is_too_large(self) -> None:
        receiver, sender = self.pair()
        with pytest.raises(ValueError, match="bytes"):
            sender.send(receiver.address, bytes(sender.transport.packet_max_bytes + 1))
        sender.send(receiver.address, b"after it")
        receiver.wait(lambda: receiver.packets == [b"after it"])

    def test_hang_up(self) -> None:
        receiver, sender = self.pair()
        sender.send(receiver.address, b"goodbye")
        sender.call(lambda: sender.transport.hang_up(receiver.address))
        assert sender.call(lambda: sender.transport.send(receiver.address, b"lost")) is False
        receiver.wait(lambda: receiver.packets == [b"goodbye"])
        sender.call(lambda: sender.transport.hang_up(receiver.address))
        sender.dial(receiver.address)
        sender.send(receiver.address, b"again")
        receiver.wait(lambda: receiver.packets == [b"goodbye", b"again"])

    def test_what_was_sent_before_close_gets_out(self) -> None:
        receiver, sender = self.pair()
        sender.send(receiver.address, b"goodbye")
        sender.close()
        receiver.wait(lambda: receiver.packets == [b"goodbye"])

    def test_connected_is_called_again_after_a_break(self) -> None:
        receiver, sender = self.pair()
        for round_ in range(1, 3):
            receiver.close()
            receiver = self.start(receiver.address)
            sender.wait(lambda wanted=round_ + 1: len(sender.connected) >= wanted)  # type: ignore[misc]
            sender.send(receiver.address, b"%d" % round_)
            receiver.wait(lambda receiver=receiver: receiver.packets)  # type: ignore[misc]
            assert receiver.packets == [b"%d" % round_]
        assert set(sender.connected) == {receiver.address}

    def test_send_and_dial_inside_the_callbacks(self) -> None:
        caller = self.start(self.fresh_address())
        heard: list[bytes] = []
        sent: list[str] = []

        def answer(packet: bytes) -> None:
            heard.append(packet)
            echo.dial(caller.address)

        def connected(address: str) -> None:
            assert echo.send(address, heard[0])
            sent.append(address)

        with self.by_hand(answer, connected, self.fresh_address()) as echo:
            self._connect(caller, echo)
            caller.send(echo.address, b"hear, hear")
            self._poll(echo, lambda: sent)
            caller.wait(lambda: caller.packets == [b"hear, hear"])

    def test_nothing_is_delivered_outside_of_poll(self) -> None:
        sender = self.start()
        got: list[bytes] = []
        with self.by_hand(got.append, listen=self.fresh_address()) as receiver:
            self._connect(sender, receiver)
            sender.send(receiver.address, b"1", b"2")
            assert got == []
            self._poll(receiver, lambda: len(got) == 2)

    def test_what_a_callback_raises_comes_out_of_poll_and_breaks_nothing(self) -> None:
        sender = self.start()
        got: list[bytes] = []

        def receive(packet: bytes) -> None:
            got.append(packet)
            if packet == b"bad":
                raise LookupError("as it happens")

        with self.by_hand(receive, listen=self.fresh_address()) as receiver:
            self._connect(sender, receiver)
            sender.send(receiver.address, b"bad", b"good")
            with pytest.raises(LookupError, match="as it happens"):
                self._poll(receiver, lambda: len(got) == 2)
            self._poll(receiver, lambda: got == [b"bad", b"good"])

    def test_close_inside_a_callback(self) -> None:
        sender = self.start()
        got: list[bytes] = []

        def receive(packet: bytes) -> None:
            got.append(packet)
            receiver.close()

        with self.by_hand(receive, listen=self.fresh_address()) as receiver:
            self._connect(sender, receiver)
            sender.send(receiver.address, b"1", b"2", b"3")
            self._poll(receiver, lambda: got)
            receiver.poll(0.0)
            assert got == [b"1"]

    def _connect(self, sender: Runner, receiver: Transport) -> None:
        sender.call(lambda: sender.transport.dial(receiver.address))
        self._poll(receiver, lambda: sender.connected)

    def _poll(self, transport: Transport, condition: Callable[[], object]) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            transport.poll(0.05)

    def test_wake_from_another_thread(self) -> None:
        with self.by_hand() as transport:
            for _ in range(50):
                waker = threading.Thread(target=transport.wake)
                waker.start()
                self._poll_once(transport)
                waker.join(TIMEOUT_S)
                transport.poll(0.0)  # it may have returned early, before the call

    def test_wake_before_poll(self) -> None:
        with self.by_hand() as transport:
            transport.wake()
            transport.wake()
            self._poll_once(transport)

    def _poll_once(self, transport: Transport, timeout_s: float = TIMEOUT_S) -> None:
        began = time.monotonic()
        transport.poll(timeout_s)
        assert time.monotonic() - began < TIMEOUT_S / 2, "poll did not return"

    def test_no_wake_is_lost(self) -> None:
        """One thread counts up and wakes, the other polls until it has seen the last of it."""
        goal, counted = 20_000, 0

        def count() -> None:
            nonlocal counted
            for _ in range(goal):
                counted += 1
                transport.wake()

        with self.by_hand() as transport:
            counter = threading.Thread(target=count)
            counter.start()
            while counted < goal:
                self._poll_once(transport)
            counter.join(TIMEOUT_S)

    def test_poll_returns_when_the_time_is_over(self) -> None:
        with self.by_hand() as transport:
            self._poll_once(transport, 0.0)
            self._poll_once(transport, 0.01)

    def test_close_while_others_send_and_wake(self) -> None:
        receiver = self.start(self.fresh_address())
        senders = [self.start() for _ in range(3)]
        stop = threading.Event()

        def bother(runner: Runner) -> None:
            while not stop.is_set():
                runner.transport.wake()
                receiver.transport.wake()

        for sender in senders:
            sender.dial(receiver.address)
        threads = [threading.Thread(target=bother, args=(sender,)) for sender in senders]
        for thread in threads:
            thread.start()
        for sender in senders:
            sender.call(lambda sender=sender: self._send_some(sender.transport, receiver.address))  # type: ignore[misc]
        receiver.close()
        for sender in senders:
            sender.call(lambda sender=sender: sender.transport.send(receiver.address, b"x"))  # type: ignore[misc]
            sender.close()
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT_S)

    def _send_some(self, transport: Transport, address: str) -> None:
        for _ in range(200):
            transport.send(address, b"x" * 1000)

    def test_all_calls_do_nothing_after_close(self) -> None:
        receiver = self.start(self.fresh_address())
        with self.by_hand(listen=self.fresh_address()) as transport:
            transport.dial(receiver.address)
        transport.close()
        transport.wake()
        transport.dial(receiver.address)
        assert transport.send(receiver.address, b"lost") is False
        transport.hang_up(receiver.address)
        transport.poll(0.0)
        assert transport.address == ""
        assert receiver.packets == []

    def test_neither_threads_nor_files_are_left(self) -> None:
        def use() -> None:
            with Runner(self.make(self.fresh_address())) as receiver, Runner(self.make()) as sender:
                sender.dial(receiver.address)
                sender.send(receiver.address, b"x")
                receiver.wait(lambda: receiver.packets)

        use()  # what is made once for the process
        before = self._count_files_and_threads()
        for _ in range(5):
            use()
        self._poll_files_and_threads(before)

    def _poll_files_and_threads(self, most: tuple[int, int]) -> None:
        """A thread that has been joined may take a moment to vanish from /proc."""
        end = time.monotonic() + TIMEOUT_S
        while any(now > limit for now, limit in zip(self._count_files_and_threads(), most, strict=True)):
            assert time.monotonic() < end, f"left open: {self._count_files_and_threads()}, were {most}"

    def _count_files_and_threads(self) -> tuple[int, int]:
        if not os.path.isdir("/proc/self/fd"):  # noqa: PTH112
            return 0, threading.active_count()
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))  # noqa: PTH208
