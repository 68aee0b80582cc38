"""Runs one target under libFuzzer, which keeps inputs that reach something new: `guided TARGET [options, folders]`.

Everything of manifold that reads what comes in is instrumented, so that libFuzzer sees where an input leads.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["manifold.core", "manifold.cluster", "manifold.errors"]):
    from tests.fuzz.targets import TARGETS, ready


def main():
    name, *options = sys.argv[1:]
    with ready():
        atheris.Setup([sys.argv[0], *options], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
