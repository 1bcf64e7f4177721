"""Worker processes on this machine, as the API process sees them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from seedbed_server.executors.assignment import CANCEL, STOP, Assignment
from seedbed_server.executors.processes import Child, pipe
from seedbed_server.executors.worker import work

CANCEL_GRACE_SECONDS = 0.3


class Worker:
    """A process at work on one job. Made by `start`; used on the event loop's thread."""

    def __init__(self, child: Child, orders: Any, notices: Any, notify: Callable[[], None]) -> None:
        self._child = child
        self._orders = orders
        self._notices = notices
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        os.set_blocking(notices.fileno(), False)
        self._loop.add_reader(notices.fileno(), self._read_notices)
        self._loop.add_reader(child.sentinel, self._read_end)

    @classmethod
    async def start(cls, assignment: Assignment, driver: str, notify: Callable[[], None]) -> Worker:
        """Forks a worker; `notify` is called whenever it has written rows."""
        their_orders, orders = pipe()
        notices, their_notices = pipe()
        name = f"job-{assignment.job_id}"
        with their_orders, their_notices:
            child = await asyncio.to_thread(
                Child.start, name, work, assignment, driver, their_orders, their_notices
            )
        return cls(child, orders, notices, notify)

    @property
    def pid(self) -> int:
        return self._child.pid

    def paused(self) -> bool:
        """Whether somebody has stopped the process, as SIGSTOP does."""
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False

    def stop(self) -> None:
        """Asks the worker to finish now and keep the best so far."""
        self._send(STOP)

    async def cancel(self) -> None:
        """Tells the worker that its job is cancelled, and ends it and what it started a moment
        later; returns once they are gone."""
        if not self._ended.done():
            self._send(CANCEL)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._ended), CANCEL_GRACE_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """Ends the worker and what it started at once; returns once they are gone."""
        if not self._ended.done():
            self._child.kill()
            await self.wait()

    async def wait(self) -> int | None:
        """Waits for the end; the exit status, or minus the signal's number."""
        return await asyncio.shield(self._ended)

    def close(self) -> None:
        """Frees what the worker held, its children included; after its end."""
        self._loop.remove_reader(self._notices.fileno())
        self._child.close()
        self._orders.close()
        self._notices.close()

    def _send(self, order: bytes) -> None:
        # The worker, and with it the pipe, may have gone meanwhile.
        with suppress(OSError):
            self._orders.send_bytes(order)

    def _read_notices(self) -> None:
        try:
            data = os.read(self._notices.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._notices.fileno())
        self._notify()

    def _read_end(self) -> None:
        self._loop.remove_reader(self._child.sentinel)
        if not self._ended.done():
            self._ended.set_result(self._child.join(1))
