"""Gives queued jobs to free slots, the oldest first, and sees every worker to its end."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server.data.references import Policy
from seedbed_server.executors.assignment import Assignment
from seedbed_server.executors.local import Worker
from seedbed_server.executors.memory import out_of_memory_kills
from seedbed_server.executors.overdue import silence_limit, why_overdue
from seedbed_server.executors.processes import describe_exit
from seedbed_server.jobs.values import HUNG, INTERRUPTED, OUT_OF_MEMORY, Job, JobState
from seedbed_server.store import Files, Holder, Store

log = structlog.get_logger()

POLL_SECONDS = 1.0
# Where the database tells of jobs that come, in case it could not.
SLOW_POLL_SECONDS = 10.0
# After the database was away, workers first have to write what they could not.
QUIET_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one job runs."""

    device: str
    threads: int


def make_slots(devices: str, workers: int, *, cpus: int, cuda: int) -> list[Slot]:
    """One slot an accelerator, or `workers` on the CPU; the processors are divided among them.

    `devices` is `auto`, `cpu`, or the accelerators to use, joined by commas.
    """
    if devices == "auto":
        names = [f"cuda:{index}" for index in range(cuda)]
    else:
        names = [] if devices == "cpu" else devices.split(",")
    names = names or ["cpu"] * workers
    return [Slot(name, max(1, cpus // len(names))) for name in names]


@dataclass
class _Running:
    """A job that was leased. `worker` is None while its process starts. `stopped_at` is when the
    user stopped it, by the event loop's clock; `hung` is why its worker was ended, if it was."""

    job: Job
    slot: Slot
    worker: Worker | None = None
    killed: bool = False
    stopped_at: float | None = None
    hung: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Dispatcher:
    """Runs jobs. `notify(job_id)` is called on the event loop when a job's rows have changed, and
    `leased(job)` when one was given to a slot.

    `slots` are where they run, once that is known; `holder` has their leases; `hears` says whether
    `wake` is called for the jobs that other servers put in the queue. `silence_timeout` is as in
    the settings.
    """

    def __init__(
        self,
        store: Store,
        files: Files,
        *,
        driver: str,
        policy: Policy,
        silence_timeout: float,
        notify: Callable[[str], None],
        leased: Callable[[Job], None] = lambda job: None,  # noqa: ARG005
        holder: Holder,
    ) -> None:
        self._store = store
        self._files = files
        self._driver = driver
        self._policy = policy
        self._silence_timeout = silence_timeout
        self._notify = notify
        self._leased = leased
        self._holder = holder
        self.hears: Callable[[], bool] = lambda: False
        self._wake = asyncio.Event()
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.slots: Sequence[Slot] = (Slot("cpu", 1),)

    @property
    def busy(self) -> bool:
        """Whether a job is at work."""
        return bool(self._running)

    def used_devices(self) -> list[str]:
        """The device of every job that is at work; from any thread."""
        return [running.slot.device for running in list(self._running.values())]

    def wake(self) -> None:
        """Says that there may be a queued job."""
        self._wake.set()

    async def run(self, slots: Sequence[Slot]) -> None:
        """Leases jobs to the slots until it is cancelled."""
        self.slots = tuple(slots)
        free = list(slots)
        while True:
            self._wake.clear()
            while free and not self._closing:
                job = await self._lease()
                if job is None:
                    break
                slot = free.pop(0)
                self._begin(job, slot, free)
            try:
                seconds = SLOW_POLL_SECONDS if self.hears() else POLL_SECONDS
                await asyncio.wait_for(self._wake.wait(), seconds)
            except TimeoutError:
                continue

    async def _lease(self) -> Job | None:
        try:
            return await asyncio.to_thread(self._store.jobs.lease, self._holder)
        except SeedbedError as error:
            log.error("no_job_taken", why=error.message)
            return None

    def attempts(self) -> Mapping[str, int]:
        """The jobs at work here, with their attempts."""
        return {job_id: running.job.attempt for job_id, running in self._running.items()}

    def paused(self) -> Collection[str]:
        """Those whose processes somebody has stopped, as SIGSTOP does."""
        workers = {job_id: running.worker for job_id, running in self._running.items()}
        return [job_id for job_id, worker in workers.items() if worker and worker.paused()]

    async def lose(self, job_id: str, attempt: int) -> None:
        """Ends the worker of an attempt that does not hold its job any more."""
        running = self._running.get(job_id)
        if running is not None and running.job.attempt == attempt and running.worker is not None:
            await running.worker.kill()

    def stop(self, job_id: str) -> None:
        """Tells the job's worker, where there is one, to finish now and keep the best so far. One
        that is just starting reads it from its row."""
        running = self._running.get(job_id)
        if running is not None and running.worker is not None:
            running.stopped_at = asyncio.get_running_loop().time()
            running.worker.stop()

    async def cancel(self, job_id: str) -> None:
        """Ends the job's worker; returns once it is gone. The row must say CANCELLED by then."""
        running = self._running.get(job_id)
        if running is None:
            return
        if running.worker is not None:
            await running.worker.cancel()
        await self._kill(running)

    async def gone(self, job_id: str) -> None:
        """Waits until no worker is at work on a job that has ended."""
        running = self._running.get(job_id)
        if running is not None:
            await running.ended.wait()

    async def close(self) -> None:
        """Ends all workers; their jobs go back in the queue for the next start."""
        self._closing = True
        await asyncio.gather(*(self._kill(running) for running in list(self._running.values())))
        try:
            owner = self._holder.owner
            await asyncio.to_thread(self._store.leases.requeue_all, INTERRUPTED, owner=owner)
        except SeedbedError as error:
            # Such as a full disk; the next start does the same.
            log.error("jobs_not_requeued", why=error.message)

    async def _kill(self, running: _Running) -> None:
        running.killed = True
        if running.worker is not None:
            await running.worker.kill()
        await running.ended.wait()

    def _begin(self, job: Job, slot: Slot, free: list[Slot]) -> None:
        running = self._running[job.id] = _Running(job, slot)
        self._leased(job)

        async def work() -> None:
            # A context of its own, as each task has: all lines that it causes are about this job.
            structlog.contextvars.bind_contextvars(job=job.id, attempt=job.attempt)
            try:
                await self._work(running)
            except Exception:
                log.exception("dispatch_failed", job=job.id)
                raise
            finally:
                del self._running[job.id]
                free.append(slot)
                running.ended.set()
                self._notify(job.id)
                self.wake()

        task = asyncio.create_task(work(), name=f"job-{job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, running: _Running) -> None:
        job = running.job
        self._notify(job.id)
        log.info("job_leased", job=job.id, attempt=job.attempt, device=running.slot.device)
        assignment = Assignment(
            job_id=job.id,
            attempt=job.attempt,
            database_url=self._store.url,
            data_dir=self._files.root,
            threads=running.slot.threads,
            device=running.slot.device,
            policy=self._policy,
        )
        kills = out_of_memory_kills()
        try:
            worker = await Worker.start(assignment, self._driver, lambda: self._notify(job.id))
        except (EOFError, OSError) as error:
            log.error("worker_not_started", job=job.id, why=str(error))
            await self._record_death(job, f"could not be started: {error}")
            return
        running.worker = worker
        watch = asyncio.create_task(self._watch_over(running, worker))
        try:
            if running.killed:
                await worker.kill()
            status = await worker.wait()
        finally:
            watch.cancel()
            worker.close()
        log.info("worker_ended", job=job.id, attempt=job.attempt, how=describe_exit(status))
        await asyncio.to_thread(self._drop_unpublished, job)
        if not self._closing:
            trial_reason = running.hung and f"{HUNG}{running.hung}; its process was ended"
            if status == -signal.SIGKILL and out_of_memory_kills() > kills:
                trial_reason = f"{OUT_OF_MEMORY}: the system ended the worker process"
            await self._record_death(job, describe_exit(status), trial_reason)
            await asyncio.to_thread(self._drop_scratch, job.id)

    async def _watch_over(self, running: _Running, worker: Worker) -> None:
        """Ends a worker whose trial does not end when it has to."""
        clock = asyncio.get_running_loop().time
        quiet_until = 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            at = running.stopped_at
            stopped_for = None if at is None else clock() - at
            try:
                job = await asyncio.to_thread(self._store.jobs.get, running.job.id)
                if job.state is JobState.CANCELLED:
                    # By a call to another server, or the call to this one is about to do the same.
                    await worker.cancel()
                    return
                if job.stop_requested and at is None:
                    self.stop(job.id)
                if clock() < quiet_until:
                    continue
                why = await asyncio.to_thread(self._why_overdue, job, stopped_for)
            except SeedbedError as error:
                log.error("job_not_watched_over", job=running.job.id, why=error.message)
                quiet_until = clock() + QUIET_SECONDS
                continue
            if why:
                log.warning("trial_hangs", job=running.job.id, why=why)
                running.hung = why
                await worker.kill()
                return

    def _why_overdue(self, job: Job, stopped_for: float | None) -> str:
        limit = math.inf
        if job.budget.wall_clock_seconds is None:
            # Only then does it count, and all trials are gone through to find it.
            longest = self._store.trials.longest(job.replay_of or job.id)
            limit = silence_limit(self._silence_timeout, longest)
        why = why_overdue(job, datetime.now(UTC), stopped_for, limit)
        # What comes between trials, such as making an earlier model anew, takes what it takes.
        if not why or not self._store.trials.any_running(job.id):
            return ""
        return why

    def _drop_unpublished(self, job: Job) -> None:
        """Not of a job that another server goes on with."""
        with suppress(SeedbedError):
            now = self._store.jobs.get(job.id)
            if now.state.ended or now.attempt == job.attempt:
                self._files.drop_unpublished(job.id)

    def _drop_scratch(self, job_id: str) -> None:
        """Of an ended job; one that goes on with another worker keeps it. What is left here the
        next start removes."""
        with suppress(SeedbedError):
            if job_id not in self._store.jobs.unfinished():
                self._files.drop_scratch(job_id)

    async def _record_death(self, job: Job, how: str, trial_reason: str = "") -> None:
        """Does nothing where the worker had ended its job, or lost it."""
        while True:
            try:
                after = await asyncio.to_thread(
                    self._store.jobs.worker_died, job.id, job.attempt, how, trial_reason
                )
                break
            except SeedbedError as error:
                # Such as a full disk. The job must not stay as if it were at work.
                log.error("death_not_recorded", job=job.id, why=error.message)
                if self._closing:
                    return
                await asyncio.sleep(POLL_SECONDS)
        if after is not None:
            log.warning("worker_died", job=job.id, how=how, deaths=after.deaths, state=after.state)
