"""Archives: zip and tar, checked as a whole, then read in place and never unpacked to disk."""

from __future__ import annotations

from pathlib import Path

from seedbed_server.data import tarballs, zips
from seedbed_server.data.archive_guard import Guard, Member, bad_name
from seedbed_server.data.references import Policy

SUFFIXES = (".zip", *tarballs.SUFFIXES)

__all__ = ["SUFFIXES", "Member", "bad_name", "is_archive", "open_archive"]


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive of a kind that can be read, or where it has
    no ending, its first bytes that it is a zip. Raises OSError where it cannot be read."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def open_archive(path: Path, policy: Policy, field: str) -> list[Member]:
    """The files in an archive, in its own order, after all of its members were checked.

    Raises InvalidArgument with `field`, naming the archive and the member at fault: names that lead
    out of the archive, links and devices, names that occur twice, encryption, more or larger
    members than the policy allows, and archives that are damaged, cut off or empty.
    """
    guard = Guard(path, policy, field)
    tar = path.name.lower().endswith(tarballs.SUFFIXES)
    members = list(tarballs.members(path, guard) if tar else zips.members(path, guard))
    if not members:
        raise guard.refusal("has no files in it", reason="EMPTY_DATASET")
    return members
