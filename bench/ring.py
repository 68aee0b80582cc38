"""The ring beside `hash % n` and uhashring: look-ups, building, how even the loads are, and which keys move.

Times are the processor's: nothing here waits for anything but the processor, and so others on it add little.
"""

from __future__ import annotations

import gc
import importlib
import time
from collections import Counter
from itertools import pairwise
from statistics import pstdev
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from bench.figures import Figure, find
from bench.fresh import in_fresh
from bench.machine import versions
from bench.stats import median
from bench.turns import Burst, Lane, take_turns, warmed
from manifold import Ring
from manifold.core.circle import SPACE, Circle, moves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from bench.plan import RingPlan
    from bench.report import Record, Table

    # From keys to the node of each.
    Way = Callable[[list[str]], list[str]]

__all__ = [
    "PLOTS",
    "TABLES",
    "bulk",
    "figures",
    "measure_balance",
    "measure_building",
    "measure_lookups",
    "measure_moved",
]

_REPLICAS = 512
_FLOOR = "hash % n (floor)"
_OTHERS = "uhashring" in versions()


def _nodes(number: int, crowd: int = 0) -> list[str]:
    return [f"node-{crowd}-{place}" for place in range(number)]


def _keys(number: int) -> list[str]:
    return [f"room:{place}" for place in range(number)]


def _modulo(nodes: Sequence[str]) -> Way:
    count, hashed = len(nodes), xxh3_64_intdigest
    return lambda keys: [nodes[hashed(key.encode()) % count] for key in keys]


def _one_by_one(ring: Ring) -> Way:
    find_node = ring.find
    return lambda keys: [find_node(key) for key in keys]


def _uhashring(nodes: list[str], **options: Any) -> Way:
    get_node = importlib.import_module("uhashring").HashRing(nodes, **options).get_node
    return lambda keys: [get_node(key) for key in keys]


def _alike() -> dict[str, Any]:
    """Give the options that let uhashring do the same work."""
    return {"vnodes": _REPLICAS, "hash_fn": lambda key: xxh3_64_intdigest(key.encode())}


def _ways(nodes: list[str]) -> dict[str, Way]:
    ring = Ring(nodes, replicas=_REPLICAS)
    ways = {_FLOOR: _modulo(nodes), "manifold, find": _one_by_one(ring), "manifold, find_all": ring.find_all}
    if _OTHERS:
        ways["uhashring"] = _uhashring(nodes)
        ways["uhashring, xxh3, 512 points"] = _uhashring(nodes, **_alike())
    return ways


class _Lookups:
    """One way to look keys up, in turn with others; a burst is so many passes over all keys."""

    def __init__(self, name: str, way: Way, keys: list[str]) -> None:
        self.name, self.recipients = name, len(keys)
        self._way, self._keys = way, keys

    def burst(self, sends: int) -> Burst:
        began = time.thread_time()
        for _ in range(sends):
            self._way(self._keys)
        return Burst(sends * self.recipients / (time.thread_time() - began), [])

    def close(self) -> None:
        """Nothing is open."""


def measure_lookups(plan: RingPlan) -> Record:
    """Measure look-ups in turn, then very many in one call."""
    nodes, keys = _nodes(plan.nodes), _keys(plan.keys)
    ways = _ways(nodes)
    lanes = [warmed(_Lookups(name, way, keys), plan.burst_s, 10**9) for name, way in ways.items()]
    take_turns(lanes[0], lanes[1:], plan.rounds)
    return {
        "nodes": plan.nodes,
        "replicas": _REPLICAS,
        "keys": plan.keys,
        "rows": [_lookup_row(lane) for lane in lanes],
        # In a process of its own: what so many keys leave of the memory slows down what is measured next.
        "bulk": {"keys": plan.bulk_keys, **in_fresh(bulk, plan.nodes, plan.bulk_keys, plan.bulk_rounds)},
    }


def _lookup_row(lane: Lane) -> Record:
    return {
        "contender": lane.contender.name,
        "ns": 1e9 / median(lane.rates),
        "quiet_ns": 1e9 / max(lane.rates),
        "times": 1 / median(lane.ratios) if lane.ratios else 1.0,
    }


def bulk(nodes: int, number: int, rounds: int) -> Record:
    """Measure the look-up of so many keys in one call."""
    ring, keys = Ring(_nodes(nodes), replicas=_REPLICAS), _keys(number)
    return _timed({"bulk": lambda: ring.find_all(keys)}, rounds)["bulk"]


