"""Gradient-boosted trees, by LightGBM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
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

if TYPE_CHECKING:
    import lightgbm

MODEL = "lightgbm.txt"
REPORTS = 20
PATIENCE = 6
LEAF_SHARE = 20
CELLS_PER_THREAD = 1_000_000
DATASET_PARAMETERS: dict[str, Any] = {
    "feature_pre_filter": False,
    "force_row_wise": True,
    "deterministic": True,
    "verbosity": -1,
}
SHAPE = ("learning_rate", "num_leaves", "feature_fraction", "bagging_fraction", "lambda_l2")


class BoostingTrainer:
    """Boosted trees; an epoch is a round, which adds one tree (one per class for three or more).

    Reports about twenty times, ends when six reports in a row improved neither the score nor the
    validation loss, and keeps the rounds up to the best report. `min_child_samples` is at most a
    twentieth of the training items, so that a small table can be split at all.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, TabularBlock)
        self.block = block
        self.target = blueprint.block.target
        self.parameters = blueprint.parameters
        self.threads = blueprint.hardware.threads
        self.seed = blueprint.seed
        self.booster: lightgbm.Booster | None = None
        self.rounds = 0

    def fit(self, data: Data, run: Run) -> None:
        import lightgbm

        train = data.train
        # On a small table threads cost more than they bring: with 20,000 rows of 14 columns two
        # take longer than one, and many times as long where another process wants the core.
        cells = len(train) * (len(self.block.numeric) + len(self.block.categorical))
        self.threads = max(1, min(self.threads, cells // CELLS_PER_THREAD))
        dataset = data.cached(("lightgbm", self.threads), lambda: self._dataset(train))
        booster = lightgbm.Booster(self._settings(len(train)), dataset)
        wanted = int(self.parameters["epochs"])
        rounds = int(max(1, min(wanted, run.samples_left() / len(train))))
        every = max(1, rounds // REPORTS)
        valid = self._matrix(data.valid.inputs)
        raw = np.zeros((len(data.valid), self._width()))
        done, reported, worse, least = 0, 0, 0, np.inf
        finished = False
        while done < rounds and not finished:
            if run.should_stop():
                break
            finished = bool(booster.update())
            done += 1
            if done % every and done < rounds and not finished:
                continue
            began = time.monotonic()
            raw += self._raw(booster, valid, reported, done - reported)
            reported = done
            outputs = self._activate(raw)
            if not np.isfinite(outputs).all():
                raise Diverged(f"the outputs of the trees are not finite after round {done}")
            seconds = time.monotonic() - began
            verdict = run.report(
                EpochReport(done, rounds, outputs, done * len(train), predict_seconds=seconds)
            )
            loss = self._loss(outputs, data.valid.target)
            worse = 0 if verdict.best or loss < least else worse + 1
            least = min(loss, least)
            if verdict.best:
                self.booster, self.rounds = booster, done
            if verdict.stop or worse >= PATIENCE:
                break
        if self.booster is None:
            raise Interrupted("stopped before the first rounds of boosting had ended")

    def predict(self, inputs: Arrays) -> Array:
        assert self.booster is not None, "fit or load comes first"
        return self._activate(self._raw(self.booster, self._matrix(inputs), 0, self.rounds))

    def save(self, folder: Path) -> None:
        assert self.booster is not None, "fit or load comes first"
        # Not `save_model`: its error does not tell a full disk from any other.
        (folder / MODEL).write_text(self.booster.model_to_string(num_iteration=self.rounds))

    def load(self, folder: Path) -> None:
        import lightgbm

        self.booster = lightgbm.Booster(model_file=folder / MODEL)
        self.rounds = self.booster.current_iteration()

    def _settings(self, count: int) -> dict[str, Any]:
        leaf = max(1, min(int(self.parameters["min_child_samples"]), count // LEAF_SHARE))
        return {
            **DATASET_PARAMETERS,
            **{name: self.parameters[name] for name in SHAPE},
            **self._objective(),
            "min_child_samples": leaf,
            "bagging_freq": 1,
            "num_threads": self.threads,
            "seed": self.seed,
        }

    def _objective(self) -> dict[str, Any]:
        if self.target.type == "regression":
            return {"objective": "regression"}
        if self.target.output_size == 2:
            return {"objective": "binary"}
        return {"objective": "multiclass", "num_class": self.target.output_size}

    def _dataset(self, train: SplitArrays) -> lightgbm.Dataset:
        """The binned training items, which all trials of a job share."""
        import lightgbm

        return lightgbm.Dataset(
            self._matrix(train.inputs),
            label=train.target,
            categorical_feature=self._categorical(),
            params={**DATASET_PARAMETERS, "num_threads": self.threads},
        ).construct()

    def _categorical(self) -> list[int]:
        first = len(self.block.numeric)
        return list(range(first, first + len(self.block.categorical)))

    @staticmethod
    def _matrix(inputs: Arrays) -> Array:
        """float32 [N, F + K]: numbers, then codes of categories."""
        return np.concatenate([inputs["numeric"], inputs["categorical"].astype(np.float32)], axis=1)

    def _width(self) -> int:
        """Raw scores per item: one for two classes or a number."""
        return self.target.output_size if self.target.output_size > 2 else 1

    def _raw(self, booster: lightgbm.Booster, matrix: Array, start: int, rounds: int) -> Array:
        if not len(matrix):
            return np.zeros((0, self._width()))
        scores = booster.predict(
            matrix,
            start_iteration=start,
            num_iteration=rounds,
            raw_score=True,
            num_threads=self.threads,
        )
        return np.asarray(scores, dtype=np.float64).reshape(len(matrix), self._width())

    def _loss(self, outputs: Array, target: Array) -> float:
        """Mean squared error, or mean negative logarithm of the true class's probability."""
        if self.target.type == "regression":
            return float(np.mean((outputs[:, 0] - target) ** 2))
        probabilities = outputs[np.arange(len(target)), target]
        return float(-np.mean(np.log(np.maximum(probabilities, 1e-15))))

    def _activate(self, raw: Array) -> Array:
        """Raw scores to probabilities [N, classes], or values [N, 1]."""
        if self.target.type == "regression":
            return raw.copy()
        if raw.shape[1] == 1:
            raw = np.concatenate([np.zeros_like(raw), raw], axis=1)
        shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
