"""The running service: its rooms, and the tasks that keep them going."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server.api.auditing import Auditor
from seedbed_server.api.authentication import Authenticator
from seedbed_server.api.guard import Guard
from seedbed_server.api.limits import RateLimits
from seedbed_server.api.observing import Activity
from seedbed_server.api.rooms import Rooms
from seedbed_server.api.server import Server
from seedbed_server.api.watching import Watching
from seedbed_server.catalogue import Catalogue
from seedbed_server.data.sources import SCHEMES, Policy
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.executors.calls import CALLS
from seedbed_server.executors.dispatcher import Dispatcher, make_slots
from seedbed_server.executors.hardware import cpu_count
from seedbed_server.executors.leases import LeaseKeeper
from seedbed_server.jobs.values import INTERRUPTED
from seedbed_server.serving.front import PredictionFront
from seedbed_server.settings import Settings, require_safe_metrics_address
from seedbed_server.store import Files, Holder, PreparedStore, ServerLock, Store, new_holder
from seedbed_server.store.notices import EVENTS, QUEUE, Listener
from seedbed_server.store.values import now
from seedbed_server.telemetry import tracing
from seedbed_server.telemetry.metrics import make_metrics
from seedbed_server.telemetry.readings import Readings

log = structlog.get_logger()

GRACE_SECONDS = 2.0
IDLE_POLL_SECONDS = 0.1
CANCEL_AGAIN_SECONDS = 0.5
UPLOADS_KEPT = timedelta(days=1)


class Service:
    """Built, started and stopped once, on one event loop."""

    def __init__(
        self, settings: Settings, files: Files, database_url: str, lock: ServerLock
    ) -> None:
        self._settings = settings
        self._files = files
        self._database_url = database_url
        self._lock = lock
        self._holder = new_holder(settings.lease_seconds)
        self._activity = Activity()
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listener: Listener | None = None
        self.address = ""
        self.metrics_address = ""

    async def start(self) -> None:
        """Recovers what an earlier server left, and serves. Raises StartupError."""
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(16, thread_name_prefix="blocking")
        )
        store = Store(self._database_url)
        await asyncio.to_thread(self._recover, store)
        self._rooms = _build_rooms(self._settings, self._files, store, self._holder)
        settings = self._settings
        self._auditor = Auditor(store, settings.audit_rows)
        guard = Guard(
            Authenticator(store, required=settings.require_tokens),
            RateLimits(settings.rate_limit),
            self._auditor,
        )
        self._server = Server(self._rooms, self._activity, guard)
        await self._server.start(settings.address, settings.tls_files())
        self.address = self._server.address
        self._serve_metrics()
        self._rooms.catalogue.start()
        self._keep_going("dispatcher", self._dispatch())
        self._keep_going("leases", LeaseKeeper(store, self._holder, self._rooms.dispatcher).run())
        self._keep_going("watching", self._rooms.watching.run())
        self._keep_going("guard", guard.run())
        self._keep_going("audit", self._auditor.run())
        self._listen(store)

    def _recover(self, store: Store) -> None:
        """Cleans up after servers that were killed; raises StartupError. Where other servers share
        the database, what they are at work on stays, and so do all files."""
        store.open(self._files)
        requeued: Sequence[str] = ()
        if not store.shared:
            requeued = store.jobs.requeue_active(INTERRUPTED)
        elif self._lock.alone:
            # Nobody else is on this machine; for those on others only their leases speak.
            requeued = store.leases.requeue_all(INTERRUPTED, host=self._holder.host)
        store.forget_requests()
        if self._lock.alone and not store.leases.any():
            self._clean_up(store)
        if store.shared:
            self._lock.share()
        if requeued:
            log.info("jobs_requeued", jobs=list(requeued))

    def _clean_up(self, store: Store) -> None:
        files = self._files
        for upload in store.uploads.drop_unfinished(now() - UPLOADS_KEPT):
            log.info("upload_dropped", upload=upload)
        files.sweep(
            datasets=store.datasets.ids(),
            models=store.models.folders(),
            jobs=store.jobs.ids(),
            unfinished=store.jobs.unfinished(),
        )
        PreparedStore(files.prepared, self._settings.prepared_limit_bytes).sweep()

    def _listen(self, store: Store) -> None:
        """Lets watchers and the dispatcher know what happens on the other servers."""
        loop, rooms = asyncio.get_running_loop(), self._rooms

        def pass_on(channel: str, text: str) -> None:
            if channel != QUEUE:
                rooms.watching.notify(text) if text else rooms.watching.notify_all()
            if channel != EVENTS:
                rooms.dispatcher.wake()

        def heard(channel: str, text: str) -> None:
            # The loop may just have ended.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(pass_on, channel, text)

        self._listener = store.listener(heard)
        if self._listener is not None:
            self._listener.start()
            rooms.watching.hears = rooms.dispatcher.hears = self._hears

    def _hears(self) -> bool:
        return self._listener is not None and self._listener.connected

    def _serve_metrics(self) -> None:
        address, rooms = self._settings.metrics_address, self._rooms
        if not address:
            return
        host, port = require_safe_metrics_address(address, self._settings.insecure)
        readings = Readings(
            rooms.store,
            rooms.files,
            slots=lambda: [slot.device for slot in rooms.dispatcher.slots],
            used_slots=rooms.dispatcher.used_devices,
            watchers=rooms.watching.watchers,
        )
        self.metrics_address = rooms.metrics.serve(host, port, readings)
        log.info("metrics_served", address=self.metrics_address)

    async def idle(self, hang_up: asyncio.Event) -> None:
        """Returns when there has been nothing to do for the time set, or at all after `hang_up`;
        never without either. Raises what ended a part of the service."""
        while True:
            if self._failed.done():
                self._failed.result()
            limit = 0.0 if hang_up.is_set() else self._settings.idle_exit
            if limit is not None and await self._idle_for(limit):
                log.info("server_idle", seconds=limit)
                return
            await asyncio.wait(
                [self._failed], timeout=IDLE_POLL_SECONDS if limit is not None else 1.0
            )

    async def _idle_for(self, seconds: float) -> bool:
        if self._rooms.dispatcher.busy or self._activity.busy:
            self._activity.touch()
            return False
        if self._activity.idle_seconds() < seconds:
            return False
        unfinished = await asyncio.to_thread(self._rooms.store.jobs.unfinished)
        if unfinished:
            self._activity.touch()
        return not unfinished and not self._activity.busy

    async def stop(self) -> None:
        """Ends watches, calls, workers and the rest; jobs at work go back in the queue."""
        if not hasattr(self, "_server"):
            return
        rooms = self._rooms
        rooms.watching.close()
        stopping = asyncio.create_task(self._server.stop(GRACE_SECONDS))
        for task in self._tasks:
            # Python 3.11's `wait_for` can lose a cancellation that comes as its result does.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
        await rooms.catalogue.stop()
        await rooms.dispatcher.close()
        rooms.calls.close()
        if self._listener is not None:
            self._listener.close()
        await stopping
        await self._auditor.flush()
        await asyncio.to_thread(rooms.metrics.close)
        await asyncio.to_thread(rooms.tracing.close)
        await asyncio.to_thread(rooms.store.close)

    async def _dispatch(self) -> None:
        """Finds out what there is to run on, which also waits until workers start quickly: a job's
        clock begins when it is leased."""
        settings, rooms = self._settings, self._rooms
        cuda = 0
        try:
            wanted = {"accelerators": settings.devices == "auto"}
            hardware = await rooms.calls.call("hardware", wanted, timeout=120.0)
            cuda = hardware["cuda"]
        except SeedbedError as error:
            log.error("hardware_unknown", why=error.message)
        slots = make_slots(settings.devices, settings.workers, cpus=cpu_count(), cuda=cuda)
        log.info("slots", slots=[f"{s.device} ({s.threads} threads)" for s in slots])
        await rooms.dispatcher.run(slots)

    def _keep_going(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A part that ends by itself ends the service: half a service helps nobody."""
        if not task.cancelled() and not self._failed.done():
            self._failed.set_exception(task.exception() or RuntimeError(f"{task.get_name()} ended"))


