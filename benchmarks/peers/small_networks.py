"""The search of the scripts that train small networks from scratch: Optuna finds the settings on a
fifth of the training items, and as many networks as time is left for are trained with the best ones
on all items; their probabilities are averaged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
import optuna
import torch
import torch.nn.functional as F
from common import left, seed
from scores import accuracy
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from torch import nn
from training import fit, predict

SEARCH_SHARE, TRIAL_SHARE, END_SHARE = 0.55, 0.18, 0.96
Settings = dict[str, Any]


@dataclass
class Search:
    """`read` gives a folder's items [N, C, H, W] and labels; `build` a network for settings and a
    number of classes; `suggest` settings with `epochs`, `rate`, `decay` and `smoothing` among them;
    `first` is what a person would try first."""

    read: Callable[[Path], tuple[torch.Tensor, list[str]]]
    build: Callable[[Settings, int], nn.Module]
    augment: Callable[[Settings], Callable[[torch.Tensor], torch.Tensor]]
    suggest: Callable[[optuna.Trial], Settings]
    first: Settings
    batch: int
    best: dict[str, Any] = field(default_factory=dict)

    def answer(self) -> None:
        """Searches, trains and prints the test's score."""
        items, labels = self.read(common.train)
        encoder = LabelEncoder().fit(labels)
        self.items, self.y = items, torch.from_numpy(encoder.transform(labels))
        self.classes = len(encoder.classes_)
        every = np.arange(len(self.y))
        self.rows, self.valid = train_test_split(
            every, test_size=0.2, random_state=seed, stratify=self.y
        )
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(self.first)
        study.optimize(self.objective, timeout=max(0.1, left(SEARCH_SHARE)))
        networks: list[nn.Module] = []
        needed = self.best["seconds"] * len(every) / len(self.rows) * 1.1
        while left(END_SHARE) > needed:
            number = seed + 1 + len(networks)
            network, _ = self.trained(self.best["settings"], every, number, left(END_SHARE))
            networks.append(network)
        seconds = common.spent()
        shown, labels = self.read(common.test)
        chosen = networks or [self.best["network"]]
        outputs = sum(predict(network, shown).softmax(1) for network in chosen)
        said = encoder.inverse_transform(outputs.argmax(1).numpy())
        common.answer(accuracy(np.array(labels), said), seconds, "optuna")

    def trained(
        self, settings: Settings, rows: np.ndarray, start: int, seconds: float
    ) -> tuple[nn.Module, bool]:
        torch.manual_seed(start)
        network = self.build(settings, self.classes)
        change = self.augment(settings)
        complete = fit(
            network,
            self.items[rows],
            self.y[rows],
            epochs=settings["epochs"],
            rate=settings["rate"],
            decay=settings["decay"],
            batch=self.batch,
            until=time.monotonic() + seconds,
            loss=nn.CrossEntropyLoss(label_smoothing=settings["smoothing"]),
            augment=lambda x, y: (change(x), y),
        )
        return network, complete

    def objective(self, trial: optuna.Trial) -> float:
        settings = self.suggest(trial)
        clock = time.monotonic()
        # The first one is what there is for certain, so that it may take longer.
        seconds = common.asked["seconds"] * TRIAL_SHARE if self.best else left(SEARCH_SHARE)
        network, complete = self.trained(settings, self.rows, seed, seconds)
        if not complete and self.best:
            raise optuna.TrialPruned
        outputs = predict(network, self.items[self.valid])
        truth = self.y[self.valid]
        score = accuracy(truth.numpy(), outputs.argmax(1).numpy())
        # Many settings are right on as many items: of those the one that is surer of them.
        value = score - 0.01 * float(F.cross_entropy(outputs, truth))
        if not self.best or value > self.best["value"]:
            took = time.monotonic() - clock
            self.best.update(value=value, settings=settings, network=network, seconds=took)
        return value
