"""Guilds and who is present in them: chat logs replayed through `manifold`, every delivery checked.

`python -m examples.guild_presence --help` tells how to run it. Read `log` (what a line says), `room` (who is
present), `actors` (the part that uses the library), `gateway` and `cluster` (several nodes), then `replay` (the
driver). `check` and `count` are what makes the result believable.
"""
