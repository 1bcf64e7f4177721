"""Quick models of the doctor's, which predict each item without having seen it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed_server.data.doctor.context import SEED

TREES = 60
FOLDS = 3

Array = NDArray[Any]


def unseen_probabilities(matrix: Any, goal: Array) -> tuple[Array, Array]:
    """Probabilities [N, C] of the classes 0 to C - 1 for items [N, F], by a model that did not see
    them: a forest on numbers, logistic regression on sparse text. And how much each feature
    counted [F]."""
    return _by_logistic(matrix, goal) if hasattr(matrix, "tocsr") else _by_forest(matrix, goal)


def area(scores: Array, positive: Array) -> float:
    """The area under the ROC curve of scores [N] for those that are positive [N] bool."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores))


def _by_forest(matrix: Array, goal: Array) -> tuple[Array, Array]:
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(
        TREES, min_samples_leaf=3, bootstrap=True, oob_score=True, random_state=SEED, n_jobs=1
    )
    forest.fit(matrix, goal)
    found = np.asarray(forest.oob_decision_function_, dtype=np.float64)
    # An item that was in all trees' samples has no prediction.
    found[~np.isfinite(found).all(axis=1)] = 1 / found.shape[1]
    return found, np.asarray(forest.feature_importances_)


def _by_logistic(matrix: Any, goal: Array) -> tuple[Array, Array]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=10.0, max_iter=200)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    found = cross_val_predict(model, matrix, goal, cv=folds, method="predict_proba")
    weights = np.abs(model.fit(matrix, goal).coef_).sum(axis=0)
    return np.asarray(found, dtype=np.float64), np.asarray(weights)
