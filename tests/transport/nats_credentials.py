"""Credentials as NATS has them: an operator who signs an account, which signs a user, who signs what a server asks."""

from __future__ import annotations

import base64
import json
import secrets

import nkeys


def _make_key(kind):
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), kind))


def _text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(issuer, subject, claims):
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {
        "jti": secrets.token_hex(8),
        "iat": 1_700_000_000,
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": claims["type"],
        "nats": {**claims, "version": 2},
    }
    text = ".".join(_text(json.dumps(part).encode()) for part in (head, body))
    return f"{text}.{_text(issuer.sign(text.encode()))}"


def make_credentials():
    """Give the configuration of a server, and a file for a user whom it lets in."""
    operator, account, user = map(
        _make_key, (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    most = {"subs": -1, "data": -1, "payload": -1}
    limits = {**most, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    operator_jwt = _sign(operator, operator, {"type": "operator"})
    account_jwt = _sign(operator, account, {"type": "account", "limits": limits})
    user_jwt = _sign(account, user, {"type": "user", **most})
    config = f"""
operator: {operator_jwt}
resolver: MEMORY
resolver_preload: {{ {account.public_key.decode()}: {account_jwt} }}
"""
    line = "-" * 5
    file = f"""{line}BEGIN NATS USER JWT{line}
{user_jwt}
{line}END NATS USER JWT{line}-

{line}BEGIN USER NKEY SEED{line}
{user.seed.decode()}
{line}END USER NKEY SEED{line}-
"""
    return config, file
