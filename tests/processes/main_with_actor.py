"""A program whose actor class and on_worker_start stand in its main module; unguarded if told so."""

from __future__ import annotations

import os
import sys

import manifold

BEGUN: list[int] = []


def begin() -> None:
    BEGUN.append(os.getpid())


class Own(manifold.Actor):
    def on_receive(self, message: object) -> object:
        return [os.getpid(), message, BEGUN]


def run(on_start: object = None) -> None:
    with manifold.Node("own", worker_kind="process", workers=2, on_worker_start=on_start) as node:
        answers = [node.ask(node.spawn(Own), "hello").get() for _ in range(20)]  # in every worker
        assert {process for process, _, _ in answers} == set(node._crew.pids())
        process, message, begun = answers[0]
        print(message, process != os.getpid(), begun == ([process] if on_start else []), flush=True)


if __name__ == "__main__" and sys.argv[1:] == ["guarded"]:
    run()
elif __name__ == "__main__" and sys.argv[1:] == ["begun"]:
    run(begin)
elif sys.argv[1:] == ["unguarded"]:
    run()
