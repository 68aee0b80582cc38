"""The process's default node: started by its first use, stopped at the end of the script, which never hangs on it.

Every test runs a script of its own, with warnings as errors.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 60
"""A script that runs so long hangs. Those with a grace to be waited out set it far above this."""

COUNTER = """
import asyncio, os, sys, threading
import manifold
from manifold import Actor, Limits, ManifoldError, Node

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # in one piece, whoever else writes
    sys.stdout.flush()

class Counter(Actor):
    def __init__(self, name="counter"):
        super().__init__()
        self.name, self.number = name, 0

    def on_receive(self, message):
        self.number += 1
        return self.number

    def on_stop(self):
        say(self.name, "stopped after", self.number)

class Stuck(Actor):
    runs = threading.Event()

    def on_receive(self, message):
        self.runs.set()
        threading.Event().wait()

class StuckAsync(Stuck):
    async def on_receive(self, message):
        self.runs.set()
        await asyncio.Event().wait()
"""


def start(script, *options):
    text = COUNTER + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-W", "error", *options, "-c", text],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    with process:
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    return process.returncode, out.splitlines(), err


def run(script, *options):
    return finish(start(script, *options))


# The end of a script.


def test_a_script_that_never_calls_stop_ends_well_and_at_once():
    code, out, err = run("""
        manifold.start(limits=Limits(stop_grace_s=1000))
        pids = [Counter.start(str(number)).pid for number in range(5)]
        for number in range(200):
            manifold.send(pids, number)
    """)
    assert (code, err) == (0, "")
    assert sorted(out) == [f"{number} stopped after 200" for number in range(5)]


def test_a_script_that_starts_no_node_itself_ends_well_too():
    code, out, err = run("""
        pid = Counter.start().pid
        for number in range(200):
            manifold.send(pid, number)
        manifold.send([pid] * 50, "offloaded", send_mode="offload")
    """)
    assert (code, out, err) == (0, ["counter stopped after 250"], "")


def test_async_handlers_and_hooks_run_to_their_end():
    code, out, err = run("""
        class Slow(Actor):
            async def on_receive(self, message):
                await asyncio.sleep(0.01)
                say("handled", message)

            async def on_stop(self):
                await asyncio.sleep(0.01)
                say("stopped")

        pid = Slow.start().pid
        for number in range(3):
            manifold.send(pid, number)
    """)
    assert (code, out, err) == (0, ["handled 0", "handled 1", "handled 2", "stopped"], "")


def test_nodes_that_were_made_by_hand_are_stopped_too():
    code, out, err = run("""
        for name in ("one", "two"):
            node = Node(name, workers=1)
            node.send(node.spawn(Counter, name), 0)
    """)
    assert (code, err) == (0, "")
    assert sorted(out) == ["one stopped after 1", "two stopped after 1"]


def test_a_pending_timer_holds_nothing_up():
    code, out, err = run("""
        manifold.send_after(1000, Counter.start().pid, "much later")
    """)
    assert (code, out, err) == (0, ["counter stopped after 0"], "")


@pytest.mark.parametrize("kind", ["Stuck", "StuckAsync"])
def test_a_handler_that_never_ends_holds_the_script_up_for_the_grace_alone(kind):
    code, out, err = run(f"""
        import atexit, time
        manifold.start(workers=2, limits=Limits(stop_grace_s=2))
        manifold.send({kind}.start().pid, 0)
        assert Stuck.runs.wait(30)
        manifold.send(Counter.start().pid, 0)
        say("end of main")
    """)
    assert code == 0
    assert out == ["end of main", "counter stopped after 1"]
    assert "Traceback" not in err


def test_a_handler_that_sends_for_ever_holds_the_script_up_for_the_grace_alone():
    code, _, err = run("""
        class Again(Actor):
            def on_receive(self, message):
                manifold.send(self.pid, message)

        manifold.start(workers=1, limits=Limits(stop_grace_s=0.3))
        manifold.send(Again.start().pid, 0)
    """)
    assert code == 0
    assert "Traceback" not in err


def test_sys_exit_keeps_its_code_and_stops_the_node():
    code, out, err = run("""
        manifold.send(Counter.start().pid, 0)
        sys.exit(3)
    """)
    assert (code, out, err) == (3, ["counter stopped after 1"], "")


def test_an_exception_in_main_is_shown_and_the_node_stops():
    code, out, err = run("""
        manifold.send(Counter.start().pid, 0)
        raise LookupError("mine")
    """)
    assert (code, out) == (1, ["counter stopped after 1"])
    assert err.rstrip().endswith("LookupError: mine")
    assert err.count("Traceback") == 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_the_script_and_stops_the_node():
    process = start("""
        manifold.send(Counter.start().pid, 0)
        say("ready")
        threading.Event().wait()
    """)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (-signal.SIGINT, ["counter stopped after 1"])
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_a_blocking_ask():
    process = start("""
        manifold.start(workers=1, limits=Limits(stop_grace_s=0.3))
        asked = manifold.ask(Stuck.start().pid, 0, timeout=None)
        assert Stuck.runs.wait(30)
        say("ready")
        asked.get()
    """)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_a_script_on_asyncio_ends_well():
    code, out, err = run("""
        async def main():
            manifold.start(worker_kind="loop")
            pid = Counter.start().pid
            say(await manifold.ask(pid, 0))
            manifold.stop()

        asyncio.run(main())
    """)
    assert (code, out, err) == (0, ["1", "counter stopped after 1"], "")


def test_a_script_whose_loop_has_closed_ends_at_once():
    code, out, err = run("""
        async def main():
            manifold.start(worker_kind="loop", limits=Limits(stop_grace_s=1000))
            say(await manifold.ask(Counter.start().pid, 0))

        asyncio.run(main())
    """)
    assert code == 0
    assert out[0] == "1"
    assert "Traceback" not in err


# Which node is the default one.


def test_the_first_use_starts_a_node():
    code, out, err = run("""
        from manifold import ports
        assert not ports.hosts
        node = manifold.current_node()
        assert manifold.current_node() is node
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert node.stats().workers == cores
        pid = Counter.start().pid
        assert pid.node == node.id
        say(manifold.ask(pid, 0).get())
        manifold.stop()
        say("end")
    """)
    assert (code, out, err) == (0, ["1", "counter stopped after 1", "end"], "")


def test_first_uses_in_many_threads_start_one_node():
    code, out, err = run("""
        from manifold import ports
        together, nodes = threading.Barrier(8), []

        def use():
            together.wait()
            nodes.append(Counter.start().pid.node)

        threads = [threading.Thread(target=use) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        say(len(nodes), len(set(nodes)), len(ports.hosts))
    """)
    assert (code, out[0], err) == (0, "8 1 1", "")


def test_starting_twice_is_an_error_that_names_the_node_that_runs():
    code, out, err = run("""
        node = manifold.start("north", workers=1)
        try:
            manifold.start("south", workers=1)
        except ManifoldError as error:
            say(node.id in str(error), "stop" in str(error))
        say(manifold.current_node() is node)
    """)
    assert (code, out, err) == (0, ["True True", "True"], "")


def test_starting_after_a_first_use_is_an_error():
    code, out, err = run("""
        node = manifold.current_node()
        try:
            manifold.start()
        except ManifoldError as error:
            say(node.id in str(error))
    """)
    assert (code, out, err) == (0, ["True"], "")


def test_a_start_that_fails_leaves_the_way_free():
    code, out, err = run("""
        for options in ({"workers": 0}, {"worker_kind": "none"}, {"name": "a b"}):
            try:
                manifold.start(**options)
            except ValueError:
                say("refused")
        say(manifold.start("good", workers=1).name)
    """)
    assert (code, out, err) == (0, ["refused", "refused", "refused", "good"], "")


def test_stopping_and_starting_again_gives_another_node():
    code, out, err = run("""
        manifold.stop()
        one = manifold.start("same", workers=1)
        old = Counter.start().pid
        manifold.stop()
        manifold.stop()
        two = manifold.start("same", workers=1)
        say(one.id != two.id, manifold.current_node() is two)
        say(manifold.send(old, 0, receipt=True).get(timeout=30)[one.id].unreachable)
    """)
    assert (code, out, err) == (0, ["counter stopped after 0", "True True", "1"], "")


def test_start_takes_what_a_node_takes():
    code, out, err = run("""
        limits = Limits(message_max_bytes=77)
        node = manifold.start("north", workers=3, limits=limits)
        say(node.name, node.stats().workers, node.limits is limits)
    """)
    assert (code, out, err) == (0, ["north 3 True"], "")


def test_the_oldest_node_stands_in_where_no_default_one_runs():
    code, out, err = run("""
        a, b = Node("a", workers=1), Node("b", workers=1)
        say(manifold.current_node().name)
        a.stop()
        say(manifold.current_node().name)
        default = manifold.start("default", workers=1)
        say(manifold.current_node().name)
        manifold.stop()
        say(manifold.current_node().name)
        b.stop()
        say(manifold.current_node().name not in ("a", "b", "default"))
    """)
    assert (code, out, err) == (0, ["a", "b", "default", "b", "True"], "")


def test_the_default_node_stopped_by_its_own_method_can_be_followed_by_another():
    code, out, err = run("""
        one = manifold.start("one", workers=1)
        one.stop()
        two = manifold.start("two", workers=1)
        say(manifold.current_node().name)
    """)
    assert (code, out, err) == (0, ["two"], "")


def test_the_default_node_as_a_context_manager_leaves_the_way_free():
    code, out, err = run("""
        with manifold.start("one", workers=1):
            pass
        say(manifold.current_node().name != "one")
    """)
    assert (code, out, err) == (0, ["True"], "")


def test_after_the_default_node_was_stopped_by_its_own_method_a_first_use_starts_another():
    code, out, err = run("""
        manifold.start("one", workers=1).stop()
        manifold.send(Counter.start().pid, 0)
    """)
    assert (code, out, err) == (0, ["counter stopped after 1"], "")


# Forks.

FORK = """
def in_child(function):
    pid = os.fork()
    if not pid:
        function()
        sys.stdout.flush()
        sys.exit(7)
    say("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def run_forking(script):
    # Newer Pythons warn of any fork in a program with threads.
    return run(FORK + textwrap.dedent(script), "-W", "ignore:.*fork:DeprecationWarning")


@needs_fork
def test_a_forked_child_starts_a_node_of_its_own_and_leaves_its_parents_alone():
    code, out, err = run_forking("""
        parent = manifold.current_node()
        pid = Counter.start("parent").pid
        manifold.ask(pid, 0).get(timeout=30)

        def child():
            mine = Counter.start("child").pid
            say(mine.node != parent.id, manifold.current_node() is not parent)
            say(manifold.ask(mine, 0).get(timeout=30))
            say(manifold.send(pid, 0, receipt=True).get(timeout=30)[parent.id].unreachable)

        in_child(child)
        say(manifold.ask(pid, 0).get(timeout=30))
    """)
    assert (code, err) == (0, "")
    assert out == [
        "True True",
        "1",
        "1",
        "child stopped after 1",
        "child ended with 7",
        "2",
        "parent stopped after 2",
    ]


@needs_fork
def test_a_forked_child_that_uses_nothing_ends_at_once_and_runs_no_hook_of_its_parent():
    code, out, err = run_forking("""
        manifold.start(workers=2, limits=Limits(stop_grace_s=1000))
        Counter.start("parent")
        in_child(lambda: None)
    """)
    assert (code, out, err) == (0, ["child ended with 7", "parent stopped after 0"], "")


@needs_fork
def test_a_child_forked_inside_a_nodes_block_has_a_node_of_its_own():
    code, out, err = run_forking("""
        with Node("parent", workers=1, limits=Limits(stop_grace_s=0.3)) as parent:
            def child():
                mine = Counter.start("child").pid
                say(mine.node != parent.id)
                say(manifold.ask(mine, 0).get(timeout=30))

            in_child(child)
    """)
    assert code == 0, err
    assert out == ["True", "1", "child stopped after 1", "child ended with 7"]
