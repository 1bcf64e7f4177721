"""The task: what users will like, from what they did before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from seedbed_recommend.columns import Columns, find_columns, key_column
from seedbed_recommend.interactions import InteractionData
from seedbed_recommend.splitter import PerUserSplitter
from seedbed_sdk.blocks import InteractionBlock, RatingBlock, UserItemBlock
from seedbed_sdk.blocks.column_types import read_numbers
from seedbed_sdk.blocks.rating import doubtful_scale
from seedbed_sdk.blocks.vocabulary import labels_of
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import tables_of
from seedbed_sdk.splitters import choose_splitter, read_times
from seedbed_sdk.task import Task, TaskOptions

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.dataset import Dataset
    from seedbed_sdk.splitters import Splitter

MAX_TOP_N = 1_000


class RecommendOptions(TaskOptions):
    """Options of collaborative filtering."""

    user_column: str = Field(
        "", description="The column of users; found by its name, such as `userId`, where empty."
    )
    item_column: str = Field(
        "", description="The column of items; found by its name, such as `movieId`, where empty."
    )
    time_column: str = Field(
        "",
        description="The column of times, found by its name where empty. Where there is one, each "
        "user's latest rows are held out; else rows drawn at random.",
    )
    feedback: Literal["auto", "explicit", "implicit"] = Field(
        "auto",
        description="`explicit` predicts ratings; `implicit` ranks items by whether a user will "
        "turn to them. `auto`: explicit where there is a column of different ratings and no metric "
        "of rankings was named.",
    )
    positive_from: float | None = Field(
        None,
        description="With implicit feedback, the rating from which a row counts as an interaction; "
        "all rows do where it is not given.",
    )
    rating_scale: tuple[float, float] | None = Field(
        None,
        description="Lowest and highest rating; others are left out as unusable. Where it is "
        "not given, the scale is what the training ratings span.",
    )
    top_n: int = Field(
        10,
        ge=1,
        le=MAX_TOP_N,
        description="How many items to recommend where an example has no `top_n`.",
    )


class CollaborativeFilteringTask(Task[RecommendOptions]):
    """Ratings and rankings of items for users."""

    name: ClassVar[str] = "collaborative_filtering"
    title: ClassVar[str] = "Collaborative filtering"
    description: ClassVar[str] = (
        "Predicts ratings, or ranks the items a user will turn to next, from a table of users and "
        "items with or without ratings; tells similar items."
    )
    options = RecommendOptions
    input_types: ClassVar[tuple[str, ...]] = ("user_item",)
    target_types: ClassVar[tuple[str, ...]] = ("rating", "interaction")
    layouts: ClassVar[tuple[str, ...]] = ("table",)

    def for_metric(self, options: RecommendOptions, metric: str) -> RecommendOptions:
        """Raises InvalidArgument where the metric and the option `feedback` exclude each other."""
        kinds = {"explicit": RatingBlock.metrics, "implicit": InteractionBlock.metrics}
        for kind, metrics in kinds.items():
            if metric not in metrics:
                continue
            if options.feedback not in ("auto", kind):
                raise InvalidArgument(
                    "job.metric",
                    f"{metric!r} measures {kind} feedback and options.feedback is "
                    f"{options.feedback!r}; possible are {', '.join(kinds[options.feedback])}",
                    reason="UNKNOWN_METRIC",
                )
            return options.model_copy(update={"feedback": kind})
        return options

    def data_block(self, dataset: Dataset, target: str, options: RecommendOptions) -> DataBlock:
        tables = tables_of(dataset, self.name)
        given = {
            "user": options.user_column,
            "item": options.item_column,
            "time": options.time_column,
        }
        columns = find_columns(tables["train"], given, target, options.not_features)
        explicit = _is_explicit(tables["train"], columns, options)
        items: dict[str, pd.DataFrame] = {}
        notes = [_about(columns, explicit)]
        for split, table in tables.items():
            items[split], repeated = _ordered(split, table, columns, options.not_features)
            if repeated:
                notes.append(
                    f"{repeated} rows of the {split} split name a user and an item again; the "
                    "latest of each is used"
                )
        inputs = _input_block(dataset, columns, options)
        splitter: Splitter = PerUserSplitter(
            columns.user, bool(columns.time), options.valid_fraction, options.test_fraction
        )
        if options.not_features or options.group_pattern:
            splitter = choose_splitter(options.model_copy(update={"time_column": ""}))
        if not explicit:
            return InteractionData(
                [inputs],
                InteractionBlock(columns.rating or columns.item, options.positive_from),
                items,
                splitter,
                options.max_bad_fraction,
                notes,
            )
        notes += _doubts(items["train"][columns.rating], columns.rating, options)
        target_block = RatingBlock(columns.rating, options.rating_scale)
        return DataBlock([inputs], target_block, items, splitter, options.max_bad_fraction, notes)


def _is_explicit(table: pd.DataFrame, columns: Columns, options: RecommendOptions) -> bool:
    if options.feedback == "implicit":
        if options.positive_from is not None and not columns.rating:
            raise InvalidArgument(
                "job.options.positive_from",
                "there is no column of ratings to compare with; name it as the target",
                reason="NO_RATINGS",
            )
        return False
    if options.feedback == "explicit" and not columns.rating:
        raise InvalidArgument(
            "job.target",
            "ratings are to be predicted and no column is named as ratings usually are; name the "
            "column, or rank items with options.feedback `implicit` or a metric such as "
            "`recall_at_10`",
            reason="NO_RATINGS",
        )
    if options.feedback == "explicit":
        return True
    if not columns.rating or options.positive_from is not None:
        return False
    return bool(labels_of(table[columns.rating]).nunique() > 1)


def _ordered(
    split: str, table: pd.DataFrame, columns: Columns, more: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """The rows with the columns that are used, the newest last, each user and item once; and how
    many rows that leaves out."""
    wanted = [name for name in (columns.user, columns.item, columns.rating) if name]
    lacking = [name for name in wanted if name not in table.columns]
    if lacking:
        raise InvalidArgument(
            "job.dataset",
            f"the {split} split has no column {', '.join(map(repr, lacking))}, which the train "
            f"split has; its columns are {', '.join(map(repr, table.columns))}",
            reason="MISSING_COLUMN",
        )
    wanted += [name for name in more if name in table.columns and name not in wanted]
    rows = table[wanted]
    if columns.time and columns.time in table.columns:
        times = read_times(table[columns.time])
        rows = rows.iloc[np.argsort(times, kind="stable")]
    pairs = rows[[columns.user, columns.item]].apply(labels_of)
    repeated = pairs.notna().all(axis=1) & pairs.duplicated(keep="last")
    return rows.loc[~repeated.to_numpy()], int(repeated.sum())


def _input_block(dataset: Dataset, columns: Columns, options: RecommendOptions) -> UserItemBlock:
    side: dict[str, pd.DataFrame | None] = {"users": None, "items": None}
    for role, name in (("users", columns.user), ("items", columns.item)):
        table = dataset.tables.get(role)
        if table is not None:
            side[role] = table.rename(columns={key_column(table, name, role): name})
    return UserItemBlock(
        columns.user,
        columns.item,
        user_table=side["users"],
        item_table=side["items"],
        top_n=options.top_n,
    )


def _about(columns: Columns, explicit: bool) -> str:
    told = "by their values, users" if columns.guessed else "users"
    held = f"the latest by {columns.time!r}" if columns.time else "drawn at random"
    aim = f"ratings are {columns.rating!r}" if explicit else "items are ranked"
    return (
        f"{told} are {columns.user!r}, items are {columns.item!r}, {aim}; rows held out of each "
        f"user are {held}"
    )


def _doubts(ratings: pd.Series, name: str, options: RecommendOptions) -> list[str]:
    if options.rating_scale is not None:
        low, high = options.rating_scale
        if low >= high:
            raise InvalidArgument(
                "job.options.rating_scale",
                f"the lowest rating, {low:g}, must be below the highest, {high:g}",
                reason="EMPTY_SCALE",
            )
        return []
    doubt = doubtful_scale(read_numbers(ratings)[0])
    if not doubt:
        return []
    return [
        f"column {name!r}: {doubt}; set options.rating_scale to the lowest and highest rating, or "
        "options.feedback to `implicit`"
    ]
