"""Classes and arguments on their way to a worker process: checked where they are given, and packed with pickle.

Pickle goes from a main process to its own workers only. Nothing that came over a network is ever unpickled.
"""

from __future__ import annotations

import pickle
import sys
from functools import reduce
from typing import Any

__all__ = ["check_importable", "pack_call"]


def check_importable(what: Any) -> None:
    """Raise TypeError for a class or function that another process cannot import by its name."""
    module, name = getattr(what, "__module__", None), getattr(what, "__qualname__", None)
    try:
        found = reduce(getattr, str(name).split("."), sys.modules[str(module)])
    except (KeyError, AttributeError):
        found = None
    if found is not what:
        msg = f"{what!r} cannot be found by its name in a worker process: define it at the top level of a module"
        raise TypeError(msg)


def pack_call(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pack what is to be called; TypeError names what cannot be."""
    try:
        return pickle.dumps((cls, args, kwargs), protocol=5)
    except Exception as error:
        parts = {f"argument {index}": value for index, value in enumerate(args, 1)} | {
            f"argument {name!r}": value for name, value in kwargs.items()
        }
        wrong = [f"{name} ({value!r})" for name, value in parts.items() if not _can_be_packed(value)]
        what = ", ".join(wrong) or "what it is given"
        msg = f"{cls.__qualname__} is to start in a worker process, and {what} cannot be pickled: {error}"
        raise TypeError(msg) from error


def _can_be_packed(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001
        return False
    return True
