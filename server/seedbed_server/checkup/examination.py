"""All checks of a server, one after the other."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server.checkup import machine, places, setup
from seedbed_server.checkup.checks import Check, problem
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.executors.dispatcher import Dispatcher
from seedbed_server.settings import Settings
from seedbed_server.store import Files, Store
from seedbed_server.store.usage import disk_usage
from seedbed_server.store.values import now

log = structlog.get_logger()

LOOKING_SECONDS = 120.0


@dataclass(frozen=True)
class Examination:
    """`disk` are bytes by kind."""

    time: datetime
    checks: tuple[Check, ...]
    disk: Mapping[str, int]
    free_bytes: int


async def examine(
    settings: Settings, files: Files, store: Store, calls: CallPool, dispatcher: Dispatcher
) -> Examination:
    """Looks at everything. What cannot be looked at is a problem, and no exception."""
    looking = asyncio.create_task(_look_at_libraries(calls))
    try:
        disk = await asyncio.to_thread(disk_usage, files)
        before = await asyncio.to_thread(
            _collect,
            ("settings", lambda: setup.check_settings(settings)),
            ("disk", lambda: places.check_folder(files, disk)),
            ("database", lambda: places.check_database(store)),
            ("jobs", lambda: setup.check_jobs(store.jobs.census(), dispatcher)),
        )
        found = await looking
    finally:
        looking.cancel()
    if isinstance(found, Check):
        of_libraries = [found]
    else:
        of_libraries = _collect(
            ("plugins", lambda: setup.check_plugins(found)),
            ("accelerators", lambda: machine.check_accelerators(settings, found["accelerators"])),
        )
    time = now()
    after = await asyncio.to_thread(
        _collect,
        ("memory", lambda: machine.check_memory(settings)),
        ("clock", lambda: machine.check_clock(time, store.jobs.newest_time())),
        ("traces", setup.check_traces),
    )
    free = shutil.disk_usage(files.root).free
    return Examination(time, (*before, *of_libraries, *after), disk, free)


async def _look_at_libraries(calls: CallPool) -> Mapping[str, Any] | Check:
    try:
        return await calls.call("libraries", {}, timeout=LOOKING_SECONDS)
    except SeedbedError as error:
        return problem(
            "plugins",
            f"they could not be loaded: {error.message}",
            "the server's log says more; uninstall the plugin that was installed last",
        )


def _collect(*groups: tuple[str, Callable[[], Iterator[Check]]]) -> list[Check]:
    checks: list[Check] = []
    for name, group in groups:
        try:
            checks += group()
        except Exception as error:  # one that fails must not hide the others
            log.exception("check_failed", check=name)
            text = f"it could not be looked at: {type(error).__name__}: {error}"
            checks.append(problem(name, text, "the server's log says more"))
    return checks
