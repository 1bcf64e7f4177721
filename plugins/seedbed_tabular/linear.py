"""The baseline: logistic and ridge regression on standard scores and one-hot categories."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays, TargetBlock
from seedbed_sdk.blocks.multi_target import MultiTargetBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.trainer import (
    Blueprint,
    Data,
    Diverged,
    EpochReport,
    Interrupted,
    Run,
    SplitArrays,
)
from seedbed_tabular.features import Features

if TYPE_CHECKING:
    from scipy import sparse

WEIGHTS = "linear.safetensors"
LAYOUT = "linear.json"
NEWTON_MAX_SIZE = 1_500
NEWTON_STEPS = 8
QUASI_NEWTON_STEPS = 100
ABSENT = -30.0
MAX_ITEMS = 200_000
CHUNK = 65_536


class LinearTrainer:
    """A linear model of standardised numbers, indicators of missing ones, and one-hot categories.

    `regularization` is the weight of the squared norm of the coefficients, in units of one training
    item's loss. Trains to convergence and reports once. Of more than 200,000 training items it
    takes as many, drawn at random: with a few hundred coefficients more change nothing.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, TabularBlock)
        self.target = blueprint.block.target
        self.seed = blueprint.seed
        self.regularization = float(blueprint.parameters["regularization"])
        self.features = Features.of(block)
        self.weights = np.zeros((0, self.target.output_size))
        self.bias = np.zeros(self.target.output_size)

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the linear model was trained")
        train = self._sample(data.train)
        self.features.watch(train.inputs["numeric"])
        features = self._matrix(train.inputs)
        affordable = max(1, int(min(run.samples_left() / len(train), QUASI_NEWTON_STEPS)))
        if isinstance(self.target, MultiTargetBlock):
            targets = self.target.part_targets(train.target)
            fitted = [
                self._fit_part(part, features, target, max(1, affordable // len(targets)))
                for part, target in zip(self.target.parts, targets, strict=True)
            ]
        else:
            fitted = [self._fit_part(self.target, features, train.target, affordable)]
        self.weights = np.concatenate([weights for weights, _, _ in fitted], axis=1)
        self.bias = np.concatenate([bias for _, bias, _ in fitted])
        passes = sum(count for _, _, count in fitted)
        began = time.monotonic()
        outputs = self.predict(data.valid.inputs)
        if not np.isfinite(outputs).all():
            raise Diverged("the outputs of the linear model are not finite")
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, passes * len(train), predict_seconds=seconds))

    def _sample(self, train: SplitArrays) -> SplitArrays:
        if len(train) <= MAX_ITEMS:
            return train
        rows = np.random.default_rng(self.seed).choice(len(train), MAX_ITEMS, replace=False)
        rows.sort()
        return SplitArrays({k: v[rows] for k, v in train.inputs.items()}, train.target[rows])

    def _fit_part(
        self, part: TargetBlock, features: Any, target: Array, affordable: int
    ) -> tuple[Array, Array, int]:
        """Weights [features, outputs], bias [outputs], and how often the items were passed."""
        if isinstance(part, RegressionBlock):
            return self._fit_numbers(part, features, target)
        return self._fit_classes(part, features, target, affordable)

    def _fit_numbers(
        self, part: RegressionBlock, features: Any, target: Array
    ) -> tuple[Array, Array, int]:
        from sklearn.linear_model import Ridge

        mean, scale = float(target.mean()), float(target.std()) or 1.0
        model = Ridge(alpha=self.regularization).fit(features, (target - mean) / scale)
        # `activate` takes standard scores by the block's own mean and scale.
        weights = model.coef_.reshape(-1, 1) * (scale / part.scale)
        bias = np.array([(float(model.intercept_) * scale + mean - part.mean) / part.scale])
        return weights, bias, 1

    def _fit_classes(
        self, part: TargetBlock, features: Any, target: Array, affordable: int
    ) -> tuple[Array, Array, int]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        weights = np.zeros((features.shape[1], part.output_size))
        bias = np.full(part.output_size, ABSENT)
        classes = np.unique(target)
        if len(classes) == 1:
            bias[classes] = 0.0
            return weights, bias, 1
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
            weights[:, classes[1]] = model.coef_[0]
            bias[classes] = [0.0, float(model.intercept_[0])]
        else:
            weights[:, classes] = model.coef_.T
            bias[classes] = model.intercept_
        return weights, bias, int(np.max(model.n_iter_))

    def predict(self, inputs: Arrays) -> Array:
        import torch

        count = len(inputs["numeric"])
        parts = []
        with torch.inference_mode():
            for start in range(0, max(count, 1), CHUNK):
                rows = {name: array[start : start + CHUNK] for name, array in inputs.items()}
                scores = torch.from_numpy(self._scores(rows))
                parts.append(self.target.activate(scores))
            return torch.cat(parts).numpy()

    def _scores(self, inputs: Arrays) -> Array:
        """Raw outputs, float64 [N, output size]."""
        raw = self.features.numbers(inputs["numeric"])
        split = raw.shape[1]
        scores: Array = raw @ self.weights[:split] + self.bias
        for column, start in enumerate(split + self.features.starts()):
            scores += self.weights[start + inputs["categorical"][:, column]]
        return scores

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weights": self.weights, "bias": self.bias}, folder / WEIGHTS)
        (folder / LAYOUT).write_text(json.dumps({"indicators": self.features.indicators.tolist()}))

    def load(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        self.weights, self.bias = tensors["weights"], tensors["bias"]
        layout = json.loads((folder / LAYOUT).read_text())
        self.features.indicators = np.array(layout["indicators"], dtype=np.int64)

    def _matrix(self, inputs: Arrays) -> Array | sparse.csr_matrix:
        """All features [N, F + indicators + codes]; sparse where there are categories."""
        from scipy import sparse

        numbers = self.features.numbers(inputs["numeric"])
        sizes = self.features.sizes
        if not len(sizes):
            return numbers
        codes = inputs["categorical"] + self.features.starts()
        count, columns = codes.shape
        one_hot = sparse.csr_matrix(
            (
                np.ones(count * columns),
                codes.astype(np.int32).ravel(),
                np.arange(0, count * columns + 1, columns, dtype=np.int32),
            ),
            shape=(count, int(sizes.sum())),
        )
        matrix: sparse.csr_matrix = sparse.hstack(
            [sparse.csr_matrix(numbers), one_hot], format="csr"
        )
        return matrix
