"""Findings about splits that ignore time, or tear apart what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from seedbed_sdk.blocks.column_types import read_numbers
from seedbed_server.data.doctor.context import Array, Context
from seedbed_server.data.doctor.features import column_numbers, labels_of, table_features
from seedbed_server.jobs.values import Finding

MIN_ROWS = 100
BINS = 5
DRIFT = 0.15
SURE = 1e-6
MIN_GROUPS = 10
TORN = 0.05
EXPLAINS = 0.2
EXPLAINS_UNNAMED = 0.5
ALIKE = 0.5
SMALL_GROUP = 20.0
MAX_CANDIDATES = 20

_ID_NAME = re.compile(
    r"(^|[_\W])(id|no|patient|subject|person|user|customer|client|household|family|session|device"
    r"|speaker|group|participant|animal|author|vehicle|well|account)([_\W]|$)",
    re.IGNORECASE,
)


def about_time(context: Context) -> Iterator[Finding]:
    """A column of times along which the target changes, where the split is not by time."""
    shape, table = context.shape, context.table()
    if table is None or not shape.time or shape.user or context.options.get("time_column"):
        return
    if shape.target in ("", shape.time) or context.options.get("split_column"):
        return
    times = column_numbers([context.sample[shape.time]], shape.types[shape.time])[0]
    strength, chance = _drift(context, times)
    if strength < DRIFT or chance > SURE:
        return
    for _, other in context.held_out():
        if shape.time not in other.columns:
            continue
        later = column_numbers([context.sampled(other)[shape.time]], shape.types[shape.time])[0]
        if np.nanmedian(later) >= np.nanquantile(times, 0.9):
            return
    where = "and held-out rows are from the same time as the training rows"
    if not any(True for _ in context.held_out()):
        where = "and a random split trains on rows that are newer than those it is tested on"
    yield Finding(
        "WARNING",
        "time_order_ignored",
        f"the target {shape.target!r} changes along {shape.time!r} (strength {strength:.2f} of 1 "
        f"over {BINS} periods), {where}",
        shape.time,
        f"If the model is to predict the future, set the option time_column={shape.time}.",
    )


def about_groups(context: Context) -> Iterator[Finding]:
    """Columns that name what several rows are about, where these rows are alike and a split puts
    some into the training data and some not."""
    shape, table = context.shape, context.table()
    if table is None or not shape.target or shape.user or context.layout == "image_masks":
        return
    if context.options.get("group_column") or context.options.get("split_column"):
        return
    for name in _candidates(context, table):
        if context.is_late():
            return
        codes = labels_of(table[name])
        torn = _torn(context, name)
        if torn is not None and torn < TORN:
            continue
        explained = _explained(context, table, codes)
        is_named = _is_named(name)
        alike = _alike(context, table, name, codes) if is_named else 0.0
        needed = EXPLAINS if is_named else EXPLAINS_UNNAMED
        if explained < needed and alike < ALIKE:
            continue
        groups = len(np.unique(codes[codes >= 0]))
        where = (
            "a random split puts rows of one into the training and the test data"
            if torn is None
            else f"{torn:.0%} of the held-out rows are about one that training rows are about too"
        )
        why = (
            f"the others of its group predict a row's target {explained:.0%} of the way from "
            "chance to certainty"
            if explained >= needed
            else f"rows of one group are alike in {alike:.0%} of the columns"
        )
        yield Finding(
            "WARNING",
            "groups_torn",
            f"column {name!r} names {groups:,} things that {len(table):,} training rows are about; "
            f"{why}, and {where}",
            name,
            f"If the model is for things it has not seen, set the option group_column={name}.",
        )


def _drift(context: Context, times: Array) -> tuple[float, float]:
    """How much the target changes over the periods, from 0 to 1, and the probability of that by
    chance: Cramér's V, or the correlation ratio."""
    from scipy.stats import chi2_contingency, f_oneway

    target = context.sample[context.shape.target]
    is_category = context.shape.target_type == "category"
    goal = labels_of(target).astype(np.float64) if is_category else read_numbers(target)[0]
    known = np.isfinite(times) & np.isfinite(goal) & ((goal >= 0) | (not is_category))
    if known.sum() < MIN_ROWS or context.shape.target_type not in ("category", "regression"):
        return 0.0, 1.0
    times, goal = times[known], goal[known]
    edges = np.unique(np.quantile(times, np.linspace(0, 1, BINS + 1)[1:-1]))
    periods = np.searchsorted(edges, times, side="right")
    if len(np.unique(periods)) < 2 or len(np.unique(goal)) < 2:
        return 0.0, 1.0
    if is_category:
        counts = pd.crosstab(periods, goal).to_numpy()
        found = chi2_contingency(counts)
        smaller = min(counts.shape) - 1
        return float(np.sqrt(found.statistic / (counts.sum() * smaller))), float(found.pvalue)
    parts = [goal[periods == p] for p in np.unique(periods)]
    between = sum(len(part) * (part.mean() - goal.mean()) ** 2 for part in parts)
    ratio = float(np.sqrt(between / ((goal - goal.mean()) ** 2).sum()))
    return ratio, float(f_oneway(*parts).pvalue)


