"""Types of columns that come back as they were from every kind of database."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# An object with this one name stands for a number that JSON has not.
_FLOAT = "__float__"


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time in UTC as microseconds since 1970, which sorts and loses nothing anywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class _Clean(sa.types.TypeDecorator[str]):
    """Text without what PostgreSQL does not hold: NUL characters and lone surrogates, of which a
    replacement character is left."""

    impl: Any = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or (value.isascii() and "\0" not in value):
            return value
        text = value.replace("\0", "\ufffd")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Text(_Clean):
    """Text of any length."""

    impl = sa.Text
    cache_ok = True


class String(_Clean):
    """Text of at most so many characters, where the database counts them."""

    impl = sa.String
    cache_ok = True


class Real(sa.types.TypeDecorator[float]):
    """A number that is finite or NULL, so that it sorts the same way everywhere."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        return None if value is None or math.isnan(value) else value


def json_text(value: Any) -> str:
    """JSON that PostgreSQL takes: what is no finite number is an object that `json_value` knows."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_marked(value), allow_nan=False)


def json_value(text: str | bytes) -> Any:
    """The reverse of `json_text`."""
    if isinstance(text, bytes):
        text = text.decode()
    return json.loads(text, object_hook=_unmarked) if _FLOAT in text else json.loads(text)


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, Mapping):
        return {key: _marked(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(entry) for entry in value]
    return value


def _unmarked(found: dict[str, Any]) -> Any:
    if list(found) == [_FLOAT] and isinstance(found[_FLOAT], str):
        return float(found[_FLOAT])
    return found
