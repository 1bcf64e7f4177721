"""Keeps the leases of the jobs at work here, and takes over those of servers that are gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server.jobs.values import INTERRUPTED
from seedbed_server.store import Holder, Store

log = structlog.get_logger()

# Of a lease: how often it is renewed, and for how long a server has to have been in touch with the
# database before it ends those of others. After the database was away, they need time to renew.
RENEWED_AFTER = 0.2
PATIENT_FOR = 0.5
AGAIN_SECONDS = 1.0


class Workers(Protocol):
    """What runs the jobs."""

    def attempts(self) -> Mapping[str, int]:
        """The jobs at work here, with their attempts."""

    def paused(self) -> Collection[str]:
        """Those whose processes somebody has stopped, as SIGSTOP does."""

    async def lose(self, job_id: str, attempt: int) -> None:
        """Ends the worker of an attempt that does not hold its job any more."""

    def wake(self) -> None:
        """Says that there may be a queued job."""


class LeaseKeeper:
    """The supervisor of the leases of one server. Renewing is not left to the workers, which may be
    busy for long with what lets no other thread run."""

    def __init__(self, store: Store, holder: Holder, workers: Workers) -> None:
        self._store = store
        self._holder = holder
        self._workers = workers
        # Of its own, so that no crowd of calls holds up what has to be in time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        self._missed: Mapping[str, int] = {}
        self._in_touch_since: float | None = None

    async def run(self) -> None:
        """Renews and takes over until it is cancelled."""
        every = RENEWED_AFTER * self._holder.seconds
        try:
            while True:
                pause = every
                try:
                    await self._renew()
                    await self._take_over()
                except SeedbedError as error:
                    if self._in_touch_since is not None:
                        log.warning("leases_not_renewed", why=error.message)
                    self._in_touch_since = None
                    pause = min(every, AGAIN_SECONDS)
                await asyncio.sleep(pause)
        finally:
            self._thread.shutdown(wait=False)

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        attempts = self._workers.attempts()
        renew = partial(self._store.leases.renew, paused=self._workers.paused())
        kept = await loop.run_in_executor(self._thread, renew, self._holder, attempts)
        missed = {job: attempt for job, attempt in attempts.items() if job not in kept}
        # A worker that has ended its job has no lease either, and leaves by itself.
        for job, attempt in missed.items():
            if self._missed.get(job) == attempt:
                log.warning("lease_lost", job=job, attempt=attempt)
                await self._workers.lose(job, attempt)
        self._missed = missed

    async def _take_over(self) -> None:
        now = time.monotonic()
        if self._in_touch_since is None:
            self._in_touch_since = now
        if now - self._in_touch_since < PATIENT_FOR * self._holder.seconds:
            return
        loop = asyncio.get_running_loop()
        expired = await loop.run_in_executor(
            self._thread, self._store.leases.requeue_expired, INTERRUPTED
        )
        if expired:
            log.warning("leases_expired", jobs=list(expired))
            self._workers.wake()
