"""The package: typed, every public name documented, and nothing happens when it is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pykka
import pytest

import manifold

ROOT = Path(__file__).parents[1]
EXEMPT = {
    *inspect.get_annotations(pykka.Actor),  # attributes, documented by Pykka
    *inspect.get_annotations(pykka.ActorRef),
    "on_end",  # called by the node alone
}
CLASSES = [name for name in manifold.__all__ if inspect.isclass(getattr(manifold, name))]


def run(script):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_ships_the_mark_of_typed_packages():
    assert (importlib.resources.files("manifold") / "py.typed").is_file()


def test_names_are_sorted_and_stand_once():
    assert len(manifold.__all__) == len(set(manifold.__all__))
    assert set(manifold.__all__) <= set(dir(manifold))


def test_a_star_import_gives_every_name():
    space = {}
    exec("from manifold import *", space)
    assert set(manifold.__all__) <= set(space)


@pytest.mark.parametrize("name", manifold.__all__)
def test_every_public_name_is_documented(name):
    public = getattr(manifold, name)
    text = vars(public).get("__doc__") if inspect.isclass(public) else public.__doc__
    assert text
    assert len(text.split()) >= 3
    assert not text.startswith(f"{name}(")  # what Python makes up for one that has none


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_is_documented(name):
    bare = [
        method
        for method, value in inspect.getmembers(getattr(manifold, name))
        if not method.startswith("_")
        and method not in EXEMPT
        and (inspect.isroutine(value) or isinstance(value, property))
        and not inspect.getdoc(value)
    ]
    assert not bare


def test_the_docstring_of_the_package_names_what_there_is():
    named = set(re.findall(r"`(\w+)", manifold.__doc__))
    assert {"Actor", "send", "Audience", "ask", "PID", "Node", "start", "stop", "Limits"} <= named


def test_every_name_in_the_map_of_the_package_exists():
    functions = re.findall(r"`([a-z_]+)\(", manifold.__doc__)
    classes = re.findall(r"`([A-Z]\w+)`", manifold.__doc__)
    assert all(hasattr(manifold, name) for name in [*functions, *classes])


def test_the_version_is_that_of_the_distribution():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", manifold.__version__)
    assert importlib.metadata.version("manifold-actors") == manifold.__version__


def test_importing_it_starts_no_thread_and_no_node():
    done = run(
        "import threading, manifold\n"
        "from manifold import ports\n"
        "print([thread.name for thread in threading.enumerate()], len(ports.hosts))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['MainThread'] 0\n", "")


def test_importing_it_logs_nothing_and_sets_up_no_logging():
    done = run("import logging, manifold; print(logging.getLogger().handlers, logging.getLogger('manifold').level)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] 0\n", "")
