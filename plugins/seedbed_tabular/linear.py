"""The baseline: logistic and ridge regression on standard scores and one-hot categories."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.trainer import Blueprint, Data, Diverged, EpochReport, Interrupted, Run

if TYPE_CHECKING:
    from scipy import sparse

WEIGHTS = "linear.safetensors"
LAYOUT = "linear.json"
NEWTON_MAX_SIZE = 1_500
NEWTON_STEPS = 8
QUASI_NEWTON_STEPS = 100
ABSENT = -30.0


class LinearTrainer:
    """A linear model of standardised numbers, indicators of missing ones, and one-hot categories.

    `regularization` is the weight of the squared norm of the coefficients, in units of one training
    item's loss. Trains to convergence and reports once.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, TabularBlock)
        self.target = blueprint.block.target
        self.regularization = float(blueprint.parameters["regularization"])
        self.means = np.array([f.mean for f in block.numeric], dtype=np.float64)
        self.stds = np.array([f.std for f in block.numeric], dtype=np.float64)
        self.sizes = np.array([f.cardinality for f in block.categorical], dtype=np.int64)
        self.indicators = np.zeros(0, dtype=np.int64)
        self.weights = np.zeros((0, self.target.output_size))
        self.bias = np.zeros(self.target.output_size)

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the linear model was trained")
        train = data.train
        self.indicators = np.flatnonzero(np.isnan(train.inputs["numeric"]).any(axis=0))
        features = self._features(train.inputs)
        affordable = int(min(run.samples_left() / len(train), QUASI_NEWTON_STEPS))
        if self.target.type == "regression":
            passes = self._fit_numbers(features, train.target)
        else:
            passes = self._fit_classes(features, train.target, max(1, affordable))
        began = time.monotonic()
        outputs = self.predict(data.valid.inputs)
        if not np.isfinite(outputs).all():
            raise Diverged("the outputs of the linear model are not finite")
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, passes * len(train), predict_seconds=seconds))

    def _fit_numbers(self, features: Any, target: Array) -> int:
        from sklearn.linear_model import Ridge

        mean, scale = float(target.mean()), float(target.std()) or 1.0
        model = Ridge(alpha=self.regularization).fit(features, (target - mean) / scale)
        block = self.target
        assert isinstance(block, RegressionBlock)
        # `activate` takes standard scores by the block's own mean and scale.
        self.weights = model.coef_.reshape(-1, 1) * (scale / block.scale)
        self.bias = np.array([(float(model.intercept_) * scale + mean - block.mean) / block.scale])
        return 1

    def _fit_classes(self, features: Any, target: Array, affordable: int) -> int:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self.weights = np.zeros((features.shape[1], self.target.output_size))
        self.bias = np.full(self.target.output_size, ABSENT)
        classes = np.unique(target)
        if len(classes) == 1:
            self.bias[classes] = 0.0
            return 1
        size = features.shape[1] * (len(classes) if len(classes) > 2 else 1)
        newton = size <= NEWTON_MAX_SIZE
        model = LogisticRegression(
            C=1.0 / self.regularization,
            solver="newton-cholesky" if newton else "lbfgs",
            max_iter=min(affordable, NEWTON_STEPS if newton else QUASI_NEWTON_STEPS),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, target)
        if len(classes) == 2:
            self.weights[:, classes[1]] = model.coef_[0]
            self.bias[classes] = [0.0, float(model.intercept_[0])]
        else:
            self.weights[:, classes] = model.coef_.T
            self.bias[classes] = model.intercept_
        return int(np.max(model.n_iter_))

    def predict(self, inputs: Arrays) -> Array:
        import torch

        raw = self._numbers(inputs["numeric"])
        split = raw.shape[1]
        scores = raw @ self.weights[:split] + self.bias
        starts = split + np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        for column, start in enumerate(starts[: len(self.sizes)]):
            scores += self.weights[start + inputs["categorical"][:, column]]
        with torch.inference_mode():
            return self.target.activate(torch.from_numpy(scores)).numpy()

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weights": self.weights, "bias": self.bias}, folder / WEIGHTS)
        (folder / LAYOUT).write_text(json.dumps({"indicators": self.indicators.tolist()}))

    def load(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        self.weights, self.bias = tensors["weights"], tensors["bias"]
        layout = json.loads((folder / LAYOUT).read_text())
        self.indicators = np.array(layout["indicators"], dtype=np.int64)

    def _numbers(self, numeric: Array) -> Array:
        """Standard scores, zero where missing, and indicators: float64 [N, F + indicators]."""
        missing = np.isnan(numeric)
        scores = np.where(missing, 0.0, (numeric - self.means) / self.stds)
        return np.concatenate([scores, missing[:, self.indicators].astype(np.float64)], axis=1)

    def _features(self, inputs: Arrays) -> Array | sparse.csr_matrix:
        """All features [N, F + indicators + codes]; sparse where there are categories."""
        from scipy import sparse

        numbers = self._numbers(inputs["numeric"])
        if not len(self.sizes):
            return numbers
        codes = inputs["categorical"] + np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        count, columns = codes.shape
        one_hot = sparse.csr_matrix(
            (
                np.ones(count * columns),
                codes.astype(np.int32).ravel(),
                np.arange(0, count * columns + 1, columns, dtype=np.int32),
            ),
            shape=(count, int(self.sizes.sum())),
        )
        features: sparse.csr_matrix = sparse.hstack(
            [sparse.csr_matrix(numbers), one_hot], format="csr"
        )
        return features
