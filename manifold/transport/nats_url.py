"""What `transport=` says: the servers of NATS, how to be let in by them, and which of the clusters on them is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from manifold.transport import AddressError

if TYPE_CHECKING:
    import ssl

__all__ = ["DEFAULT_CLUSTER", "Servers", "hide_secrets", "parse_servers"]

DEFAULT_CLUSTER = "default"

_EXPECTED = "not an address of NATS; expected nats://host:4222 or tls://host:4222, several with commas between them"
_OPTIONS = ("cluster", "credentials", "ca", "certificate", "key")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEFAULT_PORT = 4222
_JWT = re.compile(r"BEGIN NATS USER JWT-*\s+(\S+)")
_SEED = re.compile(r"BEGIN USER NKEY SEED-*\s+(\S+)")


@dataclass(frozen=True, slots=True, repr=False)
class Servers:
    """Where the servers are, and what they are told. No secret is in what can be printed."""

    urls: tuple[str, ...]
    cluster: str = DEFAULT_CLUSTER
    user: str | None = None
    password: str | None = None
    """Without one, the user is a token."""
    jwt: str | None = None
    seed: str | None = None
    tls: ssl.SSLContext | None = None
    is_known: bool = False
    """Whether the servers are told who we are: with a name, a token, credentials or a certificate."""

    def __repr__(self) -> str:
        return ",".join(self.urls)


def hide_secrets(text: str) -> str:
    """Give an address as it may be logged, also one that cannot be read."""
    return re.sub(r"//.*@", "//***@", text)


def parse_servers(text: str) -> Servers:
    """Take apart "nats://user:password@host:port,tls://host:port?cluster=name&credentials=file"; else AddressError."""
    try:
        return _parse(text)
    except ValueError as error:
        reason = error.reason if isinstance(error, AddressError) else str(error)
        raise AddressError(hide_secrets(str(text)), reason) from None


def _parse(text: object) -> Servers:
    if not isinstance(text, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - an address that is none, whatever it is
    places, _, query = text.partition("?")
    servers = [_parse_server(place) for place in places.split(",")]
    options = _parse_options(query)
    user, password = next(((user, password) for _, user, password in servers if user is not None), (None, None))
    jwt, seed = _read_credentials(options["credentials"]) if "credentials" in options else (None, None)
    cluster = options.get("cluster", DEFAULT_CLUSTER)
    if not _CLUSTER.fullmatch(cluster):
        msg = f"a cluster's name is 1 to 64 letters, digits, '_' or '-', not {cluster!r}"
        raise ValueError(msg)
    return Servers(
        urls=tuple(url for url, _, _ in servers),
        cluster=cluster,
        user=user,
        password=password,
        jwt=jwt,
        seed=seed,
        tls=_make_tls(options) if {"ca", "certificate", "key"} & options.keys() else None,
        is_known=user is not None or jwt is not None or "certificate" in options,
    )


def _parse_server(place: str) -> tuple[str, str | None, str | None]:
    parts = urlsplit(place.strip())
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise ValueError(_EXPECTED)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = _DEFAULT_PORT if parts.port is None else parts.port
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return f"{parts.scheme}://{host}:{port}", user, password


def _parse_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    for name in options:
        if name not in _OPTIONS:
            msg = f"no such option as {name!r}; there are {', '.join(_OPTIONS)}"
            raise ValueError(msg)
    return options


def _read_credentials(path: str) -> tuple[str, str]:
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        msg = f"the credentials file {path} cannot be read: {error.strerror}"
        raise ValueError(msg) from None
    except ValueError:
        text = ""
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        msg = f"the file {path} holds no credentials of NATS: a user's JWT, and the seed of its key"
        raise ValueError(msg)
    return jwt[1], seed[1]


def _make_tls(options: dict[str, str]) -> ssl.SSLContext:
    import ssl

    name = "ca"
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        name = "certificate"
        if {"certificate", "key"} & options.keys():
            context.load_cert_chain(options.get("certificate", ""), options.get("key"))
    except OSError as error:
        msg = f"the files that {name}= names cannot be used: {error.strerror or error}"
        raise ValueError(msg) from None
    return context
