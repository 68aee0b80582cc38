"""What two nodes in two processes cost each other; `python -m bench cluster` measures it."""
