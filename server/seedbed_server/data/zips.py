"""Zip archives, read in place."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from seedbed_server.data.archive_guard import BROKEN, Guard, Member

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_OTHER_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard"}
_MAX_INDEX_BYTES_PER_FILE = 300


def members(path: Path, guard: Guard) -> Iterator[Member]:
    """The files of a zip, each checked by `guard`; only the index is read."""
    with path.open("rb") as file, guard.damage_named("zip"):
        with zipfile.ZipFile(_IndexFile(file, guard)) as archive:
            infos = archive.infolist()
        file_size = os.fstat(file.fileno()).st_size
    reader = _Reader(path)
    packed = 0
    for info in infos:
        # `filename` is cut off at a NUL; the name as it stands in the archive is what counts.
        name = guard.name(info.orig_filename)
        _check(info, guard)
        if info.is_dir():
            continue
        guard.size(name, info.file_size, guard.policy.max_unpacked_bytes)
        guard.ratio(name, info.file_size, info.compress_size)
        packed += info.compress_size
        if packed > file_size:
            raise guard.refusal(
                f"has members that overlap (at {name!r}); it looks like a decompression bomb"
            )
        yield Member(name, info.file_size, partial(reader.read, info.filename, info.file_size))


def _check(info: zipfile.ZipInfo, guard: Guard) -> None:
    name = info.orig_filename
    if info.flag_bits & _ENCRYPTED:
        raise guard.refusal(
            f"is encrypted (the member {name!r}), and encrypted archives are not read; "
            "make it again without a password"
        )
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise guard.refusal(
            f"has the member {name!r}, a link or device; put the file itself in its place"
        )
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, "unknown")
        raise guard.refusal(
            f"has the member {name!r}, packed with method {info.compress_type} ({method}); "
            "members may be stored or deflated",
            reason="BAD_ARCHIVE",
        )


@dataclass(frozen=True, slots=True)
class _IndexFile:
    """A file that refuses to hand out an index of too many members, before zipfile makes an object
    of each."""

    file: IO[bytes]
    guard: Guard

    def read(self, size: int = -1) -> bytes:
        most = self.guard.policy.max_files
        if size > max(most * _MAX_INDEX_BYTES_PER_FILE, 65_536):
            raise self.guard.too_many()
        data = self.file.read(size)
        if data.count(b"PK\1\2") > most:
            raise self.guard.too_many()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Reader:
    """One open archive for all its members and threads. It is opened again in each process, since
    a file position that a fork inherits is shared with the parent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: dict[int, zipfile.ZipFile] = {}

    def read(self, name: str, size: int, limit: int) -> bytes:
        if size > limit:
            raise OSError(f"has {size:,} bytes; at most {limit:,} are read")
        try:
            with self._archive().open(name) as member:
                data = member.read(size)
                # Reading on reaches the end, where the checksum is compared.
                if len(data) != size or member.read(1):
                    raise OSError("is not as long as the archive's index says")
        except KeyError as error:
            raise OSError("is no longer in the archive, which was changed") from error
        except BROKEN as error:
            raise OSError(f"is damaged in the archive: {error}") from error
        return data

    def _archive(self) -> zipfile.ZipFile:
        pid = os.getpid()
        archive = self._opened.get(pid)
        if archive is None:
            archive = self._opened.setdefault(pid, zipfile.ZipFile(self._path))
        return archive
