"""Benchmarks of manifold: ratios to a bare loop measured in turn with it, never absolute assertions.

`python -m bench local` measures one node, `python -m bench cluster` several, both on one machine; `README.md` says what
each figure means.
"""
