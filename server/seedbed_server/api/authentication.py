"""Finds out who calls, by the bearer token among a call's metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from seedbed_server import tokens
from seedbed_server.api.access import Caller
from seedbed_server.errors import Unauthenticated
from seedbed_server.store import Store

Metadata = Sequence[tuple[str, Any]]

_HOW = (
    "send it as the metadata `authorization: Bearer TOKEN`; seedbed's own clients take it from "
    "SEEDBED_TOKEN or --token-file"
)


class Authenticator:
    """Looks tokens up, each call anew: a token that was revoked is refused from then on."""

    def __init__(self, store: Store, *, required: bool) -> None:
        self._store = store
        self._required = required

    async def identify(self, metadata: Metadata, peer: str) -> Caller:
        """The caller. Where no tokens are asked for, everybody is an admin, and what is sent is not
        looked at. Raises Unauthenticated."""
        if not self._required:
            return Caller(peer)
        token_id, secret = _presented(metadata)
        found = (await asyncio.to_thread(self._store.tokens.of, [token_id])).get(token_id)
        # A secret that is wrong is answered as an id that does not exist.
        right = found if found is not None and tokens.is_right(found, secret) else None
        return Caller.of(_require_valid(right), peer)

    async def ended(self, ids: Sequence[str]) -> dict[str, Unauthenticated]:
        """Those of the tokens that do not hold any more, with the reason."""
        found = await asyncio.to_thread(self._store.tokens.of, ids)
        ended: dict[str, Unauthenticated] = {}
        for token_id in ids:
            try:
                _require_valid(found.get(token_id))
            except Unauthenticated as error:
                ended[token_id] = error
        return ended


def peer_address(peer: str) -> str:
    """gRPC's name of a peer without the port, which differs for each connection:
    `ipv4:10.0.0.7`, `ipv6:[::1]` or `unix:`."""
    kind, _, rest = unquote(peer).partition(":")
    return f"{kind}:" if kind == "unix" else f"{kind}:{rest.rpartition(':')[0]}"


def _presented(metadata: Metadata) -> tuple[str, str]:
    """The id and the secret that were sent. Raises Unauthenticated, whose text says nothing of
    them."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        raise Unauthenticated(f"this server asks for a token: {_HOW}", reason="NO_TOKEN")
    scheme, _, text = str(values[0]).partition(" ")
    parsed = tokens.parse(text.strip())
    if len(values) > 1 or scheme.lower() != "bearer" or parsed is None:
        raise Unauthenticated(
            f"what was sent as authorization is not one token of this server: {_HOW}",
            reason="MALFORMED_TOKEN",
        )
    return parsed


def _require_valid(token: tokens.Token | None) -> tokens.Token:
    if token is None:
        raise Unauthenticated(
            "this server does not know the token; ask for a new one", reason="UNKNOWN_TOKEN"
        )
    if refusal := token.refusal(datetime.now(UTC)):
        raise Unauthenticated(
            f"token {token.id!r} {refusal}; ask for a new one",
            reason="TOKEN_ENDED",
            metadata={"token": token.id},
        )
    return token
