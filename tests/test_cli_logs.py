"""The log of `manifold node`: what is written, and what when nobody reads it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from manifold.cli import logs
from tests.support import PATIENCE_S

_APP = """
import logging
import sys

import manifold


class Talker(manifold.Actor):
    def on_receive(self, number):
        for index in range(number):
            logging.getLogger("talker").warning("%d %s", index, "x" * 100)
        print("told", flush=True)


def setup(node):
    node.send(node.spawn(Talker), {number})
"""


@pytest.fixture
def run(tmp_path):
    started = []

    def start(number, stderr):
        (tmp_path / "talker.py").write_text(_APP.replace("{number}", str(number)))
        command = [sys.executable, "-m", "manifold", "node", "--json", "--app", "talker:setup"]
        paths = os.pathsep.join([str(tmp_path), os.getcwd()])
        env = {**os.environ, "PYTHONPATH": paths}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=env, text=True)
        started.append(process)
        assert json.loads(process.stdout.readline())["name"]
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(3 * PATIENCE_S)


def test_a_pipe_that_nobody_reads_stops_neither_the_node_nor_its_end(run):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = run(5 * logs.WAITING_MAX, writing)
    assert process.stdout.readline() == "told\n"
    assert ended(process) == 0
    os.close(reading)
    os.close(writing)


def test_all_that_is_logged_is_written_before_the_end(run, tmp_path):
    with (tmp_path / "log").open("w+") as file:
        process = run(100, file)
        assert process.stdout.readline() == "told\n"
        assert ended(process) == 0
        file.seek(0)
        lines = file.read().splitlines()
    assert sum("WARNING talker:" in line for line in lines) == 100
    assert lines[-1].endswith("has stopped")
