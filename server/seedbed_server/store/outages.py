"""What is done while the database cannot be reached: whole transactions are tried again."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from seedbed_sdk.errors import Unavailable

T = TypeVar("T")
log = structlog.get_logger()

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0

# SQLSTATEs: connections that fail or are ended, a server that starts, stops, has no room or cannot
# write since it only follows another one.
_UNREACHABLE = ("08", "57P", "53300", "25006", "25P03")
# Transactions that stood in each other's way.
_IN_THE_WAY = ("40001", "40P01", "55P03")


class TryAgain(Unavailable):
    """A transaction did not take place, for a reason that passes by itself."""


def passing_reason(error: DBAPIError) -> str:
    """`DATABASE_UNREACHABLE` or `DATABASE_BUSY` where the same transaction may succeed later; empty
    where it would not."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state.startswith(_IN_THE_WAY):
        return "DATABASE_BUSY"
    # libpq has no codes for connections that were not made.
    unknown = isinstance(error, sa.exc.OperationalError) and not state
    lost = error.connection_invalidated or unknown or state.startswith(_UNREACHABLE)
    return "DATABASE_UNREACHABLE" if lost else ""


def pauses(seconds: float) -> Iterator[float]:
    """Sleeps before each further try, longer each time, at most 2 s, which it logs; ends after
    `seconds`. Yields how long it meant to."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while (left := deadline - time.monotonic()) > 0:
        # Not all at once, when many have waited for the same server.
        time.sleep(min(left, pause * random.uniform(0.5, 1.0)))
        if pause >= _LONGEST_PAUSE:
            log.warning("database_awaited", seconds_left=round(left))
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def keep_trying(work: Callable[[], T], patience: float) -> T:
    """What `work` returns, which is done again where it raises TryAgain; after `patience` seconds
    the last of these is raised."""
    try:
        return work()
    except TryAgain as error:
        last = error
    for _ in pauses(patience):
        try:
            result = work()
        except TryAgain as error:
            last = error
        else:
            return result
    raise last


def retried(through: str) -> Callable[[type[T]], type[T]]:
    """A class whose public methods are done again while the database cannot be reached, by the
    method `keep_trying` of the attribute `through`. Context managers are not: their body is the
    caller's."""

    def decorate(cls: type[T]) -> type[T]:
        for name, member in list(vars(cls).items()):
            if name.startswith("_") or not inspect.isfunction(member):
                continue
            if not inspect.isgeneratorfunction(inspect.unwrap(member)):
                setattr(cls, name, _retried(member, through))
        return cls

    return decorate


def _retried(method: Callable[..., Any], through: str) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, through).keep_trying(lambda: method(self, *args, **kwargs))

    return call
