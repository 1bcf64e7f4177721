"""Linear models of n-grams, of sentence vectors, or of both."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.text import texts_of
from seedbed_sdk.trainer import Blueprint, Data, Diverged, EpochReport, Interrupted, Run
from seedbed_text.ngrams import NGrams, ngram_splits

if TYPE_CHECKING:
    from scipy import sparse

    from seedbed_text.embeddings import Embeddings

WEIGHTS = "linear.safetensors"
MAX_NGRAMS = 200_000
MAX_PASSES = 100
ABSENT = -30.0
BALANCED = "balanced"


class LinearTextTrainer:
    """Logistic or ridge regression, a logistic one for each label where there may be several.

    The features are n-grams where the hyperparameter `ngrams` is missing or true, and sentence
    vectors where there is an `encoder`. `regularization` is the weight of the squared norm of the
    coefficients, in units of one training item's loss. With `class_weight` `balanced`, every class
    counts the same in all, however few its items. Trains to convergence and reports once.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        parameters = blueprint.parameters
        self.seed = blueprint.seed
        self.target = blueprint.block.target
        self.regularization = float(parameters["regularization"])
        self.balanced = parameters["class_weight"] == BALANCED
        self.ngrams = NGrams(MAX_NGRAMS) if parameters.get("ngrams", True) else None
        self.embeddings = _embeddings(blueprint) if "encoder" in parameters else None
        self.weights = np.zeros((0, self.target.output_size))
        self.bias = np.zeros(self.target.output_size)

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before the model was trained."""
        train, valid, rows = self._splits(data, run)
        if run.should_stop():
            raise Interrupted("stopped before the linear model was trained")
        target = data.train.target[rows]
        passes = max(1, int(min(run.samples_left() / len(target), MAX_PASSES)))
        self.weights = np.zeros((train.shape[1], self.target.output_size))
        self.bias = np.full(self.target.output_size, ABSENT)
        if self.target.type == "regression":
            self._fit_numbers(train, target)
        elif target.ndim == 2:
            self._fit_labels(train, target, passes)
        else:
            self._fit_classes(train, target, passes)
        began = time.monotonic()
        outputs = self._outputs(valid)
        if not np.isfinite(outputs).all():
            raise Diverged("the outputs of the linear model are not finite")
        # Scoring other texts takes them apart first, of which this is the smaller part.
        seconds = time.monotonic() - began + self._seconds_to_read(data.valid.inputs)
        run.report(EpochReport(1, 1, outputs, len(target), predict_seconds=seconds))

    def predict(self, inputs: Arrays) -> Array:
        texts = texts_of(inputs)
        return self._outputs(
            _stack(
                self.ngrams.transform(texts) if self.ngrams else None,
                self.embeddings.transform(texts) if self.embeddings else None,
            )
        )

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weights": self.weights, "bias": self.bias}, folder / WEIGHTS)
        if self.ngrams is not None:
            self.ngrams.save(folder)
        if self.embeddings is not None:
            self.embeddings.save(folder)

    def load(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        self.weights, self.bias = tensors["weights"], tensors["bias"]
        if self.ngrams is not None:
            self.ngrams.load(folder)
        if self.embeddings is not None:
            self.embeddings.load(folder)

    def _splits(self, data: Data, run: Run) -> tuple[sparse.csr_matrix, sparse.csr_matrix, Array]:
        """Features of both splits, and the training items that they are of."""
        rows = np.arange(len(data.train))
        vectors = None
        if self.embeddings is not None:
            vectors = self.embeddings.splits(data, run)
            rows = vectors.rows
        if self.ngrams is None:
            assert vectors is not None
            return _stack(None, vectors.train), _stack(None, vectors.valid), rows
        counts = ngram_splits(data, MAX_NGRAMS, run, rows)
        self.ngrams = counts.ngrams
        if vectors is None:
            return counts.train, counts.valid, counts.rows
        kept = np.isin(rows, counts.rows)
        return (
            _stack(counts.train, vectors.train[kept]),
            _stack(counts.valid, vectors.valid),
            counts.rows,
        )

    def _fit_numbers(self, features: Any, target: Array) -> None:
        from sklearn.linear_model import Ridge

        block = self.target
        assert isinstance(block, RegressionBlock)
        mean, scale = float(target.mean()), float(target.std()) or 1.0
        model = Ridge(alpha=self.regularization).fit(features, (target - mean) / scale)
        # `activate` takes standard scores by the block's own mean and scale.
        self.weights = model.coef_.reshape(-1, 1) * (scale / block.scale)
        self.bias = np.array([(float(model.intercept_) * scale + mean - block.mean) / block.scale])

    def _fit_labels(self, features: Any, target: Array, passes: int) -> None:
        for label in range(target.shape[1]):
            column = (target[:, label] > 0.5).astype(np.int64)
            if column.min() == column.max():
                self.bias[label] = -ABSENT if column[0] else ABSENT
                continue
            model = self._logistic(features, column, passes)
            self.weights[:, label] = model.coef_[0]
            self.bias[label] = model.intercept_[0]

    def _fit_classes(self, features: Any, target: Array, passes: int) -> None:
        classes = np.unique(target)
        if len(classes) == 1:
            self.bias[classes] = 0.0
            return
        model = self._logistic(features, target, passes)
        if len(classes) == 2:
            self.weights[:, classes[1]] = model.coef_[0]
            self.bias[classes] = [0.0, float(model.intercept_[0])]
        else:
            self.weights[:, classes] = model.coef_.T
            self.bias[classes] = model.intercept_

    def _logistic(self, features: Any, target: Array, passes: int) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        two = len(np.unique(target)) == 2
        model = LogisticRegression(
            C=1.0 / self.regularization,
            # Coordinate descent, which only knows two classes, is the fastest on sparse features.
            solver="liblinear" if two and features.shape[1] else "lbfgs",
            class_weight=BALANCED if self.balanced else None,
            max_iter=passes,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(features, target)

    def _outputs(self, features: Any) -> Array:
        import torch

        scores = torch.from_numpy(np.asarray(features @ self.weights + self.bias))
        with torch.inference_mode():
            return self.target.activate(scores).numpy()

    def _seconds_to_read(self, inputs: Arrays) -> float:
        """How long it takes to make the features of a split, by those of a few items."""
        count = len(inputs["text"])
        few = {name: array[:16] for name, array in inputs.items()}
        began = time.monotonic()
        self.predict(few)
        return (time.monotonic() - began) * count / max(1, min(16, count))


def _embeddings(blueprint: Blueprint) -> Embeddings:
    from seedbed_text.embeddings import Embeddings

    parameters = blueprint.parameters
    return Embeddings(
        str(parameters["encoder"]), int(parameters["max_tokens"]), blueprint.hardware.device
    )


def _stack(ngrams: sparse.csr_matrix | None, vectors: Array | None) -> sparse.csr_matrix:
    from scipy import sparse

    parts = [sparse.csr_matrix(p) for p in (ngrams, vectors) if p is not None]
    features: sparse.csr_matrix = sparse.hstack(parts, format="csr")
    return features
