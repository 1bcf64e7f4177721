"""fastai on a table: `tabular_learner` with its usual blocks and one cycle, for one set of epochs,
layers and dropout after the other; what is best on a fifth of the rows is trained on all."""

import time

import common
import pandas as pd
import torch
from common import left, metric, seed, target
from fastai.tabular.all import (
    Categorify,
    CategoryBlock,
    FillMissing,
    Normalize,
    RandomSplitter,
    RegressionBlock,
    TabularPandas,
    cont_cat_split,
    range_of,
    set_seed,
    tabular_config,
    tabular_learner,
)
from fastai_loop import EndsBy, best_of
from scores import accuracy
from sklearn.metrics import r2_score

SEARCH_SHARE, END_SHARE = 0.75, 0.97
TRIALS = [
    {"epochs": epochs, "layers": layers, "dropout": dropout, "rate": rate}
    for epochs, rate in ((5, 5e-3), (12, 3e-3), (30, 2e-3))
    for layers, dropout in (([200, 100], 0.0), ([500, 250], 0.2), ([100], 0.1))
]

torch.set_num_threads(2)
common.start()
train, test = pd.read_csv(common.train), pd.read_csv(common.test)
classes = metric == "accuracy"
continuous, categories = cont_cat_split(train, max_card=20, dep_var=target)
# Numbers with few values are categories to fastai, unless they are many columns of the like.
categories = [c for c in categories if not pd.api.types.is_numeric_dtype(train[c])]
continuous = [c for c in train.columns if c not in (*categories, target)]
scale = 1.0 if classes else float(train[target].std())
mean = 0.0 if classes else float(train[target].mean())
if not classes:
    train[target] = (train[target] - mean) / scale


def learner_for(settings: dict, splits: tuple):
    set_seed(seed + settings["round"], reproducible=True)
    table = TabularPandas(
        train,
        procs=[Categorify, FillMissing, Normalize],
        cat_names=categories,
        cont_names=continuous,
        y_names=target,
        y_block=CategoryBlock() if classes else RegressionBlock(),
        splits=splits,
    )
    dls = table.dataloaders(bs=min(256, max(8, len(splits[0]) // 8)), num_workers=0)
    config = tabular_config(ps=settings["dropout"], embed_p=settings["dropout"])
    return table, tabular_learner(dls, layers=settings["layers"], config=config)


def score(learn, table, rows: pd.DataFrame, truth: pd.Series) -> float:
    """Truth as it stands in the files."""
    shown = rows.drop(columns=target)
    with learn.no_bar():
        outputs, _ = learn.get_preds(dl=learn.dls.test_dl(shown))
    if classes:
        said = pd.Series(list(table.vocab))[outputs.argmax(1).numpy()].to_numpy()
        return accuracy(truth.to_numpy(), said)
    return float(r2_score(truth, outputs.flatten().numpy() * scale + mean))


def fitted(settings: dict, splits: tuple, end: EndsBy):
    table, learn = learner_for(settings, splits)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(settings["epochs"], settings["rate"], wd=0.1, cbs=end)
    return table, learn


split = RandomSplitter(0.2, seed=seed)(range_of(train))
took: dict[str, float] = {}


def trial(settings: dict, end: EndsBy) -> float:
    clock = time.monotonic()
    table, learn = fitted(settings, split, end)
    took[str(settings)] = time.monotonic() - clock
    held = train.iloc[split[1]]
    return score(learn, table, held, held[target] * scale + mean if not classes else held[target])


best, _ = best_of(TRIALS, trial, SEARCH_SHARE)
# On all rows; a few stand in for the validation that fastai wants to have.
every = (list(range_of(train)), list(range_of(train))[:8])
there_is_time = left(END_SHARE) > took[str(best)]
table, learn = fitted(best, every if there_is_time else split, EndsBy(END_SHARE))
seconds = common.spent()
common.answer(score(learn, table, test, test[target]), seconds, "fastai")
