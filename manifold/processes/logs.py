"""Log records of worker processes, which are handled in the main process as if they had been made there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from manifold.core.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Upward", "handle", "levels", "set_levels"]

_PLAIN = (
    "name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs",
    "thread", "threadName", "process", "processName", "exc_text", "stack_info",
)  # fmt: skip
_FORMATTER = logging.Formatter()


class Upward(logging.Handler):
    """Passes records on, written out: what they were made of need not travel."""

    def __init__(self, put: Callable[[bytes], object]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.exc_info and not record.exc_text:
                record.exc_text = _FORMATTER.formatException(record.exc_info)
            plain: dict[str, Any] = {name: getattr(record, name, None) for name in _PLAIN}
            plain["msg"] = record.getMessage().encode(errors="replace").decode()
            self._put(encode(plain))
        except Exception:  # noqa: BLE001
            self.handleError(record)


def handle(body: memoryview) -> None:
    """Handle a record that a worker process has passed on."""
    record = logging.makeLogRecord(decode(body))  # type: ignore[arg-type]
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def levels() -> dict[str, int]:
    """Give the levels that are set in this process, by the name of the logger; the root's is empty."""
    known = {name: logger.level for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "level")}
    return {"": logging.root.level, **{name: level for name, level in known.items() if level}}


def set_levels(by_name: dict[str, int]) -> None:
    """Log what the main process would."""
    for name, level in by_name.items():
        logging.getLogger(name).setLevel(level)
