"""Which columns of a table are users, items, ratings and times."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbed_sdk.blocks.vocabulary import labels_of
from seedbed_sdk.column_names import ITEMS, RATINGS, TIMES, USERS, column_called
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns; empty where there is none. `guessed` says that users and items were
    told by their values and not by their names."""

    user: str
    item: str
    rating: str = ""
    time: str = ""
    guessed: bool = False


def find_columns(
    table: pd.DataFrame, given: Mapping[str, str], target: str, taken: Sequence[str] = ()
) -> Columns:
    """Settles the columns. `given` has the names the user gave by `user`, `item` and `time`, empty
    where none was; `target` is the column of ratings, or of items where there are no ratings.
    Columns that are `taken` are none of these.

    Raises InvalidArgument for columns that are not there or cannot be told.
    """
    names = [str(name) for name in table.columns]
    for role, name in given.items():
        _require(f"job.options.{role}_column", name, names)
    _require("job.target", target, names)
    free = [name for name in names if name not in given.values() and name not in taken]
    time = given["time"] or column_called(TIMES, free)
    user = given["user"] or column_called(USERS, free, ids=True)
    item = given["item"] or column_called(ITEMS, [n for n in free if n != user], ids=True)
    guessed = not (user and item)
    if guessed:
        others = [n for n in free if n not in (user, item, time)]
        user, item = _by_shape(table, user, item, target, others, names)
    rating = target if target != item else ""
    if not rating:
        rating = column_called(RATINGS, [n for n in free if n not in (user, item, time)])
    for role, name in (("user", user), ("time", time)):
        if target and name == target:
            raise InvalidArgument(
                "job.target",
                f"column {target!r} holds the {role}s; name the column of ratings, or none",
                reason="TARGET_UNSUITABLE",
            )
    if user == item:
        raise InvalidArgument(
            "job.options.item_column",
            f"column {user!r} cannot hold both users and items",
            reason="SAME_COLUMN",
        )
    return Columns(user, item, rating, time, guessed)


def key_column(table: pd.DataFrame, wanted: str, role: str) -> str:
    """The column of a side table that names the users or items: the one called as in the
    interactions, or like an id. Raises InvalidArgument where there is none."""
    names = [str(name) for name in table.columns]
    usual = USERS if role == "users" else ITEMS
    called = column_called(usual, names, ids=True) or column_called(("id",), names)
    found = wanted if wanted in names else called
    if not found:
        raise InvalidArgument(
            "job.dataset",
            f"the table of {role} has no column {wanted!r} to tell which of them a row describes; "
            f"its columns are {listed(names)}",
            reason="MISSING_COLUMN",
        )
    return found


def _require(field: str, name: str, names: Sequence[str]) -> None:
    if not name or name in names:
        return
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    meant = next((n for n in names if close and n.lower() == close[0]), "")
    hint = f"; did you mean {meant!r}?" if meant else ""
    raise InvalidArgument(
        field,
        f"no column {name!r}{hint}; the columns are {listed(names)}",
        reason="UNKNOWN_COLUMN",
    )


def _by_shape(
    table: pd.DataFrame,
    user: str,
    item: str,
    target: str,
    free: Sequence[str],
    names: Sequence[str],
) -> tuple[str, str]:
    """Users and items are the first columns of text or whole numbers whose values come again, but
    not the target unless nothing else can be the items."""
    candidates = [name for name in free if _repeats(table[name])]
    candidates.sort(key=lambda name: name == target)
    found = [user or "", item or ""]
    for place, role in enumerate(("user", "item")):
        if found[place]:
            continue
        if not candidates:
            raise InvalidArgument(
                f"job.options.{role}_column",
                f"name the column of {role}s: none has a usual name such as `{role}_id` or values "
                f"that come again as {role}s' do; the columns are {listed(names)}",
                reason="COLUMN_NOT_NAMED",
            )
        found[place] = candidates.pop(0)
    return found[0], found[1]


def _repeats(column: pd.Series) -> bool:
    from seedbed_sdk.blocks.column_types import infer_column_type, read_numbers

    known = column.dropna()
    if not 2 <= labels_of(known).nunique() < len(known):
        return False
    kind = infer_column_type(column)
    if kind == "numeric":
        return bool((read_numbers(known)[0] % 1 == 0).all())
    return kind in ("category", "text")
