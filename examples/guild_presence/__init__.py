"""Guilds and who is present in them: what the real-time back end of a chat product looks like, on `manifold`.

`python -m examples.guild_presence --help` tells how to run it.
"""
