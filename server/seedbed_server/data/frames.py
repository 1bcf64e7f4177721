"""What holds for every table, whatever format it was read from."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

# What a cell takes at least, whatever its type.
BYTES_PER_CELL = 8


class BadTable(Exception):
    """Why a file cannot be read as a table. The text goes on after the file's name."""


def check_columns(names: Sequence[str], max_columns: int) -> None:
    """Refuses too many columns and such as have the same name."""
    if len(names) > max_columns:
        raise BadTable(f"has {len(names):,} columns; at most {max_columns:,} are read")
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        named = ", ".join(map(repr, twice[:5]))
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise BadTable(f"has several columns named {named}{more}; rename all but one")


def clean_names(names: Sequence[object], max_columns: int) -> list[str]:
    """Names of columns without spaces around; one that is blank is called by its place, as pandas
    does. Raises BadTable as `check_columns` does."""
    stripped = [str(name).strip() for name in names]
    check_columns(stripped, max_columns)
    return [name or f"Unnamed: {i}" for i, name in enumerate(stripped)]


def check_bytes(size: int, most: int) -> None:
    """Refuses a table that takes more than `most` bytes."""
    if size > most:
        raise BadTable(f"unpacks to about {size:,} bytes; tables of at most {most:,} are read")


def to_frame(table: Any) -> pd.DataFrame:
    """An Arrow table as a frame with rows numbered from 0; dates become datetimes, dictionaries
    categories. The table is of no use afterwards: its columns are given up one by one, so that not
    all are held twice."""
    frame: pd.DataFrame = table.to_pandas(
        date_as_object=False, ignore_metadata=True, self_destruct=True
    )
    return frame


def closest(name: str, names: Sequence[str]) -> str:
    """`; did you mean 'x'?` where a name is close to one there is, else nothing."""
    lowered = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {lowered[found[0]]!r}?" if found else ""
