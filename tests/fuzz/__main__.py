"""Fuzzes the targets one after the other, each in a process of its own, and says how many inputs there were.

An input that is too much for a target is kept in `.fuzz/TARGET/`, with what it led to in the log beside it. When its
cause is found and removed, it belongs into `tests/fuzz/corpus/TARGET/`, which the test suite replays.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, ready

CORPUS = Path(__file__).parent / "corpus"
RUNS = {
    "codec": 350_000,
    "frames": 300_000,
    "bodies": 200_000,
    "link": 120_000,
    "peer": 50_000,
    "hub": 10_000,
}
OPTIONS = ("-max_len=4096", "-len_control=20", "-timeout=30", "-rss_limit_mb=1024", "-print_final_stats=1")


def main():
    arguments = _parsed()
    print(f"{'target':8}{'inputs':>10}{'seconds':>9}{'edges':>7}{'features':>10}{'corpus':>8}  result")
    failed = [name for name in arguments.target or TARGETS if not fuzz(name, arguments)]
    return 1 if failed else 0


def _parsed():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be given several times")
    parser.add_argument("--runs", type=int, help="inputs for each target; a million in all if not given")
    parser.add_argument("--minutes", type=float, default=0.0, help="the longest time for each target; 0: no bound")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0: another one every time")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"), help="where inputs and logs are kept")
    return parser.parse_args()


def fuzz(name, arguments):
    """Run one target, and print a line; whether nothing was found."""
    folder = arguments.keep / name
    begin = _laid_out(name, folder)
    known = [CORPUS / name] if (CORPUS / name).is_dir() else []
    command = [
        *(sys.executable, "-m", "tests.fuzz.guided", name, *OPTIONS),
        *(f"-runs={arguments.runs or RUNS[name]}", f"-max_total_time={round(arguments.minutes * 60)}"),
        *(f"-seed={arguments.seed}", f"-artifact_prefix={folder}/"),
        *map(str, (folder / "corpus", begin, *known)),
    ]
    started, log = time.monotonic(), folder / "log"
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    _report(name, log, time.monotonic() - started, code)
    return code == 0


def _laid_out(name, folder):
    """Make the folders; give that of the inputs to begin with."""
    begin = folder / "begin"
    for path in (folder / "corpus", begin):
        path.mkdir(parents=True, exist_ok=True)
    with ready():
        for number, seed in enumerate(seeds(name)):
            (begin / str(number)).write_bytes(seed)
    return begin


def _report(name, log, took, code):
    text = log.read_text(errors="replace")
    inputs, edges, features, kept = (
        _last(pattern, text)
        for pattern in (r"stat::number_of_executed_units: (\d+)", r" cov: (\d+)", r" ft: (\d+)", r" corp: (\d+)")
    )
    found = re.findall(r"Test unit written to (\S+)", text)
    result = "nothing found" if code == 0 else f"found {found[-1] if found else f'exit code {code}'}; see {log}"
    print(f"{name:8}{inputs:>10}{took:>9.0f}{edges:>7}{features:>10}{kept:>8}  {result}", flush=True)


def _last(pattern, text):
    return ([*re.findall(pattern, text)] or ["?"])[-1]


if __name__ == "__main__":
    sys.exit(main())
