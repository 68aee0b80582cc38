"""Delivery on one node: the Partitioner splits a node's recipients over its workers, and workers run actors."""
