"""What a soak has found: whether it is good, and what there is to read."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any

import manifold
from bench.machine import facts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.campaign.soak.run import Record

__all__ = ["judge", "slope", "summed_up", "write"]

SLOPE_MAX_KB_MIN = 60.0
"""What resident memory may seem to grow, for it goes up and down by hundreds of KB."""
MEASURED_MIN_S = 600.0
"""Over less than this a slope says nothing."""
BLOCKS_MAX_SHARE = 0.02
COUNTS = ("sent", "delivered", "dead", "shed", "unreachable", "in_flight")


def slope(samples: list[tuple[float, float]]) -> float:
    """Give by how much the second grows in a minute of the first, which is seconds: by least squares."""
    seconds, values = zip(*samples)
    return 60 * statistics.linear_regression(seconds, values).slope


def memory(record: Record) -> dict[str, dict[str, Any]]:
    """Give the memory of the nodes that lived through, after the warm-up."""
    ended = {node["node"].partition("@")[0]: node["origin"] for node in record.ended}
    found: dict[str, dict[str, Any]] = {}
    for order, (name, samples) in enumerate(sorted(record.samples.items())):
        after = [(at, resident) for at, resident, *_ in samples if record.warm_s <= at <= record.ended_s]
        if ended.get(name) != order or len(after) < 2:
            continue
        found[name] = {
            "slope_kb_min": round(slope(after), 1),
            "kb_after_warm_up": after[0][1],
            "kb_at_the_end": after[-1][1],
            "kb_most": max(kb for _, kb in after),
            "threads_most": max(sample[2] for sample in samples),
            "file_descriptors_most": max(sample[3] for sample in samples),
            "measured_s": round(after[-1][0] - after[0][0]),
        }
    return found


def judge(record: Record) -> list[str]:
    """Give all that is not as it should be."""
    return [*record.wrong, *_leaks(record), *_growth(record), *_sums(record)]


def _leaks(record: Record) -> list[str]:
    wrong = []
    for name, held in sorted(record.held.items()):
        if "end" not in held:
            wrong.append(f"{name} was not counted at the end")
            continue
        for when in ("warm", "end"):
            wrong += [
                f"{name} has {number} {what} when {when}, {held['start'][what]} at the start"
                for what, number in held.get(when, {}).items()
                if number != held["start"][what]
            ]
    return wrong


def _growth(record: Record) -> list[str]:
    wrong = []
    for name, found in memory(record).items():
        if found["measured_s"] >= MEASURED_MIN_S and found["slope_kb_min"] > SLOPE_MAX_KB_MIN:
            wrong.append(f"{name} grows by {found['slope_kb_min']} KB a minute")
        blocks = record.blocks[name]
        if "warm" in blocks and blocks["end"] > (1 + BLOCKS_MAX_SHARE) * blocks["warm"]:
            wrong.append(f"{name} has {blocks['end']:,} blocks of memory at the end, {blocks['warm']:,} when warm")
    return wrong


def _sums(record: Record) -> list[str]:
    """Every node's counts against each other, against what it was made to send, and against what was handled."""
    wrong, handled = [], handled_by_origin(record)
    for node in record.ended:
        if node["out of order"]:
            wrong.append(f"{node['node']} was sent {node['out of order']} messages doubled or out of order")
        stats = node["stats"]
        if stats is None:
            continue  # it was killed
        if stats["in_flight"]:
            wrong.append(f"{node['node']} ended with {stats['in_flight']} in flight: {stats}")
        if stats["sent"] != sum(stats[name] for name in COUNTS[1:]):
            wrong.append(f"{node['node']} does not account for all: {stats}")
        if node.get("sent", stats["sent"]) != stats["sent"]:
            wrong.append(f"{node['node']} counts {stats['sent']} as sent, which were {node['sent']}")
        if not 0 <= handled[node["origin"]] - stats["delivered"] <= stats["unreachable"]:
            wrong.append(f"{node['node']} counts as delivered {stats}, of which {handled[node['origin']]} were handled")
    return wrong


def handled_by_origin(record: Record) -> Counter[int]:
    """Give how many messages of each node process were handled by anybody."""
    handled: Counter[int] = Counter()
    for node in record.ended:
        handled.update(node["handled"])
    return handled


