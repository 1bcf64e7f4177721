"""What is noted of every call: that it is under way, how it ended, how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc import aio

from seedbed_server.telemetry.metrics import Metrics
from seedbed_server.telemetry.tracing import Tracing

_TRACED = "seedbed."
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Activity:
    """How many calls are under way, and for how long there has been none."""

    def __init__(self) -> None:
        self._active = 0
        self._last = time.monotonic()

    def begin(self) -> None:
        self._active += 1

    def end(self) -> None:
        self._active -= 1
        self._last = time.monotonic()

    def touch(self) -> None:
        """Counts the idle time from now."""
        self._last = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._active > 0

    def idle_seconds(self) -> float:
        """Seconds since the last call ended, or the last touch."""
        return time.monotonic() - self._last


class Observer:
    """Counts calls, and traces those of our own services: others are asked every few seconds."""

    def __init__(self, activity: Activity, metrics: Metrics, tracing: Tracing) -> None:
        self._activity = activity
        self._metrics = metrics
        self._tracing = tracing
        self._untraced = Tracing()

    @contextmanager
    def call(
        self, path: str, context: aio.ServicerContext[Any, Any], *, streams: bool
    ) -> Iterator[None]:
        """Around the answer to one call of a method that is served. A stream's span is not the
        current one, since generators are not resumed in one context."""
        method = path.removeprefix("/")
        tracing = self._tracing if method.startswith(_TRACED) else self._untraced
        self._activity.begin()
        self._metrics.call_began()
        began = time.perf_counter()
        span = tracing.call(method, context.invocation_metadata() or (), current=not streams)
        code = "UNKNOWN"
        try:
            yield
            code = _code(context)
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except BaseException:
            code = _code(context, "UNKNOWN")
            raise
        finally:
            span.end(code)
            self._metrics.call_ended(method, code, time.perf_counter() - began)
            self._activity.end()


def _code(context: aio.ServicerContext[Any, Any], default: str = "OK") -> str:
    """The name of the status that was set; the default where none was."""
    code: Any = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return _CODES.get(number, default) if number else default
