"""Watches: heartbeats, very many of them, and the ends that they have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from seedbed.v1 import jobs_pb2
from seedbed_sdk.errors import InvalidArgument, NotFound, Unavailable
from seedbed_server.api.watching import KEPT_EVENTS, Watching
from seedbed_server.jobs.values import JobState
from seedbed_server.store import Store
from tests.store.values import with_job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    store.migrate()
    with_job(store)
    yield store
    store.close()


def log(store: Store, count: int = 1, *, ended: bool = False) -> None:
    with store.jobs.writing("job1", durable=False) as writer:
        for _ in range(count):
            writer.log("INFO", "text")
        if ended:
            writer.set_state(JobState.CANCELLED)


async def collect(watching: Watching, store: Store, after: int = 0) -> list[int]:
    events = watching.follow(store.jobs.get("job1"), after)
    return [e.sequence async for e in events if not e.HasField("heartbeat")]


def test_a_thousand_watchers_all_see_everything(store: Store) -> None:
    async def run() -> None:
        watching = Watching(store)
        watchers = [asyncio.create_task(collect(watching, store, n % 2)) for n in range(1000)]
        await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.to_thread(log, store, 5)
            watching.notify("job1")
        await asyncio.to_thread(log, store, ended=True)
        watching.notify("job1")
        for number, seen in enumerate(await asyncio.gather(*watchers)):
            assert seen == list(range(1 + number % 2, 104))

    asyncio.run(run())


def test_a_watcher_far_behind_reads_what_the_memory_no_longer_has(store: Store) -> None:
    async def run() -> None:
        watching = Watching(store)
        slow = watching.follow(store.jobs.get("job1"), 0)
        assert (await anext(slow)).sequence == 1
        quick = asyncio.create_task(collect(watching, store))
        await asyncio.sleep(0)
        await asyncio.to_thread(log, store, KEPT_EVENTS + 700, ended=True)
        watching.notify("job1")
        whole = list(range(1, KEPT_EVENTS + 703))
        assert await quick == whole
        assert [1, *[e.sequence async for e in slow]] == whole

    asyncio.run(run())


def test_silence_is_filled_with_heartbeats_that_repeat_the_number(store: Store) -> None:
    async def run() -> list[jobs_pb2.JobEvent]:
        watching = Watching(store, heartbeat_seconds=0.05)
        events = watching.follow(store.jobs.get("job1"), 0)
        seen = [await anext(events) for _ in range(3)]
        await events.aclose()
        return seen

    began = time.monotonic()
    first, *beats = asyncio.run(run())
    assert first.HasField("state_changed")
    assert all(beat.HasField("heartbeat") and beat.sequence == 1 for beat in beats)
    assert time.monotonic() - began >= 0.1


def test_events_that_nobody_announced_are_found(store: Store) -> None:
    async def run() -> None:
        watching = Watching(store)
        polling = asyncio.create_task(watching.run())
        watcher = asyncio.create_task(collect(watching, store))
        await asyncio.sleep(0)
        await asyncio.to_thread(log, store, ended=True)
        assert await asyncio.wait_for(watcher, 10) == [1, 2, 3]
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling

    asyncio.run(run())


def test_an_ended_job_replays_and_ends(store: Store) -> None:
    log(store, 3, ended=True)
    watching = Watching(store)
    assert asyncio.run(collect(watching, store)) == [1, 2, 3, 4, 5]
    assert asyncio.run(collect(watching, store, after=4)) == [5]
    assert asyncio.run(collect(watching, store, after=5)) == []
    for after in (6, -1):
        with pytest.raises(InvalidArgument) as raised:
            asyncio.run(collect(watching, store, after=after))
        assert raised.value.reason == "SEQUENCE_OUT_OF_RANGE"
        assert f"must be from 0 to 5, the last event's number, got {after}" in raised.value.message


def test_a_job_deleted_under_a_slow_watcher_is_not_found(store: Store) -> None:
    log(store, 3, ended=True)

    async def run() -> None:
        watching = Watching(store)
        events = watching.follow(store.jobs.get("job1"), 0)
        store.jobs.delete("job1")
        with pytest.raises(NotFound, match="was deleted while it was watched"):
            await anext(events)

    asyncio.run(run())


def test_closing_ends_the_watches_with_a_cursor(store: Store) -> None:
    async def run() -> None:
        watching = Watching(store)
        watcher = asyncio.create_task(collect(watching, store))
        await asyncio.sleep(0.05)
        watching.close()
        with pytest.raises(Unavailable, match="watch again after event 1"):
            await watcher

    asyncio.run(run())
