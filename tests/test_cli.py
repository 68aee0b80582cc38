"""The command line, as a user meets it: in a process of its own, by its output, its exit status and its signals."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import manifold
from manifold.cli.node import _Stopping
from manifold.cli.settings import BadInput, gather

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60
"""How long anything may take before it counts as stuck. What is to be waited out is set far above this."""

LOOPBACK = "tcp://127.0.0.1:0"

APP = """
import asyncio, json, threading, time
import manifold

def say(*words):
    print(*words, flush=True)

class Counter(manifold.Actor):
    def __init__(self):
        super().__init__()
        self.number = 0

    async def on_receive(self, message):
        while message == "wait" and self.node.is_running:
            await asyncio.sleep(0.01)
        self.number += 1

    def on_stop(self):
        say("stopped after", self.number)

def setup(node):
    assert manifold.current_node() is node
    say(node.spawn(Counter))

async def setup_async(node):
    await asyncio.sleep(0)
    setup(node)

def setup_busy(node):
    pid = node.spawn(Counter)
    for message in ["wait", *range(100)]:
        node.send(pid, message)
    say("busy")

class Setups:
    plain = setup

def settings(node):
    say(json.dumps([node.name, node.stats().workers, node.worker_kind, node.limits.stop_grace_s,
                    node.limits.timers_max, node.limits.drain_below]))

def failing(node):
    setup(node)
    raise KeyError("no such table")

async def failing_async(node):
    failing(node)

def blocking(node):
    setup(node)
    threading.Event().wait()

async def serving(node):
    setup(node)
    try:
        await asyncio.Event().wait()
    finally:
        say("cancelled")

def stuck(node):
    class Stuck(manifold.Actor):
        def on_receive(self, message):
            say("stuck")
            threading.Event().wait()
    node.send(node.spawn(Stuck), "go")
