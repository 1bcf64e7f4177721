"""The files of a folder, as far as they may be read. Free of pandas and numpy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from seedbed_sdk.errors import InvalidArgument

_IGNORED = ("__macosx", "thumbs.db", "desktop.ini")


def list_files(
    folder: Path, *, roots: Sequence[Path], max_files: int, field: str
) -> list[tuple[str, Path]]:
    """The files of a folder, sorted: (name inside the folder, path with links resolved).

    Leaves out what `is_ignored` names. Raises InvalidArgument with `field` for a link to a folder
    or out of `roots`, for what is neither file nor folder, a name that is not UTF-8, and more than
    `max_files` files.
    """
    found: list[tuple[str, Path]] = []
    for path in _walk(folder, field):
        if len(found) >= max_files:
            raise InvalidArgument(
                field,
                f"{folder} holds more than {max_files:,} files; name a smaller folder",
                reason="TOO_MANY_FILES",
            )
        found.append((path.relative_to(folder).as_posix(), _target(path, roots, field)))
    return sorted(found)


def is_ignored(name: str) -> bool:
    """Whether a file's name inside a folder or archive is one that systems put beside data: a part
    begins with a dot or is `__MACOSX`, `Thumbs.db` or `desktop.ini`."""
    return any(part.startswith(".") or part.lower() in _IGNORED for part in name.split("/"))


def is_inside(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path without links is one of the roots or lies in one."""
    return any(path.is_relative_to(root) for root in roots)


def unreadable(field: str, path: Path, error: Exception) -> InvalidArgument:
    """The error to raise where the system refuses to read a path."""
    if isinstance(error, FileNotFoundError):
        return InvalidArgument(field, f"{path} does not exist", reason="NOT_FOUND")
    why = getattr(error, "strerror", None) or error
    return InvalidArgument(field, f"{path} cannot be read: {why}", reason="UNREADABLE")


def _walk(folder: Path, field: str) -> Iterator[Path]:
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            with os.scandir(current) as entries:
                found = [entry for entry in entries if not is_ignored(entry.name)]
        except OSError as error:
            raise unreadable(field, current, error) from error
        for entry in found:
            if not _is_text(entry.name):
                raise InvalidArgument(
                    field, f"the file name {entry.name!r} in {current} is not UTF-8; rename it"
                )
            if entry.is_dir(follow_symlinks=False):
                folders.append(current / entry.name)
            else:
                yield current / entry.name


def _target(path: Path, roots: Sequence[Path], field: str) -> Path:
    try:
        target = path.resolve() if path.is_symlink() else path
        if not is_inside(target, roots):
            raise InvalidArgument(
                field,
                f"{path} is a link out of the folders this server may read; put the file itself "
                "there",
                reason="OUTSIDE_ALLOWED_ROOTS",
            )
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise unreadable(field, path, error) from error
    if stat.S_ISDIR(mode):
        raise InvalidArgument(
            field,
            f"{path} is a link to a folder, and those are not followed; name the folder as a "
            "source of its own",
        )
    if not stat.S_ISREG(mode):
        raise InvalidArgument(field, f"{path} is neither a file nor a folder; take it out")
    return target


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
