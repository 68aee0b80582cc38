"""A worker process of a node, seen from inside: its share of the actors, and the pipe to the main process."""
