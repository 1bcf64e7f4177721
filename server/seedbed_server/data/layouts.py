"""What files and tables are taken for: the layouts of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from seedbed_sdk.dataset import DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.guesses import Guess
from seedbed_server.data.mask_pairs import Pairs, find_pairs
from seedbed_server.data.references import SPLITS, Policy
from seedbed_server.data.side_tables import Table, divide, reading_guesses
from seedbed_server.data.tree_tables import (
    FileTables,
    Tree,
    legend_in,
    read_file_tables,
    table_splits,
    tables_in,
)
from seedbed_server.data.trees import Entry, class_folders, content_of
from seedbed_server.jobs.values import Finding

_NAMED = 5


class Unsuitable(Exception):
    """Why the data cannot be read as the layout that was asked for."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What data is, and why it was taken for that."""

    layout: str
    splits: Mapping[str, DataSplit]
    why: str
    content: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    guesses: tuple[Guess, ...] = ()
    findings: tuple[Finding, ...] = ()


def understand_files(trees: Sequence[Tree], loose: Sequence[Table], policy: Policy) -> Understood:
    """The layout that a person would see. Raises InvalidArgument."""
    main, side_trees, sides = _without_roles(trees, loose)
    entries = [entry for tree in main for entry in tree.entries]
    has_tables = any(not t.source.role for t in loose) or any(e.is_table for e in entries)
    has_media = any(entry.is_item for entry in entries)
    if has_tables and not has_media:
        if any(entry.kind == "text" for entry in entries):
            found = read_file_tables(main, sides.items, policy, has_classes=False, lenient=True)
            if found:
                return _with_sides(_file_table(found), side_trees, sides.roles, policy)
        return _table(trees, loose, policy)
    pairs = find_pairs(entries)
    if pairs:
        return _image_masks(pairs, main, trees, loose, policy)
    in_train = [e for e in entries if e.split == "train"]
    classes = class_folders(in_train)
    if has_tables:
        found = read_file_tables(main, sides.items, policy, has_classes=bool(classes))
        if found:
            return _with_sides(_file_table(found), side_trees, sides.roles, policy)
    understood = _class_folders(main, policy) if classes else _files(main, policy)
    return _with_sides(understood, side_trees, sides.roles, policy)


def understand_as(
    layout: str, trees: Sequence[Tree], loose: Sequence[Table], policy: Policy
) -> Understood:
    """The data read as the layout asked for. Raises Unsuitable saying why it cannot be, or
    InvalidArgument."""
    if layout == "table":
        if not any(t for t in loose if not t.source.role) and not any(
            entry.is_table for tree in trees for entry in tree.entries
        ):
            raise Unsuitable("there is no table among the files")
        return _table(trees, loose, policy)
    main, side_trees, sides = _without_roles(trees, loose)
    entries = [entry for tree in main for entry in tree.entries]
    if all(entry.is_table for entry in entries):
        raise Unsuitable("it is tables alone; add a folder or archive with the files")
    if layout == "image_masks":
        pairs = find_pairs(entries, insist=True)
        if not pairs:
            raise Unsuitable(
                "no picture has a mask of the same name in a folder called masks, labels or "
                "annotations beside the folder of pictures"
            )
        return _image_masks(pairs, main, trees, loose, policy)
    if layout == "file_table":
        found = read_file_tables(main, sides.items, policy, has_classes=False, lenient=True)
        if found is None:
            raise Unsuitable("no column of a table names files of the dataset")
        understood = _file_table(found)
    elif layout == "class_folders":
        if not class_folders([e for e in entries if e.split == "train"]):
            raise Unsuitable(
                "the files are not pictures, sounds or texts alone, each in a folder named after "
                "its class"
            )
        understood = _class_folders(main, policy)
    else:
        understood = _files(main, policy)
    return _with_sides(understood, side_trees, sides.roles, policy)


@dataclass(frozen=True, slots=True)
class _Sides:
    items: tuple[Table, ...]
    roles: tuple[Table, ...]


def _without_roles(
    trees: Sequence[Tree], loose: Sequence[Table]
) -> tuple[list[Tree], list[Tree], _Sides]:
    main = [tree for tree in trees if not tree.source.role]
    side = [tree for tree in trees if tree.source.role]
    items = tuple(table for table in loose if not table.source.role)
    return main, side, _Sides(items, tuple(t for t in loose if t.source.role))


def _with_sides(
    found: Understood, trees: Sequence[Tree], loose: Sequence[Table], policy: Policy
) -> Understood:
    """Adds the tables of sources that have a role."""
    tables = [*loose, *(table for tree in trees for table in tables_in(tree, policy))]
    if not tables:
        return found
    guesses = (*found.guesses, *reading_guesses(tables))
    return replace(found, tables={**found.tables, **divide(tables).sides}, guesses=guesses)


def _table(trees: Sequence[Tree], loose: Sequence[Table], policy: Policy) -> Understood:
    splits, sides, guesses = table_splits(trees, loose, policy)
    guesses = (*_split_guesses(trees), *guesses)
    return Understood("table", splits, "the data is tables alone", "", sides, guesses)


