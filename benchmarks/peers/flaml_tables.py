"""FLAML on a table, with its defaults."""

import json
import sys
import time
from importlib.metadata import version

import pandas as pd
from flaml import AutoML
from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error

METRICS = {"accuracy": "accuracy", "r2": "r2", "rmse": "rmse"}
SCORES = {"accuracy": accuracy_score, "r2": r2_score, "rmse": root_mean_squared_error}

asked = json.loads(sys.argv[1])
train, test = pd.read_csv(asked["train"]), pd.read_csv(asked["test"])
target, metric = asked["target"], asked["metric"]
for name in train.columns:
    if name != target and not pd.api.types.is_numeric_dtype(train[name].dtype):
        train[name], test[name] = train[name].astype("category"), test[name].astype("category")
began = time.monotonic()
automl = AutoML()
automl.fit(
    train.drop(columns=target),
    train[target],
    task="classification" if metric == "accuracy" else "regression",
    metric=METRICS[metric],
    time_budget=asked["seconds"],
    seed=asked["seed"],
    n_jobs=2,
    verbose=0,
)
seconds = time.monotonic() - began
score = float(SCORES[metric](test[target], automl.predict(test.drop(columns=target))))
print(json.dumps({"score": score, "seconds": seconds, "version": version("flaml")}))
