"""What data is like: near where it is much the same, far where it is not, and cheap to see."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.blocks import TabularBlock
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.text import TextBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_server.search.earlier import RADIUS
from seedbed_server.search.similarity import describe, distance

COLOURS = ["red", "green", "blue"]


def table(rows: int, seed: int = 0, columns: int = 6, rare: float = 0.5) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    data = {f"x{i}": generator.normal(size=rows) for i in range(columns)}
    colours = generator.choice(COLOURS, rows)
    return pd.DataFrame({**data, "colour": colours, "y": generator.random(rows) < rare})


def features(items: pd.DataFrame) -> dict[str, float]:
    block = DataBlock([TabularBlock()], CategoryBlock("y"), {"train": items})
    return describe(block, block.prepare(0))


def halved(items: pd.DataFrame) -> pd.DataFrame:
    return items.iloc[::2].reset_index(drop=True)


def with_holes(items: pd.DataFrame) -> pd.DataFrame:
    holes = np.random.default_rng(1).random(items.shape) < 0.9
    return items.mask(holes & [name.startswith("x") for name in items])


def renamed(items: pd.DataFrame) -> pd.DataFrame:
    return items.rename(columns={f"x{i}": f"other {i}" for i in range(6)})


def as_categories(items: pd.DataFrame) -> pd.DataFrame:
    return items.assign(**{f"x{i}": np.where(items[f"x{i}"] > 0, "u", "v") for i in range(5)})


@pytest.mark.parametrize("change", [halved, renamed, lambda items: table(900, seed=3)])
def test_data_that_is_much_the_same_is_near(
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    items = table(800)
    assert distance(features(items), features(change(items))) < RADIUS


@pytest.mark.parametrize(
    "change",
    [
        lambda items: table(60),
        lambda items: table(800, columns=60),
        lambda items: table(800, rare=0.02),
        with_holes,
        as_categories,
        lambda items: items.assign(y=np.arange(800) % 20),
    ],
    ids=["size", "columns", "balance", "missing", "kinds", "classes"],
)
def test_data_that_differs_is_far(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    items = table(800)
    assert distance(features(items), features(change(items))) > RADIUS


def test_a_distance_is_one() -> None:
    one, two, three = features(table(100)), features(table(400)), features(table(200, columns=9))
    assert distance(one, one) == 0
    assert distance(one, two) == distance(two, one) > 0
    assert distance(one, three) <= distance(one, two) + distance(two, three) + 1e-12


def test_shares_count_as_nothing_where_they_are_not_and_other_features_not_at_all() -> None:
    assert distance({"column:text": 0.6}, {"column:numeric": 0.8}) == pytest.approx(1.0)
    assert distance({"items": 3.0, "balance": 1.0}, {"items": 3.0}) == 0.0


def test_targets_without_classes_and_texts_are_described_by_finite_numbers() -> None:
    items = pd.DataFrame({"words": ["one two", "three"] * 20, "y": np.arange(40.0)})
    block = DataBlock([TextBlock(["words"])], RegressionBlock("y"), {"train": items})
    found = describe(block, block.prepare(0))
    assert found["text_bytes"] == pytest.approx(math.log10(1 + 6), abs=0.1)
    assert "balance" not in found
    assert json.loads(json.dumps(found, allow_nan=False)) == found
