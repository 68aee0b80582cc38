"""How actors begin in a worker process: under an id that the main process has minted, of a class that is found here."""

from __future__ import annotations

import importlib
import logging
import pickle
import weakref
from functools import reduce
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

from manifold.errors import ManifoldError

if TYPE_CHECKING:
    from manifold.delivery.nest import Nest

__all__ = ["bear_actor", "conceive_actor", "find_class", "import_main", "start_actor"]

logger = logging.getLogger("pykka")

_main: dict[str, Any] = {}
_seen: weakref.WeakSet[type] = weakref.WeakSet()


def know_main(data: dict[str, Any]) -> None:
    """Say how the program's main module would be imported, should something be wanted of it."""
    _main.update(data)


def import_main() -> None:
    """Import the program's main module, the first time. ManifoldError says what is wrong with it."""
    data = dict(_main)
    _main.clear()
    try:
        spawn.prepare(data)
    except BaseException as error:
        msg = (
            f"a worker process imports the program's main module for what is defined there, and that raised "
            f"{type(error).__name__}: {error}. What starts a node belongs behind `if __name__ == '__main__':`."
        )
        raise ManifoldError(msg) from error


def find_class(module: str, name: str) -> Any:
    """Import a class by its name; raises what the import raises, and AttributeError."""
    if module == "__main__":
        import_main()
    return reduce(getattr, name.split("."), importlib.import_module(module))


def start_actor(nest: Nest, body: memoryview) -> bool:
    """Have the actor started that a frame describes, for which what follows waits; whether it is its class's first."""
    cls = conceive_actor(nest, body)
    nest.bear(_number(body), None)
    is_first = cls is not None and cls not in _seen
    if cls is not None:
        _seen.add(cls)
    return is_first


def conceive_actor(nest: Nest, body: memoryview) -> type | None:
    """Have the actor made that a frame describes, and not begun yet; give its class, if it could be."""
    try:
        cls, args, kwargs = _unpacked(bytes(body[8:]))
        nest.conceive(cls, args, kwargs, _number(body))
    except BaseException:
        logger.exception("An actor could not be started in a worker process:")
        return None
    return cls  # type: ignore[no-any-return]


def bear_actor(nest: Nest, body: memoryview) -> None:
    """Let one begin, with the state that follows, if one does."""
    nest.bear(_number(body), bytes(body[8:]) or None)


def _number(body: memoryview) -> int:
    return int.from_bytes(body[:8], "little")


def _unpacked(call: bytes) -> Any:
    """Read what the main process wants called; what it names of the main module has to be imported."""
    if _main and b"__main__" in call:
        import_main()
    return pickle.loads(call)  # noqa: S301  # from the main process
