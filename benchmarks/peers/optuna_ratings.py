"""What one writes by hand for ratings: alternating least squares in PyTorch, in which a user has a
bias, tastes for genres and for the well-known, and factors, and an item a bias and factors; Optuna
over the number of factors and the penalties on each user's latest fifth of the training ratings;
the best settings are trained on all, from several beginnings, and their predictions averaged."""

import time

import common
import numpy as np
import optuna
import pandas as pd
import torch
from common import left, seed, target
from scores import rmse

USER, ITEM, TIME = "userId", "movieId", "timestamp"
HELD_OUT, SEARCH_SHARE, END_SHARE = 0.2, 0.75, 0.97
ROUNDS, PATIENCE = 20, 2
ROWS_AT_ONCE, FEW_GROUPS = 8_192, 2_000

torch.set_num_threads(1)  # what is multiplied is small
optuna.logging.set_verbosity(optuna.logging.ERROR)
common.start()

train, test = pd.read_csv(common.train), pd.read_csv(common.test)
movies = pd.read_csv(common.asked["tables"]["items"]).set_index(ITEM)
users = pd.Index(train[USER].unique())
# All items have a place, so that new ones are rated by their genres.
items = pd.Index(pd.unique(pd.concat([train[ITEM], test[ITEM]])))
genres = movies["genres"].str.get_dummies("|").reindex(items).fillna(0.0).to_numpy()
genres = genres / np.sqrt(np.maximum(genres.sum(1, keepdims=True), 1))
low, high = train[target].min(), train[target].max()


def codes(table: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Users and items as numbers, each [N]."""
    pairs = users.get_indexer(table[USER]), items.get_indexer(table[ITEM])
    return torch.tensor(pairs[0]), torch.tensor(pairs[1])


user, item = codes(train)
ratings = torch.tensor(train[target].to_numpy(), dtype=torch.float32)
age = train.groupby(USER)[TIME].rank(method="first", ascending=False)
late = (age <= train.groupby(USER)[TIME].transform("size") * HELD_OUT).to_numpy()


def ridge(
    x: torch.Tensor, y: torch.Tensor, by: torch.Tensor, penalty: torch.Tensor, count: int
) -> torch.Tensor:
    """A ridge regression of y [N] on x [N, D] for each of `count` groups [count, D]."""
    gram = torch.diag(penalty).repeat(count, 1, 1)
    if count < FEW_GROUPS:
        order = torch.argsort(by)
        for group, rows in enumerate(order.split(torch.bincount(by, minlength=count).tolist())):
            gram[group].addmm_(x[rows].T, x[rows])
    else:
        for rows in torch.arange(len(x)).split(ROWS_AT_ONCE):
            gram.index_add_(0, by[rows], x[rows, :, None] * x[rows, None, :])
    right = torch.zeros(count, x.shape[1]).index_add_(0, by, x * y[:, None])
    return torch.linalg.solve(gram, right)


class Model:
    """What users and items are after some rounds on the training rows."""

    def __init__(self, settings: dict, rows: torch.Tensor, start: int) -> None:
        generator = torch.Generator().manual_seed(start)
        counts = torch.bincount(item[rows], minlength=len(items)).float()
        known = torch.log1p(counts) - torch.log1p(counts).mean()
        self.about = torch.cat([torch.tensor(genres).float(), known[:, None] / 3], 1)
        factors = settings["factors"]
        self.item = torch.randn(len(items), 1 + factors, generator=generator) * 0.1
        self.item[:, 0] = 0
        self.mean = ratings[rows].mean()
        tastes = self.about.shape[1]
        sizes = (("user_bias", 1), ("taste", tastes), ("user_factor", factors))
        self.penalties = torch.cat([torch.full((n,), settings[name]) for name, n in sizes])
        sizes = (("item_bias", 1), ("item_factor", factors))
        self.item_penalties = torch.cat([torch.full((n,), settings[name]) for name, n in sizes])
        self.tastes, self.rows = tastes, rows
        self.user = torch.zeros(len(users), 1 + tastes + factors)
        # The biases of items first, so that users are not blamed for what they chose.
        self.update_items()

    def update_items(self) -> None:
        u, i = user[self.rows], item[self.rows]
        x, fixed = self.user[u], 1 + self.tastes
        rest = ratings[self.rows] - self.mean - x[:, 0] - (x[:, 1:fixed] * self.about[i]).sum(1)
        x = torch.cat([torch.ones(len(x), 1), x[:, fixed:]], 1)
        self.item = ridge(x, rest, i, self.item_penalties, len(items))

    def update_users(self) -> None:
        u, i = user[self.rows], item[self.rows]
        x = torch.cat([torch.ones(len(i), 1), self.about[i], self.item[i, 1:]], 1)
        rest = ratings[self.rows] - self.mean - self.item[i, 0]
        self.user = ridge(x, rest, u, self.penalties, len(users))

    def predict(self, u: torch.Tensor, i: torch.Tensor) -> np.ndarray:
        x = torch.cat([torch.ones(len(i), 1), self.about[i], self.item[i, 1:]], 1)
        said = self.mean + self.item[i, 0] + (self.user[u] * x).sum(1)
        return said.clamp(low, high).numpy()


def suggest(trial: optuna.Trial) -> dict:
    return {
        "factors": trial.suggest_int("factors", 0, 24),
        "user_bias": trial.suggest_float("user_bias", 0.5, 30.0, log=True),
        "taste": trial.suggest_float("taste", 3.0, 300.0, log=True),
        "user_factor": trial.suggest_float("user_factor", 1.0, 100.0, log=True),
        "item_bias": trial.suggest_float("item_bias", 1.0, 30.0, log=True),
        "item_factor": trial.suggest_float("item_factor", 1.0, 100.0, log=True),
    }


early, held = (torch.tensor(np.flatnonzero(where)) for where in (~late, late))
best: dict = {"error": float("inf")}


def objective(trial: optuna.Trial) -> float:
    settings, clock = suggest(trial), time.monotonic()
    model = Model(settings, early, seed)
    lowest, best_round = float("inf"), 0
    for number in range(1, ROUNDS + 1):
        model.update_users()
        error = rmse(ratings[held].numpy(), model.predict(user[held], item[held]))
        if error < lowest:
            lowest, best_round = error, number
        elif number - best_round >= PATIENCE:
            break
        if left(SEARCH_SHARE) < 0:
            break
        model.update_items()
    if lowest < best["error"]:
        each = (time.monotonic() - clock) / number
        best.update(error=lowest, settings=settings, rounds=best_round, each=each)
    return lowest


study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
study.enqueue_trial(
    {
        "factors": 4,
        "user_bias": 3.0,
        "taste": 20.0,
        "user_factor": 15.0,
        "item_bias": 4.0,
        "item_factor": 15.0,
    }
)
study.optimize(objective, timeout=max(0.1, left(SEARCH_SHARE)))
models: list[Model] = []
while not models or left(END_SHARE) > best["each"] * best["rounds"] * 1.3:
    model = Model(best["settings"], torch.arange(len(train)), seed + len(models))
    for number in range(best["rounds"]):
        if number:
            model.update_items()
        model.update_users()
    models.append(model)
    if best["settings"]["factors"] == 0:
        break
seconds = common.spent()
said = np.mean([model.predict(*codes(test)) for model in models], axis=0)
common.answer(rmse(test[target].to_numpy(), said), seconds, "optuna")
