"""A worker's loop runs in a thread of its own until it is stopped, whatever is raised in it."""

import asyncio
import threading
import time

import pytest

from manifold.actors.waiting import worker_threads
from manifold.delivery.loops import LoopThread
from tests.delivery.actors_for_tests import WAIT_S


@pytest.fixture
def thread():
    thread = LoopThread("a loop for tests")
    yield thread
    thread.stop(set(), time.monotonic())
    assert thread.join(time.monotonic() + WAIT_S)


def call(thread, act):
    """Call on the loop; gives an event that is set when it was called."""
    done = threading.Event()

    def run():
        done.set()
        act()

    thread.loop.call_soon_threadsafe(run)
    return done


def raise_(error):
    raise error


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError(), MemoryError()], ids=repr)
def test_it_goes_on_after_whatever_a_callback_raises(thread, error):
    assert call(thread, lambda: raise_(error)).wait(WAIT_S)
    assert call(thread, int).wait(WAIT_S)


def test_what_was_scheduled_behind_what_raises_is_not_lost(thread):
    order, end = [], threading.Event()

    def schedule():
        loop = asyncio.get_running_loop()
        for number in range(10):
            loop.call_soon(order.append, number)
            loop.call_soon(raise_, SystemExit())
            loop.call_soon(loop.stop)
        loop.call_soon(end.set)

    call(thread, schedule)
    assert end.wait(WAIT_S)
    assert order == list(range(10))


def test_a_stop_of_the_loop_by_others_does_not_end_it(thread):
    for _ in range(5):
        assert call(thread, thread.loop.stop).wait(WAIT_S)
    assert call(thread, int).wait(WAIT_S)


def test_it_is_known_as_a_worker_thread_as_long_as_it_runs():
    thread = LoopThread("a loop for tests")
    assert thread.ident in worker_threads
    thread.stop(set(), time.monotonic())
    assert thread.join(time.monotonic() + WAIT_S)
    assert thread.ident not in worker_threads
    assert thread.loop.is_closed()
    thread.stop(set(), time.monotonic())


def test_a_stop_waits_for_its_tasks_and_cancels_the_others(thread):
    ended, started = [], threading.Event()
    tasks = []

    async def wait(name, event):
        try:
            await event.wait()
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    def start():
        loop = asyncio.get_running_loop()
        ours, never = asyncio.Event(), asyncio.Event()
        tasks.extend((loop.create_task(wait("ours", ours)), loop.create_task(wait("another", never))))
        thread.stop({tasks[0]}, time.monotonic() + WAIT_S)
        loop.call_soon(lambda: loop.call_soon(ours.set))
        started.set()

    call(thread, start)
    assert started.wait(WAIT_S)
    assert thread.join(time.monotonic() + WAIT_S)
    assert sorted(ended) == ["another cancelled", "ours"]


def test_tasks_that_take_too_long_are_cancelled():
    thread = LoopThread("a loop for tests")
    tasks, cancelled, started = [], threading.Event(), threading.Event()

    async def endless():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    call(thread, lambda: tasks.append(thread.loop.create_task(endless())))
    assert started.wait(WAIT_S)
    thread.stop(set(tasks), time.monotonic())
    assert thread.join(time.monotonic() + WAIT_S)
    assert cancelled.is_set()


def test_nothing_is_begun_while_the_cancelled_tasks_end(thread):
    begun, tasks, started, cancelled = [], [], threading.Event(), threading.Event()

    async def slow_to_end():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            thread.waker.wake()
            for _ in range(5):
                await asyncio.sleep(0)
            cancelled.set()

    thread.waker.woken = lambda: begun.append(1)
    call(thread, lambda: tasks.append(thread.loop.create_task(slow_to_end())))
    assert started.wait(WAIT_S)
    thread.stop(set(), time.monotonic())
    assert thread.join(time.monotonic() + WAIT_S)
    assert cancelled.is_set()
    assert not begun


def test_it_may_be_told_to_stop_again_while_it_waits_for_its_tasks(thread):
    ended, tasks = threading.Event(), set()

    async def stop_again():
        while not thread._winding_up:  # noqa: ASYNC110
            await asyncio.sleep(0)
        thread.stop(tasks, time.monotonic() + WAIT_S)
        for _ in range(5):
            await asyncio.sleep(0)
        ended.set()

    def start():
        tasks.add(thread.loop.create_task(stop_again()))
        thread.stop(tasks, time.monotonic() + WAIT_S)

    assert call(thread, start).wait(WAIT_S)
    assert thread.join(time.monotonic() + WAIT_S)
    assert ended.is_set()


def test_join_says_when_the_thread_has_not_ended_in_time(thread):
    go = threading.Event()
    assert call(thread, lambda: go.wait(WAIT_S)).wait(WAIT_S)
    thread.stop(set(), time.monotonic())
    assert thread.join(time.monotonic() - 10.0) is False
    go.set()
    assert thread.join(time.monotonic() + WAIT_S)