"""


class Running:
    """A `manifold` process, and all that it has said so far."""

    def __init__(self, folder, *arguments, **variables):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MANIFOLD_")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "manifold", *map(str, arguments)],
            cwd=folder,
            env=environ | {"PYTHONPATH": str(ROOT)} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.err = [], []
        self._heard = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=each, daemon=True)
            for each in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._heard:
                lines.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def _over(self):
        return not any(reader.is_alive() for reader in self._readers)

    def line(self, lines, text="", number=0):
        """Wait for a line that holds a text; give the `number`th of them."""
        until = time.monotonic() + PATIENCE_S
        with self._heard:
            while len(found := [line for line in lines if text in line]) <= number:
                left = until - time.monotonic()
                assert left > 0, f"no {text!r} in {self.out} and {self.err}"
                assert not (self._over() and self.process.poll() is not None), f"no {text!r}: {self.out}, {self.err}"
                self._heard.wait(min(left, 0.5))
        return found[number]

    def facts(self):
        return json.loads(self.line(self.out, '"address"'))

    def hear(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def status(self):
        status = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return status

    def stop(self, number=signal.SIGTERM):
        self.hear(number)
        return self.status()


@pytest.fixture
def run(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    started = []

    def start(*arguments, **variables):
        started.append(Running(tmp_path, *arguments, **variables))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.status()
        each.process.stdout.close()
        each.process.stderr.close()


def node(run, *arguments, **variables):
    return run("node", "--json", "--workers", "1", *arguments, **variables)


# The command itself.


def test_version(run):
    command = run("--version")
    assert (command.status(), command.out) == (0, [f"manifold {manifold.__version__}"])


def test_the_installed_command_is_the_same():
    script = Path(sys.executable).with_name("manifold")
    if not script.exists():
        pytest.skip("not installed with its script")
    said = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert said.stdout == f"manifold {manifold.__version__}\n"


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ((), "manifold node --help"),
        (("node",), "--app mypackage.sessions:setup"),
        (("cookie",), "manifold cookie --write"),
    ],
)
def test_help_ends_with_an_example(run, verb, text):
    command = run(*verb, "--help")
    assert command.status() == 0
    assert text in "\n".join(command.out[-4:])


@pytest.mark.parametrize("arguments", [(), ("dance",), ("--dance",)])
def test_without_a_verb_it_says_so_in_one_line(run, arguments):
    command = run(*arguments)
    assert (command.status(), command.out, len(command.err)) == (2, [], 1)
    assert command.err[0].startswith("manifold: ")


# The cookie.


def test_a_cookie_is_different_every_time(run):
    commands = [run("cookie"), run("cookie"), run("cookie", "--bytes", "64")]
    assert [command.status() for command in commands] == [0, 0, 0]
    assert len({command.out[0] for command in commands}) == 3
    assert [len(command.out[0]) for command in commands] == [43, 43, 86]


def test_a_cookie_file_is_for_its_owner_alone_and_never_overwritten(run, tmp_path):
    file = tmp_path / "cookie"
    assert run("cookie", "--write", file).status() == 0
    written = file.read_text()
    assert len(written.strip()) == 43
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = run("cookie", "--write", file)
    assert (again.status(), again.out) == (2, [])
    assert again.err == [f"manifold cookie: --write: {file} exists already, and is not overwritten"]
    assert file.read_text() == written


@pytest.mark.parametrize("arguments", [("--bytes", "8"), ("--bytes", "many"), ("--write", "no/such/folder"), ("more",)])
def test_a_cookie_that_cannot_be_made(run, arguments):
    command = run("cookie", *arguments)
    assert (command.status(), command.out, len(command.err)) == (2, [], 1)
    assert command.err[0].startswith("manifold cookie: ")


# Nodes.


def test_nodes_join_each_other_and_hear_of_the_end(run):
    one = node(run, "--name", "gw-1", "--listen", LOOPBACK)
    facts = one.facts()
    assert facts["name"] == "gw-1"
    assert facts["id"].startswith("gw-1@")
    two = run("node", "--name", "gw-2", "--workers", "1", "--listen", LOOPBACK, "--join", facts["address"])
    other = two.line(two.out).split()
    assert other[:3] == ["gw-2", "runs", "as"]
    one.line(one.err, f"NodeUp {other[3]}")
    two.line(two.err, f"NodeUp {facts['id']}")
    assert two.stop() == 0
    one.line(one.err, f"NodeDown {other[3]}")
    assert one.stop() == 0


def test_nodes_meet_over_nats(run, nats_server, tmp_path):
    url = f"{nats_server.url}?cluster=cli"
    (tmp_path / "node.toml").write_text(f'[node]\ntransport = "{url}"\n')
    nodes = [
        node(run, "--name", "a", "--transport", url),
        node(run, "--name", "b", MANIFOLD_TRANSPORT=url),
        node(run, "--name", "c", "--config", "node.toml"),
    ]
    ids = [each.facts()["id"] for each in nodes]
    assert nodes[0].facts()["address"] == f"subject://manifold.cli.{ids[0]}"
    for each in nodes:
        for other in set(ids) - {each.facts()["id"]}:
            each.line(each.err, f"NodeUp {other}")
    assert [each.stop() for each in nodes] == [0, 0, 0]


def test_a_cookie_file_comes_before_the_variable(run, tmp_path):
    (tmp_path / "cookie").write_text("our little secret\n")
    (tmp_path / "cookie").chmod(0o600)
    one = node(run, "--listen", LOOPBACK, "--cookie-file", "cookie", MANIFOLD_COOKIE="wrong")
    two = node(run, "--join", one.facts()["address"], MANIFOLD_COOKIE="our little secret", MANIFOLD_COOKIE_FILE="none")
    two.line(two.err, f"NodeUp {one.facts()['id']}")
    assert [two.stop(), one.stop()] == [0, 0]
    assert not any("WARNING" in line and "chmod" in line for line in one.err)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_cookie_file_that_others_can_read_is_warned_of(run, tmp_path):
    (tmp_path / "cookie").write_text("our little secret\n")
    (tmp_path / "cookie").chmod(0o640)
    one = node(run, MANIFOLD_COOKIE_FILE="cookie")
    one.line(one.err, "WARNING manifold: the cookie file cookie can be read by others: chmod 600 cookie")
    assert one.facts()["address"] == ""
    assert one.stop() == 0


def test_the_log_level(run):
    quiet = node(run, "--log-level", "error")
    quiet.facts()
    assert quiet.stop() == 0
    assert quiet.err == []


# The end.


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(run, kind, number):
    one = node(run, "--worker-kind", kind, "--app", "shop:setup_busy", "--limit", "stop_grace_s=300")
    one.line(one.out, "busy")
    assert one.stop(number) == 0
    assert one.out[1:] == ["busy", "stopped after 101"]


def test_what_is_stuck_holds_it_up_for_the_grace_alone(run):
    one = node(run, "--app", "shop:stuck", "--limit", "stop_grace_s=0.1")
    one.line(one.out, "stuck")
    assert one.stop() == 0
    assert any("gives up on 1 actors" in line for line in one.err)


def test_a_second_signal_ends_it_at_once(run):
    one = node(run, "--app", "shop:stuck", "--limit", "stop_grace_s=300")
    one.line(one.out, "stuck")
    one.hear()
    one.line(one.err, "a further signal ends it at once")
    assert one.stop() == -signal.SIGTERM


class Drowsy(selectors.DefaultSelector):
    """Tells when its loop goes to sleep."""

    def __init__(self):
        super().__init__()
        self.sleeps = threading.Event()

    def select(self, timeout=None):
        if timeout is None:
            self.sleeps.set()
        return super().select(timeout)


def test_a_signal_wakes_the_loop_whichever_thread_it_comes_to():
    # The kernel may give a signal to any thread; and one that comes just before the loop sleeps interrupts nothing.
    selector = Drowsy()

    def kill_this_thread():
        selector.sleeps.wait(PATIENCE_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    async def serve():
        with _Stopping(asyncio.get_running_loop()) as stopping:
            thread.start()
            await stopping.asked.wait()

    thread = threading.Thread(target=kill_this_thread)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(serve())
    finally:
        thread.join()
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


# The app.


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("app", ["setup", "setup_async", "Setups.plain"])
def test_the_app_is_called_with_the_default_node(run, app, kind):
    one = node(run, "--worker-kind", kind, "--app", f"shop:{app}")
    pid = manifold.PID.parse(one.line(one.out, number=1))
    assert pid.node == one.facts()["id"]
    assert one.stop() == 0
    assert one.out[2:] == ["stopped after 0"]


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("app", ["failing", "failing_async"])
def test_an_app_that_raises_is_shown_and_the_node_stops(run, app, kind):
    one = node(run, "--worker-kind", kind, "--app", f"shop:{app}", "--listen", LOOPBACK)
    assert one.status() == 1
    assert "KeyError: 'no such table'" in one.err
    assert any("shop.py" in line and "in failing" in line for line in one.err)
    assert one.out[-1] == "stopped after 0"


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize(("app", "words"), [("blocking", []), ("serving", ["cancelled"])])
def test_a_signal_ends_an_app_that_does_not_return(run, app, words, kind):
    one = node(run, "--worker-kind", kind, "--app", f"shop:{app}")
    one.line(one.out, number=1)
    assert one.stop() == 0
    assert one.out[2:] == [*words, "stopped after 0"]


# Where the settings come from.


def test_options_come_before_variables_before_the_file(run, tmp_path):
    (tmp_path / "gw.toml").write_text(
        textwrap.dedent("""
        [node]
        name = "from-file"
        workers = 4
        worker_kind = "thread"
        app = "shop:settings"
        limits = { stop_grace_s = 7, timers_max = 7, drain_below = 0.75 }
        """)
    )
    one = run(
        *("node", "--config", "gw.toml", "--name", "from-option", "--limit", "stop_grace_s=9.5"),
        MANIFOLD_NAME="from-variable",
        MANIFOLD_WORKERS="3",
        MANIFOLD_WORKER_KIND="",
        MANIFOLD_LIMITS="stop_grace_s=8, timers_max=8",
    )
    assert json.loads(one.line(one.out, "[")) == ["from-option", 3, "thread", 9.5, 8, 0.75]
    assert one.stop() == 0


GIVEN = {
    # setting: as an option, as a variable, in the file; and what each of them comes to
    "name": ("a", "b", "c", "a", "b", "c"),
    "listen": ("ipc:///a", "ipc:///b", "ipc:///c", "ipc:///a", "ipc:///b", "ipc:///c"),
    "join": (
        *(["ipc:///a", "ipc:///b,b"], "ipc:///c,tcp://h:1,", ["ipc:///d"]),
        *(("ipc:///a", "ipc:///b,b"), ("ipc:///c", "tcp://h:1"), ("ipc:///d",)),
    ),
    "transport": (
        "nats://a",
        "tls://b:1,tls://c",
        "nats://d?cluster=e",
        "nats://a",
        "tls://b:1,tls://c",
        "nats://d?cluster=e",
    ),
    "roles": (["a", "b,c"], "d,e", ["f"], ("a", "b,c"), ("d", "e"), ("f",)),
    "cookie_file": ("a", "b", "c", "a", "b", "c"),
    "workers": ("1", "2", 3, 1, 2, 3),
    "worker_kind": ("loop", "thread", "loop", "loop", "thread", "loop"),
    "app": ("a:a", "b:b", "c:c.d", "a:a", "b:b", "c:c.d"),
    "log_level": ("debug", "error", "critical", "debug", "error", "critical"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_each_setting_comes_from_all_three(tmp_path, name):
    option, variable, entry, *expected = GIVEN[name]
    file = tmp_path / "a.toml"
    file.write_text(f"[node]\n{name} = {json.dumps(entry)}\n")
    nothing = dict.fromkeys((*GIVEN, "limits", "config"))
    environ = {f"MANIFOLD_{name.upper()}": variable, "MANIFOLD_CONFIG": str(file)}
    found = [
        gather(nothing | {name: option}, environ),
        gather(nothing, environ),
        gather(nothing | {"config": str(file)}, {}),
    ]
    assert [getattr(each, name) for each in found] == expected


def test_nothing_given_is_what_start_does_by_default():
    settings = gather(dict.fromkeys((*GIVEN, "limits", "config")), {})
    assert (settings.name, settings.listen, settings.join, settings.workers) == (None, None, (), None)
    assert settings.limits == manifold.Limits()


# Bad input.


BAD_OPTIONS = [
    (("--dance",), "--dance"),
    (("--workers", "many"), "--workers: expected a whole number, not 'many'"),
    (("--workers", "0"), "workers must be a number from 1"),
    (("--workers", "2", "--worker-kind", "loop"), "workers=2"),
    (("--worker-kind", "fibre"), "--worker-kind: expected thread or loop or process, not 'fibre'"),
    (("--name", "a b"), "a node's name is"),
    (("--name", ""), "--name: expected a text"),
    (("--name",), "--name"),
    (("--log-level", "loud"), "--log-level: expected debug or info"),
    (("--listen", "nowhere"), "--listen: 'nowhere': not an address"),
    (("--listen", "tcp://127.0.0.1:70000"), "--listen: 'tcp://127.0.0.1:70000': not an address"),
    (("--listen", "memory://here"), "--listen: 'memory://here': not where a process can be reached"),
    (("--join", "subject://manifold.here"), "--join: 'subject://manifold.here': not where a process can be reached"),
    (("--listen", "ipc:///no/such/folder/socket"), "No such file or directory"),
    (("--listen", "tcp://0.0.0.0:0"), "without a cookie"),
    (("--join", "tcp://h"), "--join: 'tcp://h': not an address"),
    (("--join", "tcp://127.0.0.1:0"), "--join: 'tcp://127.0.0.1:0': can be listened on, not joined"),
    (("--transport", "nats"), "--transport: 'nats': not an address of NATS"),
    (
        ("--transport", "nats://me:x@h?credentials=none"),
        "--transport: 'nats://***@h?credentials=none': the credentials",
    ),
    (("--transport", "nats://127.0.0.1:1"), "'nats://127.0.0.1:1': it cannot be reached: Connection refused"),
    (("--transport", "nats://h", "--listen", LOOPBACK), "neither listen= nor join="),
    (("--limit", "speed=3"), "--limit: no such limit as 'speed'; there are message_max_bytes,"),
    (("--limit", "timers_max"), "--limit: expected NAME=VALUE, not 'timers_max'"),
    (("--limit", "timers_max=1.5"), "--limit: timers_max: expected a whole number, not '1.5'"),
    (("--limit", "stop_grace_s=inf"), "--limit: stop_grace_s: expected a number, not 'inf'"),
    (("--limit", "stop_grace_s=-1"), "Limits.stop_grace_s must be a number above 0"),
    (("--app", "shop"), "--app: expected module:callable, not 'shop'"),
    (("--app", "nowhere:setup"), "--app nowhere:setup: cannot be imported: ModuleNotFoundError: No module named"),
    (("--app", "shop:nothing"), "--app shop:nothing: module 'shop' has no attribute 'nothing'"),
    (("--app", "shop:APP_NAME"), "has no attribute 'APP_NAME'"),
    (("--app", "shop:__name__"), "--app shop:__name__: 'shop' cannot be called"),
    (("--app", "broken:setup"), "cannot be imported: ZeroDivisionError: division by zero ("),
    (("--app", "garbled:setup"), "cannot be imported: SyntaxError"),
    (("--app", "leaving:setup"), "cannot be imported: SystemExit: 0"),
    (("--cookie-file", "none"), "the cookie file none cannot be read: No such file or directory"),
    (("--cookie-file", "empty"), "the cookie file empty is empty"),
    (("--cookie-file", "."), "the cookie file . cannot be read: Is a directory"),
    (("--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
]


def write_bad_apps(folder):
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "garbled.py").write_text("def setup(:\n")
    (folder / "leaving.py").write_text("raise SystemExit(0)\n")
    (folder / "empty").write_text(" \n")


def assert_refused(command, text):
    assert (command.status(), command.out) == (2, [])
    assert len(command.err) == 1, command.err
    assert command.err[0].startswith("manifold node: ")
    assert text in command.err[0]


@pytest.mark.parametrize(("options", "text"), BAD_OPTIONS, ids=lambda value: " ".join(value)[:40] if value else "")
def test_a_bad_option_is_said_in_one_line(run, tmp_path, options, text):
    write_bad_apps(tmp_path)
    assert_refused(run("node", *options), text)


def test_a_port_in_use_is_said_in_one_line(run):
    one = node(run, "--listen", LOOPBACK)
    address = one.facts()["address"]
    for kind in ("thread", "loop"):
        assert_refused(node(run, "--listen", address, "--worker-kind", kind), "Address already in use")
    assert one.stop() == 0


def test_a_bad_variable_is_named(run):
    assert_refused(run("node", MANIFOLD_WORKERS="many"), "MANIFOLD_WORKERS: expected a whole number")


BAD_FILES = [
    ("[node", "is not TOML"),
    ("\xff", "is not TOML"),
    ("[nodes]", "has no table [node]"),
    ("node = 3", "has no table [node]"),
    ("[node]\nspeed = 3", "no such setting as 'speed' in [node]; there are name,"),
    ("[node]\nworkers = 1.5", "workers: expected a whole number, not 1.5"),
    ("[node]\nworkers = true", "workers: expected a whole number, not True"),
    ("[node]\nname = 3", "name: expected a text, not 3"),
    ("[node]\njoin = 3", "join: expected a list, not 3"),
    ("[node]\njoin = [3]", "join: expected a text, not 3"),
    ("[node]\nlimits = 3", "limits: expected a list, not 3"),
    ("[node.limits]\nspeed = 3", "limits: no such limit as 'speed'"),
    ("[node.limits]\nstop_grace_s = nan", "limits: stop_grace_s: expected a number, not nan"),
    ("[node.limits]\ntimers_max = '1'\nslice_s = false", "limits: slice_s: expected a number, not False"),
]


@pytest.mark.parametrize(("text", "reason"), BAD_FILES)
def test_a_bad_file_is_named(tmp_path, text, reason):
    file = tmp_path / "gw.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as error:
        gather(dict.fromkeys((*GIVEN, "limits"), None) | {"config": str(file)}, {})
    assert str(error.value).startswith(f"{file}: ")
    assert reason in str(error.value)


def test_a_bad_file_is_said_in_one_line(run, tmp_path):
    (tmp_path / "gw.toml").write_text("[node")
    assert_refused(run("node", "--config", "gw.toml"), "gw.toml: is not TOML")