def _candidates(context: Context, table: pd.DataFrame) -> list[str]:
    """Columns whose values name groups of a few rows each."""
    found = []
    for name in context.shape.inputs:
        kind = context.shape.types[name]
        if kind not in ("category", "numeric") or (kind == "numeric" and not _is_named(name)):
            continue
        distinct = table[name].nunique()
        size = len(table) / max(1, distinct)
        if distinct < MIN_GROUPS or len(table) < MIN_ROWS or size < 1.5:
            continue
        if not _is_named(name) and size > SMALL_GROUP:
            continue
        found.append(name)
    return found[:MAX_CANDIDATES]


def _is_named(name: str) -> bool:
    spelled = re.sub(r"([a-z])([A-Z])", r"\1_\2", name)
    return bool(_ID_NAME.search(spelled))


def _torn(context: Context, name: str) -> float | None:
    """The share of held-out rows whose group is in the training data; None without such rows."""
    table = context.table()
    assert table is not None
    here = set(table[name].dropna().astype(str))
    shares = [
        float(other[name].dropna().astype(str).isin(here).mean())
        for _, other in context.held_out()
        if name in other.columns and other[name].notna().any()
    ]
    return max(shares) if shares else None


def _explained(context: Context, table: pd.DataFrame, codes: Array) -> float:
    """How far the targets of the other rows in its group predict that of a row, from 0 for chance
    to 1."""
    shape = context.shape
    is_category = shape.target_type == "category"
    target = table[shape.target]
    goal = labels_of(target) if is_category else read_numbers(target)[0]
    known = (codes >= 0) & ((goal >= 0) if is_category else np.isfinite(goal))
    codes, goal = codes[known], goal[known]
    sizes = np.bincount(codes) if len(codes) else np.zeros(0)
    several = sizes[codes] > 1 if len(codes) else np.zeros(0, dtype=np.bool_)
    if several.sum() < MIN_ROWS or len(np.unique(goal)) < 2:
        return 0.0
    if not is_category:
        sums = np.bincount(codes, weights=goal)
        others = (sums[codes] - goal)[several] / (sizes[codes][several] - 1)
        spread = ((goal[several] - goal[several].mean()) ** 2).sum()
        return float(1 - ((goal[several] - others) ** 2).sum() / max(spread, 1e-12))
    return _agreement(codes[several], goal[several])


def _agreement(codes: Array, goal: Array) -> float:
    """The share of pairs of rows in a group that have the same class, from 0 for that of all pairs
    to 1."""
    pairs = pd.DataFrame({"group": codes, "class": goal}).groupby(["group", "class"]).size()
    counts = pairs.to_numpy().astype(np.float64)
    sizes = pairs.groupby("group").sum().to_numpy().astype(np.float64)
    within = (counts * (counts - 1)).sum() / (sizes * (sizes - 1)).sum()
    shares = np.bincount(goal) / len(goal)
    chance = float((shares**2).sum())
    return float((within - chance) / max(1e-9, 1 - chance))


def _alike(context: Context, table: pd.DataFrame, name: str, codes: Array) -> float:
    """The share of the numeric columns whose variance is mostly between groups and not in them."""
    columns = [
        other
        for other in context.features
        if other != name and context.shape.types[other] == "numeric"
    ]
    if not columns:
        return 0.0
    values = table_features([table], context.shape.types, columns)[0].astype(np.float64)
    known = codes >= 0
    values, codes = values[known], codes[known]
    sizes = np.bincount(codes)
    degrees = len(codes) - (sizes > 0).sum()
    if degrees < MIN_ROWS:
        return 0.0
    alike = 0
    for column in values.T:
        means = np.bincount(codes, weights=column) / np.maximum(sizes, 1)
        within = ((column - means[codes]) ** 2).sum() / degrees
        alike += bool(within < ALIKE * column.var() and column.var() > 0)
    return alike / len(columns)
