"""Kernel ridge regression, for small tables: smooth functions of all columns in closed form."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays, TargetBlock
from seedbed_sdk.blocks.multi_target import MultiTargetBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.trainer import Blueprint, Data, Diverged, EpochReport, Interrupted, Run
from seedbed_tabular.features import Features

WEIGHTS = "kernel.safetensors"
LAYOUT = "kernel.json"
CHUNK = 1_024
# Enough to find a scale by, and a small part of the inverse of a large matrix.
CALIBRATED_ON = 1_000
SCALES = np.geomspace(0.5, 100.0, 60)


class KernelTrainer:
    """Kernel ridge regression with a Gaussian kernel (Saunders et al. 1998, "Ridge Regression
    Learning Algorithm in Dual Variables"); for classes, one against the others on the same matrix,
    which is the least-squares support vector machine (Suykens and Vandewalle 1999).

    `sharpness` divides by the median squared distance of training items to be the kernel's gamma,
    `regularization` is what is added to the kernel's diagonal, and `scaling` says whether each
    numeric column is brought to a standard deviation of 1 (`standard`) or all together are
    (`shared`, for columns in the same unit). Probabilities are a softmax of the outputs times a
    scale that fits outputs for items that were left out, which come from the inverse without
    training again. The training rows are part of the model. Reports once.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, TabularBlock)
        self.target = blueprint.block.target
        self.seed = blueprint.seed
        self.sharpness = float(blueprint.parameters["sharpness"])
        self.regularization = float(blueprint.parameters["regularization"])
        self.features = Features.of(block)
        if blueprint.parameters["scaling"] == "shared":
            self.features.stds = np.full_like(
                self.features.stds, np.sqrt(np.square(self.features.stds).mean() or 1.0)
            )
        self.gamma = np.zeros(1)
        self.numbers = np.zeros((0, 0))
        self.codes = np.zeros((0, 0), dtype=np.int32)
        self.weights = np.zeros((0, self.target.output_size))
        self.scale = np.ones(self.target.output_size)
        self.bias = np.zeros(self.target.output_size)

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the kernel model was trained")
        self.features.watch(data.train.inputs["numeric"])
        self.numbers = self.features.numbers(data.train.inputs["numeric"])
        self.codes = data.train.inputs["categorical"].astype(np.int32)
        parts: list[tuple[TargetBlock, Array]] = [(self.target, data.train.target)]
        if isinstance(self.target, MultiTargetBlock):
            targets = self.target.part_targets(data.train.target)
            parts = list(zip(self.target.parts, targets, strict=True))
        wanted = [_outputs_wanted(part, target) for part, target in parts]
        goals = np.concatenate([goal for goal, _ in wanted], axis=1)
        self.bias = np.concatenate([bias for _, bias in wanted])
        left_out, checked = self._solve(goals)
        start = 0
        for part, target in parts:
            columns = slice(start, start + part.output_size)
            start = columns.stop
            if not isinstance(part, RegressionBlock):
                scores = left_out[:, columns] + self.bias[columns]
                self.scale[columns] = _best_scale(scores, target[checked].astype(np.int64))
        began = time.monotonic()
        outputs = self.predict(data.valid.inputs)
        if not np.isfinite(outputs).all():
            raise Diverged("the outputs of the kernel model are not finite")
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, len(data.train), predict_seconds=seconds))

    def _solve(self, goals: Array) -> tuple[Array, Array]:
        """Finds the weights [N, outputs]. Returns what some training items would get from a model
        without them [M, outputs], and which those are."""
        from scipy.linalg import cho_factor, cho_solve

        count = len(self.numbers)
        distances = self._squared_distances(self.numbers, self.codes)
        middle = float(np.median(distances[:CHUNK]))
        self.gamma = np.array([self.sharpness / (middle or 1.0)])
        matrix = np.exp(-self.gamma[0] * distances)
        matrix[np.diag_indices(count)] += self.regularization
        factor = cho_factor(matrix, overwrite_a=True)
        self.weights = np.ascontiguousarray(cho_solve(factor, goals))
        checked = np.random.default_rng(self.seed).permutation(count)[:CALIBRATED_ON]
        columns = np.zeros((count, len(checked)))
        columns[checked, np.arange(len(checked))] = 1.0
        inverse = cho_solve(factor, columns, overwrite_b=True)
        diagonal = inverse[checked, np.arange(len(checked))]
        return goals[checked] - self.weights[checked] / diagonal[:, None], checked

    def predict(self, inputs: Arrays) -> Array:
        import torch

        count = len(inputs["numeric"])
        parts = []
        with torch.inference_mode():
            for start in range(0, max(count, 1), CHUNK):
                rows = slice(start, start + CHUNK)
                numbers = self.features.numbers(inputs["numeric"][rows])
                distances = self._squared_distances(numbers, inputs["categorical"][rows])
                scores = np.exp(-self.gamma[0] * distances) @ self.weights + self.bias
                parts.append(self.target.activate(torch.from_numpy(scores * self.scale)))
            return torch.cat(parts).numpy()

    def _squared_distances(self, numbers: Array, codes: Array) -> Array:
        """Float64 [L, N] from items, numbers [L, F] and codes [L, K], to the training items: of
        standard scores and, as between unlike one-hot codes, 2 for each category that differs."""
        squares: Array = np.square(numbers).sum(1)[:, None] + np.square(self.numbers).sum(1)[None]
        squares -= 2.0 * numbers @ self.numbers.T
        np.maximum(squares, 0.0, out=squares)
        for column, own in zip(codes.T, self.codes.T, strict=True):
            squares += 2.0 * (column[:, None] != own[None])
        return squares

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        tensors: dict[str, Array] = {
            "numbers": self.numbers,
            "codes": self.codes,
            "weights": self.weights,
            "bias": self.bias,
            "scale": self.scale,
            "gamma": self.gamma,
        }
        save_file(tensors, folder / WEIGHTS)
        layout = {"indicators": self.features.indicators.tolist()}
        (folder / LAYOUT).write_text(json.dumps(layout))

    def load(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        self.numbers, self.codes = tensors["numbers"], tensors["codes"]
        self.weights = tensors["weights"]
        self.bias, self.scale = tensors["bias"], tensors["scale"]
        self.gamma = tensors["gamma"]
        layout = json.loads((folder / LAYOUT).read_text())
        self.features.indicators = np.array(layout["indicators"], dtype=np.int64)


def _outputs_wanted(part: TargetBlock, target: Array) -> tuple[Array, Array]:
    """What the kernel's part of the outputs should be [N, outputs], and the rest, which is the same
    for all items: the mean, or the shares of the classes."""
    if isinstance(part, RegressionBlock):
        mean = float(target.mean())
        bias = np.array([(mean - part.mean) / part.scale])
        return (target.astype(np.float64)[:, None] - mean) / part.scale, bias
    one_hot = np.zeros((len(target), part.output_size))
    one_hot[np.arange(len(target)), target.astype(np.int64)] = 1.0
    shares = one_hot.mean(axis=0)
    return one_hot - shares, shares


def _best_scale(scores: Array, target: Array) -> float:
    """The factor of the scores [N, classes] whose softmax has the lowest log loss."""
    from scipy.special import log_softmax

    rows = np.arange(len(target))
    losses = [-log_softmax(scale * scores, axis=1)[rows, target].mean() for scale in SCALES]
    return float(SCALES[int(np.argmin(losses))])
