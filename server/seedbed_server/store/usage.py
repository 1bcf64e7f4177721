"""What a data directory takes on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from seedbed_server.store.files import Files

_BLOCK_BYTES = 512
OTHER = "other"


def disk_usage(files: Files) -> dict[str, int]:
    """Bytes on the disk by kind: `database`, `uploads`, `models`, `prepared` and `remote` data that
    is kept for later jobs, `trials` for what jobs leave to their next worker, and `other`. Looks at
    every file, so it takes seconds where there are millions."""
    places = {
        "uploads": (files.uploads,),
        "models": (files.models,),
        "prepared": (files.prepared,),
        "remote": (files.remote,),
        "trials": (files.cache / "jobs", files.cache / "kept"),
    }
    sizes = {"database": 0, **dict.fromkeys(places, 0)}
    sizes["database"] = sum(_file_bytes(file) for file in files.root.glob("seedbed.db*"))
    for kind, folders in places.items():
        sizes[kind] = sum(map(_folder_bytes, folders))
    sizes[OTHER] = max(0, _folder_bytes(files.root) - sum(sizes.values()))
    return sizes


def _folder_bytes(folder: Path) -> int:
    total, left = 0, [os.fspath(folder)]
    while left:
        # Files and folders go while this looks.
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                    continue
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    return total


def _file_bytes(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_blocks * _BLOCK_BYTES
    return 0
