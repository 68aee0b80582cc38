"""A result of `bench cluster`, made up: small numbers, everything in it."""

from __future__ import annotations

from bench.stats import QUANTILES


def quantiles(median: float) -> dict[str, float]:
    return {f"{percent:g}": median * percent / 50 for percent in QUANTILES}


def contender(name: str, recipients: int, ratio: float) -> dict:
    return {
        "contender": name,
        "recipients": recipients,
        "deliveries_per_s": 1e7 * ratio,
        "cost_ns": 100 / ratio,
        "ratio": ratio,
        "ratios": [ratio],
        "call_median_us": 700.0,
        "call_p99_us": 1_400.0,
        "calls": 10,
    }


def calls(median_us: float) -> dict[str, float]:
    return {
        "median_us": median_us,
        "p99_us": 2 * median_us,
        "quiet_us": median_us / 2,
        "thread_us": median_us,
        "process_us": 3 * median_us,
    }


def wire(to: str, recipients: int, how: str, sent_bytes: float | None) -> dict:
    return {
        "to": to,
        "recipients": recipients,
        "how": how,
        "sent_bytes": sent_bytes,
        "received_bytes": None if sent_bytes is None else 76.0,
        "segments": None if sent_bytes is None else 1.0,
    }


def flood(kind: str, growth_bytes: int | None) -> dict:
    sample = {"at_s": 0.0, "sender_bytes": 10_000_000, "receiver_bytes": 20_000_000}
    return {
        "kind": kind,
        "limit_bytes": 32 << 20,
        "seconds": 60.0,
        "handled_per_s": 1_000.0,
        "offered_per_s": 10_500.0,
        "overloaded": 7,
        "counts": {"sent": 9, "delivered": 2, "dead": 0, "shed": 7, "unreachable": 0, "in_flight": 0},
        "sender_growth_bytes": growth_bytes,
        "receiver_growth_bytes": growth_bytes,
        "call_us": quantiles(50),
        "samples": [sample, {**sample, "at_s": 0.5, "receiver_bytes": 30_000_000}],
    }


RECORD: dict = {
    "machine": {"cpus": 2, "python": "3.11.7", "date": "2025-01-01"},
    "fanout": {
        "rows": [
            contender(name, recipients, ratio)
            for recipients in (1_000, 10_000)
            for name, ratio in (
                ("bare loop over there (floor)", 1.0),
                ("manifold, list", 0.25),
                ("manifold, audience", 0.5),
            )
        ],
        "sender": {
            "recipients": 10_000,
            "idle": {"list": calls(1_300), "audience": calls(100)},
            "back to back": {"list": calls(1_100), "audience": calls(10)},
        },
    },
    "wire": {
        "message_bytes": 220,
        "sends": 10,
        "rows": [
            wire("one", 1, "one by one", 284.0),
            wire("list", 10_000, "one by one", 80_300.0),
            wire("list", 10_000, "in a row", 80_200.0),
            wire("audience", 10_000, "one by one", 284.5),
            wire("audience", 10_000, "in a row", 250.0),
        ],
    },
    "singles": {
        "rows": [contender("bare pyzmq (floor)", 1_000, 1.0), contender("manifold, a send each", 1_000, 0.005)],
        "quiet_per_s": 61_000.0,
        "sender_cpu_us": 6.0,
        "receiver_cpu_us": 10.0,
    },
    "roundtrip": {
        "pings": 10,
        "ways": {way: quantiles(240) for way in ("manifold, ask and get", "manifold, actor to actor")},
        "quiet": {way: {"50": 200.0, "99": 300.0} for way in ("manifold, ask and get", "manifold, actor to actor")},
    },
    "nodes": {
        "rows": [
            {"nodes": nodes, "recipients": recipients, "to": to, "how": how, **calls(10.0 * nodes)}
            for nodes in (1, 2, 4)
            for recipients in (10_000, 40_000)
            for to in ("list", "audience")
            for how in ("idle", "back to back")
        ]
    },
    "brokers": {
        "pings": 10,
        "rows": [
            contender(name, recipients, ratio) | {"to_audience": 2 * ratio}
            for recipients in (1_000, 10_000)
            for name, ratio in (("manifold, audience", 0.5), ("nats-py, a publish each", 0.01))
        ],
        "ways": {way: quantiles(240) for way in ("manifold over NATS, ask and get", "nats-py, request")},
        "quiet": {way: {"50": 200.0, "99": 300.0} for way in ("manifold over NATS, ask and get", "nats-py, request")},
        "skipped": {"Redis": "the program redis-server is not installed"},
    },
    "overload": {
        "times": 10,
        "recipients": 1_000,
        "floods": [flood("list", 20_000_000), flood("single", 30_000_000)],
    },
}
