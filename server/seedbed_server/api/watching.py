"""Follows the events of jobs for any number of watchers, with no thread and no query for each."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from seedbed.v1 import jobs_pb2
from seedbed_sdk.errors import InvalidArgument, NotFound, SeedbedError, Unavailable
from seedbed_server.api import convert
from seedbed_server.jobs.values import Job
from seedbed_server.store import Store

log = structlog.get_logger()

PAGE = 500
KEPT_EVENTS = 2000
POLL_SECONDS = 1.0
# Where the database tells of new events, in case it could not.
SLOW_POLL_SECONDS = 10.0
HEARTBEAT_SECONDS = 10.0
_ENDED = (jobs_pb2.Job.SUCCEEDED, jobs_pb2.Job.FAILED, jobs_pb2.Job.CANCELLED)


class _Watched:
    """A job that somebody watches. `recent` holds its newest events, the last being `last`."""

    def __init__(self, job: Job) -> None:
        self.project = job.project
        self.last = job.last_sequence
        self.recent: deque[jobs_pb2.JobEvent] = deque(maxlen=KEPT_EVENTS)
        self.watchers = 0
        self.changed = asyncio.Event()
        self.stale = False
        self.refreshing: asyncio.Task[None] | None = None

    def announce(self) -> None:
        """Wakes all watchers."""
        before, self.changed = self.changed, asyncio.Event()
        before.set()

    def after(self, sequence: int) -> Sequence[jobs_pb2.JobEvent] | None:
        """The recent events after a number; None where older ones would be missing."""
        if sequence >= self.last:
            return ()
        if not self.recent or self.recent[0].sequence > sequence + 1:
            return None
        return list(self.recent)[sequence + 1 - self.recent[0].sequence :]


class Watching:
    """The events of watched jobs are read once for all watchers, when a worker says that there are
    some, and once a second in case it could not; more seldom while `hears` says that the database
    tells of the events of all servers."""

    def __init__(self, store: Store, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._store = store
        self._heartbeat = heartbeat_seconds
        self._watched: dict[str, _Watched] = {}
        self._closing = False
        self.hears: Callable[[], bool] = lambda: False

    def notify_all(self) -> None:
        """Says that any job may have new events."""
        for job_id in self._watched:
            self.notify(job_id)

    def watchers(self) -> int:
        """How many streams follow a job; from any thread."""
        return sum(watched.watchers for watched in list(self._watched.values()))

    def notify(self, job_id: str) -> None:
        """Says that a job has new events. On the event loop's thread."""
        watched = self._watched.get(job_id)
        if watched is None:
            return
        watched.stale = True
        if watched.refreshing is None:
            watched.refreshing = asyncio.create_task(self._refresh(job_id, watched))

    async def run(self) -> None:
        """Looks for events that nobody announced, until it is cancelled."""
        while True:
            await asyncio.sleep(SLOW_POLL_SECONDS if self.hears() else POLL_SECONDS)
            if not self._watched:
                continue
            ids = list(self._watched)
            try:
                newest = await asyncio.to_thread(self._store.jobs.last_sequences, ids)
            except SeedbedError as error:
                log.error("events_not_looked_for", why=error.message)
                continue
            for job_id in ids:
                watched = self._watched.get(job_id)
                if watched and newest.get(job_id, watched.last) > watched.last:
                    self.notify(job_id)

    def close(self) -> None:
        """Ends all watches; their callers are told to watch again."""
        self._closing = True
        for watched in self._watched.values():
            watched.announce()

    async def follow(self, job: Job, after: int) -> AsyncGenerator[jobs_pb2.JobEvent, None]:
        """The events after a number, then those to come, until the one that ends the job.

        Raises InvalidArgument for a number that the job has not reached, Unavailable when the
        server goes down, NotFound when the job is deleted meanwhile.
        """
        if not 0 <= after <= job.last_sequence:
            raise InvalidArgument(
                "after_sequence",
                f"must be from 0 to {job.last_sequence}, the last event's number, got {after}",
                reason="SEQUENCE_OUT_OF_RANGE",
            )
        if job.state.ended and after == job.last_sequence:
            return
        watched = self._watched.setdefault(job.id, _Watched(job))
        watched.watchers += 1
        try:
            async with aclosing(self._follow(job.id, watched, after)) as events:
                async for event in events:
                    yield event
        finally:
            watched.watchers -= 1
            if not watched.watchers and self._watched.get(job.id) is watched:
                del self._watched[job.id]

    async def _follow(
        self, job_id: str, watched: _Watched, cursor: int
    ) -> AsyncGenerator[jobs_pb2.JobEvent, None]:
        sent_at = time.monotonic()
        while True:
            if self._closing:
                raise Unavailable(
                    f"the server is shutting down; watch again after event {cursor}",
                    reason="SHUTTING_DOWN",
                )
            changed = watched.changed
            events = watched.after(cursor)
            if events is None:
                events = await self._read(job_id, watched.project, cursor)
                if not events:
                    raise NotFound(f"job {job_id!r} was deleted while it was watched")
            for event in events:
                yield event
                cursor = event.sequence
                sent_at = time.monotonic()
                # A job may have been extended after it had ended.
                if event.state_changed.state in _ENDED and cursor >= watched.last:
                    return
            if events:
                continue
            try:
                left = sent_at + self._heartbeat - time.monotonic()
                await asyncio.wait_for(changed.wait(), max(0.0, left))
            except TimeoutError:
                yield convert.heartbeat_message(cursor)
                sent_at = time.monotonic()

    async def _read(self, job_id: str, project: str, after: int) -> list[jobs_pb2.JobEvent]:
        events = await asyncio.to_thread(self._store.events.after, job_id, after, PAGE)
        return [convert.event_to_message(project, event) for event in events]

    async def _refresh(self, job_id: str, watched: _Watched) -> None:
        try:
            while watched.stale:
                watched.stale = False
                events = await self._read(job_id, watched.project, watched.last)
                if events:
                    watched.recent.extend(events)
                    watched.last = events[-1].sequence
                    watched.announce()
                watched.stale = watched.stale or len(events) == PAGE
        except SeedbedError as error:
            # They are looked for again.
            log.error("events_not_read", job=job_id, why=error.message)
        finally:
            watched.refreshing = None
