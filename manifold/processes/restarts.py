"""When a worker process that died is started again: at once, then after longer and longer, and not for ever."""

from __future__ import annotations

from collections import deque

__all__ = ["Restarts"]

_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0


class Restarts:
    """The deaths of one worker: no more than `most` of them within `window_s` are followed by another start."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._deaths: deque[float] = deque()

    def delay_s(self, now: float) -> float | None:
        """Note a death at this moment; give after how many seconds to start again, or None for never."""
        deaths = self._deaths
        while deaths and deaths[0] <= now - self._window_s:
            deaths.popleft()
        deaths.append(now)
        if len(deaths) > self._most:
            return None
        return 0.0 if len(deaths) == 1 else min(_MAX_DELAY_S, _FIRST_DELAY_S * 2 ** (len(deaths) - 2))
