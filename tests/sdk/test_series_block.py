"""Series: wide tables and columns of lists in, equally long series and their pictures out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_sdk.blocks import SeriesBlock
from seedbed_sdk.blocks.series import parse_series
from seedbed_sdk.blocks.series_images import bin_means, images_of
from seedbed_sdk.errors import InvalidArgument


def wide(*rows: list[object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[f"t{i}" for i in range(len(rows[0]))])


def lists(**channels: list[object]) -> pd.DataFrame:
    return pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in channels.items()})


def fitted(items: pd.DataFrame, **options: bool) -> SeriesBlock:
    block = SeriesBlock(list(items.columns), **{"wide": True, **options})
    block.fit(items)
    return block


def test_rows_become_series_in_standard_scores_of_the_training_series() -> None:
    items = wide([float(i) for i in range(10)], [float(i) for i in range(10, 20)])
    block = fitted(items)
    series = block.encode(items).arrays["series"]
    assert series.shape == (2, 1, 10) and series.dtype == np.float32
    np.testing.assert_allclose(series.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(series.std(), 1, atol=1e-6)
    assert series[0].mean() < series[1].mean()


def test_each_series_can_be_standardised_by_itself_and_a_constant_one_is_zero() -> None:
    items = wide([float(i) for i in range(10)], [7.3] * 10)
    series = fitted(items, per_series=True).encode(items).arrays["series"]
    np.testing.assert_allclose(series[0].std(), 1, atol=1e-6)
    assert not series[1].any()


def test_gaps_are_filled_and_missing_ends_cut_off() -> None:
    full = [float(i) for i in range(16)]
    gap = [*full[:5], None, None, *full[7:]]
    short = [None, None, *full[2:12], None, None, None, None]
    items = wide(full, gap, short)
    series = fitted(items).encode(items).arrays["series"]
    np.testing.assert_allclose(series[0], series[1], atol=1e-5)
    np.testing.assert_allclose(series[2, 0, [0, -1]], series[0, 0, [2, 11]], atol=1e-5)


def test_lists_of_any_length_are_resampled_to_the_median() -> None:
    items = lists(x=[[0, 1] * 4, list(range(20)), list(range(40))])
    block = fitted(items, wide=False)
    assert block.length == 20
    series = block.encode(items).arrays["series"]
    np.testing.assert_allclose(
        series[1, 0] * 2, series[2, 0] - series[2, 0, 0] + 2 * series[1, 0, 0], atol=1e-5
    )


def test_long_series_are_shortened_to_the_limit() -> None:
    items = lists(x=[np.arange(5_000)])
    assert fitted(items, wide=False).encode(items).arrays["series"].shape == (1, 1, 1_024)


def test_a_channel_without_values_is_zero() -> None:
    items = lists(x=[[1.0, 2.0] * 5] * 2, y=[[None] * 10, [3.0] * 10])
    series = fitted(items, wide=False).encode(items).arrays["series"]
    assert series[0, 0].any() and not series[0, 1].any() and np.isfinite(series).all()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1.0, np.inf, 3.0], "it has values that are infinite or larger than 1e+30"),
        ([None, None], "it has no values"),
        ([], "it has no values"),
        (None, "column 'x' holds 'None', not a list of numbers"),
        (["a", "b"], "column 'x' holds \"['a', 'b']\", not a list of numbers"),
        ([[1], [2]], "column 'x' holds '[[1], [2]]', not a list of numbers"),
    ],
)
def test_what_is_no_series_is_named_with_its_reason(value: object, reason: str) -> None:
    items = lists(x=[list(range(10))] * 3)
    block = fitted(items, wide=False)
    result = block.encode(lists(x=[list(range(10)), value]))
    (problem,) = result.problems
    assert (problem.position, problem.name, problem.reason) == (1, "row 1", reason)
    assert not result.arrays["series"][1].any() and not result.arrays["image"][1].any()


def test_text_in_a_wide_row_and_channels_of_unequal_length_are_problems() -> None:
    items = wide([1.0] * 5 + [2.0] * 5, [1.0] * 4 + ["many"] + [3.0] * 5)
    (problem,) = fitted(items.iloc[:1]).encode(items).problems
    assert problem.reason == "'many' in column 't4' is no number"
    items = lists(x=[[1, 2, 3]], y=[[1, 2]])
    with pytest.raises(InvalidArgument, match="its channels have 2 and 3 values, not as many"):
        fitted(items, wide=False)


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="101 channels; at most 100"):
        fitted(lists(**{f"c{i}": [[1, 2, 3]] for i in range(101)}), wide=False)


@pytest.mark.parametrize("text", ["1 2.5 -3", "1,2.5,-3", "1; 2.5; -3", "[1, 2.5, -3]"])
def test_text_of_numbers_is_a_series(text: str) -> None:
    parsed = parse_series(text)
    assert parsed is not None and parsed.tolist() == [1.0, 2.5, -3.0]


@pytest.mark.parametrize("text", ["", "abc", "[1, 2", "2024-01-01", '["a"]', "[[1]]"])
def test_other_text_is_not(text: str) -> None:
    assert parse_series(text) is None


def test_state_is_json_and_encodes_the_same() -> None:
    items = lists(x=[list(range(10)), list(range(5))], y=[[1.0] * 10, [2.0] * 5])
    block = fitted(items, wide=False)
    again = SeriesBlock.from_state(json.loads(json.dumps(block.state())))
    for name, array in block.encode(items).arrays.items():
        np.testing.assert_array_equal(array, again.encode(items).arrays[name])
    assert [f.type for f in again.fields()] == ["series", "series"]


def test_means_of_stretches_keep_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, 101))
    np.testing.assert_allclose(bin_means(values, 7).mean(axis=1), values.mean(axis=1))
    np.testing.assert_allclose(bin_means(values, 101), values)


def test_the_pictures_are_the_published_fields() -> None:
    series = np.random.default_rng(0).normal(size=(1, 1, 20)).astype(np.float32)
    image = images_of(series)[0].astype(float) / 255
    x = series[0, 0].astype(float)
    angle = np.arccos(2 * (x - x.min()) / (x.max() - x.min()) - 1)
    summation = np.cos(angle[:, None] + angle[None])
    difference = np.sin(angle[:, None] - angle[None])
    np.testing.assert_allclose(image[..., 0], (summation + 1) / 2, atol=0.003)
    np.testing.assert_allclose(image[..., 1], (difference + 1) / 2, atol=0.003)
    np.testing.assert_allclose(image[..., 2], np.exp(-np.abs(x[:, None] - x)), atol=0.003)


@pytest.mark.parametrize(
    ("channels", "length", "side"),
    [(1, 10, 10), (1, 500, 64), (2, 500, 128), (9, 500, 159), (100, 500, 160)],
)
def test_channels_stand_beside_each_other(channels: int, length: int, side: int) -> None:
    series = np.random.default_rng(0).normal(size=(2, channels, length))
    assert images_of(series).shape == (2, side, side, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(width=64)), max_size=40), min_size=1, max_size=5
    )
)
def test_any_lists_are_encoded_or_named(rows: list[list[float | None]]) -> None:
    block = SeriesBlock(["x"], wide=False)
    good = [[1.0, 2.0, 4.0] * 4]
    block.fit(lists(x=good))
    result = block.encode(lists(x=[*rows, *good]))
    assert len(result.arrays["series"]) == len(rows) + 1
    assert np.isfinite(result.arrays["series"]).all()
    assert len(rows) not in {p.position for p in result.problems}
