"""Remote data: fetched once, kept by what it is and which version of it, and read like a file."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any

from seedbed_sdk.errors import Unavailable
from seedbed_sdk.registry import load
from seedbed_server.data import references
from seedbed_server.data.sources import DATABASES, DataSource, Policy, ResolvedSource, shown
from seedbed_server.store.files import full_disk_is_an_error

_PARTIAL = ".partial-"
_CHUNK_BYTES = 2**20
# Jobs may read from what is kept; none is older than this without touching it again.
_IN_USE_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Found:
    """Remote data that is there. `name` is of the file or folder; `version` changes with the
    contents and is empty where nobody knows; `save(target)` writes the file or folder."""

    name: str
    version: str
    save: Callable[[Path], None] = field(repr=False)


def take_fingerprint(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the Fingerprint of `sources` under `policy`, as `references.fingerprint` takes
    it; for the API process, which loads neither plugins nor the libraries of remote data."""
    policy = Policy.from_dict(payload["policy"], load().readers)
    sources = [DataSource(**source) for source in payload["sources"]]
    return asdict(references.fingerprint(references.resolve(sources, policy)))


class Limits:
    """Counts bytes and watches the clock while one source is fetched."""

    def __init__(self, source: ResolvedSource) -> None:
        self._source = source
        self._deadline = time.monotonic() + source.policy.fetch_seconds
        self._left = source.policy.max_unpacked_bytes

    def seconds_left(self) -> float:
        """At least a moment, so that it can be a time-out."""
        return max(0.1, self._deadline - time.monotonic())

    def add(self, size: int) -> None:
        """Raises InvalidArgument where that is too much in all, Unavailable where time is up."""
        policy = self._source.policy
        self._left -= size
        if self._left < 0:
            raise self._source.refusal(
                f"has more than {policy.max_unpacked_bytes:,} bytes, which are the most that are "
                "fetched; name less of it",
                reason="REMOTE_TOO_LARGE",
            )
        if time.monotonic() > self._deadline:
            raise Unavailable(
                f"{shown(self._source.uri)} was not fetched within {policy.fetch_seconds:g} s; "
                "try again, name less of it, or raise --fetch-timeout"
            )

    def copy(self, read: Callable[[int], bytes], target: IO[bytes]) -> int:
        """Copies to the end, in pieces; the number of bytes."""
        size = 0
        while piece := read(_CHUNK_BYTES):
            self.add(len(piece))
            size += target.write(piece)
        return size


def fetch_all(resolved: Sequence[ResolvedSource]) -> list[ResolvedSource]:
    """The sources with a path for each that is remote."""
    return [
        _fetch(source) if source.is_remote and source.path is None else source
        for source in resolved
    ]


def version_of(source: ResolvedSource) -> str:
    """The version of remote data; fetches it where it can only be told from the contents."""
    with _find(source, Limits(source)) as found:
        if found.version:
            return found.version
    return _fetch(source).version


def _find(source: ResolvedSource, limits: Limits) -> AbstractContextManager[Found]:
    if source.scheme in ("http", "https"):
        from seedbed_server.data.web import find
    elif source.scheme in ("s3", "gs"):
        from seedbed_server.data.buckets import find
    elif source.scheme in DATABASES:
        from seedbed_server.data.sql import find
    else:
        from seedbed_server.data.plugged import find
    return find(source, limits)


def _fetch(source: ResolvedSource) -> ResolvedSource:
    cache = source.policy.remote_cache
    assert cache is not None
    cache.mkdir(parents=True, exist_ok=True)
    with _find(source, Limits(source)) as found:
        if found.version:
            entry = cache / _key(source, found.version)
            if not _touch(entry):
                _evict(cache, source.policy)
                with _saved(found, cache) as folder:
                    _publish(folder, entry)
            return _kept(source, entry, found)
        _evict(cache, source.policy)
        with _saved(found, cache) as folder:
            with (folder / found.name).open("rb") as file:
                version = hashlib.file_digest(file, "sha256").hexdigest()
            entry = cache / _key(source, version)
            _publish(folder, entry)
        return _kept(source, entry, replace(found, version=version))


def _key(source: ResolvedSource, version: str) -> str:
    parts = "\0".join((source.uri, source.source.query, version))
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


@contextmanager
def _saved(found: Found, cache: Path) -> Iterator[Path]:
    """A folder beside the kept ones with the data in it; what is left of it at the end goes."""
    folder = Path(mkdtemp(prefix=_PARTIAL, dir=cache))
    try:
        with full_disk_is_an_error(cache):
            found.save(folder / found.name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, entry: Path) -> None:
    try:
        folder.rename(entry)
    except OSError:
        # Somebody else fetched the same at the same time; theirs is as good.
        if not _touch(entry):
            raise


def _touch(entry: Path) -> bool:
    """Marks what is kept as used now, so that it stays; False where it is not there."""
    try:
        os.utime(entry)
    except FileNotFoundError:
        return False
    return True


def _kept(source: ResolvedSource, entry: Path, found: Found) -> ResolvedSource:
    return replace(
        source,
        path=(entry / found.name).resolve(),
        roots=(entry.resolve(),),
        version=found.version,
    )


def _evict(cache: Path, policy: Policy) -> None:
    """Makes room: what was used least recently goes first, and nothing that may be in use."""
    entries = []
    for entry in cache.iterdir():
        try:
            entries.append((entry.stat().st_mtime, entry))
        except FileNotFoundError:
            continue  # Another process makes room as well.
    before = time.time() - _IN_USE_SECONDS
    total = sum(_size(entry) for _, entry in entries)
    for used, entry in sorted(entries):
        stale = entry.name.startswith(_PARTIAL)
        if used > before or (total <= policy.max_remote_cache_bytes and not stale):
            continue
        total -= _size(entry)
        shutil.rmtree(entry, ignore_errors=True)


def _size(folder: Path) -> int:
    size = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                size += (Path(path) / name).stat().st_size
            except FileNotFoundError:
                continue
    return size
