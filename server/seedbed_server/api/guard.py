"""Around every call: who makes it, whether they may, whether not too often, and that they did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import structlog
from grpc import aio

from seedbed_sdk.errors import SeedbedError
from seedbed_server.api.access import ACCESS, PROJECT_KEY, Access, Caller, is_audited, set_caller
from seedbed_server.api.auditing import Auditor, resource_of
from seedbed_server.api.authentication import Authenticator, peer_address
from seedbed_server.api.limits import RateLimits
from seedbed_server.errors import Unauthenticated

log = structlog.get_logger()

CHECK_SECONDS = 1.0

Behaviour = Callable[..., Any]


class _Stream:
    """A call that lasts. `ended` is why it was ended from here."""

    def __init__(self, caller: Caller) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.caller = caller
        self.ended: Unauthenticated | None = None
        self._task = task

    def end(self, why: Unauthenticated) -> None:
        """Interrupts it, again where an interruption was lost."""
        self.ended = why
        self._task.cancel()

    def take_back(self) -> None:
        """The interruption was noticed; the task goes on to say why."""
        while self._task.cancelling():
            self._task.uncancel()


class _Call:
    """What becomes known of a call in its course."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.resource = ""


class Guard:
    """Lets calls in, puts the caller in the context of each, and ends the streams of callers whose
    tokens do not hold any more."""

    def __init__(self, authenticator: Authenticator, limits: RateLimits, auditor: Auditor) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._auditor = auditor
        self._streams: set[_Stream] = set()

    async def run(self) -> None:
        """Looks once a second whether the tokens of streams still hold, until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            ids = sorted({stream.caller.token for stream in self._streams} - {""})
            try:
                ended = await self._authenticator.ended(ids) if ids else {}
            except SeedbedError as error:
                log.error("tokens_not_checked", why=error.message)
                continue
            for stream in self._streams:
                if why := ended.get(stream.caller.token):
                    stream.end(why)

    def single(self, behaviour: Behaviour, method: str) -> Behaviour:
        """A method that is asked and answers once, guarded."""
        if _is_open(method):
            return behaviour

        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            async with self._admitted(method, context) as admitted:
                admitted.resource = resource_of(request)
                response = await behaviour(request, context)
                admitted.resource = resource_of(request, response)
                return response

        return call

    def receiving(self, behaviour: Behaviour, method: str) -> Behaviour:
        """A method that takes a stream and answers once, guarded."""

        async def call(requests: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            async with self._admitted(method, context) as admitted:
                async with self._ending(admitted.caller):
                    response = await behaviour(requests, context)
                admitted.resource = resource_of(None, response)
                return response

        return call

    def stream(self, behaviour: Behaviour, method: str) -> Behaviour:
        """A method that answers with a stream, guarded."""
        if _is_open(method):
            return behaviour

        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._admitted(method, context) as admitted:
                admitted.resource = resource_of(request)
                # Closed at once when the caller goes, not whenever the collector comes by.
                async with (
                    self._ending(admitted.caller),
                    aclosing(behaviour(request, context)) as responses,
                ):
                    async for response in responses:
                        yield response

        return call

    @asynccontextmanager
    async def _admitted(
        self, method: str, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[_Call]:
        call = _Call(Caller(peer_address(context.peer())))
        outcome = "CANCELLED"
        try:
            await self._identify(call, context)
            set_caller(call.caller)
            call.caller.require_method(method)
            yield call
            outcome = "OK"
        except SeedbedError as error:
            outcome = error.to_dict()["code"]
            raise
        except Exception:
            outcome = "INTERNAL"
            raise
        finally:
            if is_audited(method, outcome):
                self._auditor.note(call.caller, method, call.resource, outcome)

    async def _identify(self, call: _Call, context: aio.ServicerContext[Any, Any]) -> None:
        peer = call.caller.peer
        metadata = tuple(context.invocation_metadata() or ())
        try:
            call.caller = await self._authenticator.identify(metadata, peer)
        except Unauthenticated:
            # Guesses are counted too, for the peer.
            self._limits.take(peer)
            raise
        self._limits.take(call.caller.token or peer)
        for key, project in metadata:
            if key == PROJECT_KEY:
                call.caller = call.caller.within(str(project))

    @asynccontextmanager
    async def _ending(self, caller: Caller) -> AsyncIterator[None]:
        """Until the stream is over it ends in Unauthenticated once its token does not hold."""
        stream = _Stream(caller)
        self._streams.add(stream)
        try:
            yield
        except asyncio.CancelledError:
            if stream.ended is None:
                raise
            stream.take_back()
            raise stream.ended from None
        finally:
            self._streams.discard(stream)


def _is_open(method: str) -> bool:
    return ACCESS.get(method) is Access.OPEN
