"""Who is in a guild, and how present: a user is as present as the most present of their devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["IDLE", "OFFLINE", "ONLINE", "Members"]

ONLINE, IDLE, OFFLINE = "online", "idle", "offline"
_RANK = (ONLINE, IDLE)

D = TypeVar("D")


class Members(Generic[D]):
    """The users of a guild with the status of each of their devices. What a device is does not matter here."""

    def __init__(self) -> None:
        self._devices: dict[str, dict[D, str]] = {}
        self._users: dict[D, str] = {}
        self._offline: dict[str, None] = {}  # in the order in which they went

    def __contains__(self, device: object) -> bool:
        return device in self._users

    @property
    def devices(self) -> Iterable[D]:
        """All that are connected."""
        return self._users.keys()

    def user_of(self, device: D) -> str | None:
        """Give the user of a device that is connected."""
        return self._users.get(device)

    def status(self, user: str) -> str | None:
        """Give a user's status; None for a stranger."""
        devices = self._devices.get(user)
        return None if devices is None else next((rank for rank in _RANK if rank in devices.values()), OFFLINE)

    def put(self, device: D, user: str, status: str) -> None:
        """Take a device in, or note its new status."""
        self._users[device] = user
        self._devices.setdefault(user, {})[device] = status
        self._offline.pop(user, None)

    def drop(self, device: D) -> None:
        """Take a device out. Its user stays, offline when it was the last one."""
        user = self._users.pop(device)
        del self._devices[user][device]
        if not self._devices[user]:
            self._offline[user] = None

    def remove(self, user: str) -> list[D]:
        """Take a user out, for good; give the devices that were connected."""
        self._offline.pop(user, None)
        devices = list(self._devices.pop(user))
        for device in devices:
            del self._users[device]
        return devices

    def rename(self, user: str, to: str) -> list[D]:
        """Give a user another name, which nobody has; give the user's devices."""
        devices = self._devices.pop(user)
        self._devices[to] = devices
        for device in devices:
            self._users[device] = to
        return list(devices)

    def longest_offline(self, most: int) -> list[str]:
        """Give those who are offline beyond so many, who went first."""
        return list(self._offline)[: max(0, len(self._offline) - most)]

    def listed(self) -> list[list[str]]:
        """Give every user with their status."""
        return [[user, self.status(user) or OFFLINE] for user in self._devices]

    def state(self) -> list[tuple[str, list[tuple[D, str]]]]:
        """Give all there is, as a message can hold it: a device may be a PID, which is no key there."""
        return [(user, list(devices.items())) for user, devices in self._devices.items()]

    def restore(self, state: list[tuple[str, list[tuple[D, str]]]]) -> None:
        """Go on with what `state` gave."""
        for user, devices in state:
            self._devices[user] = {}
            for device, status in devices:
                self.put(device, user, status)
            if not devices:
                self._offline[user] = None
