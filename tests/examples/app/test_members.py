"""Who is there: held against the plainest way to say it, whatever comes and goes."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from examples.guild_presence.app.members import IDLE, OFFLINE, ONLINE, Members
from manifold import PID
from manifold.core.codec import decode, encode

users = st.sampled_from(["ann", "bob", "cid", "dan"])
statuses = st.sampled_from([ONLINE, IDLE])


def best(statuses: list[str]) -> str:
    return next((status for status in (ONLINE, IDLE) if status in statuses), OFFLINE)


class AgainstTheModel(RuleBasedStateMachine):
    """The model: each user's devices in a dict, and who went offline in a list."""

    devices = Bundle("devices")

    def __init__(self) -> None:
        super().__init__()
        self.members: Members[int] = Members()
        self.model: dict[str, dict[int, str]] = {}
        self.offline: list[str] = []
        self.latest = 0

    def there(self) -> dict[int, str]:
        return {device: user for user, devices in self.model.items() for device in devices}

    @rule(target=devices, user=users, status=statuses)
    def join(self, user: str, status: str) -> int:
        self.latest += 1
        self.members.put(self.latest, user, status)
        self.model.setdefault(user, {})[self.latest] = status
        self.offline = [each for each in self.offline if each != user]
        return self.latest

    @rule(device=devices, status=statuses)
    def set_status(self, device: int, status: str) -> None:
        user = self.there().get(device)
        assert self.members.user_of(device) == user
        if user is not None:
            self.members.put(device, user, status)
            self.model[user][device] = status

    @rule(device=consumes(devices))
    def drop(self, device: int) -> None:
        user = self.there().get(device)
        if user is not None:
            self.members.drop(device)
            del self.model[user][device]
            if not self.model[user]:
                self.offline.append(user)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.model)))
        assert self.members.remove(user) == list(self.model.pop(user))
        self.offline = [each for each in self.offline if each != user]

    @precondition(lambda self: self.there())
    @rule(data=st.data(), to=users)
    def rename(self, data: st.DataObject, to: str) -> None:
        user = data.draw(st.sampled_from(sorted(set(self.there().values()))))
        if to == user or to not in self.model:
            devices = self.model.pop(user)
            self.model[to] = devices
            assert self.members.rename(user, to) == list(devices)

    @rule()
    def go_elsewhere(self) -> None:
        state = self.members.state()
        restored: Members[int] = Members()
        restored.restore(state)
        assert restored.state() == state
        assert restored.listed() == self.members.listed()
        self.members = restored
        self.offline = [user for user, devices in self.model.items() if not devices]  # in the list's order from here on

    @invariant()
    def is_the_same(self) -> None:
        members = self.members
        assert members.state() == [(user, list(devices.items())) for user, devices in self.model.items()]
        assert members.listed() == [[user, best(list(devices.values()))] for user, devices in self.model.items()]
        assert set(members.devices) == set(self.there())
        for user, devices in self.model.items():
            assert members.status(user) == best(list(devices.values()))
            for device in devices:
                assert device in members
                assert members.user_of(device) == user

    @invariant()
    def offline_is_bounded_by_who_went_first(self) -> None:
        for most in range(5):
            assert self.members.longest_offline(most) == self.offline[: max(0, len(self.offline) - most)]

    @invariant()
    def strangers_are_none(self) -> None:
        assert 0 not in self.members
        assert self.members.user_of(0) is None
        assert self.members.status("nobody") is None


TestAgainstTheModel = AgainstTheModel.TestCase


def test_of_several_devices_the_best_counts() -> None:
    members: Members[int] = Members()
    seen = []
    for device, status in [(1, IDLE), (2, ONLINE), (2, IDLE), (1, ONLINE)]:
        members.put(device, "ann", status)
        seen.append(members.status("ann"))
    for device in (1, 2):
        members.drop(device)
        seen.append(members.status("ann"))
    assert seen == [IDLE, ONLINE, IDLE, ONLINE, IDLE, OFFLINE]


def test_what_the_state_is_made_of_can_be_sent() -> None:
    phone, desk = PID("gateway-1@1", 64), PID("gateway-2@1", 128)
    members: Members[PID] = Members()
    members.put(phone, "ann", IDLE)
    members.put(desk, "bob", ONLINE)
    members.drop(desk)
    assert decode(encode(members.state())) == members.state() == [("ann", [(phone, IDLE)]), ("bob", [])]
