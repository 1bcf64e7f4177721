"""From references to a Dataset, understood as a person would who looks at the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seedbed_sdk.dataset import LAYOUTS, Dataset, DataSplit
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import archives
from seedbed_server.data.guesses import Guess
from seedbed_server.data.layouts import Understood, Unsuitable, understand_as, understand_files
from seedbed_server.data.legends import legend_in_file
from seedbed_server.data.references import SPLITS, Policy, ResolvedSource, fetch
from seedbed_server.data.samples import Loader, load_sample
from seedbed_server.data.side_tables import Table
from seedbed_server.data.tables import read_table
from seedbed_server.data.tree_tables import Tree
from seedbed_server.data.trees import by_folders, in_split, open_tree
from seedbed_server.jobs.values import Finding


@dataclass(frozen=True, slots=True)
class Reading:
    """A dataset, what was concluded on the way, and what had to be left out."""

    dataset: Dataset
    guesses: tuple[Guess, ...] = ()
    findings: tuple[Finding, ...] = ()


def read(
    resolved: Sequence[ResolvedSource],
    policy: Policy,
    samples: Mapping[str, Loader] | None = None,
    layout: str = "",
) -> Dataset:
    """Reads tables, and finds the files of folders and archives, which are read when needed.

    In a folder or archive `train/`, `valid/` (`val/`, `validation/`) and `test/` are splits, and
    what lies beside a `train/` is left out; without one, all else is training data. A source that
    says its split takes the place of what folder names say of that split. Tables in a folder or
    archive are splits by their names where one is called `train`, and those that name no split are
    then left out; several tables of the same columns are put together, and one whose key the items
    refer to is a side table.

    `layout` is what to read the data as. Where it is empty: `table` where there are tables alone;
    `image_masks` where there are folders of pictures and of masks; `file_table` where a table names
    files, whose column then has the names of the FileRefs; `class_folders` where all files are
    pictures, sounds or texts in folders; else `files`. A FileRef's `read` raises OSError saying why
    it cannot.

    Raises InvalidArgument with `dataset.sources[i].uri`, `dataset.sources` or `dataset.layout`.
    """
    return look(resolved, policy, samples, layout).dataset


def look(
    resolved: Sequence[ResolvedSource],
    policy: Policy,
    samples: Mapping[str, Loader] | None = None,
    layout: str = "",
) -> Reading:
    """As `read`, and says what was concluded."""
    if layout and layout not in LAYOUTS:
        raise InvalidArgument(
            "dataset.layout",
            f"there is no layout {layout!r}; there are {', '.join(LAYOUTS)}",
            reason="UNKNOWN_LAYOUT",
        )
    if any(source.sample for source in resolved):
        return Reading(_read_sample(resolved, samples or {}, layout))
    resolved = fetch(resolved)
    trees: list[Tree] = []
    loose: list[Table] = []
    for source in resolved:
        assert source.path is not None
        if source.path.is_dir() or _is_archive(source):
            trees.append(_open_tree(source, policy, _said(resolved)))
        else:
            name = source.path.name
            frame = legend_in_file(source.path) if source.role == "legend" else None
            if frame is None:
                frame = read_table(source.path, name=name, field=source.field, policy=policy)
            loose.append(Table(source, name, source.split, frame))
    try:
        found = (
            understand_as(layout, trees, loose, policy)
            if layout
            else understand_files(trees, loose, policy)
        )
    except Unsuitable as error:
        raise InvalidArgument(
            "dataset.layout",
            f"the data cannot be read as {layout!r}: {error}; leave the layout empty to see what "
            "it is taken for",
            reason="UNSUITABLE_LAYOUT",
        ) from error
    return _checked(found, resolved, guessed=not layout)


def _checked(found: Understood, resolved: Sequence[ResolvedSource], *, guessed: bool) -> Reading:
    splits = found.splits
    if "train" not in splits:
        raise InvalidArgument(
            "dataset.sources",
            f"there is no training data, only {', '.join(splits)}; add a source for it, or leave "
            "the split of one unset",
            reason="NO_TRAINING_DATA",
        )
    first = next((s.path for s in resolved if not s.role), resolved[0].path)
    assert first is not None
    ordered = {split: splits[split] for split in SPLITS if split in splits}
    dataset = Dataset(ordered, found.layout, first.name, found.content, found.tables)
    others = "|".join(name for name in LAYOUTS if name != found.layout)
    layout = Guess("layout", found.layout, found.why, f"layout={others}, where the data is such")
    return Reading(dataset, (*((layout,) if guessed else ()), *found.guesses), found.findings)


def _read_sample(
    resolved: Sequence[ResolvedSource], samples: Mapping[str, Loader], layout: str
) -> Dataset:
    source = next(source for source in resolved if source.sample)
    if len(resolved) > 1 or source.split not in ("", "train") or source.role:
        raise InvalidArgument(
            source.field,
            f"{source.uri} is a whole dataset; it can be neither combined with other sources nor "
            "made a test or validation split or a side table",
        )
    dataset = load_sample(source.sample, source.field, samples)
    if layout == "table" and all(data.table is not None for data in dataset.splits.values()):
        rows = {split: DataSplit(data.table) for split, data in dataset.splits.items()}
        return replace(dataset, splits=rows, layout=layout, content="")
    if layout and layout != dataset.layout:
        raise InvalidArgument(
            "dataset.layout",
            f"{source.uri} is {dataset.layout!r} and cannot be read as {layout!r}",
            reason="UNSUITABLE_LAYOUT",
        )
    return dataset


def _said(resolved: Sequence[ResolvedSource]) -> set[str]:
    return {source.split for source in resolved if not source.role} - {""}


def _is_archive(source: ResolvedSource) -> bool:
    assert source.path is not None
    try:
        return archives.is_archive(source.path)
    except OSError as error:
        raise InvalidArgument(
            source.field, f"{source.path} cannot be read: {error.strerror}"
        ) from error


def _open_tree(source: ResolvedSource, policy: Policy, said: set[str]) -> Tree:
    entries = open_tree(source, policy)
    if not entries:
        raise InvalidArgument(
            source.field, f"{source.path} has no files in it", reason="EMPTY_DATASET"
        )
    if source.split:
        return Tree(source, in_split(entries, source.split))
    if source.role:
        return Tree(source, [replace(entry, split="") for entry in entries])
    kept = by_folders(entries, said)
    return Tree(source, kept, tuple(sorted({e.split for e in entries} - {""})))
