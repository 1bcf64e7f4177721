"""AutoGluon on a table, a column of texts among them, with the presets that its documentation
recommends."""

import json
import sys
import tempfile
import time
from importlib.metadata import version

import pandas as pd
from autogluon.tabular import TabularPredictor

METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1_macro",
    "r2": "r2",
    "rmse": "root_mean_squared_error",
}
SIGNS = {"accuracy": 1, "macro_f1": 1, "r2": 1, "rmse": -1}

asked = json.loads(sys.argv[1])
train, test = pd.read_csv(asked["train"]), pd.read_csv(asked["test"])
began = time.monotonic()
with tempfile.TemporaryDirectory() as folder:
    predictor = TabularPredictor(
        label=asked["target"],
        eval_metric=METRICS[asked["metric"]],
        path=folder,
        verbosity=0,
        learner_kwargs={"random_state": asked["seed"]},
    )
    predictor.fit(train, time_limit=asked["seconds"], presets="best_quality", num_cpus=2)
    seconds = time.monotonic() - began
    score = predictor.evaluate(test)[METRICS[asked["metric"]]] * SIGNS[asked["metric"]]
print(json.dumps({"score": score, "seconds": seconds, "version": version("autogluon.tabular")}))
