"""Targets: what is learned from them, and what a user reads when there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.blocks import CategoryBlock, Classification, Regression, RegressionBlock
from seedbed_sdk.errors import InvalidArgument


def frame(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"y": list(values)})


def error_of(block: CategoryBlock | RegressionBlock, items: pd.DataFrame) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        block.fit(items)
    assert caught.value.violations[0].field == "job.target"
    return caught.value


def test_classes_are_sorted_and_whole_floats_read_as_whole_numbers() -> None:
    block = CategoryBlock("y")
    block.fit(frame(2.0, 1.0, None, 1.0))
    assert block.classes == ("1", "2")
    encoded = block.encode(frame(1, 2.0, None, 3))
    assert encoded.arrays["target"].tolist() == [0, 1, 0, 0]
    assert [(p.position, p.reason) for p in encoded.problems] == [
        (2, "no label in column 'y'"),
        (3, "label '3' does not occur in the training data"),
    ]


def test_a_target_with_one_class_or_none_is_refused() -> None:
    assert (
        "single class 'a' in all of 3 rows; at least two classes"
        in error_of(CategoryBlock("y"), frame("a", "a", "a")).message
    )
    assert (
        "has no value in any of 2 rows" in error_of(CategoryBlock("y"), frame(None, None)).message
    )
    assert "is 4 in all of 2 rows" in error_of(RegressionBlock("y"), frame(4, 4)).message
    assert (
        "has no number in any of 2 rows" in error_of(RegressionBlock("y"), frame("a", "b")).message
    )


def test_decoded_classes_are_ordered_by_probability() -> None:
    block = CategoryBlock("y", ("a", "b", "c"))
    (prediction,) = block.decode(np.array([[0.2, 0.5, 0.3]]))
    assert prediction == Classification("b", (("b", 0.5), ("c", 0.3), ("a", 0.2)))


def test_regression_comes_back_in_its_own_unit_with_an_interval() -> None:
    block = RegressionBlock("y")
    block.fit(frame(10, 20, 30))
    raw = torch.tensor([[0.0], [1.0]])
    values = block.activate(raw).numpy()
    assert values[:, 0] == pytest.approx([20.0, 20 + np.std([10, 20, 30])])
    block.calibrate(np.linspace(-1, 1, 200), np.zeros((200, 1)))
    (prediction,) = block.decode(np.array([[5.0]]))
    assert isinstance(prediction, Regression)
    assert prediction.lower is not None and prediction.upper is not None
    assert prediction.upper - 5 == pytest.approx(0.9, abs=0.03)
    again = RegressionBlock.from_state(block.state())
    assert again.decode(np.array([[5.0]])) == [prediction]


@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200))
def test_intervals_cover_at_least_the_share_they_promise(residuals: list[float]) -> None:
    block = RegressionBlock("y")
    outputs = np.asarray(residuals)[:, None]
    block.calibrate(np.zeros(len(residuals)), outputs)
    assert block.half_width is not None
    assert np.mean(np.abs(outputs) <= block.half_width) >= 0.9


def test_intervals_are_wider_where_errors_are_larger() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(1, 10, 4000)
    truth = values + generator.normal(size=4000) * values
    block = RegressionBlock("y")
    block.calibrate(truth[:2000], values[:2000, None])
    predictions = block.decode(values[2000:, None])
    bounds = np.array([(p.lower, p.upper) for p in predictions if isinstance(p, Regression)])
    widths = bounds[:, 1] - bounds[:, 0]
    small, large = values[2000:] < 3, values[2000:] > 8
    assert widths[large].mean() > 3 * widths[small].mean()
    inside = (bounds[:, 0] <= truth[2000:]) & (truth[2000:] <= bounds[:, 1])
    for part in (small, large, small | ~small):
        assert inside[part].mean() == pytest.approx(0.9, abs=0.03)
