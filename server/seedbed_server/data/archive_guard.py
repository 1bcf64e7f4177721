"""What is checked of every archive, whatever its format, before a file of it is read."""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.references import Policy

MAX_NAME_BYTES = 4096

# What the libraries raise on archives that are damaged.
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. `read(limit)` returns its bytes, or raises OSError saying why not:
    it is larger than `limit`, damaged, or not what the archive's index says."""

    name: str
    size: int
    read: Callable[[int], bytes] = field(repr=False)


class Guard:
    """Checks the members of one archive as they are found, and words the refusals."""

    def __init__(self, path: Path, policy: Policy, field: str) -> None:
        self.path = path
        self.policy = policy
        self.field = field
        self.total = 0
        self._names: set[str] = set()

    def refusal(self, what: str, *, reason: str = "UNSAFE_ARCHIVE") -> InvalidArgument:
        """The error to raise; `what` goes on after the archive's name."""
        return InvalidArgument(self.field, f"{self.path.name} {what}", reason=reason)

    def too_many(self) -> InvalidArgument:
        """The error for more members than are allowed."""
        return self.refusal(
            f"has more than {self.policy.max_files:,} members; split it, or put several files "
            "into one",
            reason="ARCHIVE_TOO_LARGE",
        )

    @contextmanager
    def damage_named(self, format_name: str) -> Iterator[None]:
        """Turns the errors of the libraries into one that names the archive."""
        try:
            yield
        except (*BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.strerror:
                raise self.refusal(f"cannot be read: {error.strerror}") from error
            raise self.refusal(
                f"is damaged, cut off or no {format_name} archive ({error}); make or copy it again",
                reason="BAD_ARCHIVE",
            ) from error

    def name(self, name: str) -> str:
        """The member's name without `./`; refuses one that leads out of the archive, that is not
        the same everywhere, or that was there before."""
        why = bad_name(name)
        if why:
            raise self.refusal(f"has the member {name[:200]!r}, {why}; none of its files was read")
        clean = PurePosixPath(name).as_posix()
        if clean != "." and clean in self._names:
            raise self.refusal(f"has the member {name!r} twice; make it again without the double")
        self._names.add(clean)
        if len(self._names) > self.policy.max_files:
            raise self.too_many()
        return clean

    def size(self, name: str, size: int, limit: int) -> None:
        """Adds a member's size; refuses a total above `limit`."""
        self.total += size
        if size < 0 or self.total > limit:
            raise self.refusal(
                f"unpacks to more than {limit:,} bytes (reached at the member {name!r}); "
                "make it smaller, or split it",
                reason="ARCHIVE_TOO_LARGE",
            )

    def ratio(self, name: str, size: int, packed: int) -> None:
        """Refuses what is large and was packed better than real data is."""
        policy = self.policy
        if size > policy.ratio_from_bytes and size > policy.max_ratio * packed:
            raise self.refusal(
                f"has the member {name!r}: {size:,} bytes are packed into {packed:,}, more than "
                f"{policy.max_ratio} to one; it looks like a decompression bomb",
                reason="ARCHIVE_TOO_LARGE",
            )


def bad_name(name: str) -> str:
    """Why a member's name is refused; empty where it is not."""
    if not name or any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
        return "a name that is empty, not UTF-8 or has control characters"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"a name of more than {MAX_NAME_BYTES} bytes"
    if name.startswith("/"):
        return "an absolute name"
    if "\\" in name:
        return "a name with a backslash (folders are separated by /)"
    if re.match(r"[A-Za-z]:", name):
        return "a name with a drive letter"
    if ".." in name.split("/"):
        return "a name that leads out of the archive (..)"
    return ""