def _build_rooms(settings: Settings, files: Files, store: Store, holder: Holder) -> Rooms:
    policy = Policy(
        allowed_roots=settings.allow_root,
        uploads=files.uploads,
        allowed_schemes=tuple(dict.fromkeys((*SCHEMES, *settings.allow_scheme))),
        allow_private_addresses=settings.allow_private_addresses,
        remote_cache=files.remote,
        max_remote_cache_bytes=settings.max_remote_cache_bytes,
        prepared=files.prepared,
        prepared_limit_bytes=settings.prepared_limit_bytes,
        memory_limit_bytes=settings.memory_limit_bytes,
        fetch_seconds=settings.fetch_timeout,
    )
    calls = CallPool({**CALLS, **settings.calls}, threads=cpu_count())
    watching = Watching(store)
    metrics = make_metrics(settings.metrics_address)

    def notify(job_id: str) -> None:
        watching.notify(job_id)
        metrics.changed(job_id)

    return Rooms(
        settings=settings,
        files=files,
        store=store,
        policy=policy,
        calls=calls,
        catalogue=Catalogue(calls, files.cache),
        dispatcher=Dispatcher(
            store,
            files,
            driver=settings.driver,
            policy=policy,
            silence_timeout=settings.silence_timeout,
            notify=notify,
            leased=metrics.leased,
            holder=holder,
        ),
        watching=watching,
        predictions=PredictionFront(calls, store, files, metrics, timeout=settings.predict_timeout),
        metrics=metrics,
        tracing=tracing.start(),
    )
