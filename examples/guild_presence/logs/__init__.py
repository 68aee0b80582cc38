"""Chat logs: what their lines say, who is present, what they must come to, and whether it came to that."""
