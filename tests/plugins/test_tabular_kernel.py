"""Kernel ridge regression on tables: what the closed forms say is what training again says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.kernel_ridge import KernelRidge

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Blueprint, Data, Hardware, SplitArrays
from seedbed_tabular.catalogue import KERNEL, LINEAR, MOST_PAIRED
from seedbed_tabular.kernel import KernelTrainer
from seedbed_tabular.task import TabularOptions, TabularTask


def trained(
    table: pd.DataFrame, target: str, metric: str, **changes: object
) -> tuple[KernelTrainer, DataBlock, Data]:
    block = TabularTask().data_block(Dataset.from_frame(table), target, TabularOptions())
    prepared = block.prepare(0)
    data = Data(prepared.train, prepared.valid)
    trainer = KERNEL.build(Blueprint(block, {**KERNEL.portfolio[0], **changes}))
    assert isinstance(trainer, KernelTrainer)
    trainer.fit(data, RecordingRun(METRICS[metric], data.valid.target))
    return trainer, block, data


def mixed(count: int = 160) -> pd.DataFrame:
    """Numbers, of which some are missing, and a category that changes what they say."""
    generator = np.random.default_rng(0)
    x, kind = generator.normal(size=(count, 2)), generator.integers(0, 3, count)
    y = np.sin(2 * x[:, 0]) * (kind - 1) + x[:, 1] + generator.normal(0, 0.1, count)
    x[::9, 1] = np.nan
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": np.array(list("rgb"))[kind], "y": y})


def test_it_is_kernel_ridge_regression_on_scores_and_one_hot_codes() -> None:
    trainer, block, data = trained(mixed(), "y", "rmse")

    def columns(inputs: dict[str, np.ndarray]) -> np.ndarray:
        (table,) = block.inputs
        size = table.categorical[0].cardinality  # type: ignore[attr-defined]
        one_hot = np.eye(size)[inputs["categorical"][:, 0]]
        return np.concatenate([trainer.features.numbers(inputs["numeric"]), one_hot], axis=1)

    model = KernelRidge(alpha=trainer.regularization, kernel="rbf", gamma=float(trainer.gamma[0]))
    mean = data.train.target.mean()
    model.fit(columns(dict(data.train.inputs)), data.train.target - mean)
    wanted = model.predict(columns(dict(data.valid.inputs))) + mean
    np.testing.assert_allclose(trainer.predict(data.valid.inputs)[:, 0], wanted, rtol=1e-4)


def test_what_an_item_would_get_without_it_is_what_training_without_it_gives() -> None:
    trainer, _, data = trained(mixed(80), "y", "rmse")
    goals = data.train.target[:, None] - data.train.target.mean()
    left_out, checked = trainer._solve(goals)
    for place in range(3):
        rest = np.delete(np.arange(len(goals)), checked[place])
        gamma = float(trainer.gamma[0])
        numbers, codes = trainer.numbers, trainer.codes
        matrix = np.exp(-gamma * trainer._squared_distances(numbers, codes))
        inner = matrix[np.ix_(rest, rest)] + trainer.regularization * np.eye(len(rest))
        alone = matrix[checked[place], rest] @ np.linalg.solve(inner, goals[rest])
        np.testing.assert_allclose(left_out[place], alone, rtol=1e-6)


def test_its_probabilities_are_neither_timid_nor_bold() -> None:
    frame = load_digits(as_frame=True).frame
    trainer, _, data = trained(frame, "target", "accuracy", scaling="shared", sharpness=1.0)
    outputs = trainer.predict(data.valid.inputs)
    assert METRICS["accuracy"].compute(data.valid.target, outputs) > 0.97
    assert METRICS["log_loss"].compute(data.valid.target, outputs) < 0.12


def test_columns_in_one_unit_may_keep_their_proportions() -> None:
    frame = load_wine(as_frame=True).frame
    standard, _, _ = trained(frame, "target", "accuracy")
    shared, _, data = trained(frame, "target", "accuracy", scaling="shared")
    assert len(set(standard.features.stds)) > 1
    assert len(set(shared.features.stds)) == 1
    middle = np.sqrt(np.square(standard.features.stds).mean())
    assert shared.features.stds[0] == pytest.approx(middle)
    assert np.isfinite(shared.predict(data.valid.inputs)).all()


def test_it_is_for_small_tables() -> None:
    table = pd.DataFrame({"x": np.arange(MOST_PAIRED + 1.0), "y": np.arange(MOST_PAIRED + 1.0)})
    for rows, fits in ((MOST_PAIRED, True), (MOST_PAIRED + 1, False)):
        dataset = Dataset.from_frame(table.iloc[:rows])
        block = TabularTask().data_block(dataset, "y", TabularOptions())
        assert KERNEL.fits(block, Hardware()) is fits
        assert LINEAR.fits(block, Hardware())


def test_all_items_alike_are_no_reason_to_fail() -> None:
    _, block, data = trained(mixed(60), "y", "rmse")
    same = {name: np.repeat(array[:1], 60, axis=0) for name, array in data.train.inputs.items()}
    split = SplitArrays(same, np.linspace(0.0, 1.0, 60))
    again = KERNEL.build(Blueprint(block, dict(KERNEL.portfolio[0])))
    again.fit(Data(split, split), RecordingRun(METRICS["rmse"], split.target))
    np.testing.assert_allclose(again.predict(same), 0.5, atol=0.01)
