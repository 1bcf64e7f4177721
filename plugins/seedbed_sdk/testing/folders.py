"""A cache of folders for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


class PlainFolders:
    """Implements `seedbed_sdk.mapped.FolderCache` for one process: folders below `root`, none of
    which is ever removed. `written` are the keys that were not there yet, in order."""

    def __init__(self, root: Path, memory_limit: int = 2**30) -> None:
        self.root = root
        self.memory_limit = memory_limit
        self.written: list[str] = []

    def folder(self, key: str, write: Callable[[Path], None]) -> Path:
        """The folder kept under the key, written by `write` where there is none."""
        path = self.root / hashlib.sha256(key.encode()).hexdigest()
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.mkdir(parents=True)
            write(partial)
            partial.rename(path)
            self.written.append(key)
        return path

    def free_folder(self, key: str, write: Callable[[Path], None]) -> Path | None:
        """As `folder`, since nobody else writes."""
        return self.folder(key, write)
