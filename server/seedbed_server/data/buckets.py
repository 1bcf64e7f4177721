"""Data in object stores (s3 and gs), through fsspec."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from seedbed_sdk.errors import InvalidArgument, Unavailable
from seedbed_server.data.archive_guard import bad_name
from seedbed_server.data.folders import is_ignored
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource, shown

_EXTRAS = {"s3": "s3", "gs": "gcs"}
_ENVIRONMENT = {
    "s3": "the server takes credentials and, with AWS_ENDPOINT_URL, the place of the store from "
    "its environment",
    "gs": "the server takes credentials from the file that GOOGLE_APPLICATION_CREDENTIALS names "
    "in its environment",
}
_BLOCK_BYTES = 8 * 2**20
_THREADS = 8
# What the stores say of an object that changes with its contents.
_MARKS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "updated", "mtime", "created")


@contextmanager
def find(source: ResolvedSource, limits: Limits) -> Iterator[Found]:
    """An object, or all objects under a prefix as a folder; the version is of the whole listing.

    Credentials and endpoint come from the environment. Raises InvalidArgument where there is no
    such object or bucket, where it may not be read, or where names lead out of the folder.
    """
    store = _open(source)
    path = source.uri.partition("://")[2]
    with _named_errors(source):
        objects, folder = _list(source, store, path)
    version = _version(objects)

    def save(target: Path) -> None:
        with _named_errors(source):
            _save(store, objects, target, limits, folder=folder)
            if _version(_list(source, store, path)[0]) != version:
                raise Unavailable(f"{shown(source.uri)} was changed while it was read; try again")

    yield Found(PurePosixPath(path).name, version, save)


def _open(source: ResolvedSource) -> Any:
    import fsspec

    # Kept instances have listings of their own, which may be old.
    fresh = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        if source.scheme == "gs":
            # The class that fsspec knows asks another service of Google for the kind of the bucket
            # first, at every step and wherever STORAGE_EMULATOR_HOST leads.
            from gcsfs.core import GCSFileSystem

            return GCSFileSystem(**fresh)
        return fsspec.filesystem(source.scheme, **fresh)
    except ImportError as error:
        extra = _EXTRAS[source.scheme]
        raise source.refusal(
            f"cannot be read: {error}; install seedbed[{extra}] where the server runs",
            reason="MISSING_EXTRA",
        ) from error


def _list(
    source: ResolvedSource, store: Any, path: str
) -> tuple[dict[str, Mapping[str, Any]], bool]:
    """The objects by their names in the folder, and whether it is one."""
    path = path.rstrip("/")
    most = source.policy.max_files
    if not source.uri.endswith("/") and "/" in path:
        try:
            info = store.info(path)
        except FileNotFoundError as error:
            raise _nothing(source) from error
        if info["type"] == "file":
            return {PurePosixPath(path).name: info}, False
    found: dict[str, Mapping[str, Any]] = {}
    for full, info in store.find(path, detail=True).items():
        inner = full.removeprefix(f"{path}/")
        if inner.endswith("/") or info["type"] != "file":
            continue  # An object of no bytes whose name ends in / stands for a folder.
        if why := bad_name(inner):
            raise source.refusal(
                f"has the object {inner[:200]!r}, {why}; rename it", reason="UNSAFE_NAME"
            )
        if not is_ignored(inner):
            found[inner] = info
        if len(found) > most:
            raise source.refusal(
                f"holds more than {most:,} objects; name a smaller folder",
                reason="TOO_MANY_FILES",
            )
    if not found:
        raise _nothing(source)
    for name in found:
        inside = [str(parent) for parent in PurePosixPath(name).parents if str(parent) in found]
        if inside:
            raise source.refusal(
                f"has the object {inside[0]!r} and objects below it, which cannot both be files; "
                "rename one"
            )
    return dict(sorted(found.items())), True


def _nothing(source: ResolvedSource) -> InvalidArgument:
    return source.refusal("does not exist, or has nothing in it", reason="NOT_FOUND")


def _version(objects: Mapping[str, Mapping[str, Any]]) -> str:
    seen = hashlib.sha256()
    for name, info in objects.items():
        marks = [str(info.get(mark, "")) for mark in ("size", *_MARKS)]
        seen.update("\0".join([name, *marks, ""]).encode())
    return seen.hexdigest()


def _save(
    store: Any,
    objects: Mapping[str, Mapping[str, Any]],
    target: Path,
    limits: Limits,
    *,
    folder: bool,
) -> None:
    def one(name: str, info: Mapping[str, Any]) -> None:
        limits.add(0)
        path = target / name if folder else target
        path.parent.mkdir(parents=True, exist_ok=True)
        if 0 < info["size"] <= _BLOCK_BYTES:
            data = store.cat_file(info["name"], start=0, end=info["size"])
            limits.add(len(data))
            path.write_bytes(data)
            return
        opened = store.open(info["name"], "rb", block_size=_BLOCK_BYTES)
        with opened as remote, path.open("wb") as file:
            limits.copy(remote.read, file)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:
        waiting = [pool.submit(one, name, info) for name, info in objects.items()]
        try:
            for done in waiting:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _named_errors(source: ResolvedSource) -> Iterator[None]:
    """The stores' libraries have errors of their own; fsspec turns most into the system's."""
    try:
        yield
    except FileNotFoundError as error:
        raise _nothing(source) from error
    except PermissionError as error:
        raise source.refusal(f"may not be read: {error}; {_ENVIRONMENT[source.scheme]}") from error
    except Exception as error:
        ours = isinstance(error, OSError) and (error.filename or error.errno in _DISK)
        theirs = type(error).__module__.partition(".")[0] in _LIBRARIES
        # gcsfs raises a bare ValueError for what the store calls invalid.
        if ours or not (theirs or isinstance(error, OSError) or "Bad Request:" in str(error)):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        if _may_pass(error):
            raise Unavailable(f"{shown(source.uri)}: {said}; try again") from error
        raise source.refusal(f"cannot be read: {said}; {_ENVIRONMENT[source.scheme]}") from error


def _may_pass(error: Exception) -> bool:
    """Whether a store was not reached or not able to answer."""
    code = getattr(error, "code", None)  # Of gcsfs's HttpError.
    return (
        bool(_names(error) & _CONNECTION_ERRORS)
        or (isinstance(error, OSError) and error.errno in _BUSY)
        or (isinstance(code, int) and (code == 429 or code >= 500))
    )


def _names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google")
# By their names, since which of the libraries are installed is not known: Python's own and
# requests', botocore's, aiohttp's and google-auth's.
_CONNECTION_ERRORS = {
    "TimeoutError",
    "ConnectionError",
    "HTTPClientError",
    "ClientConnectionError",
    "TransportError",
}
_BUSY = (errno.EBUSY, errno.EIO)  # What s3fs makes of a store that is busy or fails.
_DISK = (errno.ENOSPC, errno.EDQUOT)
