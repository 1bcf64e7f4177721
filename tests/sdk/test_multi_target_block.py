"""Several targets at once: how they are encoded, scored and decoded."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error, r2_score

from seedbed_sdk.blocks import (
    CategoryBlock,
    Classification,
    MultiTarget,
    MultiTargetBlock,
    Regression,
    RegressionBlock,
)
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "colour": ["red", "green", "blue", "red", "green", "red"],
            "price": [1.0, 2.0, 3.0, 4.0, 5.0, 9.0],
            "sold": [True, False, True, False, True, False],
            "weight": [100.0, 300.0, 200.0, 500.0, 400.0, 600.0],
        }
    )


def mixed() -> MultiTargetBlock:
    block = MultiTargetBlock(
        [CategoryBlock("colour"), RegressionBlock("price"), CategoryBlock("sold")]
    )
    block.fit(table())
    return block


def test_encodes_classes_and_numbers_side_by_side() -> None:
    block = mixed()
    encoded = block.encode(table())
    assert not encoded.problems
    assert encoded.arrays["target"].dtype == np.float32
    assert encoded.arrays["target"][:3].tolist() == [[2, 1, 1], [1, 2, 0], [0, 3, 1]]
    assert (block.column, block.columns) == ("colour,price,sold", ("colour", "price", "sold"))
    assert block.output_size == 3 + 1 + 2


def test_an_item_that_lacks_one_target_is_one_problem() -> None:
    items = table().astype(object)
    items.loc[1, "price"] = None
    items.loc[1, "sold"] = None
    items.loc[4, "colour"] = "violet"
    encoded = mixed().encode(items)
    assert [(p.position, p.reason) for p in encoded.problems] == [
        (1, "no finite number in column 'price': None"),
        (4, "label 'violet' does not occur in the training data"),
    ]


def test_a_target_with_nothing_to_learn_is_refused() -> None:
    block = MultiTargetBlock([CategoryBlock("colour"), RegressionBlock("price")])
    with pytest.raises(InvalidArgument, match="'price' is 4 in all of 6 rows"):
        block.fit(table().assign(price=4.0))


def test_the_loss_is_the_mean_of_the_parts_losses() -> None:
    block = mixed()
    target = torch.from_numpy(block.encode(table()).arrays["target"])
    raw = torch.randn(6, block.output_size, generator=torch.Generator().manual_seed(0))
    colour, price, sold = block.parts
    alone = [
        colour.loss(raw[:, :3], target[:, 0].long()),
        price.loss(raw[:, 3:4], target[:, 1]),
        sold.loss(raw[:, 4:], target[:, 2].long()),
    ]
    assert float(block.loss(raw, target)) == pytest.approx(float(torch.stack(alone).mean()))


def test_outputs_hold_a_number_or_probabilities() -> None:
    block = mixed()
    raw = torch.randn(6, block.output_size, generator=torch.Generator().manual_seed(0))
    outputs = block.activate(raw).numpy()
    assert outputs.shape == (6, 3, 4)
    np.testing.assert_allclose(outputs[:, [0, 2], 1:].sum(axis=2), 1.0, rtol=1e-6)
    assert not outputs[:, [0, 2], 0].any() and not outputs[:, 1, 1:].any()
    np.testing.assert_allclose(outputs, block.join(block.part_outputs(outputs)))


def test_metrics_are_means_of_scikit_learns_over_the_targets() -> None:
    generator = np.random.default_rng(0)
    classes = MultiTargetBlock([CategoryBlock("colour"), CategoryBlock("sold")])
    classes.fit(table())
    target = np.stack([generator.integers(0, 3, 50), generator.integers(0, 2, 50)], axis=1)
    raw = torch.from_numpy(generator.normal(size=(50, 5)))
    outputs = classes.activate(raw).numpy()
    predicted = [part.argmax(axis=1) for part in classes.part_outputs(outputs)]
    for name, measure in (
        ("accuracy", accuracy_score),
        ("macro_f1", lambda true, guess: f1_score(true, guess, average="macro")),
    ):
        expected = np.mean([measure(target[:, i], predicted[i]) for i in range(2)])
        assert METRICS[name].compute(target.astype(np.float32), outputs) == pytest.approx(expected)

    numbers = MultiTargetBlock([RegressionBlock("price"), RegressionBlock("weight")])
    numbers.fit(table())
    true = numbers.encode(table()).arrays["target"]
    outputs = numbers.activate(torch.from_numpy(generator.normal(size=(6, 2)))).numpy()
    guess = outputs[:, :, 0]
    assert METRICS["r2"].compute(true, outputs) == pytest.approx(r2_score(true, guess))
    errors = np.sqrt(mean_squared_error(true, guess, multioutput="raw_values"))
    assert METRICS["rmse"].compute(true, outputs) == pytest.approx(errors.mean())


def test_which_metrics_there_are_follows_from_the_targets() -> None:
    assert (mixed().default_metric, mixed().metrics) == ("mean_score", ("mean_score",))
    classes = MultiTargetBlock([CategoryBlock("colour"), CategoryBlock("sold")])
    numbers = MultiTargetBlock([RegressionBlock("price"), RegressionBlock("weight")])
    assert classes.default_metric == "accuracy" and "rmse" not in classes.metrics
    assert numbers.default_metric == "r2" and "accuracy" not in numbers.metrics


def test_the_mean_score_is_accuracy_and_r2() -> None:
    block = mixed()
    target = block.encode(table()).arrays["target"]
    exact = block.join(
        [
            np.eye(3)[target[:, 0].astype(int)],
            np.full((6, 1), target[:, 1].mean()),
            np.eye(2)[1 - target[:, 2].astype(int)],
        ]
    )
    assert METRICS["mean_score"].compute(target, exact) == pytest.approx((1 + 0 + 0) / 3)


def test_decodes_by_column_and_comes_back_from_its_state() -> None:
    block = mixed()
    target = np.tile(block.encode(table()).arrays["target"], (20, 1))
    raw = torch.zeros(1, block.output_size)
    outputs = np.repeat(block.activate(raw).numpy(), len(target), axis=0)
    block.calibrate(target, outputs)
    again = MultiTargetBlock.from_state(json.loads(json.dumps(block.state())))
    (prediction, *_) = again.decode(outputs)
    assert prediction == block.decode(outputs)[0]
    assert isinstance(prediction, MultiTarget)
    named = dict(prediction.targets)
    assert isinstance(named["colour"], Classification) and isinstance(named["sold"], Classification)
    price = named["price"]
    assert isinstance(price, Regression)
    assert price.lower is not None and price.lower < price.value == pytest.approx(4.0)
    assert block.stratify(target) is not None
