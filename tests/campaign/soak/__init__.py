"""A soak: nodes in processes of their own under mixed traffic, with a fault a minute; nothing may grow or be lost."""
