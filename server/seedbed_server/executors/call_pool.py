"""The API process's way to call functions that need libraries it does not load."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from seedbed_sdk.errors import InvalidArgument, SeedbedError, Unavailable
from seedbed_server.errors import OutOfTime
from seedbed_server.executors.calls import CALLS, answer_calls, pack, unpack
from seedbed_server.executors.processes import Child, describe_exit, pipe

log = structlog.get_logger()

CONCURRENT_CALLS = 4
# These keep a process, with the models that it has loaded, from call to call.
LASTING = frozenset({"predict"})


class CallPool:
    """Calls functions of a table in other processes, a fresh one each, except for predictions.

    A file that crashes its reader thus takes only its own call down. `table` maps names to
    `module:function`.
    """

    def __init__(self, table: Mapping[str, str] = CALLS, *, threads: int = 1) -> None:
        self._table = dict(table)
        self._threads = threads
        self._pool = ThreadPoolExecutor(CONCURRENT_CALLS, thread_name_prefix="call")
        self._lasting = {name: _Line(self._table, threads) for name in LASTING}
        self._lasting_pool = ThreadPoolExecutor(len(LASTING), thread_name_prefix="lasting-call")
        self._lines: set[_Line] = set()

    async def call(
        self, function: str, payload: Mapping[str, Any], *, timeout: float
    ) -> dict[str, Any]:
        """What the function returns.

        Raises the SeedbedError that it raised; OutOfTime after `timeout` seconds; Unavailable where
        a lasting process died, InvalidArgument where a fresh one did.
        """
        request = pack({"function": function, "payload": dict(payload)})
        loop = asyncio.get_running_loop()
        if function in LASTING:
            line = self._lasting[function]
            return await loop.run_in_executor(
                self._lasting_pool, line.call, function, request, timeout
            )
        line = _Line(self._table, self._threads)
        self._lines.add(line)
        try:
            return await loop.run_in_executor(
                self._pool, _call_once, line, function, request, timeout
            )
        except asyncio.CancelledError:
            # The caller has gone; nobody waits for the answer.
            line.abandon()
            raise
        finally:
            self._lines.discard(line)

    def close(self) -> None:
        """Ends the processes; calls under way fail."""
        for line in [*self._lines, *self._lasting.values()]:
            line.abandon()
        for pool in (self._pool, self._lasting_pool):
            pool.shutdown(wait=False, cancel_futures=True)


def _call_once(line: _Line, function: str, request: bytes, timeout: float) -> dict[str, Any]:
    try:
        return line.call(function, request, timeout)
    finally:
        line.hang_up()


class _Line:
    """A call process and the pipes to it. One call at a time; `abandon` from any thread."""

    def __init__(self, table: Mapping[str, str], threads: int) -> None:
        self._table = table
        self._threads = threads
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._requests: Any = None
        self._answers: Any = None
        self._abandoned = False

    def call(self, function: str, request: bytes, timeout: float) -> dict[str, Any]:
        try:
            self._connect()
            self._requests.send_bytes(request)
            if not self._answers.poll(timeout):
                self.hang_up()
                raise OutOfTime(
                    f"{function} was ended after {timeout:g} s without an answer; less data, or a "
                    "longer limit set by the operator, would do",
                    reason="CALL_TIMEOUT",
                )
            answer = unpack(self._answers.recv_bytes())
        except (EOFError, OSError) as error:
            started = self._child is not None
            how = describe_exit(self._child.join(1)) if self._child else f"not started: {error}"
            self.hang_up()
            log.warning("call_process_died", function=function, how=how)
            raise _died(function if started else "", how) from error
        if "error" in answer:
            raise SeedbedError.from_dict(answer["error"])
        return dict(answer["result"])

    def _connect(self) -> None:
        if self._child is not None:
            return
        their_requests, self._requests = pipe()
        self._answers, their_answers = pipe()
        with their_requests, their_answers:
            child = Child.start(
                "call", answer_calls, self._table, self._threads, their_requests, their_answers
            )
        with self._lock:
            self._child = child
            abandoned = self._abandoned
        if abandoned:
            child.kill()

    def abandon(self) -> None:
        """Kills the process, now or as soon as it has started."""
        with self._lock:
            self._abandoned = True
            child = self._child
        if child is not None:
            child.kill()

    def hang_up(self) -> None:
        """Ends the process; the next call starts another."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.close()
            self._requests.close()
            self._answers.close()


def _died(function: str, how: str) -> SeedbedError:
    if function in LASTING:
        return Unavailable(
            f"the process that serves predictions died: {how}; try again", reason="SERVING_DIED"
        )
    if function in ("inspect", "check_job"):
        field = "job.dataset" if function == "check_job" else "name"
        return InvalidArgument(
            field,
            f"reading the dataset ended the reading process: {how}; the data may be damaged, or "
            "too large for this machine's memory",
            reason="READING_PROCESS_DIED",
        )
    return Unavailable(
        f"the process for {function or 'the call'} died: {how}; try again", reason="CALL_DIED"
    )
