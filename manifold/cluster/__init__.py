"""The other nodes: who they are, what is under way to them, and what comes from them."""
