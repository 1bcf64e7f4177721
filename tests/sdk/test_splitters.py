"""How items are held out: by a column, by group, by time, at random."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seedbed_sdk.blocks import CategoryBlock, TabularBlock
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.file_names import groups_of_names
from seedbed_sdk.splitters import (
    ColumnSplitter,
    FileGroupSplitter,
    GroupSplitter,
    RandomSplitter,
    Splitter,
    TimeSplitter,
    choose_splitter,
)
from seedbed_sdk.task import TaskOptions


def divided(
    splitter: Splitter, items: pd.DataFrame, labels: Array | None = None, seed: int = 0
) -> dict[str, list[int]]:
    """The rows of the three splits, as a DataBlock takes them out."""
    rest = np.arange(len(items))
    splits = {}
    for split in ("test", "valid"):
        rest, held = splitter.hold_out(split, rest, items, labels, seed)
        splits[split] = held.tolist()
    return {"train": rest.tolist(), **splits}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, RandomSplitter),
        ({"group_column": "g"}, GroupSplitter),
        ({"time_column": "t"}, TimeSplitter),
        ({"split_column": "s"}, ColumnSplitter),
    ],
)
def test_the_options_choose_the_splitter(options: dict[str, str], kind: type[Splitter]) -> None:
    splitter = choose_splitter(TaskOptions(valid_fraction=0.1, test_fraction=0.3, **options))  # type: ignore[arg-type]
    assert type(splitter) is kind
    assert dict(splitter.columns) == options
    assert (splitter.valid_fraction, splitter.test_fraction) == (0.1, 0.3)  # type: ignore[attr-defined]


def test_two_ways_to_split_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"job.options.time_column: .* two ways to split"):
        choose_splitter(TaskOptions(time_column="t", group_column="g"))


def test_groups_and_splits_are_no_features_and_times_are_left() -> None:
    assert TaskOptions(group_column="g").not_features == ("g",)
    assert TaskOptions(split_column="s").not_features == ("s",)
    assert TaskOptions(time_column="t").not_features == ()


def test_a_column_that_does_not_exist_is_named_with_its_option() -> None:
    items = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    with pytest.raises(InvalidArgument, match=r"job.options.group_column: no column 'patient'"):
        DataBlock(
            [TabularBlock({"x": "numeric"})],
            CategoryBlock("y"),
            {"train": items},
            choose_splitter(TaskOptions(group_column="patient")),
        )


@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**31),
)
def test_no_group_is_torn_and_no_split_is_empty(
    sizes: list[int], fraction: float, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    items = pd.DataFrame({"g": groups}).sample(frac=1, random_state=1, ignore_index=True)
    labels = np.arange(len(items)) % 3
    splits = divided(GroupSplitter(fraction, fraction, column="g"), items, labels, seed)
    assert sorted(row for rows in splits.values() for row in rows) == list(range(len(items)))
    held = {split: set(items["g"].iloc[rows]) for split, rows in splits.items()}
    assert all(held.values())
    assert len(held["train"] | held["valid"] | held["test"]) == sum(map(len, held.values()))


def test_groups_keep_the_classes_shares() -> None:
    generator = np.random.default_rng(0)
    group_class = generator.choice(3, size=300, p=[0.7, 0.2, 0.1])
    groups = np.repeat(np.arange(300), generator.integers(1, 12, size=300))
    labels = group_class[groups]
    items = pd.DataFrame({"g": groups})
    splits = divided(GroupSplitter(0.2, 0.2, column="g"), items, labels)
    of_all = np.bincount(labels) / len(labels)
    for split in ("valid", "test"):
        of_split = np.bincount(labels[splits[split]]) / len(splits[split])
        assert np.abs(of_split - of_all).max() < 0.02
        assert abs(len(splits[split]) / len(labels) - 0.18) < 0.03


def test_items_without_a_group_are_each_alone() -> None:
    items = pd.DataFrame({"g": ["a"] * 5 + [None] * 20})
    splits = divided(GroupSplitter(column="g"), items)
    assert len(splits["test"]) == 5
    assert len(splits["valid"]) == 4


def frames(videos: int, count: int) -> pd.DataFrame:
    """Pictures of several videos and as many with names of their own."""
    names = [f"images/v{i}_{j:03}.png" for i in range(videos) for j in range(count)]
    names += [f"images/alone{i}.png" for i in range(videos)]
    return pd.DataFrame({"image": pd.Series([FileRef(n, bytes) for n in names], dtype=object)})


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"([^/]*)_\d+", ["v1", "", "b"]),
        (r"[^/]*_\d+", ["v1_02", "", "b_9"]),
        (r"^([^/]+)/(.)", ["a", "a", "c"]),
        (r"v(\d)|b", ["1", "", ""]),
        (r"(?i)(B)_", ["", "", "b"]),
    ],
)
def test_groups_that_names_tell_of(pattern: str, groups: list[str]) -> None:
    assert groups_of_names(["a/v1_02.png", "a/x.png", "c/b_9\n.png"], pattern).tolist() == groups


def test_files_are_split_by_the_group_in_their_names() -> None:
    options = TaskOptions(group_pattern=r"([^/]*)_\d+\.")
    splitter = choose_splitter(options, files="image")
    assert isinstance(splitter, FileGroupSplitter)
    assert dict(splitter.columns) == {"group_pattern": "image"}
    items = frames(12, 8)
    splitter.check(items)
    labels = np.arange(len(items)) % 3
    splits = divided(splitter, items, labels)
    assert splits == divided(splitter, items, labels)
    assert sorted(row for rows in splits.values() for row in rows) == list(range(len(items)))
    videos = {s: {row // 8 for row in rows if row < 96} for s, rows in splits.items()}
    assert len(set.union(*videos.values())) == sum(map(len, videos.values())) == 12
    assert all(abs(len(splits[s]) / len(items) - 0.2) < 0.08 for s in ("valid", "test"))
    alone = {s: sum(row >= 96 for row in rows) for s, rows in splits.items()}
    assert alone["train"] < sum(alone.values()) == 12


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", r"'\(a' is no regular expression as RE2 understands it.*missing \)"),
        (r"(?=v)", "neither lookarounds nor backreferences"),
        (r"a)(b", "is no regular expression"),
        (r"clip(\d+)", r"matches none of 27 names of files, such as 'images/v0_000\.png'"),
        (r"^(images)", r"finds the one group 'images' in all of 27 names .* at least 3 groups"),
    ],
)
def test_patterns_that_will_not_do(pattern: str, message: str) -> None:
    splitter = choose_splitter(TaskOptions(group_pattern=pattern), files="image")
    with pytest.raises(
        InvalidArgument, match=f"job.options.group_pattern: the pattern .*{message}"
    ):
        splitter.check(frames(3, 8))


def test_rows_have_no_names_to_match() -> None:
    with pytest.raises(InvalidArgument, match=r"job.options.group_pattern: .* rows of a table"):
        choose_splitter(TaskOptions(group_pattern="a"))
    with pytest.raises(InvalidArgument, match=r"job.options.group_pattern: .* two ways to split"):
        choose_splitter(TaskOptions(group_pattern="a", group_column="g"), files="image")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)(.*)(.*)(.*)(.*)c"])
def test_a_hostile_pattern_takes_no_longer(pattern: str) -> None:
    assert set(groups_of_names(["a" * 255 + "!"] * 1000, pattern)) == {""}
    with pytest.raises(ValidationError):
        TaskOptions(group_pattern=pattern * 50)


def test_two_groups_are_too_few_without_a_test_split() -> None:
    items = pd.DataFrame({"g": ["a", "b"] * 10})
    with pytest.raises(InvalidArgument, match="at least 3 groups are needed"):
        divided(GroupSplitter(column="g"), items)


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.date_range("2024-01-01", periods=100)),
        pd.Series(pd.date_range("2024-01-01", periods=100)).dt.strftime("%d.%m.%Y"),
        pd.Series(np.arange(100) * 3600 + 1_700_000_000),
    ],
    ids=["dates", "text", "seconds"],
)
def test_the_newest_are_for_testing_and_those_before_for_validation(times: pd.Series) -> None:
    shuffled = np.random.default_rng(0).permutation(100)
    items = pd.DataFrame({"t": times.iloc[shuffled].reset_index(drop=True)})
    splits = divided(TimeSplitter(column="t"), items)
    age = {split: shuffled[rows] for split, rows in splits.items()}
    assert age["train"].max() < age["valid"].min()
    assert age["valid"].max() < age["test"].min()
    assert (len(age["valid"]), len(age["test"])) == (16, 20)


def test_items_of_the_same_time_stay_together() -> None:
    items = pd.DataFrame({"t": np.repeat([2019, 2020, 2021, 2022], 25)})
    splits = divided(TimeSplitter(column="t"), items)
    assert splits["test"] == list(range(75, 100))
    assert splits["valid"] == list(range(50, 75))


def test_items_without_a_time_are_trained_on() -> None:
    items = pd.DataFrame({"t": [None, *range(2000, 2019)]})
    assert 0 in divided(TimeSplitter(column="t"), items)["train"]


def test_a_column_of_one_time_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match=r"job.options.time_column: .* no two different times"
    ):
        divided(TimeSplitter(column="t"), pd.DataFrame({"t": ["2024-05-01"] * 9}))


def test_a_column_says_the_split_in_usual_words() -> None:
    items = pd.DataFrame({"s": ["Training", "dev", "TEST ", "train", "holdout", "val"]})
    assert divided(ColumnSplitter(column="s"), items) == {
        "train": [0, 3],
        "valid": [1, 5],
        "test": [2, 4],
    }


def test_a_split_that_the_column_lacks_is_random_among_training_items() -> None:
    items = pd.DataFrame({"s": ["train"] * 40 + ["test"] * 10})
    splits = divided(ColumnSplitter(column="s"), items, labels=np.arange(50) % 2)
    assert splits["test"] == list(range(40, 50))
    assert len(splits["valid"]) == 8 and max(splits["valid"]) < 40
    reversed_roles = pd.DataFrame({"s": ["train"] * 40 + ["valid"] * 10})
    splits = divided(ColumnSplitter(column="s"), reversed_roles)
    assert splits["valid"] == list(range(40, 50))
    assert len(splits["test"]) == 8 or len(splits["test"]) == 10


def test_words_that_name_no_split_are_listed() -> None:
    items = pd.DataFrame({"s": ["train", "fold3", "test"]})
    with pytest.raises(
        InvalidArgument, match=r"job.options.split_column: .*'fold3'.* name no split"
    ):
        ColumnSplitter(column="s").check(items)


@pytest.mark.parametrize(
    "splitter", [RandomSplitter(), GroupSplitter(column="g"), TimeSplitter(column="g")]
)
def test_the_same_seed_gives_the_same_splits(splitter: Splitter) -> None:
    items = pd.DataFrame({"g": np.random.default_rng(3).integers(0, 30, size=200)})
    assert divided(splitter, items, seed=5) == divided(splitter, items, seed=5)
