"""What one writes by hand for rankings: EASE (Steck 2019), which is in closed form, on what a user
turned to, with newer items counting for more; Optuna over its penalty, the items that take part,
how much popularity counts and how fast what is old fades, on each user's latest fifth of the
training rows; the best settings are computed once more with all of them."""

import time

import common
import numpy as np
import optuna
import pandas as pd
import torch
from common import left, seed
from scores import recall_at_10

USER, ITEM, TIME = "userId", "movieId", "timestamp"
HELD_OUT, SEARCH_SHARE = 0.2, 0.8

torch.set_num_threads(2)
optuna.logging.set_verbosity(optuna.logging.ERROR)
common.start()

train, test = pd.read_csv(common.train), pd.read_csv(common.test)
train = train.sort_values(TIME, kind="stable").reset_index(drop=True)
users, items = pd.Index(train[USER].unique()), pd.Index(train[ITEM].unique())
# An item that nobody turned to in training cannot be ranked; it counts as missed.
unknown = len(items)


def codes(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    found = items.get_indexer(table[ITEM])
    return users.get_indexer(table[USER]), np.where(
        found < 0, unknown + np.arange(len(found)), found
    )


def sets_of(table: pd.DataFrame) -> dict[int, set[int]]:
    held: dict[int, set[int]] = {}
    for user, item in zip(*codes(table), strict=True):
        held.setdefault(int(user), set()).add(int(item))
    return held


def rank(settings: dict, table: pd.DataFrame, whom: list[int]) -> np.ndarray:
    """The first 10 unseen items for each of the users [U, 10], learned from the rows."""
    user, item = codes(table)
    counts = np.bincount(item, minlength=len(items))
    chosen = np.flatnonzero(counts >= settings["least"])
    place = np.full(len(items), -1)
    place[chosen] = np.arange(len(chosen))
    known = place[item] >= 0
    x = torch.zeros(len(users), len(chosen))
    x[user[known], place[item[known]]] = 1.0
    gram = x.T @ x
    gram.diagonal().add_(settings["penalty"])
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse / -inverse.diagonal()
    weights.fill_diagonal_(0.0)
    # How many of the user's items came after each.
    after = table.groupby(USER).cumcount(ascending=False).to_numpy()
    fresh = settings["fresh"] * 0.5 ** (after / settings["half_life"]) + 1 - settings["fresh"]
    x[user[known], place[item[known]]] = torch.from_numpy(fresh[known]).float()
    scores = (settings["popularity"] * counts / counts.max())[None].repeat(len(users), 0)
    scores[:, chosen] += (x @ weights).numpy()
    scores[user, item] = -np.inf
    return np.argsort(-scores[whom], axis=1, kind="stable")[:, :10]


def suggest(trial: optuna.Trial) -> dict:
    return {
        "penalty": trial.suggest_float("penalty", 10.0, 3_000.0, log=True),
        "least": trial.suggest_int("least", 2, 12),
        "popularity": trial.suggest_float("popularity", 1e-3, 1.0, log=True),
        "fresh": trial.suggest_float("fresh", 0.0, 1.0),
        "half_life": trial.suggest_float("half_life", 3.0, 300.0, log=True),
    }


size = train.groupby(USER)[TIME].transform("size")
late = train.groupby(USER).cumcount(ascending=False) < size * HELD_OUT
held = sets_of(train[late])
best: dict = {"score": -1.0}


def objective(trial: optuna.Trial) -> float:
    settings, clock = suggest(trial), time.monotonic()
    ranked = rank(settings, train[~late], list(held))
    score = recall_at_10(list(held.values()), ranked)
    if score > best["score"]:
        best.update(score=score, settings=settings, seconds=time.monotonic() - clock)
    # Neither another trial nor the last computation can be cut short.
    if left() < 2.5 * (time.monotonic() - clock):
        trial.study.stop()
    return score


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
study.enqueue_trial(
    {"penalty": 300.0, "least": 3, "popularity": 0.01, "fresh": 0.5, "half_life": 30.0}
)
study.optimize(objective, timeout=max(0.1, left(SEARCH_SHARE)))
wanted = sets_of(test)
ranked = rank(best["settings"], train, list(wanted))
seconds = common.spent()
common.answer(recall_at_10(list(wanted.values()), ranked), seconds, "optuna")
