"""Users, items, ratings and interactions as arrays."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.blocks import InteractionBlock, Ranking, RatingBlock, Regression, UserItemBlock
from seedbed_sdk.blocks.rating import doubtful_scale
from seedbed_sdk.blocks.side_features import side_features
from seedbed_sdk.blocks.vocabulary import labels_of, pack, unpack
from seedbed_sdk.errors import InvalidArgument

ROWS = pd.DataFrame({"u": [1, 1, 2, 3, 2], "i": ["a", "b", "a", "c", "b"]})
MOVIES = pd.DataFrame(
    {
        "i": ["a", "b", "c", "d", "d"],
        "title": ["Alien (1979)", "Heat (1995)", "Up (2009)", "Her (2013)", "again (1900)"],
        "genres": ["sf|horror", "crime", None, "sf", "crime"],
        "length": [117, 170, np.nan, 126, 1],
    }
)


def fitted(**tables: pd.DataFrame) -> UserItemBlock:
    block = UserItemBlock("u", "i", **tables)
    block.fit(ROWS)
    return block


# --- users and items -----------------------------------------------------------------------------


def test_codes_are_places_among_the_sorted_labels() -> None:
    encoded = fitted().encode(pd.DataFrame({"u": [3, "2", 9], "i": ["c", "a", "zz"]}))
    assert encoded.arrays["user"].tolist() == [3, 2, 0]
    assert encoded.arrays["item"].tolist() == [3, 1, 0]
    assert not encoded.problems


def test_missing_users_and_items_are_named() -> None:
    rows = pd.DataFrame({"u": [1, None, 2], "i": ["a", "b", " "]}, index=[10, 11, 12])
    problems = fitted().encode(rows).problems
    assert [(p.position, p.name, p.reason) for p in problems] == [
        (1, "row 11", "no user in column 'u'"),
        (2, "row 12", "no item in column 'i'"),
    ]


def test_whole_numbers_have_the_same_labels_as_floats_and_texts() -> None:
    column = pd.Series([1, 1.0, "1", None, "x"], dtype=object)
    assert labels_of(column).tolist() == ["1", "1", "1", None, "x"]
    assert labels_of(pd.Series([[1], None, [1]])).tolist() == ["[1]", None, "[1]"]


def test_it_remembers_what_users_have_seen_in_order() -> None:
    block = fitted()
    assert block.seen_by(1).tolist() == [1, 2]
    assert block.seen_by(0).tolist() == []
    assert block.users_of(1).tolist() == [1, 2]
    block.remember(np.array([2, 1, 2]), np.array([3, 1, 1]), np.array([False, True, True]))
    assert (block.seen_by(2).tolist(), block.liked_by(2).tolist()) == ([3, 1], [1])


def test_items_of_the_side_table_are_known() -> None:
    block = fitted(item_table=MOVIES)
    assert block.items == ("a", "b", "c", "d")
    assert block.item_features.shape == (5, len(block.item_feature_names))
    assert not block.item_features[0].any()


def test_a_single_user_is_not_enough() -> None:
    block = UserItemBlock("u", "i")
    with pytest.raises(InvalidArgument, match="1 different values in the column 'u' of users"):
        block.fit(ROWS[ROWS.u == 1])


def test_the_state_is_json_and_comes_back() -> None:
    block = fitted(item_table=MOVIES)
    state = json.loads(json.dumps(block.state()))
    again = UserItemBlock.from_state(state)
    assert again.state() == block.state()
    for name, array in block.encode(ROWS).arrays.items():
        assert np.array_equal(again.encode(ROWS).arrays[name], array)
    assert np.array_equal(again.item_features, block.item_features)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool"])
def test_packed_arrays_come_back(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    again = unpack(json.loads(json.dumps(pack(array))))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


# --- features ------------------------------------------------------------------------------------


def test_features_of_lists_numbers_and_titles() -> None:
    names, values = side_features(MOVIES, "i", ["a", "b", "c", "d", "new"])
    table = dict(zip(names, values.T, strict=True))
    assert table["genres=sf"].tolist() == [1, 0, 0, 1, 0]
    assert "genres=horror" not in table, "one row alone has it"
    assert table["length"][2] == 0.0
    assert table["title.year"][0] < table["title.year"][1] < 0 < table["title.year"][2]
    assert values.dtype == np.float32


def test_a_table_that_says_nothing_gives_no_features() -> None:
    table = pd.DataFrame({"i": ["a", "b"], "same": [1, 1], "empty": [None, None]})
    names, values = side_features(table, "i", ["a", "b"])
    assert (names, values.shape) == ((), (2, 0))


# --- ratings -------------------------------------------------------------------------------------


def test_the_scale_is_what_the_ratings_span() -> None:
    block = RatingBlock("r")
    block.fit(pd.DataFrame({"r": [1.0, 4.5, None, 3.0]}))
    assert (block.low, block.high) == (1.0, 4.5)
    block.half_width = 2.0
    (prediction,) = block.decode(np.array([[4.0]]))
    assert prediction == Regression(4.0, 2.0, 4.5, 0.9)
    again = RatingBlock.from_state(json.loads(json.dumps(block.state())))
    assert again.state() == block.state()


def test_ratings_outside_of_a_given_scale_cannot_be_used() -> None:
    block = RatingBlock("r", (1.0, 5.0))
    rows = pd.DataFrame({"r": [1.0, 99.0, 5.0, None]})
    block.fit(rows)
    assert block.mean == 3.0
    problems = {p.position: p.reason for p in block.encode(rows).problems}
    assert problems.keys() == {1, 3}
    assert problems[1] == "rating 99 is outside of the scale 1 to 5"


def test_outputs_of_networks_stay_within_the_scale() -> None:
    import torch

    block = RatingBlock("r")
    block.fit(pd.DataFrame({"r": [1.0, 2.0, 5.0]}))
    assert block.activate(torch.tensor([[-9.0], [0.0], [9.0]])).flatten().tolist() == pytest.approx(
        [1.0, 8 / 3, 5.0]
    )


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        (np.tile([1, 2, 3, 4, 5], 20), ""),
        (np.arange(0.5, 5.5, 0.5), ""),
        (np.array([1, 1, 1]), ""),
        (np.arange(500), "500 different values from 0 to 499"),
        (np.array([1, 2, 3, 4, 5, 99] * 9), "99 is far from the other values, 1 to 5"),
    ],
)
def test_scales_that_look_wrong(values: np.ndarray, doubt: str) -> None:
    found = doubtful_scale(values.astype(float))
    assert doubt in found
    assert bool(found) == bool(doubt)


# --- interactions --------------------------------------------------------------------------------


def test_rows_count_from_a_rating_on() -> None:
    rows = pd.DataFrame({"r": [1.0, 4.0, None, 5.0]})
    encoded = InteractionBlock("r", 4.0).encode(rows)
    assert encoded.arrays["target"][:, 0].tolist() == [0, 1, 0, 1]
    assert [p.position for p in encoded.problems] == [2]
    assert InteractionBlock("r").encode(rows).arrays["target"][:, 0].tolist() == [1, 1, 0, 1]


def test_a_rating_that_nobody_gave() -> None:
    with pytest.raises(InvalidArgument, match="none of 2 rows has a value of at least 6") as caught:
        InteractionBlock("r", 6.0).fit(pd.DataFrame({"r": [1.0, 5.0]}))
    assert caught.value.violations[0].field == "job.options.positive_from"


def test_rankings_are_decoded_without_padding() -> None:
    block = InteractionBlock("i", items=("a", "b", "c"))
    (ranking,) = block.decode(np.array([[3, 1, -1]]))
    assert ranking == Ranking((("c", 1.0), ("a", 0.5)))
