"""fastai on texts: `text_classifier_learner` over AWD-LSTM. Its pretrained weights would be
downloaded, so that it learns from scratch, and is therefore smaller than usual; one cycle, for one
set of dropout and epochs after the other; what is best on a fifth of the texts stays."""

import common
import numpy as np
import pandas as pd
import torch
from common import seed, target
from fastai.text.all import (
    AWD_LSTM,
    TextDataLoaders,
    awd_lstm_clas_config,
    set_seed,
    text_classifier_learner,
)
from fastai_loop import EndsBy, best_of
from scores import macro_f1

SEARCH_SHARE = 0.95
TRIALS = [
    {"epochs": epochs, "dropout": dropout, "rate": 1e-2}
    for epochs, dropout in ((4, 0.3), (8, 0.5), (8, 0.3), (12, 0.5))
]
SIZES = {"emb_sz": 100, "n_hid": 128, "n_layers": 2}

torch.set_num_threads(2)
common.start()
train, test = pd.read_csv(common.train), pd.read_csv(common.test)
set_seed(seed, reproducible=True)
dls = TextDataLoaders.from_df(
    train,
    text_col="text",
    label_col=target,
    valid_pct=0.2,
    seed=seed,
    bs=64,
    num_workers=0,
    n_workers=2,
)
found: dict = {"score": -1.0}


def predictions(learn, dl) -> np.ndarray:
    with learn.no_bar():
        outputs, _ = learn.get_preds(dl=dl)
    return outputs.argmax(1).numpy()


def trial(settings: dict, end: EndsBy) -> float:
    set_seed(seed + settings["round"], reproducible=True)
    learn = text_classifier_learner(
        dls,
        AWD_LSTM,
        pretrained=False,
        config={**awd_lstm_clas_config, **SIZES},
        drop_mult=settings["dropout"],
    )
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(settings["epochs"], settings["rate"], cbs=end)
        outputs, truth = learn.get_preds(dl=dls.valid)
    score = macro_f1(truth.numpy(), outputs.argmax(1).numpy())
    if score > found["score"]:
        found.update(score=score, learn=learn)
    return score


best_of(TRIALS, trial, SEARCH_SHARE)
seconds = common.spent()
shown = dls.test_dl(test["text"].fillna("").tolist())
said = np.array(dls.vocab[1])[predictions(found["learn"], shown)]
common.answer(macro_f1(test[target].to_numpy(), said), seconds, "fastai")
