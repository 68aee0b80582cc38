"""A send takes every kind of recipient, counts each, and raises for what is none before anything is handed out."""

import gc
import pickle
import threading

import pykka
import pytest

import manifold
from manifold import PID, Audience, Limits, MessageTooLarge, Node, NodeStopped, NotSerializable
from manifold.core import codec
from tests.delivery.actors_for_tests import READ, WAIT_S, Recorder, ask, counts, home_of, read, settled, spawn
from tests.support import shown

MODES = {
    "plain": {},
    "receipt": {"receipt": True},
    "binary": {"pack_mode": "binary"},
    "offload": {"send_mode": "offload"},
    "all": {"receipt": True, "pack_mode": "binary", "send_mode": "offload"},
}
NO_RECIPIENTS = [7, 1.5, True, "a name in a list", b"bytes", object(), [], Recorder]


@pytest.fixture(params=MODES.values(), ids=MODES.keys())
def mode(request):
    return request.param


class Foreign(pykka.ThreadingActor):
    """An ordinary Pykka actor."""

    def __init__(self):
        super().__init__()
        self.got = []

    def on_receive(self, message):
        if message == READ:
            return list(self.got)
        self.got.append(message)
        return None


class Counted:
    """A type of ours; how often it is packed is counted."""

    packed = 0

    @staticmethod
    def pack(_):
        Counted.packed += 1
        return 1


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What is registered here is gone after each test."""
    monkeypatch.setattr(codec, "_registry", codec._registry)
    manifold.register_type(Counted, 97, Counted.pack, lambda _: Counted())


def test_what_is_no_recipient_raises_before_anything_is_handed_out(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 6)
        nowhere = PID("elsewhere@00000000", 1)
        for bad in [*NO_RECIPIENTS, Audience(pids)]:
            for place in (0, 3, 6):
                to = [*pids[:place], bad, *pids[place:]]
                before = counts(node)
                for form in (to, tuple(to), (one for one in to), [None, nowhere, *to], [actor_ref(pids[0]), *to]):
                    with pytest.raises(TypeError):
                        node.send(form, "m", **mode)
                assert counts(node) == before
        assert [read(node, pid) for pid in pids] == [[]] * 6


def actor_ref(pid):
    return pid._actor.actor_ref


@pytest.mark.parametrize("bad", [7, 1.5, True, b"bytes", object(), Recorder], ids=shown)
def test_what_is_no_recipient_on_its_own_raises(bad, mode):
    with Node(workers=1) as node:
        before = counts(node)
        with pytest.raises(TypeError):
            node.send(bad, "m", **mode)
        assert counts(node) == before


def test_a_generator_that_raises_hands_out_nothing(mode):
    def recipients():
        yield from pids
        msg = "no more"
        raise LookupError(msg)

    with Node(workers=2) as node:
        pids = spawn(node, 4)
        before = counts(node)
        with pytest.raises(LookupError):
            node.send(recipients(), "m", **mode)
        assert counts(node) == before
        assert [read(node, pid) for pid in pids] == [[]] * 4


@pytest.mark.parametrize("option", [{"pack_mode": "json"}, {"send_mode": "later"}, {"pack_mode": ""}, {"send_mode": 0}])
def test_an_unknown_option_raises_before_anything_is_handed_out(option):
    with Node(workers=2) as node:
        pids = spawn(node, 3)
        before = counts(node)
        for to in (pids[0], pids, actor_ref(pids[0]), Audience(pids)):
            with pytest.raises(ValueError):
                node.send(to, "m", **option)
        assert counts(node) == before
        assert [read(node, pid) for pid in pids] == [[]] * 3


def test_nones_are_skipped(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 3)
        node.send(None, "nobody", **mode)
        node.send([None, None], "nobody", **mode)
        node.send([], "nobody", **mode)
        assert counts(node)["sent"] == 0
        node.send([None, pids[0], None, None, pids[1], pids[2], None], "m", **mode)
        assert [read(node, pid) for pid in pids] == [["m"]] * 3
        assert counts(node)["sent"] == 6


def test_a_pid_that_stands_twice_gets_it_twice(mode):
    with Node(workers=2) as node:
        one, two = spawn(node, 2)
        copy = PID.parse(str(one))
        node.send([one, two, one, copy], "m", **mode)
        assert read(node, one) == ["m"] * 3
        assert read(node, two) == ["m"]


@pytest.mark.parametrize("form", [tuple, set, frozenset, iter, dict.fromkeys, lambda pids: (pid for pid in pids)])
def test_any_iterable_will_do(form, mode):
    with Node(workers=2) as node:
        pids = spawn(node, 5)
        node.send(form(pids), "m", **mode)
        assert [read(node, pid) for pid in pids] == [["m"]] * 5


def test_references_and_copies_of_pids_will_do(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 4)
        forms = [actor_ref(pids[0]), PID.parse(str(pids[1])), pickle.loads(pickle.dumps(pids[2])), pids[3]]
        node.send(forms, "all", **mode)
        for form in forms:
            node.send(form, "one", **mode)
        assert [read(node, pid) for pid in pids] == [["all", "one"]] * 4
        assert ask(node, forms[1], READ) == ["all", "one"]
        assert ask(node, forms[0], READ) == ["all", "one"]


class Room(Recorder):
    """Is as long as what it has got: as a truth value, false until then."""

    def __len__(self):
        return len(self.got)


def test_an_actor_with_a_length_of_0_is_found(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 4, Room)
        one, *copies = [PID.parse(str(pid)) for pid in pids]
        assert ask(node, one, READ) == []
        node.send(one, "m", **mode)
        node.send(copies, "m", **mode)
        assert [read(node, pid) for pid in pids] == [["m"]] * 4
        assert counts(node)["dead"] == 0


def test_a_list_changed_after_the_call_changes_nothing(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 50)
        to = list(pids)
        node.send(to, "m", **mode)
        to.clear()
        assert [read(node, pid) for pid in pids] == [["m"]] * 50


def test_ordinary_pykka_actors_get_it_too_in_order(mode):
    ref = Foreign.start()
    try:
        with Node(workers=2) as node:
            pid = node.spawn(Recorder)
            for number in range(20):
                node.send([pid, ref] if number % 2 else ref, number, **mode)
            assert node.ask(ref, READ, WAIT_S).get() == list(range(20))
            assert read(node, pid) == list(range(1, 20, 2))
    finally:
        ref.stop()


def test_dead_actors_are_counted_and_the_others_get_theirs(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 6)
        refs = [actor_ref(pid) for pid in pids]
        assert all(ref.stop(timeout=WAIT_S) for ref in refs[:3])
        node.send([pids[0], refs[1], PID.parse(str(pids[2])), *pids[3:]], "m", **mode)
        node.send(pids[0], "m", **mode)
        node.send(refs[1], "m", **mode)
        assert [read(node, pid) for pid in pids[3:]] == [["m"]] * 3
        assert counts(node) == {
            "sent": 11, "delivered": 6, "dead": 5, "shed": 0, "unreachable": 0, "in_flight": 0,
        }  # fmt: skip


def test_an_ordinary_pykka_actor_that_has_stopped_is_dead_like_any_other(mode):
    ref = Foreign.start()
    ref.stop()
    with Node(workers=2) as node:
        pid = node.spawn(Recorder)
        node.send([pid, ref], "m", **mode)
        assert read(node, pid) == ["m"]
        assert counts(node)["dead"] == 1


def test_pids_of_nodes_that_are_not_connected_count_as_unreachable(mode):
    with Node(workers=2) as node:
        pids = spawn(node, 2)
        away = [PID("a@00000000", 1), PID("b@00000000", 1), PID("a@00000000", 2)]
        node.send([away[0], pids[0], away[1], None, pids[1], away[2], away[0]], "m", **mode)
        node.send(away[0], "m", **mode)
        assert settled(node, pids) == {
            "sent": 9, "delivered": 4, "dead": 0, "shed": 0, "unreachable": 5, "in_flight": 0,
        }  # fmt: skip
        assert [read(node, pid) for pid in pids] == [["m"]] * 2


def test_a_former_incarnations_pid_is_not_this_nodes():
    with Node("same", workers=1) as node:
        old = node.spawn(Recorder)
    with Node("same", workers=1) as node:
        node.send([old, PID.parse(str(old))], "m")
        node.send(old, "m")
        assert counts(node)["unreachable"] == 3


def test_local_recipients_get_the_senders_own_object():
    with Node(workers=2) as node:
        pids = spawn(node, 8)
        message = {"t": object()}
        node.send(pids, message)
        node.send(pids, message, send_mode="offload")
        assert all(got is message for pid in pids for got in read(node, pid))


def test_binary_gives_one_equal_copy_per_worker():
    with Node(workers=3) as node:
        pids = spawn(node, 60)
        audience = Audience(pids)
        message = {"d": [1, (2, 3), {"x"}, pids[0]], 4: b"5"}
        for to, mode in ((pids, None), (pids, "offload"), (audience, None), (audience, "offload")):
            node.send(to, message, pack_mode="binary", send_mode=mode)
        node.send(pids[0], message, pack_mode="binary")
        node.send(actor_ref(pids[0]), message, pack_mode="binary")
        for number in range(4):
            copies = {}
            for pid in pids:
                got = read(node, pid)[number]
                assert got == message
                assert got is not message
                assert type(got["d"][1]) is tuple
                copies.setdefault(home_of(node, pid), set()).add(id(got))
            assert [len(copy) for copy in copies.values()] == [1, 1, 1]
            assert len(set.union(*copies.values())) == 3
        singles = read(node, pids[0])[4:]
        assert singles == [message, message]
        assert not any(got is message for got in singles)


def test_a_message_is_encoded_once_however_many_recipients_and_nodes():
    with Node(workers=4) as node:
        pids = [*spawn(node, 40), PID("a@00000000", 1), PID("b@00000000", 1)]
        audience = Audience(pids)
        for to in (pids, audience):
            for mode in (None, "offload"):
                Counted.packed = 0
                node.send(to, {"x": Counted()}, pack_mode="binary", send_mode=mode)
                for pid in pids[:40]:
                    read(node, pid)
                assert Counted.packed == 1


@pytest.mark.parametrize("to", ["binary", "away"])
@pytest.mark.parametrize("send_mode", [None, "offload"])
@pytest.mark.parametrize("message", ["large", "unfit"])
def test_a_message_that_cannot_be_encoded_reaches_nobody(to, send_mode, message):
    with Node(workers=2, limits=Limits(message_max_bytes=1000)) as node:
        pids = spawn(node, 4)
        recipients = pids if to == "binary" else [pids[0], PID("a@00000000", 1), *pids[1:]]
        before = counts(node)
        content, error = (
            (b"." * 1001, MessageTooLarge) if message == "large" else ({"a": [1, object()]}, NotSerializable)
        )
        for form in (recipients, Audience(recipients) if to == "binary" else recipients[1], tuple(recipients)):
            with pytest.raises(error) as raised:
                node.send(form, content, pack_mode="binary" if to == "binary" else None, send_mode=send_mode)
            if message == "unfit":
                assert raised.value.path == "['a'][1]"
            else:
                assert (raised.value.max_bytes, raised.value.size_bytes > 1000) == (1000, True)
        assert counts(node) == before
        assert [read(node, pid) for pid in pids] == [[]] * 4


def test_a_message_at_the_limit_passes():
    with Node(workers=1, limits=Limits(message_max_bytes=1000)) as node:
        pid = node.spawn(Recorder)
        node.send(pid, b"." * 900, pack_mode="binary")
        assert read(node, pid) == [b"." * 900]


@pytest.mark.parametrize("bad", [7, None, "", b"x", object(), []], ids=shown)
def test_an_ask_of_what_is_no_actor_raises(bad):
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        before = counts(node)
        for wrong in (bad, [pid]):
            with pytest.raises(TypeError):
                node.ask(wrong, "m")
        assert counts(node) == before


def test_a_future_is_no_list_of_recipients():
    with Node(workers=1) as node:
        answer = node.ask(node.spawn(Recorder), "m")
        answer.get()
        before = counts(node)
        with pytest.raises(TypeError, match="a future: `await` it"):
            node.send(answer, "m")
        assert counts(node) == before


def test_an_ask_of_a_dead_actor_raises_and_is_counted():
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        actor_ref(pid).stop(timeout=WAIT_S)
        for form in (pid, PID.parse(str(pid))):
            with pytest.raises(pykka.ActorDeadError):
                ask(node, form, "m")
        with pytest.raises(manifold.NodeDown):
            ask(node, PID("a@00000000", 1), "m")
        assert counts(node) == {
            "sent": 3, "delivered": 0, "dead": 2, "shed": 0, "unreachable": 1, "in_flight": 0,
        }  # fmt: skip


def test_a_stopped_node_sends_nothing(mode):
    with Node(workers=1) as node:
        pids = spawn(node, 2)
        audience = Audience(pids)
    before = counts(node)
    for to in (pids, pids[0], audience, PID.parse(str(pids[0])), None):
        with pytest.raises(NodeStopped):
            node.send(to, "m", **mode)
    assert counts(node) == before


def test_forms_and_modes_mixed_keep_one_order():
    with Node(workers=3) as node:
        pids = spawn(node, 30)
        refs = [actor_ref(pid) for pid in pids]
        copies = [PID.parse(str(pid)) for pid in pids]
        audience = Audience(pids)
        forms = [pids, refs, copies, audience, [None, *copies], iter(pids)]
        number = 0
        for _ in range(20):
            for form in forms:
                for mode in MODES.values():
                    node.send(list(pids) if form is forms[-1] else form, number, **mode)
                    number += 1
            for index, pid in enumerate(pids):
                node.send((pid, refs[index], copies[index])[number % 3], number)
            number += 1
            for ref in refs:
                ref.tell(number)
            number += 1
        assert [read(node, pid) for pid in pids] == [list(range(number))] * 30


def test_a_send_never_keeps_its_message_alive():
    class Message:
        pass

    gone = threading.Event()
    with Node(workers=1) as node:
        pid = node.spawn(Forgetful)
        message = Message()
        finalizer = __import__("weakref").finalize(message, gone.set)
        node.send([pid], message)
        node.send(Audience([pid]), message)
        node.send(pid, message, send_mode="offload")
        del message
        ask(node, pid, "through")
        ask(node, pid, "through")
        gc.collect()
        assert gone.wait(WAIT_S)
        assert not finalizer.alive


class Forgetful(manifold.Actor):
    """Keeps nothing."""

    def on_receive(self, message):
        pass
