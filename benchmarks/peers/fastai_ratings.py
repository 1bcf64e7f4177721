"""fastai on ratings: `collab_learner` as in its book, with the range of the ratings, weight decay
and one cycle, for one number of factors and epochs after the other; what is best on each user's
latest ratings is trained on all of them."""

import time

import common
import pandas as pd
import torch
from common import left, seed, target
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.tabular.all import IndexSplitter, set_seed
from fastai_loop import EndsBy, best_of
from scores import rmse

USER, ITEM, TIME = "userId", "movieId", "timestamp"
HELD_OUT, SEARCH_SHARE, END_SHARE = 0.2, 0.7, 0.97
TRIALS = [
    {"factors": factors, "epochs": epochs, "rate": 5e-3, "decay": decay}
    for epochs, decay in ((5, 0.1), (3, 0.1), (5, 0.3), (8, 0.2))
    for factors in (50, 10)
]

torch.set_num_threads(2)
common.start()
train, test = pd.read_csv(common.train), pd.read_csv(common.test)
low, high = train[target].min(), train[target].max()
age = train.groupby(USER)[TIME].rank(method="first", ascending=False)
late = age <= train.groupby(USER)[TIME].transform("size") * HELD_OUT
# The newest rows last, so that a splitter takes them.
ordered = pd.concat([train[~late], train[late]], ignore_index=True)


def fitted(settings: dict, held: int, end: EndsBy):
    """Trained on all but the last rows."""
    set_seed(seed + settings["round"], reproducible=True)
    dls = CollabDataLoaders.from_df(
        ordered,
        user_name=USER,
        item_name=ITEM,
        rating_name=target,
        splitter=IndexSplitter(list(range(len(ordered) - held, len(ordered)))),
        bs=512,
        num_workers=0,
    )
    # Slightly more than the range, since a sigmoid does not reach its ends.
    learn = collab_learner(dls, n_factors=settings["factors"], y_range=(low - 0.2, high + 0.2))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(settings["epochs"], settings["rate"], wd=settings["decay"], cbs=end)
    return learn


def error(learn, rows: pd.DataFrame) -> float:
    with learn.no_bar():
        outputs, _ = learn.get_preds(dl=learn.dls.test_dl(rows.drop(columns=target)))
    return rmse(rows[target].to_numpy(), outputs.flatten().clamp(low, high).numpy())


took: dict[str, float] = {}


def trial(settings: dict, end: EndsBy) -> float:
    clock = time.monotonic()
    learn = fitted(settings, int(late.sum()), end)
    took[str(settings)] = time.monotonic() - clock
    return -error(learn, train[late])


best, _ = best_of(TRIALS, trial, SEARCH_SHARE)
held = 8 if left(END_SHARE) > took[str(best)] else int(late.sum())
learn = fitted(best, held, EndsBy(END_SHARE))
seconds = common.spent()
common.answer(error(learn, test), seconds, "fastai")
