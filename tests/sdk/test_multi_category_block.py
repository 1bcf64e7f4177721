"""Any number of labels for an item, and how they are measured."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from seedbed_sdk.blocks import MultiCategoryBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS


def fitted(values: list[object]) -> tuple[MultiCategoryBlock, pd.DataFrame]:
    items = pd.DataFrame({"tags": pd.Series(values, dtype=object)})
    block = MultiCategoryBlock(["tags"])
    block.fit(items)
    return block, items


def test_labels_stand_in_a_column_as_text_or_lists() -> None:
    block, items = fitted(["red|big", " red ; round", "big, round", "", ["round"], 7.0, None])
    assert block.classes == ("7", "big", "red", "round")
    encoded = block.encode(items)
    assert encoded.arrays["target"].tolist() == [
        [0, 1, 1, 0],
        [0, 0, 1, 1],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    (problem,) = encoded.problems
    assert (problem.position, problem.reason) == (6, "no labels in column 'tags'")


def test_labels_stand_in_columns_of_0_and_1() -> None:
    items = pd.DataFrame({"a": [1, 0, 1], "b": [True, False, True], "c": ["yes", "no", "maybe"]})
    block = MultiCategoryBlock(["a", "b", "c"])
    block.fit(items)
    encoded = block.encode(items)
    assert encoded.arrays["target"][:2].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert encoded.problems[0].reason == "column 'c' must be 0 or 1, got 'maybe'"


def test_a_label_that_is_new_is_a_bad_item() -> None:
    block, _ = fitted(["a|b", "b"])
    (problem,) = block.encode(pd.DataFrame({"tags": ["a|z"]})).problems
    assert problem.reason == "label 'z' does not occur in the training data"


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="names 1 classes in 2 rows; at least two are needed"):
        fitted(["a", ""])


def test_predictions_hold_the_labels_that_apply() -> None:
    block, _ = fitted(["a|b|c"])
    again = MultiCategoryBlock.from_state(json.loads(json.dumps(block.state())))
    first, none = again.decode(np.array([[0.6, 0.2, 0.9], [0.1, 0.2, 0.3]]))
    assert first.labels == ("c", "a")  # type: ignore[union-attr]
    assert first.probabilities[0] == ("c", 0.9)  # type: ignore[union-attr]
    assert none.labels == ()  # type: ignore[union-attr]


def test_learning_lowers_the_loss() -> None:
    block, items = fitted(["a", "b", "a|b", ""])
    target = torch.from_numpy(block.encode(items).arrays["target"])
    right, wrong = 8 * target - 4, 4 - 8 * target
    assert block.loss(right, target) < 0.1 < block.loss(wrong, target)
    assert torch.equal(block.activate(right) > 0.5, target > 0.5)


def test_metrics_take_several_labels() -> None:
    targets = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    outputs = np.array([[0.9, 0.2], [0.8, 0.4], [0.1, 0.3]])
    values = {name: METRICS[name].compute(targets, outputs) for name in MultiCategoryBlock.metrics}
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert values["hamming_loss"] == pytest.approx(1 / 6)
    assert values["micro_f1"] == pytest.approx(0.8)
    assert values["macro_f1"] == pytest.approx(0.5)
    assert values["roc_auc"] == pytest.approx(1.0)
    assert values["average_precision"] == pytest.approx(1.0)
    assert 0.2 < values["log_loss"] < 0.5


def test_the_rarest_label_decides_what_is_stratified() -> None:
    block, _ = fitted(["a|b", "a", "a", ""])
    encoded = np.array([[1, 1], [1, 0], [1, 0], [0, 0]], dtype=np.float32)
    groups = block.stratify(encoded)
    assert groups is not None
    assert groups.tolist() == [1, 0, 0, 2]
