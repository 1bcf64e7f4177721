"""Classifiers on features that are computed by rule: ridge regression in a space of features or of
a kernel, solved at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.trainer import Blueprint, Data, Diverged, EpochReport, Interrupted, Run

WEIGHTS = "classifier.safetensors"
MAX_SOLVED = 2_000
BATCH = 256
PENALTIES = 10.0 ** np.arange(-4, 4)
SHARPNESS = 2.0 ** np.arange(-1, 7)
SMALLEST_STD = 1e-6


class Extractor(Protocol):
    """Turns encoded inputs into features. `tensors` is what it has learned; `restore` takes it."""

    def fit(self, inputs: Arrays, seed: int) -> None:
        """Learns what it needs from the training inputs."""

    def features(self, inputs: Arrays) -> Array:
        """Float features [N, F] of a batch of inputs."""

    def tensors(self) -> dict[str, Array]:
        """What was learned, by name."""

    def restore(self, tensors: Arrays) -> None:
        """Takes what `tensors` gave; other names are to be ignored."""


@dataclass
class RidgeClassifier:
    """Ridge regression onto the classes (targets 1 and -1), of standardised features or, where
    `width` is given, in the space of a Gaussian kernel exp(-width |a - b|² / features).

    The penalty and the sharpness of the probabilities are those with the least leave-one-out error,
    which costs nothing extra (Rifkin & Lippert 2007). Of more than 2,000 items a random choice is
    used, since the cost grows with their cube.
    """

    classes: int
    width: float | None = None

    def fit(self, features: Array, target: Array, seed: int) -> int:
        """Features [N, F] and class numbers [N]; returns how many items were used."""
        rows = np.arange(len(target))
        if len(rows) > MAX_SOLVED:
            rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_SOLVED])
        chosen = features[rows].astype(np.float64)
        self.mean = chosen.mean(axis=0)
        std = chosen.std(axis=0)
        self.scale = 1.0 / np.where(std > SMALLEST_STD, std, np.inf)
        self.support = (chosen - self.mean) * self.scale
        goal = 2.0 * np.eye(self.classes)[target[rows]] - 1.0
        self.bias = goal.mean(axis=0)
        values, vectors = np.linalg.eigh(self._kernel(self.support))
        projected, squared = vectors.T @ (goal - self.bias), vectors**2
        self.sharpness = 1.0
        best = np.inf
        for penalty in PENALTIES:
            shrunk = 1.0 / (np.maximum(values, 0.0) + penalty)
            weights = vectors @ (shrunk[:, None] * projected)
            left_out = goal - weights / (squared @ shrunk)[:, None]
            error = float(np.mean((goal - left_out) ** 2))
            if error < best:
                best = error
                self.weights = weights
                self.sharpness = _sharpest(left_out, target[rows])
        if self.width is None:
            self.bias = self.bias + self.weights.sum(axis=0)
            self.weights = self.support.T @ self.weights / max(1, self.support.shape[1])
            self.support = self.support[:0]
        return len(rows)

    def probabilities(self, features: Array) -> Array:
        """[N, classes], float64."""
        standard = (features.astype(np.float64) - self.mean) * self.scale
        if self.width is not None:
            standard = self._kernel(standard)
        return _softmax((standard @ self.weights + self.bias) * self.sharpness)

    def tensors(self) -> dict[str, Array]:
        """What was learned, by name."""
        names = ("mean", "scale", "support", "weights", "bias")
        learned = {name: np.ascontiguousarray(getattr(self, name)) for name in names}
        return {**learned, "sharpness": np.array([self.sharpness])}

    def restore(self, tensors: Arrays) -> None:
        """Takes what `tensors` gave."""
        self.mean, self.scale = tensors["mean"], tensors["scale"]
        self.support, self.weights = tensors["support"], tensors["weights"]
        self.bias, self.sharpness = tensors["bias"], float(tensors["sharpness"][0])

    def _kernel(self, standard: Array) -> Array:
        """Against the support: [N, support]; about 2 for an item with itself. The constant 1 stands
        for a feature that all items have: without it, centred features leave a direction in which
        leaving an item out seems to change nothing."""
        size = max(1, standard.shape[1])
        products = standard @ self.support.T
        if self.width is None:
            return np.asarray(1.0 + products / size)
        squares = np.sum(standard**2, axis=1)[:, None] + np.sum(self.support**2, axis=1)[None]
        distances = np.maximum(squares - 2.0 * products, 0.0)
        return np.asarray(1.0 + np.exp(-self.width * distances / size))


class FeatureTrainer:
    """A Trainer of an extractor and a RidgeClassifier. Trains at once and reports once."""

    def __init__(
        self, blueprint: Blueprint, extractor: Extractor, *, width: float | None = None
    ) -> None:
        self.seed = blueprint.seed
        self.extractor = extractor
        self.classifier = RidgeClassifier(blueprint.block.target.output_size, width)

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it ended."""
        self.extractor.fit(data.train.inputs, self.seed)
        features = self._features(data.train.inputs, run)
        used = self.classifier.fit(features, data.train.target, self.seed)
        if used < len(features):
            run.log(f"solved on a random choice of {used} of {len(features)} items")
        began = time.monotonic()
        outputs = self._outputs(data.valid.inputs, run)
        if not np.isfinite(outputs).all():
            raise Diverged("the outputs of the linear model are not finite")
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, used, predict_seconds=seconds))

    def predict(self, inputs: Arrays) -> Array:
        """Probabilities [N, classes]."""
        return self._outputs(inputs, None)

    def save(self, folder: Path) -> None:
        """Writes one file of safetensors."""
        from safetensors.numpy import save_file

        save_file({**self.extractor.tensors(), **self.classifier.tensors()}, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        self.extractor.restore(tensors)
        self.classifier.restore(tensors)

    def _outputs(self, inputs: Arrays, run: Run | None) -> Array:
        return self.classifier.probabilities(self._features(inputs, run))

    def _features(self, inputs: Arrays, run: Run | None) -> Array:
        """A batch at a time, so that inputs larger than memory may be read from their file."""
        count = len(next(iter(inputs.values())))
        parts = []
        for start in range(0, max(1, count), BATCH):
            if run is not None and run.should_stop():
                raise Interrupted("stopped while the features were computed")
            batch = {name: array[start : start + BATCH] for name, array in inputs.items()}
            parts.append(self.extractor.features(batch))
        return np.concatenate(parts)


def _sharpest(scores: Array, target: Array) -> float:
    """The factor of the scores with the least log loss."""
    rows = np.arange(len(target))
    losses = [
        -np.mean(np.log(np.maximum(_softmax(scores * factor)[rows, target], 1e-12)))
        for factor in SHARPNESS
    ]
    return float(SHARPNESS[int(np.argmin(losses))])


def _softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
