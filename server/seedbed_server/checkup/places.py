"""The data directory and the database: free, writable, whole, fast."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from seedbed_sdk.errors import SeedbedError
from seedbed_server.checkup.checks import Check, ok, problem, size, warning
from seedbed_server.store import Files, Store
from seedbed_server.store.probing import sync_seconds

LITTLE_BYTES = 5 * 10**9
TOO_LITTLE_BYTES = 500 * 10**6
SLOW_SECONDS = 0.1
TOO_SLOW_SECONDS = 1.0
READING_SECONDS = 10.0
_FASTER = "put the data directory on a local disk that is not busy, not on a network's"


def check_folder(files: Files, uses: Mapping[str, int]) -> Iterator[Check]:
    """`uses` are bytes by kind."""
    disk = shutil.disk_usage(files.root)
    free = f"{size(disk.free)} of {size(disk.total)} are free for {files.root}"
    make_room = "free some space, or move the data directory to a larger disk"
    if disk.free < TOO_LITTLE_BYTES:
        yield problem("disk", free, f"{make_room}: jobs and uploads fail without")
    elif disk.free < LITTLE_BYTES:
        yield warning("disk", free, make_room)
    else:
        yield ok("disk", free)
    parts = [f"{kind} {size(count)}" for kind, count in uses.items() if count]
    yield ok("disk", f"the data directory takes {size(sum(uses.values()))}: {', '.join(parts)}")
    try:
        seconds = sync_seconds(files.root)
    except (OSError, SeedbedError) as error:
        yield problem(
            "disk",
            f"{files.root} cannot be written: {error}",
            "let the server's user write there, or pass another --data-dir",
        )
        return
    yield _how_fast("disk", f"a block is on the disk after {1000 * seconds:.1f} ms", seconds)


def check_database(store: Store) -> Iterator[Check]:
    try:
        found = store.check_integrity(READING_SECONDS)
        seconds = store.commit_seconds()
    except SeedbedError as error:
        yield problem("database", error.message, "see to the disk first, then ask again")
        return
    if found.faults:
        yield problem(
            "database",
            f"it is damaged: {'; '.join(found.faults)}",
            "stop the server and restore seedbed.db from a copy; `sqlite3 seedbed.db .recover` "
            "brings back what can be read",
        )
    elif found.complete:
        yield ok("database", "it is whole")
    else:
        yield ok("database", f"as much as could be read in {READING_SECONDS:g} s is whole")
    yield _how_fast("database", f"a change is safe after {1000 * seconds:.1f} ms", seconds)


def _how_fast(name: str, message: str, seconds: float) -> Check:
    if seconds > TOO_SLOW_SECONDS:
        return problem(name, message, _FASTER)
    if seconds > SLOW_SECONDS:
        return warning(name, message, _FASTER)
    return ok(name, message)
