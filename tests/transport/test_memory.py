"""The transport inside one process, and the faults that tests make in it."""

from __future__ import annotations

import itertools

from manifold.testing.transport_suite import Runner, TransportSuite
from manifold.transport.memory import Hub, Memory

numbers = itertools.count()


class TestMemory(TransportSuite):
    def make(self, listen=""):
        return Memory(listen)

    def fresh_address(self):
        return f"memory://{next(numbers)}"

    def test_a_cut_loses_what_is_on_the_way_and_heal_connects_again(self):
        hub = Hub()
        receiver = Memory("memory://b", hub=hub)
        got = []
        receiver.open(got.append, lambda _: None)
        with Runner(Memory("memory://a", hub=hub)) as sender:
            sender.dial("memory://b")
            sender.send("memory://b", b"arrived")
            receiver.poll(0)
            sender.send("memory://b", b"on the way")
            hub.cut("memory://b", "memory://a")
            assert not sender.call(lambda: sender.transport.send("memory://b", b"refused"))
            receiver.poll(0)
            assert got == [b"arrived"]
            hub.heal("memory://a", "memory://b")
            sender.wait(lambda: sender.connected == ["memory://b"] * 2)
            sender.send("memory://b", b"again")
            receiver.poll(0)
        assert got == [b"arrived", b"again"]
        receiver.close()

    def test_a_cut_goes_both_ways_and_touches_nobody_else(self):
        hub = Hub()
        with Runner(Memory("memory://a", hub=hub)) as a, Runner(Memory("memory://b", hub=hub)) as b:
            a.dial("memory://b")
            b.dial("memory://a")
            with Runner(Memory("memory://c", hub=hub)) as c:
                c.dial("memory://a")
                hub.cut("memory://a", "memory://b")
                assert not a.call(lambda: a.transport.send("memory://b", b"x"))
                assert not b.call(lambda: b.transport.send("memory://a", b"x"))
                c.send("memory://a", b"c")
                a.wait(lambda: a.packets == [b"c"])

    def test_cut_off_from_everybody(self):
        hub = Hub()
        with Runner(Memory("memory://a", hub=hub)) as a, Runner(Memory(hub=hub)) as b:
            hub.cut("memory://a")
            b.call(lambda: b.transport.dial("memory://a"))
            assert not b.call(lambda: b.transport.send("memory://a", b"x"))
            hub.heal("memory://a")
            b.send("memory://a", b"x")
            a.wait(lambda: a.packets == [b"x"])
            hub.cut("", "memory://a")
            assert not b.call(lambda: b.transport.send("memory://a", b"x"))

    def test_hubs_are_worlds_apart(self):
        with Runner(Memory("memory://a", hub=Hub())) as a, Runner(Memory("memory://a", hub=Hub())) as b:
            b.dial("memory://a")
            b.send("memory://a", b"to myself")
            b.wait(lambda: b.packets == [b"to myself"])
            assert a.packets == []
