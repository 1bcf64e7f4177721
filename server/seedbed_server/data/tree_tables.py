"""Tables that lie in folders and archives: those of items, legends, and those that name files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from seedbed_sdk.dataset import DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.file_tables import FileNames, find_file_column, name_files
from seedbed_server.data.guesses import Guess
from seedbed_server.data.legends import (
    MAX_TEXT_BYTES,
    as_legend,
    is_legend_name,
    legend_from_json,
    legend_from_text,
)
from seedbed_server.data.references import Policy, ResolvedSource
from seedbed_server.data.side_tables import Table, divide, put_together, reading_guesses
from seedbed_server.data.tables import read_table
from seedbed_server.data.trees import Entry, content_of, split_of_name


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder or archive. `split_folders` are the splits that its folders are named after."""

    source: ResolvedSource
    entries: Sequence[Entry]
    split_folders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        assert self.source.path is not None
        return self.source.path.name


@dataclass(frozen=True, slots=True)
class FileTables:
    """The splits of the tables that name files, what these are, by which `column`, and what was
    guessed."""

    splits: Mapping[str, DataSplit]
    content: str
    column: str
    guesses: tuple[Guess, ...]


def tables_in(tree: Tree, policy: Policy, *, skip_bad: bool = False) -> list[Table]:
    """The tables of a tree, each with the split that its folder or name speaks of. Raises
    InvalidArgument for one that cannot be read, unless bad ones are to be skipped."""
    entries = [entry for entry in tree.entries if entry.is_table]
    named = {entry.name: split_of_name(entry.name) for entry in entries}
    by_name = "train" in named.values()
    tables = []
    for entry in entries:
        split = tree.source.split or entry.split or (named[entry.name] if by_name else "")
        if by_name and not split and not tree.source.role:
            continue  # What lies beside a train.csv and names no split, as a sample answer does.
        name = f"{tree.name}/{entry.path}"
        field = tree.source.field
        try:
            source = entry.file or entry.read(policy.max_held_table_bytes)
            frame = read_table(source, name=name, field=field, policy=policy)
        except OSError as error:
            if not skip_bad:
                raise InvalidArgument(field, f"{name} {error}", reason="BAD_TABLE") from error
        except InvalidArgument:
            if not skip_bad:
                raise
        else:
            tables.append(Table(tree.source, entry.name, split, frame, inside=True))
    return tables


def read_file_tables(
    trees: Sequence[Tree],
    loose: Sequence[Table],
    policy: Policy,
    *,
    has_classes: bool,
    lenient: bool = False,
) -> FileTables | None:
    """What the tables say that name files; None where no table does. With `has_classes` the folders
    say split and class already, and an index over them is none. Raises InvalidArgument for a table
    of its own that names no file, unless `lenient`."""
    pool = _by_name(trees)
    files = FileNames(pool)
    skip_bad = has_classes or lenient
    inside = [t for tree in trees for t in tables_in(tree, policy, skip_bad=skip_bad)]
    matched: list[Table] = []
    refs: dict[str, dict[str, FileRef]] = {}
    named: dict[str, Entry] = {}
    guess = None
    for table in (*loose, *inside):
        folder = str(PurePosixPath(table.name).parent).removeprefix(".") if table.inside else ""
        column = find_file_column(table.frame, files, folder)
        if column is None and not table.inside and not lenient:
            raise _names_no_file(table, trees)
        if column is None:
            continue
        frame = name_files(table.frame, column, files, folder)
        found = {n: pool[n] for n in dict.fromkeys(frame[column].dropna()) if n in pool}
        splits = {entry.split for entry in found.values()}
        if has_classes and table.inside and len(splits) > 1:
            continue  # An index over folders that already say split and class.
        split = table.split or (splits.pop() if len(splits) == 1 else "train") or "train"
        matched.append(replace(table, split=split, frame=frame))
        refs.setdefault(split, {}).update(_refs(found, policy.max_item_bytes))
        named.update(found)
        share = int(frame[column].isin(pool).sum())
        guess = guess or Guess(
            "file column",
            column,
            f"{share:,} of {len(frame):,} of its values in {table.name} name files of the dataset",
            "remove the column, or rename the one to use",
        )
    if guess is None:
        return None
    tables = put_together(matched)
    splits_of = {s: DataSplit(frame, tuple(refs[s].values())) for s, frame in tables.items()}
    guesses = (guess, *reading_guesses(matched))
    return FileTables(splits_of, content_of(list(named.values())), guess.value, guesses)


def legend_in(trees: Sequence[Tree], loose: Sequence[Table], policy: Policy) -> pd.DataFrame | None:
    """The legend among the data: the table that has that role, or a file that is called like one
    and has names with colours or values. Raises InvalidArgument for one that has the role and lacks
    them."""
    for table in loose:
        legend = as_legend(table.frame)
        if table.source.role == "legend" and legend is None:
            raise InvalidArgument(
                table.source.field,
                f"{table.name} is no legend: it has the columns "
                f"{', '.join(map(repr, map(str, table.frame.columns)))}; a legend has name, r, g "
                "and b, or name and value",
                reason="BAD_LEGEND",
            )
        if legend is not None and (table.source.role == "legend" or is_legend_name(table.name)):
            return legend
    for tree in trees:
        for entry in tree.entries:
            if is_legend_name(entry.name):
                legend = _legend(tree, entry, policy)
                if legend is not None:
                    return legend
    return None


def table_splits(
    trees: Sequence[Tree], loose: Sequence[Table], policy: Policy
) -> tuple[dict[str, DataSplit], dict[str, pd.DataFrame], tuple[Guess, ...]]:
    """The splits and the side tables of data that is tables alone, with what was guessed. Raises
    InvalidArgument as `divide` does."""
    tables = [*loose, *(table for tree in trees for table in tables_in(tree, policy))]
    divided = divide(tables)
    splits = {split: DataSplit(table=frame) for split, frame in divided.items.items()}
    return splits, dict(divided.sides), (*divided.guesses, *reading_guesses(tables))


def _legend(tree: Tree, entry: Entry, policy: Policy) -> pd.DataFrame | None:
    is_text = entry.suffix == ".txt"
    try:
        data = entry.read(MAX_TEXT_BYTES if is_text else policy.max_held_table_bytes)
        if is_text:
            return legend_from_text(data)
        if entry.suffix == ".json":
            return legend_from_json(data)
        name = f"{tree.name}/{entry.path}"
        return as_legend(read_table(data, name=name, field=tree.source.field, policy=policy))
    except (OSError, InvalidArgument):
        return None  # It only looked like one.


def _refs(entries: Mapping[str, Entry], limit: int) -> dict[str, FileRef]:
    return {name: FileRef(name, partial(entry.read, limit)) for name, entry in entries.items()}


def _by_name(trees: Sequence[Tree]) -> dict[str, Entry]:
    pool: dict[str, Entry] = {}
    for tree in trees:
        for entry in tree.entries:
            if entry.name in pool:
                raise InvalidArgument(
                    tree.source.field,
                    f"{tree.name} has a file {entry.name!r}, and so has another source, so that a "
                    "table cannot name it; put the files into one folder or archive",
                    reason="AMBIGUOUS_FILES",
                )
            if not entry.is_table:
                pool[entry.name] = entry
    return pool


def _names_no_file(table: Table, trees: Sequence[Tree]) -> InvalidArgument:
    return InvalidArgument(
        table.source.field,
        f"no column of {table.name} names files of {', '.join(tree.name for tree in trees)}; "
        "name either the table or the files as source, or put the files' names into a column",
        reason="TABLE_WITHOUT_FILES",
    )
