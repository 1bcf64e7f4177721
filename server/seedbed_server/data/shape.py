"""What the columns of a dataset are and what they are for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from seedbed_sdk.blocks.column_types import count_off, infer_column_type
from seedbed_sdk.column_names import ITEMS, RATINGS, TIMES, USERS, column_called
from seedbed_sdk.dataset import Dataset, DataSplit
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.file_tables import FileNames, find_file_column
from seedbed_server.data.frames import closest
from seedbed_server.data.guesses import Guess
from seedbed_server.data.name_groups import NameGroups, find_name_groups

LABEL = "label"
FILE_LAYOUTS = ("class_folders", "files")
MAX_CLASS_NUMBERS = 20
MIN_SERIES = 20
SMOOTH = 0.8

_USUAL_TARGETS = ("target", "label", "labels", "class", "y", "outcome", "income", "category")
_SEPARATORS = ("|", ";", ",")
_NUMBERED = re.compile(r"(.*?)[_\-. ]?(\d+)")
_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Shape:
    """A dataset, the types of its training table's columns, and the targets: none where the data
    does not say. `guessed` says that nobody named them; `has_table` that items which are files come
    as rows of a table too, as `sample://digits` does."""

    dataset: Dataset
    types: Mapping[str, str]
    targets: tuple[str, ...]
    guessed: bool
    files: str = ""
    has_table: bool = False

    @classmethod
    def of(cls, dataset: Dataset, target: str) -> Shape:
        """Items that are files and rows are looked at as rows where the target is a column of
        these. Raises InvalidArgument with `target` for a column there is not."""
        has_table = dataset.layout in FILE_LAYOUTS and dataset.splits["train"].table is not None
        if has_table:
            dataset = _as_files_or_rows(dataset, target)
        train = dataset.splits["train"]
        table = train.table
        types = {} if table is None else {str(c): infer_column_type(table[c]) for c in table}
        files = _file_column(dataset, train)
        names = [name for name in types if name != files]
        guessed = not target and table is not None and dataset.layout != "image_masks"
        return cls(dataset, types, _find_targets(dataset, target, names), guessed, files, has_table)

    @property
    def table(self) -> pd.DataFrame | None:
        return self.dataset.splits["train"].table

    @property
    def target(self) -> str:
        """The only target; empty where there is none, or several."""
        return self.targets[0] if len(self.targets) == 1 else ""

    @property
    def inputs(self) -> list[str]:
        """The columns that may be predicted from."""
        return [name for name in self.types if name not in (*self.targets, self.files)]

    @cached_property
    def user(self) -> str:
        """The column of users in a table of who liked what; empty for other data."""
        return self._interaction[0]

    @cached_property
    def item(self) -> str:
        return self._interaction[1]

    @cached_property
    def rating(self) -> str:
        named = column_called(RATINGS, list(self.types)) if self.user else ""
        return named if self.types.get(named) == "numeric" else ""

    @cached_property
    def time(self) -> str:
        """The column that says when an item was: of dates, or called like one in a table of who
        liked what."""
        named = column_called(TIMES, list(self.types))
        dates = [name for name, kind in self.types.items() if kind == "date"]
        if self.types.get(named) == "date" or (self.user and self.types.get(named) == "numeric"):
            return named
        return dates[0] if len(dates) == 1 and dates[0] not in self.targets else ""

    @cached_property
    def text(self) -> str:
        """The column of free text; of several the longest."""
        texts = [name for name in self.inputs if self.types[name] == "text"]
        if not texts or self.table is None:
            return ""
        table = self.table.head(_LOOKED_AT)
        return max(texts, key=lambda name: table[name].dropna().astype(str).str.len().mean())

    @cached_property
    def series(self) -> tuple[str, ...]:
        """Columns that are the points of a series, being numbered and alike from one to the next;
        none where most columns are something else."""
        if self.table is None or self.dataset.layout != "table":
            return ()
        numeric = [name for name in self.inputs if self.types[name] == "numeric"]
        by_prefix: dict[str, list[tuple[int, str]]] = {}
        for name in numeric:
            match = _NUMBERED.fullmatch(name)
            if match:
                by_prefix.setdefault(match[1], []).append((int(match[2]), name))
        runs = sorted(by_prefix.values(), key=len)
        longest = sorted(runs[-1]) if runs else []
        run = longest and longest[-1][0] - longest[0][0] == len(longest) - 1
        if not run or len(longest) < max(MIN_SERIES, 0.8 * len(self.inputs)):
            return ()
        names = [name for _, name in longest]
        return tuple(names) if _is_smooth(self.table[names].head(_LOOKED_AT)) else ()

    @cached_property
    def target_types(self) -> tuple[str, ...]:
        """The types of block that the target may be, the likeliest first."""
        if self.dataset.layout == "image_masks":
            return ("mask",)
        if self.dataset.layout == "class_folders":
            files = self.dataset.splits["train"].files
            names = Counter(file.path.name for file in files)
            several = sum(n > 1 for n in names.values()) * 2 > len(names)
            return ("category", "multi_category") if several else ("category",)
        if len(self.targets) > 1:
            return self._types_of_several
        found: list[str] = []
        if self.user and (self.guessed or self.target in (self.rating, self.item)):
            found += ["rating", "interaction"] if self.rating else ["interaction"]
        return (*found, *self._types_of_column(self.target))

    def file_names(self, split: str) -> list[str]:
        """The names of the files that are the items of a split, without masks; empty where items
        are no files, or the data has no such split."""
        data = self.dataset.splits.get(split)
        if data is None or self.dataset.layout == "table":
            return []
        if not self.files or data.table is None:
            return [file.name for file in data.files]
        return list(map(str, data.table[self.files])) if self.files in data.table else []

    @cached_property
    def name_groups(self) -> NameGroups | None:
        """The groups of training files that their names tell of."""
        labels: list[str] = []
        names = self.file_names("train")
        if self.dataset.layout == "class_folders":
            labels = [PurePosixPath(name).parent.name for name in names]
        elif self.table is not None and self.target and self.target_type == "category":
            labels = list(map(str, self.table[self.target]))
        return find_name_groups(names, labels)

    @property
    def target_type(self) -> str:
        """`category`, `regression`, or empty where it is neither or the data does not say."""
        plain = [kind for kind in self.target_types if kind in ("category", "regression")]
        return plain[0] if plain else ""

    @cached_property
    def classes(self) -> Counter[str]:
        """The classes of the training data and how often they occur."""
        train = self.dataset.splits["train"]
        if self.dataset.layout == "class_folders":
            return Counter(file.path.parent.name for file in train.files)
        if train.table is None or self.target_type != "category" or not self.target:
            return Counter()
        return class_counts(train.table[self.target])

    def guesses(self) -> list[Guess]:
        """What was concluded about the columns."""
        found = []
        if self.guessed and self.target:
            usual = self.target.lower() in _USUAL_TARGETS or self.target == self.rating
            why = "its name is a usual one" if usual else "it is the last column"
            found.append(Guess("target", self.target, why, "--target COLUMN, or `target`"))
        if self.user:
            why = "the names of the columns, and values that come again"
            for option, name in (("user_column", self.user), ("item_column", self.item)):
                found.append(Guess(option, name, why, f"option {option}"))
        if self.time:
            what = "holds dates" if self.types[self.time] == "date" else "is called like a time"
            found.append(Guess("time_column", self.time, f"it {what}", "option time_column"))
        if self.text:
            why = "its values are free text, the longest where there are several"
            found.append(Guess("text_column", self.text, why, "option text_column"))
        if self.series:
            first, last = self.series[0], self.series[-1]
            why = "their names are numbered, and each is like the one before"
            found.append(Guess("value_columns", f"{first} … {last}", why, "option value_columns"))
        if self.name_groups:
            why = f"files are numbered in groups: {self.name_groups.shown()}"
            asked = "only used where asked for, with the option group_pattern"
            found.append(Guess("group_pattern", self.name_groups.pattern, why, asked))
        return found

    @cached_property
    def _interaction(self) -> tuple[str, str]:
        """Users and items by their names, in a table in which both come again and whose other
        columns are few."""
        table = self.table
        if table is None or self.dataset.layout != "table" or len(self.types) > 10:
            return "", ""
        names = [n for n, kind in self.types.items() if kind in ("numeric", "category", "text")]
        user = column_called(USERS, names, ids=True)
        item = column_called(ITEMS, [name for name in names if name != user], ids=True)
        if not user or not item:
            return "", ""
        for name in (user, item):
            codes, values = count_off(table[name])
            if len(values) >= (codes >= 0).sum():
                return "", ""
        return user, item

    @property
    def _types_of_several(self) -> tuple[str, ...]:
        assert self.table is not None
        flags = all(
            set(pd.to_numeric(self.table[t], errors="coerce").dropna().unique()) <= {0, 1}
            for t in self.targets
        )
        return ("multi_category", "multi_target") if flags else ("multi_target",)

    def _types_of_column(self, name: str) -> tuple[str, ...]:
        kind = self.types.get(name, "")
        assert self.table is not None or not kind
        if self.table is None or kind not in ("category", "boolean", "text", "numeric"):
            return ()
        column = self.table[name]
        if kind != "numeric":
            labels = ("multi_category",) if kind != "boolean" and _holds_lists(column) else ()
            return (*labels, *(("category",) if kind != "text" else ()))
        numbers = pd.to_numeric(column, errors="coerce").dropna()
        different = numbers.nunique()
        few = different <= MAX_CLASS_NUMBERS and 2 * different <= len(numbers)
        whole = few and bool((numbers % 1 == 0).all())
        return ("category", "regression") if whole else ("regression",)


def class_counts(column: pd.Series) -> Counter[str]:
    """How often each value occurs, as text, the most common first; lists and the like are none."""
    codes, labels = count_off(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    order = np.argsort(-counts, kind="stable")
    return Counter({labels[i]: int(counts[i]) for i in order})


def _as_files_or_rows(dataset: Dataset, target: str) -> Dataset:
    table = dataset.splits["train"].table
    if table is not None and target in table.columns and target != LABEL:
        rows = {split: DataSplit(data.table) for split, data in dataset.splits.items()}
        return replace(dataset, splits=rows, layout="table", content="")
    files = {split: DataSplit(files=data.files) for split, data in dataset.splits.items()}
    return replace(dataset, splits=files)


def _file_column(dataset: Dataset, train: DataSplit) -> str:
    if dataset.layout == "image_masks":
        return "image"
    if dataset.layout != "file_table" or train.table is None:
        return ""
    return find_file_column(train.table, FileNames(f.name for f in train.files)) or ""


def _find_targets(dataset: Dataset, target: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns named, with commas between them; or else the one that looks like it: by its name,
    or as the last one."""
    if dataset.splits["train"].table is None:
        if target and (dataset.layout != "class_folders" or target != LABEL):
            raise InvalidArgument(
                "target",
                f"the data has no columns, and so no {target!r}; the classes are the names of "
                "the folders; leave the target empty",
                reason="UNKNOWN_COLUMN",
            )
        return ()
    if target in names:
        return (target,)
    parts = [part.strip() for part in target.split(",")] if target else []
    unknown = [part for part in parts if part not in names]
    if unknown:
        more = f" and {len(names) - 30} more" if len(names) > 30 else ""
        raise InvalidArgument(
            "target",
            f"there is no column {unknown[0]!r} to predict{closest(unknown[0], names)}; the "
            f"columns are {', '.join(map(repr, names[:30]))}{more}",
            reason="UNKNOWN_COLUMN",
        )
    if parts or not names:
        return tuple(dict.fromkeys(parts))
    usual = [name for usual in _USUAL_TARGETS for name in names if name.lower() == usual]
    user = column_called(USERS, names, ids=True) and column_called(ITEMS, names, ids=True)
    rated = column_called(RATINGS, names) if user else ""
    return (rated or (usual[0] if usual else names[-1]),)


def _holds_lists(column: pd.Series) -> bool:
    """Whether values are several labels with a separator between them: few different parts make up
    many different values."""
    values = column.dropna().head(_LOOKED_AT)
    if not all(isinstance(value, str) for value in values):
        return False
    for separator in _SEPARATORS:
        parts = [[p.strip() for p in v.split(separator)] for v in values if separator in v]
        if len(parts) < 0.05 * len(values) or not parts:
            continue
        labels = {part for row in parts for part in row}
        short = max(map(len, labels)) <= 40 and "" not in labels
        if short and 2 * len(labels) <= sum(map(len, parts)):
            return True
    return False


def _is_smooth(table: pd.DataFrame) -> bool:
    """Whether values are like their neighbours in the row, more than chance and level explain."""
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    values = values - np.nanmean(values, axis=1, keepdims=True)
    before, after = values[:, :-1].ravel(), values[:, 1:].ravel()
    known = np.isfinite(before) & np.isfinite(after)
    if known.sum() < MIN_SERIES or not before[known].std() or not after[known].std():
        return False
    return bool(np.corrcoef(before[known], after[known])[0, 1] >= SMOOTH)
