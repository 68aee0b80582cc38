"""Runs Pykka's own tests and examples with manifold's actors and futures in the place of Pykka's.

`python -m tests.pykka_suite` gets the source distribution of the Pykka that is installed with pip, unpacks it into a
temporary folder, and runs it there. Nothing of it is kept. Ends with 0 when all is well, or when the sources cannot
be had (one line that begins with `skip:` says why), and with 1 when something fails.

Left out: the file that tests that an actor is a thread, and the test of what a BaseException does, which is
manifold's one deliberate difference.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("tests/test_threading_actor.py", "tests/test_logging.py::test_base_exception_is_logged")
EXAMPLES = ("basic", "cooperation", "proxy", "proxy_typing", "worker_pool")
TESTED_EXAMPLE = "testing_test"
FETCH_S = 60
RUN_S = 90

PATCH = """\
import manifold, pykka

pykka.ThreadingActor = manifold.Actor
pykka.ThreadingFuture = manifold.Future
manifold.start(workers=2)  # as on most machines: actors that wait for each other want a worker each
"""

PROOF = """\
import sys, manifold


def pytest_collection_finish(session):
    (runtime,) = sys.modules["tests.conftest"].RUNTIMES["threading"].values
    assert runtime.actor_class is manifold.Actor and runtime.future_class is manifold.Future
"""

RUNNER = """\
import builtins, runpy, socket, sys

if sys.argv[2] == "manifold":
    import manifold_for_pykka


def look_up(address):
    if address.endswith("7"):
        raise OSError("not found")
    return f"host-of-{address}", [], [address]


# Python's own print writes a line and its end apart, so that two threads may get in each other's way.
builtins.print = lambda *words: sys.stdout.write(" ".join(map(str, words)) + "\\n") and None
socket.gethostbyaddr = look_up  # the answers are not to depend on the network
runpy.run_path(sys.argv[1], run_name="__main__")
"""


class Unavailable(Exception):
    """The sources cannot be had."""


def fetch(version: str, folder: Path) -> Path:
    """Give the unpacked sources of Pykka."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    command += ["--timeout", "10", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"pykka=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip took longer than {FETCH_S} seconds") from None
    archives = list(folder.glob("pykka-*.tar.gz"))
    if done.returncode or not archives:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable((errors or done.stderr.splitlines() or ["pip brought no archive"])[-1])
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"pykka-{version}"


def environment(tools: Path) -> dict[str, str]:
    """Give an environment in which only what is meant to reaches the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MANIFOLD", "COV"))}
    return kept | {"PYTHONPATH": os.pathsep.join([str(tools), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: list[str], folder: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment(tools),
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        return subprocess.CompletedProcess(command, -1, out, f"hangs: ended after {RUN_S} seconds\n")


def run_pytest(what: list[str], folder: Path, tools: Path) -> str | None:
    """Run tests; gives what went wrong, or None."""
    config, results = tools / "pytest.ini", tools / "results.xml"
    config.write_text("[pytest]\n")
    results.unlink(missing_ok=True)
    command = ["-m", "pytest", "-c", str(config), f"--rootdir={folder}", "-p", "no:cacheprovider", "-q"]
    command += ["-p", "manifold_for_pykka", "-p", "no:asyncio", f"--junitxml={results}", *what]
    done = run(command, folder, tools)
    if done.returncode:
        return done.stdout + done.stderr
    counts = ET.parse(results).getroot().find("testsuite").attrib
    total, bad = int(counts["tests"]), sum(int(counts[kind]) for kind in ("errors", "failures", "skipped"))
    print(f"{total} tests, {bad} of them not passed", flush=True)
    return done.stdout if bad or not total else None


def run_tests(sources: Path, tools: Path) -> str | None:
    """Run Pykka's tests, but for those left out, which must be there to be left out."""
    options = []
    for test in LEFT_OUT:
        file, _, function = test.partition("::")
        if not (sources / file).is_file() or f"def {function}" not in (sources / file).read_text():
            return f"{test} is to be left out, and is not there"
        options += [f"--deselect={test}"] if function else [f"--ignore={test}"]
    return run_pytest(["-p", "proof", *options, "tests"], sources, tools)


def run_example(name: str, sources: Path, tools: Path) -> str | None:
    """Run an example on Pykka and on manifold: both must say the same, whichever threads they name."""
    outputs = []
    # This one stops no actor, and so never ends on Pykka.
    for base in ("pykka", "manifold") if name != "proxy_typing" else ("manifold",):
        done = run([str(tools / "runner.py"), str(sources / "examples" / f"{name}.py"), base], sources, tools)
        if done.returncode or done.stderr:
            return f"on {base}, ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        outputs.append(sorted(re.sub(r"^\S+( \(.*?\))?: ", "", line) for line in done.stdout.splitlines()))
    return None if outputs[0] == outputs[-1] else f"said {outputs[-1]}, not {outputs[0]}"


def check(sources: Path, tools: Path) -> list[str]:
    """Run everything; gives the names of what failed."""
    (tools / "manifold_for_pykka.py").write_text(PATCH)
    (tools / "proof.py").write_text(PROOF)
    (tools / "runner.py").write_text(RUNNER)
    tasks = [("tests", lambda: run_tests(sources, tools))]
    tasks += [(f"examples/{name}", lambda name=name: run_example(name, sources, tools)) for name in EXAMPLES]
    tested = f"examples/{TESTED_EXAMPLE}"
    tasks.append((tested, lambda: run_pytest([f"{tested}.py"], sources, tools)))
    failed = []
    for title, task in tasks:
        wrong = task()
        print(f"{title}: {'ok' if wrong is None else 'FAILED'}", flush=True)
        if wrong is not None:
            print(wrong, flush=True)
            failed.append(title)
    return failed


def main() -> int:
    version = importlib.metadata.version("pykka")
    with tempfile.TemporaryDirectory(prefix="pykka-suite-") as folder:
        tools = Path(folder) / "tools"
        tools.mkdir()
        try:
            sources = fetch(version, Path(folder))
        except Unavailable as reason:
            print(f"skip: the sources of Pykka {version} cannot be had: {reason}")
            return 0
        return 1 if check(sources, tools) else 0


if __name__ == "__main__":
    sys.exit(main())
