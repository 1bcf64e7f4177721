"""Several tables of different columns: which one holds the items, and what the others are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from seedbed_sdk.column_names import ITEMS, USERS, column_called
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.guesses import Guess
from seedbed_server.data.large_tables import put_below
from seedbed_server.data.references import ResolvedSource

SIDE_ROLES = ("items", "users", "legend")
_READ_AS = {
    "delimiter": (
        "between such characters most rows have as many values as the header",
        "save the table as Parquet, or with commas and values that contain one in quotes",
    ),
    "encoding": (
        "its bytes are not UTF-8, and are text in this encoding",
        "save the table as UTF-8",
    ),
}
_KNOWN_SHARE = 0.5
_NAME_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `inside` says that it lies in a tree, where it may be something else than data."""

    source: ResolvedSource
    name: str
    split: str
    frame: pd.DataFrame
    inside: bool = False

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Divided:
    """Tables of items by their split, and the side tables by their role, with what was guessed."""

    items: Mapping[str, pd.DataFrame]
    sides: Mapping[str, pd.DataFrame]
    guesses: tuple[Guess, ...] = ()


def divide(tables: Sequence[Table]) -> Divided:
    """Puts together what belongs together.

    A table whose source has a role is a side table of that role. Of the others, those of one split
    have the same columns; a table of other columns is a side table where one of its columns is a
    key, which names each of its rows once, and refers to rows of the items many times.

    Raises InvalidArgument where tables have different columns and none is about the other, or two
    side tables have one role.
    """
    items = [table for table in tables if not table.source.role]
    sides: dict[str, list[Table]] = {}
    for table in tables:
        if table.source.role:
            sides.setdefault(table.source.role, []).append(table)
    found, guesses = _recognised(items) if len(items) > 1 else ({}, [])
    for role, table in found.items():
        if role in sides:
            raise InvalidArgument(
                table.source.field,
                f"{table.name} looks like a table of {role}, and a source has that role already; "
                "say the role of this one too",
                reason="AMBIGUOUS_ROLE",
            )
        sides[role] = [table]
    taken = [id(table) for of_role in sides.values() for table in of_role]
    return Divided(
        put_together([table for table in items if id(table) not in taken]),
        {role: _concatenated(of_role) for role, of_role in sides.items()},
        tuple(guesses),
    )


def reading_guesses(tables: Sequence[Table]) -> list[Guess]:
    """How delimited texts were read, where they are not written in the plain way: with commas, or
    tabs in a file named so, in UTF-8. Tables that were read alike are told of together."""
    alike: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        read_as = table.frame.attrs.get("read_as", {})
        plain = {"delimiter": ("comma", "tab") if _has_tabs(table.name) else ("comma",)}
        for what, value in read_as.items():
            if value not in plain.get(what, ("utf-8",)):
                alike.setdefault((what, value), []).append(table.name)
    return [
        Guess(
            f"{what} of {names[0]}" + (f" and {len(names) - 1:,} more" if names[1:] else ""),
            value,
            *_READ_AS[what],
        )
        for (what, value), names in alike.items()
    ]


def put_together(tables: Sequence[Table]) -> dict[str, pd.DataFrame]:
    """The tables of each split as one. Raises InvalidArgument where their columns differ."""
    splits: dict[str, list[Table]] = {}
    for table in tables:
        splits.setdefault(table.split or "train", []).append(table)
    return {split: _concatenated(of_split) for split, of_split in splits.items()}


def _has_tabs(name: str) -> bool:
    endings = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    return ".tsv" in endings or ".tab" in endings


def _recognised(tables: Sequence[Table]) -> tuple[dict[str, Table], list[Guess]]:
    """The side tables by role, as names and values tell. None where nothing is certain."""
    kinds: dict[frozenset[str], list[Table]] = {}
    for table in tables:
        if (table.split or "train") == "train":
            kinds.setdefault(frozenset(map(str, table.frame.columns)), []).append(table)
    if len(kinds) < 2:
        return {}, []
    others = [table for table in tables if table.split not in ("", "train")]
    for columns in _candidates(kinds, others):
        found = _sides_of(kinds[columns], [k for c, k in kinds.items() if c != columns])
        if found is not None:
            return found
    return {}, []


def _candidates(
    kinds: Mapping[frozenset[str], list[Table]], others: Sequence[Table]
) -> list[frozenset[str]]:
    """The kinds of table that may hold the items: that of the test data, or else all, those with
    the most rows first."""
    elsewhere = {frozenset(map(str, table.frame.columns)) for table in others}
    matching = [columns for columns in kinds if columns in elsewhere]
    if matching:
        return matching
    return sorted(kinds, key=lambda c: -sum(len(table.frame) for table in kinds[c]))


def _sides_of(
    items: Sequence[Table], others: Sequence[Sequence[Table]]
) -> tuple[dict[str, Table], list[Guess]] | None:
    found: dict[str, Table] = {}
    guesses = []
    for alike in others:
        key = _key(alike[0], items[0]) if len(alike) == 1 else None
        if key is None:
            return None
        table, (column, reference) = alike[0], key
        role = _role(table, reference)
        if role in found:
            return None
        found[role] = table
        guesses.append(
            Guess(
                f"role of {table.name}",
                role,
                f"its column {column!r} has no value twice and is what {reference!r} of "
                f"{items[0].name} refers to",
                "give its source the role it has, or name only one of the two as source",
            )
        )
    return found, guesses


def _key(side: Table, items: Table) -> tuple[str, str] | None:
    """A column that names each row of the side table once, and the one that refers to it."""
    for column in map(str, side.frame.columns):
        keys = side.frame[column]
        if not _is_plain(keys) or keys.isna().any() or not keys.is_unique:
            continue
        for reference in map(str, items.frame.columns):
            same = reference == column
            if not same and not (column.lower() == "id" and _refers(reference, side.stem)):
                continue
            values = items.frame[reference].dropna()
            if not _is_plain(values) or values.is_unique:
                continue
            distinct = pd.Series(values.unique())
            share = distinct.isin(keys).mean()
            if share >= (_KNOWN_SHARE if same else _NAME_SHARE):
                return column, reference
    return None


def _refers(reference: str, stem: str) -> bool:
    """Whether a column is called as one that names rows of such a table: `movieId` of `movies`."""
    noun = reference.lower().removesuffix("id").rstrip("_- ")
    return len(noun) >= 3 and reference.lower().endswith("id") and noun in stem.lower()


def _role(table: Table, key: str) -> str:
    if column_called(USERS, [key], ids=True):
        return "users"
    if column_called(ITEMS, [key], ids=True):
        return "items"
    stem = table.stem.lower()
    return next((role for role in SIDE_ROLES if role in stem), table.stem)


def _is_plain(column: pd.Series) -> bool:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return kind in ("integer", "string", "categorical")


def _concatenated(tables: Sequence[Table]) -> pd.DataFrame:
    first, *others = tables
    for other in others:
        differing = set(first.frame.columns) ^ set(other.frame.columns)
        if differing:
            raise InvalidArgument(
                other.source.field,
                f"{other.name} and {first.name} are for the same split and have different columns "
                f"({', '.join(map(repr, sorted(differing)[:5]))}); name the one to use as source, "
                "or say what each is for with its split or role",
                reason="DIFFERENT_COLUMNS",
            )
    if not others:
        return first.frame
    return put_below([table.frame for table in tables], first.source.policy)
