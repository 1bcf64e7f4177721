"""The DataBlock: splits, bad items, and the five questions in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk import encoding, mapped
from seedbed_sdk.blocks import CategoryBlock, TabularBlock
from seedbed_sdk.blocks.base import Encoded
from seedbed_sdk.datablock import DataBlock, PreparedData
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.splitters import GroupSplitter, RandomSplitter
from seedbed_sdk.testing.folders import PlainFolders
from seedbed_sdk.trainer import SplitArrays


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


# --- prepared once -------------------------------------------------------------------------------


class CountingBlock(TabularBlock):
    """Counts the items it has encoded, over all instances."""

    encoded = 0

    def encode(self, items: pd.DataFrame) -> Encoded:
        CountingBlock.encoded += len(items)
        return super().encode(items)


def counting(items: pd.DataFrame, **options: float) -> DataBlock:
    """A block whose inputs are counted; a tenth of the items has no label."""
    items = items.copy()
    items.loc[::10, "y"] = None
    return DataBlock(
        [CountingBlock({"x": "numeric"})],
        CategoryBlock("y"),
        {"train": items, "test": table(30)},
        RandomSplitter(**options),
    )


def assert_equal(a: PreparedData, b: PreparedData) -> None:
    for split in ("train", "valid", "test"):
        first: SplitArrays = getattr(a, split)
        second: SplitArrays = getattr(b, split)
        assert first.inputs.keys() == second.inputs.keys()
        for name, array in first.inputs.items():
            assert array.dtype == second.inputs[name].dtype
            assert np.array_equal(array, second.inputs[name])
        assert np.array_equal(first.target, second.target)
    assert {k: list(v) for k, v in a.problems.items()} == {
        k: list(v) for k, v in b.problems.items()
    }


def test_a_second_job_encodes_nothing_and_gets_the_same(tmp_path: Path) -> None:
    items = table(1000)
    without = counting(items).prepare(seed=3)
    first = counting(items).prepare(3, PlainFolders(tmp_path))
    CountingBlock.encoded = 0
    again = counting(items)
    second = again.prepare(3, PlainFolders(tmp_path))
    assert CountingBlock.encoded == 0
    assert_equal(without, first)
    assert_equal(first, second)
    assert again.state() == counting_state(items)
    assert len(second.problems["train"]) == 100


def counting_state(items: pd.DataFrame) -> object:
    fitted = counting(items)
    fitted.prepare(seed=0)
    return fitted.state()


def test_another_split_of_the_same_data_encodes_nothing(tmp_path: Path) -> None:
    items = table(1000)
    first = counting(items).prepare(3, PlainFolders(tmp_path))
    CountingBlock.encoded = 0
    other_seed = counting(items).prepare(4, PlainFolders(tmp_path))
    larger = counting(items, valid_fraction=0.4).prepare(3, PlainFolders(tmp_path))
    assert CountingBlock.encoded == 0
    assert not np.array_equal(first.valid.target, other_seed.valid.target)
    assert len(larger.valid) == 360


def test_stored_arrays_belong_to_a_split(tmp_path: Path) -> None:
    items = table(200)
    computed: list[int] = []

    def features(seed: int) -> int:
        store = counting(items).prepare(seed, PlainFolders(tmp_path)).store
        assert store is not None
        store.get_or_compute("features", lambda: computed.append(seed) or {"x": np.ones(1)})  # type: ignore[func-returns-value]
        return len(computed)

    assert [features(1), features(1), features(2), features(1)] == [1, 1, 2, 2]


def test_larger_than_memory_stays_in_files_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 2_000)
    monkeypatch.setattr(mapped, "CHUNK_BYTES", 2_000)
    items = table(3000)
    cache = PlainFolders(tmp_path, memory_limit=1_000)
    large = counting(items).prepare(3, cache)
    assert_equal(large, counting(items).prepare(seed=3))
    for split in (large.train, large.valid):
        assert mapped.is_mapped(split.inputs["numeric"])
        assert not split.inputs["numeric"].flags.writeable
    assert_equal(large, counting(items).prepare(3, cache))
    assert len(cache.written) == 2


def test_splits_by_a_column_work_on_what_is_left(tmp_path: Path) -> None:
    items = table(300).assign(g=np.arange(300) // 10)
    items.loc[::7, "y"] = None
    block = DataBlock(
        [TabularBlock({"x": "numeric"})],
        CategoryBlock("y"),
        {"train": items},
        GroupSplitter(column="g"),
    )
    for data in (block.prepare(seed=1), block.prepare(1, PlainFolders(tmp_path))):
        group = dict(zip(items["x"].astype(np.float32), items["g"], strict=True))
        groups = {
            name: {group[x] for x in getattr(data, name).inputs["numeric"][:, 0]}
            for name in ("train", "valid", "test")
        }
        assert not groups["train"] & groups["valid"]
        assert not groups["train"] & groups["test"]
        assert not groups["valid"] & groups["test"]


def test_bad_items_of_every_chunk_are_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "FIRST_CHUNK", 7)
    monkeypatch.setattr(encoding, "MAX_CHUNK", 10)
    items = table(100).astype({"x": object})
    items.loc[[2, 50, 99], "x"] = "broken"
    data = block(train=items).prepare(seed=0)
    assert [problem.position for problem in data.problems["train"]] == [2, 50, 99]
    assert len(data.train) + len(data.valid) + len(data.test) == 97


def test_too_many_bad_items_keep_nothing(tmp_path: Path) -> None:
    items = table(40).astype({"x": object})
    items.loc[:20, "x"] = "broken"
    cache = PlainFolders(tmp_path)
    with pytest.raises(InvalidArgument, match="21 of 40 items of the train split cannot be used"):
        block(train=items).prepare(0, cache)
    assert not cache.written
