"""Tar archives. A plain one is read in place; a packed one can only be read from front to back, so
its files are held in memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from seedbed_server.data.archive_guard import Guard, Member

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_MAX_HEADER_BYTES = 2**20
_XZ_MEMORY_BYTES = 256 * 2**20
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)


def members(path: Path, guard: Guard) -> Iterator[Member]:
    """The files of a tar, each checked by `guard` before its contents are read or passed over."""
    with path.open("rb") as file, guard.damage_named("tar"):
        unpacked = _unpacker(file)
        packed = unpacked is not file
        policy = guard.policy
        limit = policy.max_in_memory_bytes if packed else policy.max_unpacked_bytes
        file_size = os.fstat(file.fileno()).st_size
        headers = _HeaderFile(unpacked, guard)
        with tarfile.open(fileobj=cast("IO[bytes]", headers), mode="r:") as archive:
            while (info := archive.next()) is not None:
                # tarfile remembers every member for its own use; there may be many.
                archive.members = []  # type: ignore[attr-defined]
                name = guard.name(info.name)
                _check(info, guard)
                if info.isdir():
                    continue
                guard.size(name, info.size, limit)
                if packed:
                    guard.ratio(name, guard.total, file_size)
                    read = partial(_held, _read_now(unpacked, info, archive.offset))
                else:
                    _check_present(info, file_size)
                    read = partial(_read_at, path, info.offset_data, info.size)
                yield Member(name, info.size, read)
        # tarfile takes a header that is cut off or broken for the end, where it is not the first.
        if headers.last != bytes(tarfile.BLOCKSIZE):
            raise EOFError("the mark at its end is missing")
        unpacked.read(_MAX_HEADER_BYTES)  # what is left, with the checksum


def _unpacker(file: IO[bytes]) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ"):
        # Says at once where the archive asks for more memory than it should to be unpacked.
        lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES).decompress(file.read(65_536), 1)
        file.seek(0)
        return cast("IO[bytes]", lzma.LZMAFile(file))
    return file


def _check(info: tarfile.TarInfo, guard: Guard) -> None:
    if info.isdir():
        return
    if info.issym() or info.islnk():
        raise guard.refusal(
            f"has the member {info.name!r}, a link to {info.linkname[:200]!r}; put the file itself "
            "in its place"
        )
    if info.type not in _REGULAR or info.issparse():
        raise guard.refusal(
            f"has the member {info.name!r}, which is no plain file (a device, pipe or sparse file)"
        )


def _read_now(unpacked: IO[bytes], info: tarfile.TarInfo, next_header: int) -> bytes:
    unpacked.seek(info.offset_data)
    data = unpacked.read(info.size)
    if len(data) != info.size:
        raise EOFError(f"{info.name!r} ends early")
    # Left anywhere else, tarfile would seek backwards, which unpacks all over again.
    unpacked.seek(next_header)
    return data


def _check_present(info: tarfile.TarInfo, file_size: int) -> None:
    if info.offset_data + info.size > file_size:
        raise EOFError(f"{info.name!r} ends early")


def _held(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise OSError(f"has {len(data):,} bytes; at most {limit:,} are read")
    return data


def _read_at(path: Path, offset: int, size: int, limit: int) -> bytes:
    if size > limit:
        raise OSError(f"has {size:,} bytes; at most {limit:,} are read")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise OSError("is not as long as the archive's index says")
    return data


class _HeaderFile:
    """A file that hands out headers only: tarfile would read one of any size into memory."""

    def __init__(self, file: IO[bytes], guard: Guard) -> None:
        self.file = file
        self.guard = guard
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise self.guard.refusal(
                f"has a header of {size:,} bytes; at most {_MAX_HEADER_BYTES:,} are read"
            )
        self.last = self.file.read(size)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
