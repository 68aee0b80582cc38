"""The lock that is had in turn."""

from __future__ import annotations

import threading

from manifold.cluster.turns import FairLock
from tests.support import PATIENCE_S


def test_the_thread_that_is_in_it_enters_it_again():
    lock = FairLock()
    with lock, lock:
        pass
    entered = threading.Event()

    def enter():
        with lock:
            entered.set()

    thread = threading.Thread(target=enter)
    with lock:
        with lock:
            pass
        thread.start()
        assert not entered.wait(0.02)
    thread.join(PATIENCE_S)
    assert entered.is_set()


def test_threads_exclude_each_other():
    lock, total, number = FairLock(), [0], 2000

    def add():
        for _ in range(number):
            with lock:
                seen = total[0]
                with lock:
                    total[0] = seen + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert total[0] == 4 * number


def test_who_waits_comes_before_who_had_it_and_asks_again():
    lock, order = FairLock(), []
    waiting = threading.Event()

    def wait():
        waiting.set()
        with lock:
            order.append("the one who waited")

    thread = threading.Thread(target=wait)
    with lock:
        thread.start()
        assert waiting.wait(PATIENCE_S)
        while not lock._turn.locked():
            pass
    with lock:
        order.append("the one who had it")
    thread.join(PATIENCE_S)
    assert order == ["the one who waited", "the one who had it"]


def test_what_is_raised_inside_lets_go_of_it():
    lock = FairLock()
    try:
        with lock:
            raise ValueError
    except ValueError:
        pass
    with lock:
        assert lock._depth == 1
