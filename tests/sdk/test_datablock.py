"""The DataBlock: splits, bad items, and the five questions in one place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.blocks import CategoryBlock, TabularBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.splitters import RandomSplitter


def table(count: int, *, classes: int = 2) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {"x": generator.normal(size=count), "y": [f"c{i % classes}" for i in range(count)]}
    )


def block(**items: pd.DataFrame) -> DataBlock:
    return DataBlock([TabularBlock({"x": "numeric"})], CategoryBlock("y"), items)


def test_splits_that_are_missing_come_out_of_the_training_items() -> None:
    prepared = block(train=table(100)).prepare(seed=1)
    assert (len(prepared.train), len(prepared.valid), len(prepared.test)) == (64, 16, 20)
    rows = np.concatenate(
        [s.inputs["numeric"][:, 0] for s in (prepared.train, prepared.valid, prepared.test)]
    )
    assert len(np.unique(rows)) == 100


def test_a_given_test_split_is_left_as_it_is() -> None:
    prepared = block(train=table(100), test=table(30)).prepare(seed=1)
    assert (len(prepared.train), len(prepared.valid), len(prepared.test)) == (80, 20, 30)


def test_same_seed_same_split_and_other_seed_another() -> None:
    splits = [block(train=table(100)).prepare(seed).valid.inputs["numeric"] for seed in (1, 1, 2)]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


def test_items_without_a_target_are_left_out_and_counted() -> None:
    items = table(60)
    items.loc[[3, 7], "y"] = None
    prepared = block(train=items).prepare(seed=0)
    assert len(prepared.train) + len(prepared.valid) + len(prepared.test) == 58
    assert [p.reason for p in prepared.problems["train"]] == ["no label in column 'y'"] * 2


def test_too_few_items_are_refused_with_their_number() -> None:
    with pytest.raises(InvalidArgument, match="3 usable training items are left of 3; at least 4"):
        block(train=table(3)).prepare(seed=0)


def test_unknown_block_type_of_a_bundle_names_what_is_known() -> None:
    state = block(train=table(20)).state()
    state["inputs"][0]["type"] = "smell"
    with pytest.raises(
        InvalidArgument, match="data type 'smell'; this version knows tabular, image"
    ):
        DataBlock.from_state(state)


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**31),
)
def test_stratified_split_keeps_shares_and_never_takes_a_classes_last_item(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(labels))
    splitter = RandomSplitter(valid_fraction=fraction)
    stay, held = splitter.hold_out("valid", rows, pd.DataFrame(), labels, seed)
    assert sorted([*stay, *held]) == rows.tolist()
    assert len(held) >= 1 and len(stay) >= 1
    if any(count > 1 for count in counts):
        assert set(labels[stay]) == set(labels)
        for label, count in enumerate(counts):
            taken = int(np.sum(labels[held] == label))
            assert taken <= np.ceil(count * max(fraction, 1 / len(rows))) + 1
