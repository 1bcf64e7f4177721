"""What one writes by hand for a table: Optuna over LightGBM and a small PyTorch network, each trial
scored on a fifth of the training rows, the best one trained once more on all of them."""

import json
import sys
import time
from importlib.metadata import version

import lightgbm
import numpy as np
import optuna
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler

SCORES = {"accuracy": accuracy_score, "r2": r2_score, "rmse": root_mean_squared_error}
FINISHING_SHARE = 0.15

asked = json.loads(sys.argv[1])
began = time.monotonic()
torch.set_num_threads(2)
optuna.logging.set_verbosity(optuna.logging.ERROR)
train, test = pd.read_csv(asked["train"]), pd.read_csv(asked["test"])
target, metric = asked["target"], asked["metric"]
classes = metric == "accuracy"
encoder = LabelEncoder().fit(train[target]) if classes else None
y = encoder.transform(train[target]) if encoder else train[target].to_numpy(dtype=float)
truth = encoder.transform(test[target]) if encoder else test[target].to_numpy(dtype=float)
columns = make_column_transformer(
    (
        make_pipeline(SimpleImputer(), StandardScaler()),
        make_column_selector(dtype_include="number"),
    ),
    (
        OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False),
        make_column_selector(dtype_exclude="number"),
    ),
)
x = columns.fit_transform(train.drop(columns=target)).astype(np.float32)
x_test = columns.transform(test.drop(columns=target)).astype(np.float32)
stratify = y if classes else None
split = train_test_split(x, y, test_size=0.2, random_state=asked["seed"], stratify=stratify)
deadline = began + asked["seconds"] * (1 - FINISHING_SHARE)
size = len(np.unique(y)) if classes else 1
mean, scale = (0.0, 1.0) if classes else (float(y.mean()), float(y.std()))


def fit_network(settings: dict, x: np.ndarray, y: np.ndarray, until: float) -> torch.nn.Module:
    torch.manual_seed(asked["seed"])
    width = settings["width"]
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], width),
        torch.nn.ReLU(),
        torch.nn.Dropout(settings["dropout"]),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, size),
    )
    steps = settings["epochs"] * max(1, len(x) // 256)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings["learning_rate"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings["learning_rate"], total_steps=steps
    )
    inputs = torch.from_numpy(x)
    goals = torch.from_numpy(y) if classes else torch.from_numpy((y - mean) / scale).float()
    for _ in range(steps):
        rows = torch.randint(0, len(x), (min(256, len(x)),))
        outputs = network(inputs[rows])
        if classes:
            loss = torch.nn.functional.cross_entropy(outputs, goals[rows])
        else:
            loss = torch.nn.functional.mse_loss(outputs[:, 0], goals[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if time.monotonic() > until:
            break
    return network.eval()


def fit(settings: dict, x: np.ndarray, y: np.ndarray, until: float):
    if settings["model"] == "network":
        network = fit_network(settings, x, y, until)

        def predict(rows: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                outputs = network(torch.from_numpy(rows)).numpy()
            return outputs.argmax(1) if classes else outputs[:, 0] * scale + mean

        return predict
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    wanted = {k: v for k, v in settings.items() if k != "model"}
    return kind(**wanted, n_jobs=2, verbose=-1, random_state=asked["seed"]).fit(x, y).predict


def suggest(trial: optuna.Trial) -> dict:
    if trial.suggest_categorical("model", ["lightgbm", "network"]) == "lightgbm":
        return {
            "model": "lightgbm",
            "n_estimators": trial.suggest_int("n_estimators", 50, 1000, log=True),
            "learning_rate": trial.suggest_float("lgb_learning_rate", 0.01, 0.3, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 8, 128, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 5, 100, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "subsample_freq": 1,
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.5, 1.0),
        }
    return {
        "model": "network",
        "width": trial.suggest_int("width", 32, 256, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "epochs": trial.suggest_int("epochs", 5, 50, log=True),
    }


best: dict = {}


def objective(trial: optuna.Trial) -> float:
    settings = suggest(trial)
    predict = fit(settings, split[0], split[2], deadline)
    score = float(SCORES[metric](split[3], predict(split[1])))
    if not best or (score > best["score"]) == (metric != "rmse"):
        best.update(score=score, settings=settings)
    return score


study = optuna.create_study(
    direction="minimize" if metric == "rmse" else "maximize",
    sampler=optuna.samplers.TPESampler(seed=asked["seed"]),
)
study.optimize(objective, timeout=deadline - time.monotonic())
predict = fit(best["settings"], x, y, began + asked["seconds"])
seconds = time.monotonic() - began
score = float(SCORES[metric](truth, predict(x_test)))
print(json.dumps({"score": score, "seconds": seconds, "version": version("optuna")}))
