"""Findings about single columns of the training table, and columns that differ between splits."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from seedbed_server.data.doctor.context import MIN_ROWS, Context, named, number
from seedbed_server.jobs.values import Finding

MOSTLY_MISSING = 0.5
OF_A_KIND = 20
LOOKED_AT = 10_000
FEW = 3
_SPLIT_WORDS = {"train", "training", "valid", "val", "validation", "dev", "test", "testing"}
_SPLIT_WORDS |= {"holdout", "eval", "evaluation"}


def about_columns(context: Context) -> Iterator[Finding]:
    """Columns that say nothing; of a kind that many columns have, the first few."""
    table = context.table()
    if table is None or context.layout == "image_masks":
        return
    types = context.shape.types
    if all(_is_number(name) for name in types):
        yield Finding(
            "WARNING",
            "header_missing",
            f"all {len(types):,} column names are numbers, such as "
            f"{next(iter(types))!r}: the first row may be data",
            "",
            "Put a line with names above the data.",
        )
    found = [f for name in context.shape.inputs for f in _about_column(context, table, name)]
    yield from shortened(found)


def about_split_columns(context: Context) -> Iterator[Finding]:
    """Columns that only some of the splits have."""
    for split, table in context.held_out():
        types = context.shape.types
        lacking = [name for name in types if name not in table.columns]
        if lacking:
            yield Finding(
                "ERROR",
                f"columns_missing_in_{split}",
                f"the {split} data lacks {number(lacking, 'column', 'columns')} of the training "
                f"data: {named(lacking)}",
                lacking[0] if len(lacking) == 1 else "",
                "Add them, or remove them from the training data.",
            )
        more = [str(name) for name in table.columns if name not in types]
        if more:
            yield Finding(
                "INFO",
                f"columns_only_in_{split}",
                f"the {split} data has {number(more, 'column', 'columns')} that the training data "
                f"lacks: {named(more)}",
                more[0] if len(more) == 1 else "",
                "They are not used.",
            )


def shortened(found: list[Finding]) -> Iterator[Finding]:
    """Of each kind of finding the first few, and one that names the rest."""
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
                f"the same is true of {number(names, 'more column', 'more columns')}: "
                f"{named(names)}",
                "",
                alike[0].suggestion,
            )


def is_id(column: pd.Series, name: str, kind: str) -> bool:
    """Whether values that all differ are those of an identifier: text without spaces, or whole
    numbers that count the rows or are called an id."""
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


def countable(column: pd.Series) -> pd.Series:
    """Lists and the like as text, so that they can be compared."""
    if column.dtype != object:
        return column
    return column.map(lambda v: repr(v) if not isinstance(v, str | int | float) else v, "ignore")


def _about_column(context: Context, table: pd.DataFrame, name: str) -> Iterator[Finding]:
    kind = context.shape.types[name]
    known = countable(table[name]).dropna()
    if kind == "empty":
        yield Finding(
            "WARNING",
            "empty_column",
            f"column {name!r} has no value in any of {len(table):,} rows",
            name,
            "It is left out; remove it, or find out where its values went.",
        )
        return
    distinct = _distinct(known)
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
    if distinct == len(table) >= MIN_ROWS and is_id(known, name, kind):
        yield Finding(
            "WARNING",
            "id_column",
            f"column {name!r} has a different value in each of {len(table):,} rows, as an "
            "identifier has",
            name,
            "Leave it out: it says nothing of new rows.",
        )
    values = {str(value).strip().lower() for value in known.unique()} if distinct <= FEW else set()
    if len(values) >= 2 and values <= _SPLIT_WORDS and not context.options.get("split_column"):
        yield Finding(
            "WARNING",
            "split_column_unused",
            f"column {name!r} says what each row is for ({', '.join(sorted(values))}), and is "
            "taken for something to learn from",
            name,
            f"Set the option split_column={name}.",
        )


def _distinct(column: pd.Series) -> int:
    """How many different values there are, where these may be very few, or all; else about that."""
    start = column.head(LOOKED_AT)
    distinct = start.nunique()
    if len(column) > len(start) and (distinct <= FEW or distinct == len(start)):
        return int(column.nunique())
    return int(distinct)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
