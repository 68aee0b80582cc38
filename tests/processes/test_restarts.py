"""When a worker that died is started again."""

from __future__ import annotations

from manifold.processes.restarts import Restarts


def test_the_first_death_is_followed_by_a_start_at_once_and_later_ones_by_later_starts():
    restarts = Restarts(10, 60.0)
    assert [restarts.delay_s(float(now)) for now in range(9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_more_deaths_than_allowed_within_the_window_are_the_last():
    restarts = Restarts(2, 60.0)
    assert [restarts.delay_s(now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.1, None]


def test_old_deaths_do_not_count():
    restarts = Restarts(2, 60.0)
    assert restarts.delay_s(0.0) == 0.0
    assert restarts.delay_s(30.0) == 0.1
    assert restarts.delay_s(60.0) == 0.1
    assert restarts.delay_s(200.0) == 0.0
