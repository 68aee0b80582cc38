"""The verbs. Each has a module with `main(arguments) -> exit status`, and a --help of its own."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_VERBS = {
    "serve": "examples.guild_presence.app.serve",
    "load": "examples.guild_presence.load.cli",
    "replay": "examples.guild_presence.replay.cli",
}
_HELP = """\
usage: guild_presence VERB ...

  serve   the application: gateways, guild nodes, and a page to open in a browser
  load    users by the thousand on real WebSockets, or chat logs replayed through them, every delivery checked
  replay  chat logs replayed through actors alone, every delivery checked; what is done without a verb

Each verb has a --help of its own.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; give the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["-h"], ["--help"]):
        print(_HELP, end="")
        return 0
    if words and words[0] not in _VERBS and not words[0].startswith("-"):
        print(f"guild_presence: there is no verb {words[0]!r} (see --help)", file=sys.stderr)
        return 2
    verb = words.pop(0) if words and words[0] in _VERBS else "replay"
    return int(import_module(_VERBS[verb]).main(words))


if __name__ == "__main__":
    sys.exit(main())