def _timed(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, Record]:
    """Run the works in turn, and give the seconds of each: the median, and the quietest round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            began = time.thread_time()
            work()
            seconds[name].append(time.thread_time() - began)
    return {name: {"s": median(taken), "quiet_s": min(taken)} for name, taken in seconds.items()}


def measure_building(plan: RingPlan) -> Record:
    """Measure making a ring, and changing it by a node."""
    nodes = _nodes(plan.nodes)
    ring = Ring(nodes, replicas=_REPLICAS)
    works: dict[str, Callable[[], object]] = {
        "manifold, Ring(nodes)": lambda: Ring(nodes, replicas=_REPLICAS),
        "manifold, add": lambda: ring.add("new"),
        "manifold, remove": lambda: ring.remove(nodes[0]),
        "manifold, plan(add=)": lambda: ring.plan(add="new"),
    }
    if _OTHERS:
        works["uhashring"] = lambda: _uhashring(nodes)
        works["uhashring, xxh3, 512 points"] = lambda: _uhashring(nodes, **_alike())
    return {"nodes": plan.nodes, "replicas": _REPLICAS, "works": _timed(works, plan.rounds)}


def measure_balance(plan: RingPlan) -> Record:
    """Measure how the loads of equal nodes differ: exactly, by replicas, and as many keys show it, beside others."""
    keys, ways = _keys(plan.balance_keys), _ways(_nodes(plan.nodes))
    del ways["manifold, find"]  # finds what find_all finds
    return {
        "nodes": plan.nodes,
        "crowds": plan.crowds,
        "exact": {str(replicas): _spread(plan, replicas) for replicas in plan.replicas},
        "keys": plan.balance_keys,
        "counted": {name: _counted(way(keys), plan.nodes) for name, way in ways.items()},
    }


def _spread(plan: RingPlan, replicas: int) -> list[float]:
    return [_deviation(Ring(_nodes(plan.nodes, crowd), replicas=replicas)) for crowd in range(plan.crowds)]


def _deviation(ring: Ring) -> float:
    """Give the standard deviation of the loads, in per cent of the mean load."""
    shares = moves(Circle.of({}), ring._circle).values()
    return 100 * pstdev(share / SPACE * len(ring.nodes) for share in shares)


def _counted(found: list[str], nodes: int) -> float:
    return 100 * pstdev(Counter(found).values()) * nodes / len(found)


def measure_moved(plan: RingPlan) -> Record:
    """Count the keys that get another node when one is added to n, by the ring and by `hash % n`."""
    keys, sizes = _keys(plan.moved_keys), range(2, plan.nodes_max + 1)
    makers: dict[str, Callable[[list[str]], Way]] = {
        "hash % n": _modulo,
        "manifold.Ring": lambda nodes: Ring(nodes, replicas=_REPLICAS).find_all,
    }
    moved = {}
    for name, make in makers.items():
        found = [make(_nodes(size))(keys) for size in (*sizes, plan.nodes_max + 1)]
        moved[name] = [_differing(before, after) / len(keys) for before, after in pairwise(found)]
    return {"keys": plan.moved_keys, "sizes": list(sizes), "moved": moved}


def _differing(before: list[str], after: list[str]) -> int:
    return sum(old != new for old, new in zip(before, after, strict=True))


def figures(record: Record) -> list[Figure]:
    """Give every figure to reach, with what `record` (a result as in `ring.json`) holds for it."""
    full = find(record, "lookups", "nodes") == 100
    rows = {row["contender"]: row for row in find(record, "lookups", "rows") or []} if full else {}
    one = rows.get("manifold, find", {})
    many = find(record, "lookups", "bulk") or {}
    many = many if full and many["keys"] == 5_000_000 else {}
    build = find(record, "building", "works", "manifold, Ring(nodes)") or {}
    build = build if find(record, "building", "nodes") == 100 else {}
    return [
        Figure("a look-up, 100 nodes x 512", "<=", 1_000, "ns", one.get("ns"), one.get("quiet_ns")),
        Figure("5,000,000 look-ups in one call", "<=", 3, "s", many.get("s"), many.get("quiet_s")),
        Figure("building 100 nodes x 512", "<=", 50, "ms", _ms(build.get("s")), _ms(build.get("quiet_s"))),
        Figure("loads, 512 replicas: standard deviation", "<=", 5, "%", _typical_spread(record)),
        Figure("keys moved against 1/(n+1), mean", "<=", 1.1, "x", _moved_times(record)),
    ]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _typical_spread(record: Record) -> float | None:
    found: list[float] | None = find(record, "balance", "exact", "512")
    return median(found) if found and record["balance"]["nodes"] == 100 else None


def _moved_times(record: Record) -> float | None:
    if "moved" not in record:
        return None
    data = record["moved"]
    times: list[float] = [
        share * (n + 1) for n, share in zip(data["sizes"], data["moved"]["manifold.Ring"], strict=True)
    ]
    return sum(times) / len(times)


def _lookups_table(data: Record) -> list[Table]:
    rows = [
        (row["contender"], f"{row['ns']:,.0f} ns", f"{row['quiet_ns']:,.0f} ns", f"{row['times']:.1f} x")
        for row in data["rows"]
    ]
    many = data["bulk"]
    rows.append((f"find_all({many['keys']:,} keys)", f"{many['s']:.2f} s", f"{many['quiet_s']:.2f} s", ""))
    title = f"Look-ups, {data['nodes']} nodes x {data['replicas']}, in turn"
    return [(title, ("contender", "each", "quietest round", "of the floor"), rows)]


def _building_table(data: Record) -> list[Table]:
    rows = [
        (name, f"{1e3 * taken['s']:,.1f} ms", f"{1e3 * taken['quiet_s']:,.1f} ms")
        for name, taken in data["works"].items()
    ]
    return [(f"Building, {data['nodes']} nodes x {data['replicas']}", ("contender", "each", "quietest round"), rows)]


def _balance_tables(data: Record) -> list[Table]:
    exact = [
        (replicas, f"{median(found):.2f} %", f"{min(found):.2f} %", f"{max(found):.2f} %")
        for replicas, found in data["exact"].items()
    ]
    counted = [(name, f"{deviation:.2f} %") for name, deviation in data["counted"].items()]
    nodes = data["nodes"]
    title = f"Standard deviation of the loads of {nodes} nodes, {data['crowds']} sets of names"
    return [
        (title, ("replicas", "median", "least", "most"), exact),
        (f"The same, counted with {data['keys']:,} keys", ("contender", "measured"), counted),
    ]


def _moved_table(data: Record) -> list[Table]:
    sizes, moved = data["sizes"], data["moved"]
    rows = [
        (f"{n} to {n + 1}", *(f"{found[place]:.1%}" for found in moved.values()), f"{1 / (n + 1):.1%}")
        for place, n in enumerate(sizes)
        if n & (n - 1) == 0
    ]
    return [("Keys that get another node when one is added", ("nodes", *moved, "1/(n+1)"), rows)]


TABLES = {
    "lookups": _lookups_table,
    "building": _building_table,
    "balance": _balance_tables,
    "moved": _moved_table,
}


def _moved_plot(axes: Axes, data: Record) -> None:
    sizes, moved = data["sizes"], data["moved"]
    axes.plot(sizes, moved["hash % n"], label="hash % n", color="#888888", linestyle="--", marker=".")
    axes.plot(sizes, moved["manifold.Ring"], label="manifold.Ring", color="#d62728", marker=".", linewidth=2.2)
    axes.plot(sizes, [1 / (n + 1) for n in sizes], label="1 / (n + 1)", color="black", linewidth=0.8)
    axes.set_ylim(0, 1)
    axes.set_yticks([place / 5 for place in range(6)], [f"{place:.0%}" for place in (0, 0.2, 0.4, 0.6, 0.8, 1)])
    axes.set_xlabel("nodes n before one is added")
    axes.set_ylabel("keys that get another node")


def _balance_plot(axes: Axes, data: Record) -> None:
    replicas = [int(number) for number in data["exact"]]
    for found in zip(*data["exact"].values(), strict=True):
        axes.plot(replicas, found, color="#d62728", linestyle="", marker="o", alpha=0.4)
    axes.plot([], [], color="#d62728", linestyle="", marker="o", label=f"a set of {data['nodes']} names")
    expected = [100 / number**0.5 for number in replicas]
    axes.plot(replicas, expected, color="black", linewidth=0.8, label="1 / sqrt(replicas)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(replicas, [str(number) for number in replicas])
    axes.set_ylim(0)
    axes.set_xlabel("replicas")
    axes.set_ylabel("standard deviation of the loads, % of the mean")


PLOTS = (
    ("moved", "moved", "Keys that get another node when one is added", _moved_plot),
    ("balance", "balance", "How the loads of equal nodes differ", _balance_plot),
)