# What there is to read.


def summed_up(record: Record) -> dict[str, Any]:
    """Give all of it, for a file."""
    wrong, handled = judge(record), handled_by_origin(record)
    nodes = [
        {**node, "handled_anywhere": handled[node["origin"]], "handled": sum(node["handled"].values())}
        for node in record.ended
    ]
    return {
        "machine": facts(),
        "versions": {name: metadata.version(name) for name in ("pyzmq", "pykka", "msgpack")} | _own_version(),
        "verdict": {"ok": not wrong, "wrong": wrong},
        "minutes": round(record.ended_s / 60, 1),
        "warm_up_minutes": round(record.warm_s / 60, 1),
        "seed": record.seed,
        "limits": record.limits,
        "memory": memory(record),
        "blocks": record.blocks,
        "grown": record.grown,
        "faults": record.faults,
        "nodes": nodes,
        "held": record.held,
        "samples": {name: samples[::60] for name, samples in sorted(record.samples.items())},
    }


def _own_version() -> dict[str, str]:
    return {"manifold": manifold.__version__}


def write(result: dict[str, Any], path: Path) -> None:
    """Write the file, and a text beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(text(result))


def text(result: dict[str, Any]) -> str:
    """Give what is to be read of it."""
    machine, wrong = result["machine"], result["verdict"]["wrong"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    lines = [
        "# Soak",
        "",
        f"`python -m tests.campaign soak --seed {result['seed']}`: {result['minutes']} minutes of mixed traffic",
        f"between three node processes over ZeroMQ (tcp, each behind a proxy), {len(result['faults'])} faults.",
        "",
        f"**{'not ok' if wrong else 'ok'}**. {machine['date']}, {machine['implementation']} {machine['python']},",
        f"{machine['platform']}, {machine['cpus']} CPUs, {versions}.",
        "",
        *(f"- {line}" for line in wrong),
    ]
    for title, head, rows in (_memory_rows(result), _sums_rows(result), _fault_rows(result), _held_rows(result)):
        lines += ["", f"## {title}", "", _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Any) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def _memory_rows(result: dict[str, Any]) -> tuple[str, list[str], list[Any]]:
    head = ["node", "slope, KB/min", "KB after warm-up", "KB at the end", "most KB", "blocks when warm", "at the end"]
    blocks = result["blocks"]
    return (
        f"Memory of the nodes that lived through, after {result['warm_up_minutes']} minutes of warm-up",
        head,
        [
            [name, *list(found.values())[:4], blocks[name].get("warm", "-"), blocks[name]["end"]]
            for name, found in result["memory"].items()
        ],
    )


def _sums_rows(result: dict[str, Any]) -> tuple[str, list[str], list[Any]]:
    head = ["node process", *(name.replace("_", " ") for name in COUNTS), "handled by anybody", "out of order"]
    rows = []
    for node in result["nodes"]:
        counts = [node["stats"][name] for name in COUNTS] if node["stats"] else ["killed", *["-"] * (len(COUNTS) - 1)]
        rows.append([node["node"], *counts, node["handled_anywhere"], node["out of order"]])
    return "Counts: recipients of messages", head, rows


def _fault_rows(result: dict[str, Any]) -> tuple[str, list[str], list[Any]]:
    kinds = Counter(fault["kind"] for fault in result["faults"])
    slowest: Counter[str] = Counter()
    for fault in result["faults"]:
        slowest[fault["kind"]] = max(slowest[fault["kind"]], fault.get("met_after_s", 0))
    rows = [[kind, number, slowest[kind]] for kind, number in sorted(kinds.items())]
    return "Faults", ["kind", "times", "all nodes see each other again after at most, s"], rows


def _held_rows(result: dict[str, Any]) -> tuple[str, list[str], list[Any]]:
    times = [(name, time) for name, held in result["held"].items() for time in held]
    what = next(iter(result["held"].values()))["start"] if result["held"] else {}
    rows = [[kind, *(result["held"][name][time][kind] for name, time in times)] for kind in what]
    return "What is held when nothing happens", ["", *(f"{name}, {time}" for name, time in times)], rows
