"""The state of the service in numbers, read from rows, files and rooms when somebody asks."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from seedbed_server.jobs.values import JobState, TrialState
from seedbed_server.store import Files, Store
from seedbed_server.store.usage import disk_usage
from seedbed_server.store.values import now

KEPT_SECONDS = 3.0
DISK_KEPT_SECONDS = 60.0


@dataclass(frozen=True)
class Reading:
    """Numbers of one moment. `slots` and `used_slots` are by kind of device; `disk` are bytes by
    kind, empty until they are known; the rest is counted since the start."""

    jobs: Mapping[JobState, int]
    oldest_queued_seconds: float
    slots: Mapping[str, int]
    used_slots: Mapping[str, int]
    watchers: int
    free_bytes: int
    disk: Mapping[str, int]
    ended_jobs: Mapping[JobState, int]
    trials: Mapping[TrialState, int]
    events: Mapping[str, int]


@dataclass
class Readings:
    """Reads at most every few seconds, whatever the number of those who ask; from any thread.

    `slots`, `used_slots` (devices such as `cuda:0`) and `watchers` are asked each time. What
    workers do is learned from the events that they write: of each job that has some, the new ones
    are counted.
    """

    store: Store
    files: Files
    slots: Callable[[], Iterable[str]]
    used_slots: Callable[[], Iterable[str]]
    watchers: Callable[[], int]
    since: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Reading | None = None
        self._read_at = 0.0
        self._disk: Mapping[str, int] = {}
        self._disk_read_at: float | None = None
        self._counted: dict[str, int] = {}
        self._ended: Counter[JobState] = Counter()
        self._trials: Counter[TrialState] = Counter()
        self._events: Counter[str] = Counter()

    def read(self, changed: Callable[[], Iterable[str]]) -> Reading:
        """The numbers now, or a few seconds ago. `changed` gives the ids of the jobs that have new
        events since it was last called. Raises what the store raises."""
        with self._lock:
            if self._last is None or time.monotonic() - self._read_at > KEPT_SECONDS:
                self._measure_disk()
                self._last = self._read(changed())
                self._read_at = time.monotonic()
            return self._last

    def _read(self, changed: Iterable[str]) -> Reading:
        for job in changed:
            self._count_events(job)
        census = self.store.jobs.census()
        oldest = census.oldest_queued
        waited = 0.0 if oldest is None else max(0.0, (now() - oldest).total_seconds())
        return Reading(
            jobs=census.by_state,
            oldest_queued_seconds=waited,
            slots=_by_kind(self.slots()),
            used_slots=_by_kind(self.used_slots()),
            watchers=self.watchers(),
            free_bytes=shutil.disk_usage(self.files.root).free,
            disk=self._disk,
            ended_jobs=dict(self._ended),
            trials=dict(self._trials),
            events=dict(self._events),
        )

    def _count_events(self, job: str) -> None:
        tally = self.store.events.tally(job, self._counted.get(job, 0), self.since)
        self._counted[job] = tally.last
        self._events.update(tally.kinds)
        self._trials.update(tally.trials)
        self._ended.update(tally.ended)

    def _measure_disk(self) -> None:
        """Starts to add up files where that is due; in a thread, since it may take long."""
        at = time.monotonic()
        if self._disk_read_at is not None and at - self._disk_read_at < DISK_KEPT_SECONDS:
            return
        self._disk_read_at = at

        def measure() -> None:
            self._disk = disk_usage(self.files)
            self._disk_read_at = time.monotonic()

        threading.Thread(target=measure, name="disk-usage", daemon=True).start()


def _by_kind(devices: Iterable[str]) -> Mapping[str, int]:
    return Counter(device.partition(":")[0] for device in devices)
