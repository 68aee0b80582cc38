"""A node in a process of its own: `child.py ROLE`; commands come in at stdin, one line of JSON each, and so go answers.

It may be killed at any moment. When stdin ends, it stops its node and ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from typing import Any

from manifold.cli.logs import LogThread
from manifold.transport import AddressError
from tests.campaign.processes.role import Role
from tests.campaign.processes.stage import Stage

_lock = threading.Lock()


def say(what: dict[str, Any]) -> None:
    with _lock:
        os.write(1, f"{json.dumps(what)}\n".encode())


def main() -> None:
    log = LogThread(logging.WARNING)
    try:
        stage = Stage(Role.of_text(sys.argv[1]), say)
    except AddressError:
        os._exit(1)  # at once: there may be nowhere to say it
    say({"id": stage.node.id, "port": stage.node.around.port})
    for line in sys.stdin:
        answer = stage.obey(json.loads(line))
        if answer is not None:
            say({"answer": answer})
    stage.close()
    if not log.close():
        os._exit(0)


if __name__ == "__main__":
    main()
