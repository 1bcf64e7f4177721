"""Around every call: the guard, then errors become statuses, and what happens is noted."""

from __future__ import annotations

import asyncio
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from grpc import aio

from seedbed_sdk.errors import SeedbedError
from seedbed_server.api import status
from seedbed_server.api.guard import Guard
from seedbed_server.api.observing import Observer

log = structlog.get_logger()


class Boundary(aio.ServerInterceptor):
    """The only place where exceptions become statuses. What was not foreseen is logged with an id
    and shown without a traceback."""

    def __init__(self, observer: Observer, guard: Guard) -> None:
        self._observer = observer
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        common = (handler.request_deserializer, handler.response_serializer)
        guard = self._guard
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._single(guard.single(handler.unary_unary, method), method), *common
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._single(guard.receiving(handler.stream_unary, method), method), *common
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(guard.stream(handler.unary_stream, method), method), *common
            )
        return grpc.stream_stream_rpc_method_handler(
            self._stream(guard.stream(handler.stream_stream, method), method), *common
        )

    def _single(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            with self._observer.call(method, context, streams=False):
                try:
                    return await behaviour(request, context)
                except Exception as error:  # noqa: BLE001 - see _abort
                    await _abort(context, method, error)

        return call

    def _stream(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            with self._observer.call(method, context, streams=True):
                try:
                    responses = behaviour(request, context)
                    if not hasattr(responses, "__aiter__"):
                        # Health's Watch writes to the context instead.
                        await responses
                        return
                    # Closed at once when the caller goes, not whenever the collector comes by.
                    async with aclosing(responses):
                        async for response in responses:
                            yield response
                except Exception as error:  # noqa: BLE001 - see _abort
                    await _abort(context, method, error)

        return call


async def _abort(context: aio.ServicerContext[Any, Any], method: str, error: Exception) -> None:
    if isinstance(error, aio.AbortError | grpc.RpcError | asyncio.CancelledError):
        raise error
    if not isinstance(error, SeedbedError):
        number = uuid.uuid4().hex[:12]
        details = "".join(traceback.format_exception(error))
        log.error("request_failed", id=number, method=method, traceback=details)
        error = SeedbedError(
            f"internal error; the server's log has the details under id {number}",
            metadata={"id": number},
        )
    code = status.status_code(error.to_dict())
    await context.abort(code, status.shorten(error.message), status.trailing_metadata(error))
