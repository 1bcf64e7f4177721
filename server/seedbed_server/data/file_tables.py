"""Tables whose rows name files: which column it is, and which files they mean."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

import pandas as pd

from seedbed_sdk.blocks.category import label_text

_LOOKED_AT = 2000
_ENOUGH = 0.5


class FileNames:
    """Finds files by what a table may call them: their path, its end, or the name alone, each with
    or without the ending."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._short: dict[str, str | None] = {}
        for name in sorted(self.names):
            path = PurePosixPath(name)
            parts = path.parts
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for short in dict.fromkeys((tail, tail.removesuffix(path.suffix))):
                    # A name that several files answer to means none of them.
                    self._short[short] = None if short in self._short else name

    def find(self, value: object, folder: str = "") -> str | None:
        """The file that a value in a table of `folder` means, or None."""
        text = label_text(value).strip().replace("\\", "/").removeprefix("./")
        if not text or text.endswith("/"):
            return None
        beside = f"{folder}/{text}" if folder else text
        for name in (beside, text):
            if name in self.names:
                return name
        found = self._short.get(text)
        # A path from another machine may lead through folders that are not in the data.
        while found is None and "/" in text:
            text = text.partition("/")[2]
            found = text if text in self.names else None
        return found


def find_file_column(table: pd.DataFrame, files: FileNames, folder: str = "") -> str | None:
    """The column that names a file in at least half of the rows; of several the one that names the
    most, and then the most different ones. Numbers count where no text does, and where all of them
    differ, since labels may be numbers too."""
    best: tuple[bool, float, int, str] | None = None
    rows = table.head(_LOOKED_AT)
    for name in table.columns:
        column = rows[name].dropna()
        texts = not pd.api.types.is_numeric_dtype(column.dtype)
        if column.empty or not _is_plain(column) or not (texts or column.is_unique):
            continue
        found = [files.find(value, folder) for value in column]
        share = sum(file is not None for file in found) / len(rows)
        if share >= _ENOUGH:
            candidate = (texts, share, len(set(found)), str(name))
            if best is None or candidate[:3] > best[:3]:
                best = candidate
    return best[3] if best else None


def name_files(table: pd.DataFrame, column: str, files: FileNames, folder: str) -> pd.DataFrame:
    """The table with the full names of the files in that column; a value that means no file stays
    as it is."""
    values = {
        value: files.find(value, folder) or label_text(value)
        for value in table[column].dropna().unique()
    }
    return table.assign(**{column: table[column].map(values)})


def _is_plain(column: pd.Series) -> bool:
    if pd.api.types.is_integer_dtype(column.dtype):
        return True
    return all(isinstance(value, str | int) for value in column)
