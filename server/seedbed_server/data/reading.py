"""From references to a Dataset, understood as a person would who looks at the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import archives
from seedbed_server.data.image_tables import FileNames, find_file_column, name_files
from seedbed_server.data.references import SPLITS, Policy, ResolvedSource
from seedbed_server.data.samples import Loader, load_sample
from seedbed_server.data.tables import read_table
from seedbed_server.data.trees import (
    Entry,
    are_class_folders,
    by_folders,
    in_split,
    open_tree,
    split_of_name,
)


@dataclass(frozen=True, slots=True)
class _Tree:
    source: ResolvedSource
    entries: Sequence[Entry]

    @property
    def name(self) -> str:
        assert self.source.path is not None
        return self.source.path.name


@dataclass(frozen=True, slots=True)
class _Table:
    """A table. `inside` says that it lies in a tree, where it may be something else than data."""

    source: ResolvedSource
    name: str
    split: str
    frame: pd.DataFrame
    inside: bool = False


def read(
    resolved: Sequence[ResolvedSource],
    policy: Policy,
    samples: Mapping[str, Loader] | None = None,
) -> Dataset:
    """Reads tables, and finds the files of folders and archives, which are read when needed.

    In a folder or archive `train/`, `valid/` (`val/`, `validation/`) and `test/` are splits, and
    what lies beside a `train/` is left out; without one, all else is training data. A source that
    says its split takes the place of what folder names say of that split. Tables in a folder or
    archive are splits by their names where one is called `train`, and those that name no split are
    then left out; several tables of the same columns are put together.

    The layout is `table` where there are tables alone; `image_table` where a table names files,
    whose column then has the names of the FileRefs; `class_folders` where all files are pictures in
    folders; else `files`. A FileRef's `read` raises OSError saying why it cannot.

    Raises InvalidArgument with `dataset.sources[i].uri` or `dataset.sources`.
    """
    if any(source.sample for source in resolved):
        return _read_sample(resolved, samples or {})
    trees: list[_Tree] = []
    loose: list[_Table] = []
    for source in resolved:
        assert source.path is not None
        if source.path.is_dir() or _is_archive(source):
            trees.append(_open_tree(source, policy, _said(resolved)))
        else:
            name = source.path.name
            frame = read_table(source.path, name=name, field=source.field, policy=policy)
            loose.append(_Table(source, name, source.split or "train", frame))
    splits, layout = _understand(trees, loose, policy)
    if "train" not in splits:
        raise InvalidArgument(
            "dataset.sources",
            f"there is no training data, only {', '.join(splits)}; add a source for it, or leave "
            "the split of one unset",
            reason="NO_TRAINING_DATA",
        )
    first = resolved[0].path
    assert first is not None
    ordered = {split: splits[split] for split in SPLITS if split in splits}
    return Dataset(ordered, layout, first.name)


def _read_sample(resolved: Sequence[ResolvedSource], samples: Mapping[str, Loader]) -> Dataset:
    source = next(source for source in resolved if source.sample)
    if len(resolved) > 1 or source.split not in ("", "train"):
        raise InvalidArgument(
            source.field,
            f"{source.uri} is a whole dataset; it can be neither combined with other sources nor "
            "made a test or validation split",
        )
    return load_sample(source.sample, source.field, samples)


def _said(resolved: Sequence[ResolvedSource]) -> set[str]:
    return {source.split for source in resolved} - {""}


def _is_archive(source: ResolvedSource) -> bool:
    assert source.path is not None
    try:
        return archives.is_archive(source.path)
    except OSError as error:
        raise InvalidArgument(
            source.field, f"{source.path} cannot be read: {error.strerror}"
        ) from error


def _open_tree(source: ResolvedSource, policy: Policy, said: set[str]) -> _Tree:
    entries = open_tree(source, policy)
    if not entries:
        raise InvalidArgument(
            source.field, f"{source.path} has no files in it", reason="EMPTY_DATASET"
        )
    if source.split:
        return _Tree(source, in_split(entries, source.split))
    return _Tree(source, by_folders(entries, said))


def _understand(
    trees: Sequence[_Tree], loose: Sequence[_Table], policy: Policy
) -> tuple[dict[str, DataSplit], str]:
    entries = [entry for tree in trees for entry in tree.entries]
    has_tables = bool(loose) or any(entry.is_table for entry in entries)
    if has_tables and not any(entry.is_item for entry in entries):
        tables = [*loose, *(table for tree in trees for table in _tables_in(tree, policy))]
        return {s: DataSplit(table=f) for s, f in _put_together(tables).items()}, "table"
    has_classes = are_class_folders([e for e in entries if e.split == "train"])
    if has_tables:
        found = _read_image_table(trees, loose, policy, has_classes)
        if found:
            return found, "image_table"
    layout = "class_folders" if has_classes else "files"
    splits = {s: [e for e in entries if e.split == s] for s in SPLITS}
    if has_classes:
        for split, of_split in splits.items():
            if of_split and not are_class_folders(of_split):
                raise InvalidArgument(
                    "dataset.sources",
                    f"the {split} data is not in class folders as the training data is; put each "
                    "picture into a folder named after its class",
                    reason="DIFFERENT_LAYOUTS",
                )
        splits = {split: [e for e in of if e.is_item] for split, of in splits.items()}
    return {
        s: DataSplit(files=_files(of, policy.max_item_bytes)) for s, of in splits.items() if of
    }, layout


def _files(entries: Sequence[Entry], limit: int) -> tuple[FileRef, ...]:
    """The files by their names in the split; one whose name is taken gets a number."""
    files: dict[str, FileRef] = {}
    for entry in entries:
        path = PurePosixPath(entry.inner)
        name, number = entry.inner, 1
        while name in files:
            number += 1
            name = str(path.with_name(f"{path.stem}~{number}{path.suffix}"))
        files[name] = FileRef(name, partial(entry.read, limit))
    return tuple(files.values())


def _tables_in(tree: _Tree, policy: Policy, *, skip_bad: bool = False) -> list[_Table]:
    entries = [entry for entry in tree.entries if entry.is_table]
    named = {entry.name: split_of_name(entry.name) for entry in entries}
    by_name = "train" in named.values()
    tables = []
    for entry in entries:
        split = tree.source.split or entry.split or (named[entry.name] if by_name else "")
        if by_name and not split:
            continue  # What lies beside a train.csv and names no split, as a sample answer does.
        name = f"{tree.name}/{entry.path}"
        field = tree.source.field
        try:
            data = entry.read(policy.max_table_bytes)
            frame = read_table(data, name=name, field=field, policy=policy)
        except OSError as error:
            if not skip_bad:
                raise InvalidArgument(field, f"{name} {error}", reason="BAD_TABLE") from error
        except InvalidArgument:
            if not skip_bad:
                raise
        else:
            tables.append(_Table(tree.source, entry.name, split, frame, inside=True))
    return tables


def _put_together(tables: Sequence[_Table]) -> dict[str, pd.DataFrame]:
    """The tables of each split as one. Raises InvalidArgument where their columns differ."""
    splits: dict[str, list[_Table]] = {}
    for table in tables:
        splits.setdefault(table.split or "train", []).append(table)
    return {split: _concatenated(of_split) for split, of_split in splits.items()}


def _concatenated(tables: Sequence[_Table]) -> pd.DataFrame:
    first, *others = tables
    for other in others:
        differing = set(first.frame.columns) ^ set(other.frame.columns)
        if differing:
            raise InvalidArgument(
                other.source.field,
                f"{other.name} and {first.name} are for the same split and have different columns "
                f"({', '.join(map(repr, sorted(differing)[:5]))}); name the one to use as source, "
                "or say what each is for",
                reason="DIFFERENT_COLUMNS",
            )
    if not others:
        return first.frame
    return pd.concat([table.frame for table in tables], ignore_index=True)


def _read_image_table(
    trees: Sequence[_Tree], loose: Sequence[_Table], policy: Policy, has_classes: bool
) -> dict[str, DataSplit]:
    """The splits of the tables that name files; none where no table does."""
    pool = _by_name(trees)
    limit = policy.max_item_bytes
    files = FileNames(pool)
    inside = [t for tree in trees for t in _tables_in(tree, policy, skip_bad=has_classes)]
    matched: list[_Table] = []
    refs: dict[str, dict[str, FileRef]] = {}
    for table in (*loose, *inside):
        folder = str(PurePosixPath(table.name).parent) if table.inside else ""
        column = find_file_column(table.frame, files, folder.removeprefix("."))
        if column is None and not table.inside:
            raise _names_no_file(table, trees)
        if column is None:
            continue
        frame = name_files(table.frame, column, files, folder.removeprefix("."))
        named = {n: pool[n] for n in dict.fromkeys(frame[column].dropna()) if n in pool}
        folders = {entry.split for entry in named.values()}
        if has_classes and table.inside and len(folders) > 1:
            continue  # An index over folders that already say split and class.
        split = table.split or (folders.pop() if len(folders) == 1 else "train")
        matched.append(replace(table, split=split, frame=frame))
        found = {name: FileRef(name, partial(entry.read, limit)) for name, entry in named.items()}
        refs.setdefault(split, {}).update(found)
    return {
        split: DataSplit(frame, tuple(refs[split].values()))
        for split, frame in _put_together(matched).items()
    }


def _by_name(trees: Sequence[_Tree]) -> dict[str, Entry]:
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


def _names_no_file(table: _Table, trees: Sequence[_Tree]) -> InvalidArgument:
    return InvalidArgument(
        table.source.field,
        f"no column of {table.name} names files of {', '.join(tree.name for tree in trees)}; "
        "name either the table or the files as source, or put the files' names into a column",
        reason="TABLE_WITHOUT_FILES",
    )