def _file_table(found: FileTables) -> Understood:
    guesses = (*found.guesses, *_content_guess(found.content))
    why = f"column {found.column!r} of a table names files"
    return Understood("file_table", found.splits, why, found.content, {}, guesses)


def _class_folders(trees: Sequence[Tree], policy: Policy) -> Understood:
    entries = [entry for tree in trees for entry in tree.entries]
    splits: dict[str, list[Entry]] = {}
    for split in SPLITS:
        of_split = [entry for entry in entries if entry.split == split]
        items = class_folders(of_split)
        if not items and any(entry.is_item or entry.kind for entry in of_split):
            raise InvalidArgument(
                "dataset.sources",
                f"the {split} data is not in class folders as the training data is; put each "
                "file into a folder named after its class",
                reason="DIFFERENT_LAYOUTS",
            )
        if items:
            splits[split] = items
    content = splits["train"][0].kind
    other = next((s for s, of in splits.items() if of[0].kind != content), "")
    if other:
        raise InvalidArgument(
            "dataset.sources",
            f"the training data is of kind {content!r} and the {other} data of kind "
            f"{splits[other][0].kind!r}",
            reason="DIFFERENT_LAYOUTS",
        )
    files = {s: DataSplit(files=_refs(of, policy)) for s, of in splits.items()}
    classes = len({file.path.parent.name for file in files["train"].files})
    why = f"all files are of kind {content!r} and lie in {classes:,} folders, taken for classes"
    guesses = (*_split_guesses(trees), *_content_guess(content))
    return Understood("class_folders", files, why, content, {}, guesses)


def _files(trees: Sequence[Tree], policy: Policy) -> Understood:
    entries = [entry for tree in trees for entry in tree.entries]
    splits = {s: [entry for entry in entries if entry.split == s] for s in SPLITS}
    files = {s: DataSplit(files=_refs(of, policy)) for s, of in splits.items() if of}
    content = content_of(entries)
    guesses = (*_split_guesses(trees), *_content_guess(content))
    why = "the files are in no folders of classes, have no masks, and no table names them"
    return Understood("files", files, why, content, {}, guesses)


def _image_masks(
    pairs: Mapping[str, Pairs],
    main: Sequence[Tree],
    trees: Sequence[Tree],
    loose: Sequence[Table],
    policy: Policy,
) -> Understood:
    splits = {}
    for split in SPLITS:
        if split in pairs:
            of_split = [entry for pair in pairs[split].pairs for entry in pair]
            refs = _refs(of_split, policy)
            names = [ref.name for ref in refs]
            table = pd.DataFrame({"image": names[::2], "mask": names[1::2]})
            splits[split] = DataSplit(table, refs)
    legend = legend_in(trees, loose, policy)
    tables = {} if legend is None else {"legend": legend}
    count = sum(len(of_split.pairs) for of_split in pairs.values())
    why = f"{count:,} pictures have a mask of the same name in a folder of masks, or beside them"
    guesses = [*_split_guesses(main), *_content_guess("image"), *reading_guesses(loose)]
    if legend is not None and not any(t.source.role == "legend" for t in loose):
        names_of = ", ".join(map(str, legend["name"].head(_NAMED)))
        guesses.append(
            Guess("legend", names_of, "a file is called like a legend", "a source of role=legend")
        )
    findings = tuple(f for split in splits for f in _unpaired(split, pairs[split]))
    return Understood("image_masks", splits, why, "image", tables, tuple(guesses), findings)


def _unpaired(split: str, pairs: Pairs) -> list[Finding]:
    found = []
    for entries, what, lacking in (
        (pairs.without_mask, "pictures", "mask"),
        (pairs.without_picture, "masks", "picture"),
    ):
        if entries:
            names = ", ".join(repr(entry.inner) for entry in entries[:_NAMED])
            more = f" and {len(entries) - _NAMED:,} more" if len(entries) > _NAMED else ""
            found.append(
                Finding(
                    "WARNING",
                    f"{what}_without_{lacking}",
                    f"{len(entries):,} {split} {what} have no {lacking} of the same name and were "
                    f"left out: {names}{more}",
                    split,
                    f"Add the {lacking}, named like its counterpart, or remove them.",
                )
            )
    return found


def _split_guesses(trees: Sequence[Tree]) -> list[Guess]:
    return [
        Guess(
            "splits",
            ", ".join(tree.split_folders),
            f"folders of {tree.name} are called so",
            "name the folders as sources of their own with split=train|valid|test",
        )
        for tree in trees
        if tree.split_folders and not tree.source.split
    ]


def _content_guess(content: str) -> list[Guess]:
    if not content:
        return []
    why = "the files' names end as those of this kind do"
    return [Guess("content", content, why, "rename the files, or choose a task for other files")]


def _refs(entries: Sequence[Entry], policy: Policy) -> tuple[FileRef, ...]:
    """The files by their names in the split; one whose name is taken gets a number."""
    files: dict[str, FileRef] = {}
    for entry in entries:
        path = PurePosixPath(entry.inner)
        name, number = entry.inner, 1
        while name in files:
            number += 1
            name = str(path.with_name(f"{path.stem}~{number}{path.suffix}"))
        files[name] = FileRef(name, partial(entry.read, policy.max_item_bytes))
    return tuple(files.values())
