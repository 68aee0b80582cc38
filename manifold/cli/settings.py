"""What a node is started with: from the options, else from MANIFOLD_* variables, else from a TOML file's [node] table.

A variable that is set to nothing counts as not set.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.limits import Limits
from manifold.transport import AddressError, parse_address
from manifold.transport.nats_url import parse_servers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from manifold.node import WorkerKind

__all__ = ["BadInput", "Settings", "add_options", "gather"]

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_DEFAULTS = {field.name: field.default for field in fields(Limits)}


class BadInput(Exception):
    """The input cannot be used; the text says in one line what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node is started with."""

    limits: Limits
    name: str | None = None
    listen: str | None = None
    join: tuple[str, ...] = ()
    transport: str | None = None
    roles: tuple[str, ...] = ()
    cookie: str | None = None
    cookie_file: str | None = None
    workers: int | None = None
    worker_kind: WorkerKind = "thread"
    app: str | None = None
    log_level: str = "info"


class _Setting(NamedTuple):
    option: str
    metavar: str
    read: Callable[[Any], Any]
    """Takes the text of an option or a variable, or a value of TOML. Raises ValueError."""
    help: str
    repeats: bool = False


# How each is read.


def _expected(what: str, value: object) -> ValueError:
    return ValueError(f"expected {what}, not {value!r}")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _expected("a text", value)
    return value.strip()


def _number(value: object) -> int:
    number = _converted(int, value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise _expected("a whole number", value)
    return number


def _fraction(value: object) -> float:
    number = _converted(float, value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise _expected("a number", value)
    return number


def _converted(kind: Callable[[str], object], value: object) -> object:
    """Give what a text says; the value itself if it is none, or does not say any such thing."""
    try:
        return kind(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise _expected(" or ".join(choices), value)
        return str(value)

    return read


def _address(value: object) -> str:
    text = _text(value)
    if parse_address(text).scheme not in ("tcp", "ipc"):
        raise AddressError(text, "not where a process can be reached; expected tcp://host:port or ipc:///path")
    return text


def _servers(value: object) -> str:
    text = _text(value)
    parse_servers(text)
    return text


def _peer(value: object) -> str:
    text = _address(value)
    _, host, port = parse_address(text)
    if text.startswith("tcp:") and (host == "*" or not port):
        raise AddressError(text, "can be listened on, not joined: that takes the real host and port")
    return text


def _peers(value: object) -> tuple[str, ...]:
    return tuple(_peer(each) for each in _several(value))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(each) for each in _several(value))


def _several(value: object) -> list[object]:
    if isinstance(value, str):
        return [each for each in value.split(",") if each.strip()]
    if not isinstance(value, list):
        raise _expected("a list", value)
    return value


def _limits(value: object) -> dict[str, float]:
    pairs = value.items() if isinstance(value, dict) else map(_pair, _several(value))
    return {name: _limit(name, number) for name, number in pairs}


def _pair(text: object) -> tuple[str, str]:
    name, sign, value = _text(text).partition("=")
    if not sign:
        raise _expected("NAME=VALUE", text)
    return name.strip(), value.strip()


def _limit(name: str, value: object) -> float:
    if name not in _DEFAULTS:
        msg = f"no such limit as {name!r}; there are {', '.join(_DEFAULTS)}"
        raise ValueError(msg)
    try:
        number = _number(value) if isinstance(_DEFAULTS[name], int) else _fraction(value)
    except ValueError as error:
        msg = f"{name}: {error}"
        raise ValueError(msg) from None
    Limits(**{name: number})  # type: ignore[arg-type]
    return number


def _app(value: object) -> str:
    module, sign, name = _text(value).partition(":")
    if not (module and sign and name):
        raise _expected("module:callable", value)
    return f"{module}:{name}"


_SETTINGS = {
    "name": _Setting("--name", "NAME", _text, "the node's name, one in the cluster; made up if not given"),
    "listen": _Setting("--listen", "ADDR", _address, "where others join it: tcp://127.0.0.1:0 (any port), ipc:///path"),
    "join": _Setting("--join", "ADDR", _peers, "address of any node of the cluster; may be repeated", repeats=True),
    "transport": _Setting(
        "--transport", "URL", _servers, "nats://host:4222 or tls://host:4222, in the place of --listen and --join"
    ),
    "roles": _Setting(
        "--role", "ROLE", _texts, "a role in which it is a home of placed actors; may be repeated", repeats=True
    ),
    "cookie_file": _Setting("--cookie-file", "FILE", _text, "file with the cluster's secret; see manifold cookie"),
    "workers": _Setting("--workers", "N", _number, "how many workers; by default one per CPU core"),
    "worker_kind": _Setting(
        "--worker-kind",
        "KIND",
        _one_of("thread", "loop", "process"),
        "thread (the default), loop: one worker, the main thread, or process: each worker a child process",
    ),
    "app": _Setting("--app", "MODULE:CALLABLE", _app, "called, or awaited, with the node when it has started"),
    "limits": _Setting("--limit", "NAME=VALUE", _limits, "one of manifold.Limits; may be repeated", repeats=True),
    "log_level": _Setting("--log-level", "LEVEL", _one_of(*_LOG_LEVELS), f"{', '.join(_LOG_LEVELS)}; by default info"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting, and --config."""
    for name, setting in _SETTINGS.items():
        action = "append" if setting.repeats else "store"
        parser.add_argument(setting.option, dest=name, metavar=setting.metavar, action=action, help=setting.help)
    parser.add_argument("--config", metavar="FILE", help="TOML file whose [node] table gives what is not given here")


# Where each comes from.


def gather(options: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read all settings. Raises BadInput."""
    path = options["config"] or environ.get("MANIFOLD_CONFIG") or ""
    sources = _Sources(options, environ, path, _table(path) if path else {})
    found = {name: values[0] for name in _SETTINGS if (values := list(sources.read(name)))}
    # Limits are settings of their own: each comes from the first place that gives it.
    limits = {name: value for each in reversed(list(sources.read("limits"))) for name, value in each.items()}
    found["limits"] = Limits(**limits)
    if not options["cookie_file"]:
        found["cookie"] = environ.get("MANIFOLD_COOKIE") or None
    return Settings(**found)


class _Sources(NamedTuple):
    options: Mapping[str, Any]
    environ: Mapping[str, str]
    path: str
    table: Mapping[str, Any]

    def read(self, name: str) -> Iterator[Any]:
        """Give the values of a setting, that which counts first. One that does not count is not looked at."""
        for where, value in self._given(name):
            try:
                yield _SETTINGS[name].read(value)
            except ValueError as error:
                msg = f"{where}: {error}"
                raise BadInput(msg) from None
            if name != "limits":
                return

    def _given(self, name: str) -> Iterator[tuple[str, Any]]:
        variable = f"MANIFOLD_{name.upper()}"
        if self.options[name] is not None:
            yield _SETTINGS[name].option, self.options[name]
        if self.environ.get(variable):
            yield variable, self.environ[variable]
        if name in self.table:
            yield f"{self.path}: {name}", self.table[name]


def _table(path: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("node")
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise BadInput(msg) from None
    except ValueError as error:
        msg = f"{path}: is not TOML: {error}"
        raise BadInput(msg) from None
    if not isinstance(table, dict):
        msg = f"{path}: has no table [node]"
        raise BadInput(msg)
    for name in table:
        if name not in _SETTINGS:
            msg = f"{path}: no such setting as {name!r} in [node]; there are {', '.join(_SETTINGS)}"
            raise BadInput(msg)
    return table
