"""Pages of a list, and the opaque tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from seedbed_sdk.errors import InvalidArgument

T = TypeVar("T")

DEFAULT_SIZE = 50
MAX_SIZE = 1000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a caller asked for. A `size` of 0 means 50; more than 1000 means 1000."""

    size: int = 0
    token: str = ""

    @property
    def limit(self) -> int:
        """The most items to return. Raises InvalidArgument for a negative size."""
        if self.size < 0:
            raise InvalidArgument("page_size", f"must be at least 0, got {self.size}")
        return min(self.size or DEFAULT_SIZE, MAX_SIZE)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list; `next_token` is empty when there are no more."""

    items: tuple[T, ...]
    next_token: str = ""


def make_token(query: Sequence[Any], position: Sequence[int | str]) -> str:
    """A token that goes on after `position`, good for this query only."""
    text = json.dumps([_digest(query), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(query: Sequence[Any], token: str, kinds: Sequence[type]) -> list[Any] | None:
    """The position in a token, None for an empty one. `kinds` are the types of its parts.

    Raises InvalidArgument for a token that is damaged or belongs to another query.
    """
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise _bad_token(token) from error
    if not isinstance(parts, list) or [type(part) for part in parts] != [str, *kinds]:
        raise _bad_token(token)
    if parts[0] != _digest(query):
        raise InvalidArgument(
            "page_token",
            "belongs to a list with other parameters; repeat the parameters of the request that "
            "returned it, or leave it empty to start again",
        )
    return parts[1:]


def _bad_token(token: str) -> InvalidArgument:
    return InvalidArgument(
        "page_token",
        f"{token[:40]!r} is not a token of this server; pass a `next_page_token` unchanged, or "
        "leave it empty to start again",
    )


def _digest(query: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(list(query)).encode()).hexdigest()[:16]
