"""The command line's part of a soak."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

from tests.campaign.soak.faults import FAULTS
from tests.campaign.soak.report import summed_up, text, write
from tests.campaign.soak.run import soak

__all__ = ["main"]

RESULTS = Path(__file__).parents[3] / "bench" / "results" / "soak.json"
LONG_MIN = 10.0
"""The results of shorter ones are not kept."""
DOWN_AFTER_S = 4.0


def main(minutes: float, seed: int) -> int:
    """Run a soak with a fault a minute, and one of each kind at least; 1 if anything is wrong."""
    kinds = planned(max(int(minutes), len(FAULTS)), seed)
    with tempfile.TemporaryDirectory() as directory:
        result = summed_up(soak(60 * minutes, kinds, seed, Path(directory), min(DOWN_AFTER_S, 6 * minutes)))
    if minutes >= LONG_MIN:
        write(result, RESULTS)
    print(text(result))
    return 0 if result["verdict"]["ok"] else 1


def planned(number: int, seed: int) -> list[str]:
    """Give faults: all kinds by turns, in another order each time."""
    random, kinds = Random(f"plan/{seed}"), list[str]()
    while len(kinds) < number:
        kinds += random.sample(list(FAULTS), len(FAULTS))
    return kinds[:number]
