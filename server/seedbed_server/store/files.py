"""The data directory: where everything lies, and how files get there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from seedbed_sdk.errors import ResourceExhausted
from seedbed_server.errors import StartupError
from seedbed_server.store.lock import ServerLock, take
from seedbed_server.store.values import new_id

_TEMPORARY = ".partial-"
_STALE_SECONDS = 24 * 3600


class Files:
    """The layout of a data directory. `root` is made absolute."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.database = self.root / "seedbed.db"
        self.uploads = self.root / "uploads"
        self.partial = self.uploads / ".partial"
        self.models = self.root / "models"
        self.cache = self.root / "cache"
        self.prepared = self.cache / "prepared"
        self.remote = self.cache / "remote"
        self.server_info = self.root / "server.json"
        self.lock_file = self.root / "server.lock"
        self.database_id = self.root / "database.id"

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.database}"

    def create(self) -> None:
        """Makes the folders; the data directory itself is for its owner only.

        Raises StartupError where that is not allowed.
        """
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True, mode=0o700)
            for folder in (self.uploads, self.partial, self.models, self.cache):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StartupError(
                f"cannot use {self.root} as data directory: {error.strerror}; "
                "pass a folder that can be written with --data-dir",
                reason="DATA_DIR_UNUSABLE",
            ) from error

    def lock(self, *, shared: bool = False) -> ServerLock:
        """Takes the data directory for this process, until it ends; where it is `shared`, together
        with others that share it.

        Raises StartupError naming the server that has it.
        """
        lock = take(self.lock_file, shared=shared)
        if lock is not None:
            return lock
        info = self.read_server_info()
        other = (
            f"process {info['pid']} at {info['address']}"
            if info
            else "another process that is still starting"
        )
        raise StartupError(
            f"the data directory {self.root} is in use by a seedbed server ({other}); "
            "use that one, stop it, or pass another --data-dir",
            reason="DATA_DIR_IN_USE",
        )

    def read_database_id(self) -> str:
        """The id of the shared database that the directory belongs to; empty without one."""
        try:
            return self.database_id.read_text().strip()
        except FileNotFoundError:
            return ""

    def hold_anything(self) -> bool:
        """Whether there are models or uploads."""
        entries = [*self.models.iterdir(), *self.partial.iterdir(), *self.uploads.iterdir()]
        return any(entry != self.partial for entry in entries)

    def read_server_info(self) -> dict[str, Any] | None:
        """What the running server says about itself, None without one."""
        try:
            return dict(json.loads(self.server_info.read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def write_server_info(self, info: Mapping[str, Any]) -> None:
        write_text(self.server_info, json.dumps(info, indent=2) + "\n")

    def remove_server_info(self) -> None:
        self.server_info.unlink(missing_ok=True)

    def partial_upload(self, project: str, upload_id: str) -> Path:
        """Where an upload's bytes gather."""
        return self.partial / f"{project}.{upload_id}"

    def uploaded(self, dataset_id: str, file_name: str) -> Path:
        """Where the file of an uploaded dataset lies."""
        return self.uploads / dataset_id / file_name

    def keep_upload(self, partial: Path, dataset_id: str, file_name: str) -> Path:
        """Moves a complete upload to its dataset; returns where it lies now."""
        target = self.uploaded(dataset_id, file_name)
        target.parent.mkdir(exist_ok=True)
        partial.replace(target)
        sync(target.parent)
        sync(self.uploads)
        return target

    def delete_upload(self, dataset_id: str) -> None:
        shutil.rmtree(self.uploads / dataset_id, ignore_errors=True)

    def model(self, folder: str) -> Path:
        """The bundle of a model, by the `folder` in its row."""
        return self.models / folder

    def new_model_folder(self, job_id: str) -> ModelFolder:
        """A folder for a model that is being written, as a context manager:

        `with files.new_model_folder(job_id) as folder:` write below `folder.path`, then call
        `folder.publish()`. Leaving without that removes what was written. A full disk, there or in
        `publish`, becomes ResourceExhausted.
        """
        return ModelFolder(self.models, job_id, new_id())

    def delete_model(self, folder: str) -> None:
        """Removes a bundle: out of sight at once, then its files."""
        grave = self.models / f"{_TEMPORARY}deleted-{new_id()}"
        try:
            self.model(folder).rename(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)

    def job_scratch(self, job_id: str) -> Path:
        """A folder for what a job's workers leave to those that go on after them; not made here."""
        return self.cache / "jobs" / job_id

    def put_by(self, job_id: str, names: Collection[str]) -> None:
        """Keeps these entries of an ending job's scratch folder, in case the job is extended, and
        removes the others."""
        scratch, kept = self.job_scratch(job_id), self._kept(job_id)
        for entry in scratch.glob("*"):
            if entry.name not in names:
                shutil.rmtree(entry, ignore_errors=True)
        if scratch.is_dir():
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(exist_ok=True)
            scratch.rename(kept)

    def take_back(self, job_id: str) -> None:
        """Makes what `put_by` has kept the job's scratch folder again."""
        scratch, kept = self.job_scratch(job_id), self._kept(job_id)
        if kept.is_dir() and not scratch.exists():
            scratch.parent.mkdir(exist_ok=True)
            kept.rename(scratch)

    def drop_kept(self, job_id: str) -> None:
        """Removes what was kept of a deleted job."""
        shutil.rmtree(self._kept(job_id), ignore_errors=True)

    def _kept(self, job_id: str) -> Path:
        return self.cache / "kept" / job_id

    def drop_unpublished(self, job_id: str) -> None:
        """Removes what a worker that was killed had written of a job's model."""
        for folder in self.models.glob(f"{_TEMPORARY}{job_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def drop_scratch(self, job_id: str) -> None:
        """Removes what the workers of an ended job have left."""
        shutil.rmtree(self.job_scratch(job_id), ignore_errors=True)

    def sweep(
        self, *, datasets: set[str], models: set[str], jobs: set[str], unfinished: set[str]
    ) -> None:
        """Removes leftovers of servers that were killed: temporary folders, what has no row (its
        `id`, or a model's `folder`) and partial uploads older than a day. Only with the lock
        held."""
        for folder in (self.cache / "jobs").glob("*"):
            if folder.name not in unfinished:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.cache / "kept").glob("*"):
            if folder.name not in jobs:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.models.iterdir():
            if folder.name not in models:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.uploads.iterdir():
            if folder != self.partial and folder.name not in datasets:
                shutil.rmtree(folder, ignore_errors=True)
        for file in self.partial.iterdir():
            if file.stat().st_mtime < time.time() - _STALE_SECONDS:
                file.unlink(missing_ok=True)
        for file in self.cache.glob(f"{_TEMPORARY}*"):
            file.unlink(missing_ok=True)

    def open_scratch(self) -> int:
        """An open file without a name, in the cache folder, gone when it is closed."""
        path = self.cache / f"{_TEMPORARY}{new_id()}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        path.unlink()
        return descriptor


@dataclass
class ModelFolder:
    """A model's bundle on its way: written beside, seen only when it is whole."""

    models: Path
    job_id: str
    model_id: str

    @property
    def path(self) -> Path:
        """Where to write."""
        return self.models / f"{_TEMPORARY}{self.job_id}-{self.model_id}"

    def publish(self) -> tuple[str, int]:
        """Makes the bundle durable and visible; returns its row's `folder` and `size_bytes`."""
        with full_disk_is_an_error(self.models):
            size = 0
            for entry in sorted(self.path.rglob("*"), reverse=True):
                size += entry.stat().st_size if entry.is_file() else 0
                sync(entry)
            sync(self.path)
            self.path.rename(self.models / self.model_id)
            sync(self.models)
        return self.model_id, size

    def __enter__(self) -> Self:
        with full_disk_is_an_error(self.models):
            self.path.mkdir()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if isinstance(error, Exception):
            with full_disk_is_an_error(self.models):
                raise error


@contextmanager
def full_disk_is_an_error(folder: Path) -> Iterator[None]:
    """Turns the system's "no space left" into ResourceExhausted, with the bytes that are free."""
    try:
        yield
    except Exception as error:
        if not _is_full_disk(error):
            raise
        free = shutil.disk_usage(folder).free
        raise ResourceExhausted(
            f"the disk is full: writing to {folder} failed with {free:,} bytes free; "
            "free some space and try again",
            reason="DISK_FULL",
            metadata={"folder": str(folder), "free_bytes": str(free)},
        ) from error


def _is_full_disk(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in full
    # Libraries such as safetensors have exceptions of their own, with the system's text in them.
    return any(os.strerror(number) in str(error) for number in full)


def write_text(path: Path, text: str) -> None:
    """Replaces a file: readers see the old text or the new one, whole."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with full_disk_is_an_error(path.parent), temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
