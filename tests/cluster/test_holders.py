"""`cluster.holders`: whose a name is, when two nodes claim it, as time passes."""

from __future__ import annotations

from manifold.cluster.holders import Holders

PATIENCE_S = 2.0


class Cluster:
    """Node "a@1", and those that it is connected to: when it heard each of them last."""

    def __init__(self, **heard_at: float) -> None:
        self.heard_at = {f"{name}@1": at for name, at in heard_at.items()}
        self.holders = Holders("a@1", self._up, self.heard_at.__getitem__, PATIENCE_S)

    def _up(self) -> dict[str, str]:
        return {node: f"tcp://{node[0]}:1" for node in self.heard_at}


def test_a_name_that_nobody_has_is_free() -> None:
    holders = Cluster(b=0.0).holders
    assert holders.objection("c@1", "tcp://c:1", 0.0) is None
    assert holders.objection("ab@1", "tcp://ab:1", 0.0) is None


def test_a_nodes_own_name_is_its_own_at_once() -> None:
    assert Cluster().holders.objection("a@2", "tcp://x:1", 0.0) == "the name 'a' is that of a@1, which is live"


def test_a_node_that_is_connected_is_welcome_in_a_new_session() -> None:
    assert Cluster(b=0.0).holders.objection("b@1", "tcp://elsewhere:1", 0.0) is None


def test_a_node_that_was_started_again_at_its_address_is_welcome() -> None:
    assert Cluster(b=0.0).holders.objection("b@2", "tcp://b:1", 0.0) is None


def test_who_holds_a_name_keeps_it_when_it_speaks_after_another_has_claimed_it_for_a_while() -> None:
    cluster = Cluster(b=9.0)
    assert cluster.holders.objection("b@2", "tcp://x:1", 10.0) == ""
    cluster.heard_at["b@1"] = 12.0  # what it said may have been under way
    assert cluster.holders.objection("b@2", "tcp://x:1", 13.0) == ""
    cluster.heard_at["b@1"] = 12.1
    taken = cluster.holders.objection("b@2", "tcp://x:1", 13.0)
    assert taken == "the name 'b' is that of b@1, which is live"


def test_who_claims_the_name_of_one_that_speaks_no_more_is_welcome_when_that_is_down() -> None:
    cluster = Cluster(b=9.0)
    for now in (10.0, 15.0, 20.0):
        assert cluster.holders.objection("b@2", "tcp://x:1", now) == ""
    del cluster.heard_at["b@1"]
    assert cluster.holders.objection("b@2", "tcp://x:1", 21.0) is None


def test_a_claim_that_was_granted_is_forgotten() -> None:
    cluster = Cluster(b=9.0)
    assert cluster.holders.objection("b@2", "tcp://x:1", 10.0) == ""
    heard_at = cluster.heard_at.pop("b@1")
    assert cluster.holders.objection("b@2", "tcp://x:1", 11.0) is None
    cluster.heard_at["b@1"] = heard_at + 50.0
    assert cluster.holders.objection("b@2", "tcp://x:1", 60.0) == ""


def test_claims_without_end_take_no_memory_without_end() -> None:
    cluster = Cluster(b=0.0)
    for number in range(5000):
        cluster.holders.objection(f"b@{number + 2}", "tcp://x:1", 0.0)
    assert len(cluster.holders._claims) <= 1001
