"""A dataset as plugins see it: splits that hold a table, files, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LAYOUTS = ("table", "class_folders", "file_table", "image_masks", "files")
CONTENTS = ("image", "audio", "text")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that can be read when it is needed. `name` is its path inside the dataset."""

    name: str
    read: Callable[[], bytes] = field(repr=False)

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.name)


@dataclass(frozen=True, slots=True)
class DataSplit:
    """The data of one split: the rows of a table, the files of a folder or archive, or both."""

    table: pd.DataFrame | None = None
    files: tuple[FileRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a task is given. `splits` has `train`, and `valid` and `test` where the data has them.

    `layout` is what the data was understood to be: `table`; `class_folders` (a file's parent
    folder is its class); `file_table` (a table with a column that names files); `image_masks` (a
    table whose columns `image` and `mask` name files); `files`. `content` is what the files are,
    one of `CONTENTS`, or empty. `tables` are those that describe something else than items, by
    role: `items` and `users` that ratings are about, the `legend` of masks, or a name of the
    user's.
    """

    splits: Mapping[str, DataSplit]
    layout: str
    name: str = ""
    content: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls, train: pd.DataFrame, test: pd.DataFrame | None = None, *, name: str = ""
    ) -> Dataset:
        """A table in memory."""
        splits = {"train": DataSplit(table=train)}
        if test is not None:
            splits["test"] = DataSplit(table=test)
        return cls(splits, "table", name)

    @classmethod
    def from_folder(
        cls, train: Path, test: Path | None = None, *, name: str = "", content: str = "image"
    ) -> Dataset:
        """Folders whose subfolders are classes."""
        splits = {"train": DataSplit(files=_files(train))}
        if test is not None:
            splits["test"] = DataSplit(files=_files(test))
        return cls(splits, "class_folders", name, content)


def _files(folder: Path) -> tuple[FileRef, ...]:
    return tuple(
        FileRef(path.relative_to(folder).as_posix(), path.read_bytes)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
