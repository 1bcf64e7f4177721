"""Gradient-boosted trees, by LightGBM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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

if TYPE_CHECKING:
    import lightgbm

MODEL = "lightgbm{}.txt"
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
    twentieth of the training items, so that a small table can be split at all. Several targets have
    boosters of their own, which take their rounds together.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, TabularBlock)
        self.block = block
        self.target = blueprint.block.target
        self.parts: tuple[TargetBlock, ...] = (self.target,)
        if isinstance(self.target, MultiTargetBlock):
            self.parts = self.target.parts
        self.parameters = blueprint.parameters
        self.threads = blueprint.hardware.threads
        self.seed = blueprint.seed
        self.boosters: list[lightgbm.Booster] = []
        self.rounds = 0

    def fit(self, data: Data, run: Run) -> None:
        train = data.train
        # On a small table threads cost more than they bring: with 20,000 rows of 14 columns two
        # take longer than one, and many times as long where another process wants the core.
        cells = len(train) * (len(self.block.numeric) + len(self.block.categorical))
        self.threads = max(1, min(self.threads, cells // CELLS_PER_THREAD))
        boosters = self._start(data)
        wanted = int(self.parameters["epochs"])
        rounds = int(max(1, min(wanted, run.samples_left() / len(train))))
        every = max(1, rounds // REPORTS)
        valid = _Rows(data.valid.inputs)[:]
        true = self._targets(data.valid.target)
        raw = [np.zeros((len(data.valid), _width(part))) for part in self.parts]
        kept, done, reported, worse, least = False, 0, 0, 0, np.inf
        finished = False
        while done < rounds and not finished:
            if run.should_stop():
                break
            grown = [not booster.update() for booster in boosters]
            finished = not any(grown)
            done += 1
            if done % every and done < rounds and not finished:
                continue
            began = time.monotonic()
            for scores, booster in zip(raw, boosters, strict=True):
                scores += self._raw(booster, valid, reported, done - reported)
            reported = done
            activated = [_activate(*pair) for pair in zip(self.parts, raw, strict=True)]
            if not all(np.isfinite(outputs).all() for outputs in activated):
                raise Diverged(f"the outputs of the trees are not finite after round {done}")
            seconds = time.monotonic() - began
            verdict = run.report(
                EpochReport(
                    done,
                    rounds,
                    self._join(activated),
                    done * len(train),
                    predict_seconds=seconds,
                    every=every,
                )
            )
            loss = sum(map(_loss, self.parts, activated, true))
            worse = 0 if verdict.best or loss < least else worse + 1
            least = min(loss, least)
            if verdict.best:
                kept, self.boosters, self.rounds = True, boosters, done
            if verdict.stop or worse >= PATIENCE:
                break
        if not kept:
            raise Interrupted("stopped before the first rounds of boosting had ended")

    def predict(self, inputs: Arrays) -> Array:
        assert self.boosters, "fit or load comes first"
        rows = _Rows(inputs)
        raw = [
            np.concatenate(
                [
                    self._raw(booster, rows[start : start + rows.batch_size], 0, self.rounds)
                    for start in range(0, max(len(rows), 1), rows.batch_size)
                ]
            )
            for booster in self.boosters
        ]
        return self._join([_activate(*pair) for pair in zip(self.parts, raw, strict=True)])

    def save(self, folder: Path) -> None:
        assert self.boosters, "fit or load comes first"
        for place, booster in enumerate(self.boosters):
            # Not `save_model`: its error does not tell a full disk from any other.
            text = booster.model_to_string(num_iteration=self.rounds)
            (folder / MODEL.format(place or "")).write_text(text)

    def load(self, folder: Path) -> None:
        import lightgbm

        self.boosters = [
            lightgbm.Booster(model_file=folder / MODEL.format(place or ""))
            for place in range(len(self.parts))
        ]
        self.rounds = max(booster.current_iteration() for booster in self.boosters)

    def _start(self, data: Data) -> list[lightgbm.Booster]:
        """A booster for each part. The binned training items are shared by all trials of a job;
        those of several targets share the bins too."""
        import lightgbm

        train = data.train
        binned = data.cached(("lightgbm", self.threads), lambda: self._datasets(train))
        return [
            lightgbm.Booster(self._settings(part, len(train)), dataset)
            for part, dataset in zip(self.parts, binned, strict=True)
        ]

    def _settings(self, part: TargetBlock, count: int) -> dict[str, Any]:
        leaf = max(1, min(int(self.parameters["min_child_samples"]), count // LEAF_SHARE))
        return {
            **DATASET_PARAMETERS,
            **{name: self.parameters[name] for name in SHAPE},
            **_objective(part),
            "min_child_samples": leaf,
            "bagging_freq": 1,
            "num_threads": self.threads,
            "seed": self.seed,
        }

    def _datasets(self, train: SplitArrays) -> list[lightgbm.Dataset]:
        import lightgbm

        lightgbm.Sequence.register(_Rows)
        datasets: list[lightgbm.Dataset] = []
        for target in self._targets(train.target):
            dataset = lightgbm.Dataset(
                cast("lightgbm.Sequence", _Rows(train.inputs)),
                label=target,
                categorical_feature=self._categorical(),
                reference=datasets[0] if datasets else None,
                params={**DATASET_PARAMETERS, "num_threads": self.threads},
            )
            datasets.append(dataset.construct())
        return datasets

    def _categorical(self) -> list[int]:
        first = len(self.block.numeric)
        return list(range(first, first + len(self.block.categorical)))

    def _raw(self, booster: lightgbm.Booster, matrix: Array, start: int, rounds: int) -> Array:
        """Raw scores of some of the rounds, float64 [N, width]."""
        scores = booster.predict(
            matrix,
            start_iteration=start,
            num_iteration=rounds,
            raw_score=True,
            num_threads=self.threads,
        )
        return np.asarray(scores, dtype=np.float64).reshape(len(matrix), -1)

    def _targets(self, target: Array) -> list[Array]:
        if isinstance(self.target, MultiTargetBlock):
            return self.target.part_targets(target)
        return [target]

    def _join(self, outputs: list[Array]) -> Array:
        if isinstance(self.target, MultiTargetBlock):
            return self.target.join(outputs)
        (only,) = outputs
        return only


class _Rows:
    """The items as `lightgbm.Sequence` wants them, so that no more than a batch of them has to be
    in memory: float64 [N, F + K], numbers, then codes of categories."""

    batch_size = 65_536

    def __init__(self, inputs: Arrays) -> None:
        self.numeric, self.categorical = inputs["numeric"], inputs["categorical"]

    def __len__(self) -> int:
        return len(self.numeric)

    def __getitem__(self, rows: int | slice) -> Array:
        parts = (self.numeric[rows], self.categorical[rows])
        return np.concatenate(parts, axis=-1, dtype=np.float64)


def _objective(part: TargetBlock) -> dict[str, Any]:
    if part.type == "regression":
        return {"objective": "regression"}
    if part.output_size == 2:
        return {"objective": "binary"}
    return {"objective": "multiclass", "num_class": part.output_size}


def _width(part: TargetBlock) -> int:
    """Raw scores per item: one for two classes or a number."""
    return part.output_size if part.output_size > 2 else 1


def _loss(part: TargetBlock, outputs: Array, target: Array) -> float:
    """Mean squared error in units of the variance, or mean negative logarithm of the true class's
    probability."""
    if isinstance(part, RegressionBlock):
        return float(np.mean(((outputs[:, 0] - target) / part.scale) ** 2))
    probabilities = outputs[np.arange(len(target)), target]
    return float(-np.mean(np.log(np.maximum(probabilities, 1e-15))))


def _activate(part: TargetBlock, raw: Array) -> Array:
    """Raw scores to probabilities [N, classes], or values [N, 1]."""
    if part.type == "regression":
        return raw.copy()
    if raw.shape[1] == 1:
        raw = np.concatenate([np.zeros_like(raw), raw], axis=1)
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
