"""What a careful person would say about a dataset, with the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from seedbed_sdk.blocks.category import label_text
from seedbed_sdk.dataset import Dataset
from seedbed_server.jobs.values import Finding

SEVERITIES = ("ERROR", "WARNING", "INFO")
RARE_SHARE = 0.01
MIN_CLASS_ITEMS = 3
MOSTLY_MISSING = 0.5
MIN_ROWS = 20
NAMED = 5
OF_A_KIND = 20


@dataclass(frozen=True, slots=True)
class Context:
    """What was already found out about a dataset.

    `types` are those of the training table's columns; `files` is the column that names files.
    """

    dataset: Dataset
    types: Mapping[str, str]
    target: str
    target_type: str
    classes: Counter[str]
    files: str = ""
    guessed: bool = False

    @property
    def table(self) -> pd.DataFrame | None:
        return self.dataset.splits["train"].table


def find(context: Context) -> list[Finding]:
    """All findings, the gravest first; of a kind that many columns have, the first few."""
    found = chain(
        _about_target(context),
        _about_classes(context),
        _shortened(list(_about_columns(context))),
        _about_rows(context),
        _about_splits(context),
    )
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _about_target(context: Context) -> Iterator[Finding]:
    table, target = context.table, context.target
    if table is None or not target:
        return
    if context.guessed:
        yield Finding(
            "INFO",
            "target_guessed",
            f"no target was named; {target!r} was taken, by its name or as the last column",
            target,
            "Name the column to predict if it is another.",
        )
    missing = int(table[target].isna().sum())
    if missing:
        yield Finding(
            "ERROR" if missing == len(table) else "WARNING",
            "target_missing",
            f"{missing:,} of {len(table):,} rows have no value in the target {target!r}",
            target,
            "Rows without a target are left out; fill them in, or name another column.",
        )
    if context.types.get(target) in ("text", "date"):
        yield Finding(
            "WARNING",
            "target_unsuitable",
            f"the target {target!r} holds values of type {context.types[target]}, of which "
            f"{table[target].astype(str).nunique():,} are different",
            target,
            "Name a column of classes or numbers.",
        )


def _about_classes(context: Context) -> Iterator[Finding]:
    classes, total = context.classes, context.classes.total()
    if len(classes) == 1:
        label = next(iter(classes))
        yield Finding(
            "ERROR",
            "single_class",
            f"all {total:,} training items are of the class {label!r}",
            context.target,
            "Add items of at least one other class.",
        )
        return
    small = [label for label, count in classes.items() if count < MIN_CLASS_ITEMS]
    if small:
        yield Finding(
            "WARNING",
            "small_class",
            f"{len(small):,} of {len(classes):,} classes have fewer than {MIN_CLASS_ITEMS} items: "
            f"{_named(small)}",
            context.target,
            "They cannot be in the training, validation and test data at once; add items, or take "
            "such classes together.",
        )
    rare = [c for c, n in classes.items() if n < RARE_SHARE * total and n >= MIN_CLASS_ITEMS]
    if rare and len(classes) < 1 / RARE_SHARE:
        counts = ", ".join(f"{label!r} {classes[label]:,}" for label in rare[:NAMED])
        yield Finding(
            "WARNING",
            "class_imbalance",
            f"{len(rare):,} of {len(classes):,} classes have less than {RARE_SHARE:.0%} of "
            f"{total:,} items each: {counts}",
            context.target,
            "Add items, or choose a metric such as balanced_accuracy that counts classes equally.",
        )


def _about_columns(context: Context) -> Iterator[Finding]:
    table = context.table
    if table is None:
        return
    if all(_is_number(name) for name in context.types):
        yield Finding(
            "WARNING",
            "header_missing",
            f"all {len(context.types):,} column names are numbers, such as "
            f"{next(iter(context.types))!r}: the first row may be data",
            "",
            "Put a line with names above the data.",
        )
    for name in context.types:
        if name not in (context.target, context.files):
            yield from _about_column(context, table, name)


def _shortened(found: list[Finding]) -> Iterator[Finding]:
    by_kind: dict[str, list[Finding]] = {}
    for finding in found:
        by_kind.setdefault(finding.kind, []).append(finding)
    for kind, alike in by_kind.items():
        yield from alike[:OF_A_KIND]
        if len(alike) > OF_A_KIND:
            names = [finding.subject for finding in alike[OF_A_KIND:]]
            yield Finding(
                alike[0].severity,
                kind,
                f"the same is true of {_number(names, 'more column', 'more columns')}: "
                f"{_named(names)}",
                "",
                alike[0].suggestion,
            )


def _about_column(context: Context, table: pd.DataFrame, name: str) -> Iterator[Finding]:
    kind = context.types[name]
    column = _countable(table[name])
    known = column.dropna()
    if kind == "empty":
        yield Finding(
            "WARNING",
            "empty_column",
            f"column {name!r} has no value in any of {len(table):,} rows",
            name,
            "It is left out; remove it, or find out where its values went.",
        )
        return
    distinct = known.nunique()
    if distinct == 1 and len(known) == len(table):
        yield Finding(
            "WARNING",
            "constant_column",
            f"column {name!r} has the one value {str(known.iloc[0])[:40]!r} in all "
            f"{len(table):,} rows",
            name,
            "Nothing can be learned from it; remove it.",
        )
    elif len(known) < (1 - MOSTLY_MISSING) * len(table):
        yield Finding(
            "INFO",
            "mostly_missing",
            f"column {name!r} has no value in {len(table) - len(known):,} of {len(table):,} rows",
            name,
            "Keep it if it matters whether a value is there.",
        )
    if distinct == len(table) >= MIN_ROWS and _is_id(known, name, kind):
        yield Finding(
            "WARNING",
            "id_column",
            f"column {name!r} has a different value in each of {len(table):,} rows, as an "
            "identifier has",
            name,
            "Leave it out: it says nothing of new rows.",
        )
    elif context.target_type == "category" and _gives_away(context, table, column, distinct):
        yield Finding(
            "WARNING",
            "leaking_column",
            f"each of the {distinct:,} values of column {name!r} stands for one value of the "
            f"target {context.target!r} and the other way round",
            name,
            "If it is not known when predicting, leave it out.",
        )


def _is_id(column: pd.Series, name: str, kind: str) -> bool:
    """Text without spaces that differs in all rows; or whole numbers that count the rows or are
    called an id."""
    if kind == "category":
        return not column.astype(str).str.contains(" ").any()
    if kind != "numeric":
        return False
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        return False
    lower = name.lower()
    called = lower in ("id", "index", "unnamed: 0") or lower.endswith(("_id", " id"))
    return bool(called or name.endswith("Id") or numbers.max() - numbers.min() == len(numbers) - 1)


def _gives_away(context: Context, table: pd.DataFrame, column: pd.Series, distinct: int) -> bool:
    if not context.target or distinct < 2 or distinct != len(context.classes):
        return False
    both = pd.DataFrame({"column": column, "target": _countable(table[context.target])})
    return bool(column.notna().all()) and len(both.dropna().drop_duplicates()) == distinct


def _about_rows(context: Context) -> Iterator[Finding]:
    table = context.table
    if context.dataset.layout != "table" or table is None:
        return
    names = list(context.types)
    train = _row_hashes(table, names)
    doubles = int(train.duplicated().sum())
    if doubles:
        yield Finding(
            "INFO",
            "duplicate_rows",
            f"{doubles:,} of {len(table):,} training rows occur before, with the same values in "
            f"all of {len(names):,} columns",
            "",
            "If they are copies by mistake, remove them: validation scores come out too high.",
        )
    for split in ("valid", "test"):
        other = context.dataset.splits.get(split)
        if other is None or other.table is None:
            continue
        shared = [name for name in names if name in other.table.columns]
        if not shared:
            continue
        there = set(_row_hashes(table, shared))
        again = int(_row_hashes(other.table, shared).isin(there).sum())
        if again:
            yield Finding(
                "WARNING",
                f"rows_in_train_and_{split}",
                f"{again:,} of {len(other.table):,} {split} rows are also among the training rows",
                "",
                f"Remove them from one of the two: {split} scores come out too high.",
            )


def _row_hashes(table: pd.DataFrame, names: list[str]) -> pd.Series:
    """A number for each row. A column that is numbers in one split and text in another is hashed
    alike where the values are."""
    plain = {}
    for i, name in enumerate(names):
        column = table[name]
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        plain[str(i)] = column.astype("float64") if numeric else column.astype(str).astype(object)
    return pd.util.hash_pandas_object(pd.DataFrame(plain), index=False)


def _about_splits(context: Context) -> Iterator[Finding]:
    for split in ("valid", "test"):
        data = context.dataset.splits.get(split)
        if data is None:
            continue
        if context.table is not None and data.table is not None:
            yield from _about_split_columns(context, split, data.table)
        if context.dataset.layout == "class_folders":
            labels = {file.path.parent.name for file in data.files}
            new = sorted(labels - set(context.classes))
            if new:
                yield _new_classes(split, new, context.target)


def _about_split_columns(context: Context, split: str, table: pd.DataFrame) -> Iterator[Finding]:
    lacking = [name for name in context.types if name not in table.columns]
    if lacking:
        yield Finding(
            "ERROR",
            f"columns_missing_in_{split}",
            f"the {split} data lacks {_number(lacking, 'column', 'columns')} of the training data: "
            f"{_named(lacking)}",
            lacking[0] if len(lacking) == 1 else "",
            "Add them, or remove them from the training data.",
        )
    more = [str(name) for name in table.columns if name not in context.types]
    if more:
        yield Finding(
            "INFO",
            f"columns_only_in_{split}",
            f"the {split} data has {_number(more, 'column', 'columns')} that the training data "
            f"lacks: {_named(more)}",
            more[0] if len(more) == 1 else "",
            "They are not used.",
        )
    if context.target in table.columns and context.target_type == "category":
        labels = {label_text(value) for value in table[context.target].dropna().unique()}
        new = sorted(labels - set(context.classes))
        if new:
            yield _new_classes(split, new, context.target)


def _new_classes(split: str, labels: list[str], target: str) -> Finding:
    return Finding(
        "WARNING",
        f"classes_only_in_{split}",
        f"the {split} data has {_number(labels, 'class', 'classes')} that the training data lacks: "
        f"{_named(labels)}",
        target,
        "They can never be predicted; add training items, or remove them.",
    )


def _countable(column: pd.Series) -> pd.Series:
    """Lists and the like as text, so that they can be compared."""
    if column.dtype != object:
        return column
    return column.map(lambda v: repr(v) if not isinstance(v, str | int | float) else v, "ignore")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(things: list[str], one: str, many: str) -> str:
    return f"1 {one}" if len(things) == 1 else f"{len(things):,} {many}"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
