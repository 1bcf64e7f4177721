"""The items of datasets: rows of tables, and of files with their labels."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

LABEL = "label"
USUAL_TARGETS = (LABEL, "labels", "class", "target", "category", "tags")
NAMED_SHARE = 0.5
TARGETS_SEPARATOR = ","
LISTED = 30


@dataclass(frozen=True, slots=True)
class FileItems:
    """The items of each split: a column of FileRefs, and the other columns of the table under their
    own names. `targets` are the columns to predict."""

    splits: Mapping[str, pd.DataFrame]
    targets: tuple[str, ...]


def items_from(dataset: Dataset, target: str, *, column: str) -> FileItems:
    """The items of a dataset in class folders, whose target is then `label`, or of a table that
    names files. The files are put into `column`. `target` is a column, several with commas between
    them, or empty where the data says.

    Raises InvalidArgument with `job.target` or `job.dataset`.
    """
    if dataset.layout != "class_folders":
        return _by_table(dataset, target, column)
    if target not in ("", LABEL):
        raise InvalidArgument(
            "job.target",
            f"{target!r} is no column: the classes are the names of the files' folders; "
            "leave the target empty",
            reason="UNKNOWN_COLUMN",
        )
    return FileItems({s: _by_folder(d, column) for s, d in dataset.splits.items()}, (LABEL,))


def named_files(split: DataSplit, name_column: str) -> pd.Series:
    """The FileRefs that a column of the split's table names. One that is not in the dataset raises
    FileNotFoundError when it is read, so that it becomes a bad item with a name."""
    import pandas as pd

    assert split.table is not None
    by_name = {file.path.name: file for file in split.files}
    by_name.update({file.name: file for file in split.files})
    names = split.table[name_column].astype(str)
    files = [by_name.get(name) or _absent(name) for name in names]
    return pd.Series(files, dtype=object, index=split.table.index)


def tables_of(dataset: Dataset, task: str) -> dict[str, pd.DataFrame]:
    """The table of each split, with text as names of columns. Raises InvalidArgument with
    `job.dataset` for a split without one; `task` is the name of the task that wants it."""
    tables: dict[str, pd.DataFrame] = {}
    for split, data in dataset.splits.items():
        if data.table is None:
            raise InvalidArgument(
                "job.dataset",
                f"the {split} split has {len(data.files)} files and no table; the task {task!r} "
                "takes rows and columns, such as a CSV or Parquet file",
                reason="NO_TABLE",
            )
        tables[split] = data.table.rename(columns=str)
    return tables


def select_columns(
    split: str, table: pd.DataFrame, wanted: Sequence[str], dividing: Sequence[str] = ()
) -> pd.DataFrame:
    """The wanted columns; those of them that only divide the training items (`dividing`) may be
    absent in other splits. Raises InvalidArgument with `job.dataset`."""
    if split != "train":
        wanted = [name for name in wanted if name in table.columns or name not in dividing]
    lacking = [name for name in wanted if name not in table.columns]
    if lacking:
        raise InvalidArgument(
            "job.dataset",
            f"the {split} split has no column {listed(lacking)}, which the train split has; its "
            f"columns are {listed(table.columns)}",
            reason="MISSING_COLUMN",
        )
    return table[list(wanted)]


def listed(names: Iterable[object]) -> str:
    """The first names in quotation marks, and how many more there are."""
    texts = [repr(str(name)) for name in names]
    more = len(texts) - LISTED
    return ", ".join(texts[:LISTED]) + (f" and {more} more" if more > 0 else "")


def target_columns(target: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that a target names: one, or several with commas between them; where it is empty,
    the only column or the one with a usual name. Raises InvalidArgument with `job.target`."""
    if target in columns:
        return (target,)
    if not target:
        return (_guessed(columns),)
    parts = [part.strip() for part in target.split(TARGETS_SEPARATOR)]
    unknown = [part for part in parts if part not in columns]
    if unknown:
        close = difflib.get_close_matches(unknown[0], columns, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidArgument(
            "job.target",
            f"no column {unknown[0]!r}; there are {listed(columns)}{hint}",
            reason="UNKNOWN_COLUMN",
        )
    return tuple(dict.fromkeys(parts))


def _guessed(columns: Sequence[str]) -> str:
    usual = [name for name in columns if name.lower() in USUAL_TARGETS]
    found = list(columns) if len(columns) == 1 else usual
    if len(found) != 1:
        raise InvalidArgument(
            "job.target",
            f"several columns could be the target; there are {listed(columns)}; name one",
            reason="UNKNOWN_COLUMN",
        )
    return found[0]


def _by_folder(split: DataSplit, column: str) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({column: pd.Series(list(split.files), dtype=object)})
    frame[LABEL] = [file.path.parent.name for file in split.files]
    return frame


def _by_table(dataset: Dataset, target: str, column: str) -> FileItems:
    train = dataset.splits["train"]
    assert train.table is not None
    names = _name_column(train)
    targets = target_columns(target, [str(c) for c in train.table.columns if c != names])
    return FileItems(
        {
            split: _with_files(split, data, names, targets, column)
            for split, data in dataset.splits.items()
        },
        targets,
    )


def _with_files(
    split: str, data: DataSplit, names: str, targets: tuple[str, ...], column: str
) -> pd.DataFrame:
    assert data.table is not None
    missing = [name for name in (names, *targets) if name not in data.table.columns]
    if missing:
        raise InvalidArgument(
            "job.dataset",
            f"the table of the {split} split lacks {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(str, data.table.columns))}",
            reason="UNKNOWN_COLUMN",
        )
    return data.table.drop(columns=names).assign(**{column: named_files(data, names)})


def _name_column(split: DataSplit) -> str:
    """The column most of whose values name files of the dataset."""
    assert split.table is not None
    names = {file.name for file in split.files} | {file.path.name for file in split.files}
    for column in split.table.columns:
        values = split.table[column].dropna().astype(str)
        if len(values) and values.isin(names).mean() > NAMED_SHARE:
            return str(column)
    raise InvalidArgument(
        "job.dataset",
        f"no column of {', '.join(map(str, split.table.columns))} names files of the dataset",
        reason="NO_FILE_COLUMN",
    )


def _absent(name: str) -> FileRef:
    def read() -> bytes:
        raise FileNotFoundError(2, "no such file in the dataset", name)

    return FileRef(name, read)
