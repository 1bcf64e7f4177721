"""Prepared data: folders written once, shared by jobs, and removed when space is needed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seedbed_sdk.errors import ResourceExhausted
from seedbed_server.store.files import full_disk_is_an_error, sync
from seedbed_server.store.values import new_id

DEFAULT_LIMIT_BYTES = 20 * 10**9
DEFAULT_SHARE_OF_DISK = 0.2
_PARTIAL = ".partial-"
_LOCK = ".lock"


class PreparedStore:
    """The prepared data of all jobs. `limit_bytes` is what all of it may take on the disk; 0 is
    20 GB, or a fifth of what it could have if that is less.

    An entry is a folder and, beside it, a lock file: held exclusively by the process that writes or
    removes the folder, and shared by those that use it, until they end or close the store. An entry
    is written beside, synced and renamed, so that a process that dies leaves nothing that counts.
    """

    def __init__(self, root: Path, limit_bytes: int = 0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._limit_bytes = limit_bytes
        self._held: dict[str, int] = {}

    def folder(self, key: str, write: Callable[[Path], None], *, wait: bool = True) -> Path | None:
        """The folder of an entry, written by `write` into an empty folder where it is not there.

        Where another process is writing it, waits for that process, or returns None if `wait` is
        false. Raises what `write` raises, and ResourceExhausted where the disk is full.
        """
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        path = self.root / name
        while name not in self._held:
            lock = self._lock(name, fcntl.LOCK_SH, wait=wait)
            if lock is None:
                return None
            if path.is_dir():
                self._held[name] = lock
                break
            os.close(lock)
            lock = self._lock(name, fcntl.LOCK_EX, wait=wait)
            if lock is None:
                return None
            try:
                if not path.is_dir():
                    self._write(path, write)
            finally:
                # Whoever waits gets it now, or an eviction does: then this goes round once more.
                os.close(lock)
        os.utime(path)
        return path

    def close(self) -> None:
        """Lets go of all entries, which may be removed then."""
        while self._held:
            _, lock = self._held.popitem()
            os.close(lock)

    def sweep(self) -> None:
        """Removes what processes that died were writing, and what is beyond the limit."""
        for partial in self.root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(partial, ignore_errors=True)
        self._evict(self._limit())

    def _lock(self, name: str, how: int, *, wait: bool) -> int | None:
        """The lock file of an entry, open and locked; None where that would have to be waited
        for."""
        path = self.root / f"{name}{_LOCK}"
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return None
            except BaseException:
                os.close(lock)
                raise
            # An eviction removes the lock file too; a lock on the removed one locks nothing.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(lock).st_ino:
                    return lock
            os.close(lock)

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        """Makes an entry whose lock is held; where the disk is too full for it, without those that
        nobody uses."""
        try:
            self._publish(path, write)
        except ResourceExhausted:
            self._evict(0)
            self._publish(path, write)
        self._evict(self._limit())

    def _publish(self, path: Path, write: Callable[[Path], None]) -> None:
        partial = self.root / f"{_PARTIAL}{path.name}"
        # The lock is held, so that whoever was writing this is dead.
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with full_disk_is_an_error(self.root):
                partial.mkdir()
                write(partial)
                for entry in sorted(partial.rglob("*"), reverse=True):
                    sync(entry)
                sync(partial)
                partial.rename(path)
                sync(self.root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _limit(self) -> int:
        if self._limit_bytes:
            return self._limit_bytes
        could_have = shutil.disk_usage(self.root).free + sum(e.size for e in self._entries())
        return min(DEFAULT_LIMIT_BYTES, int(DEFAULT_SHARE_OF_DISK * could_have))

    def _entries(self) -> list[_Entry]:
        """All entries, the least recently used first."""
        entries = []
        for path in self.root.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    entries.append(_Entry(path, _size(path), path.stat().st_mtime))
        return sorted(entries, key=lambda entry: entry.used)

    def _evict(self, limit: int) -> None:
        """Removes entries that no process uses until the others fit, the least recently used
        first."""
        entries = self._entries()
        excess = sum(entry.size for entry in entries) - limit
        for entry in entries:
            if excess <= 0:
                return
            lock = self._lock(entry.path.name, fcntl.LOCK_EX, wait=False)
            if lock is None:
                continue
            grave = self.root / f"{_PARTIAL}{new_id()}"
            try:
                with suppress(FileNotFoundError):
                    entry.path.rename(grave)
                    excess -= entry.size
                (self.root / f"{entry.path.name}{_LOCK}").unlink(missing_ok=True)
            finally:
                os.close(lock)
            shutil.rmtree(grave, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: float


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class PreparedFolders:
    """Implements `seedbed_sdk.mapped.FolderCache` with the entries of one dataset that was prepared
    in one way, which `scope` says."""

    def __init__(self, store: PreparedStore, scope: str, memory_limit: int) -> None:
        self._store = store
        self._scope = scope
        self.memory_limit = memory_limit

    def folder(self, key: str, write: Callable[[Path], None]) -> Path:
        """The folder kept under the key, where need be after `write` or after another process."""
        found = self._store.folder(f"{self._scope}\0{key}", write)
        assert found is not None
        return found

    def free_folder(self, key: str, write: Callable[[Path], None]) -> Path | None:
        """As `folder`, but None where another process is just writing it."""
        return self._store.folder(f"{self._scope}\0{key}", write, wait=False)
