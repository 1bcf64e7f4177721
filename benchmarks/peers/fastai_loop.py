"""How the fastai scripts keep to their seconds: epochs are counted by what a batch takes, and a
training that would be late is cut."""

from __future__ import annotations

import time
from collections.abc import Callable

from common import left
from fastai.basics import Callback, CancelFitException, Learner

EARLY = 5


class EndsBy(Callback):
    """Ends the training when nothing is left of a share of the budget."""

    def __init__(self, share: float) -> None:
        self.share, self.cut = share, False

    def before_batch(self) -> None:
        if left(self.share) < 0:
            self.cut = True
            raise CancelFitException


def batch_seconds(learn: Learner) -> float:
    """What a training batch takes, augmentation included: the least of two. Weights stay."""
    times = []
    learn.model.train()
    batches = iter(learn.dls.train)
    for _ in range(min(2, len(learn.dls.train))):
        clock = time.monotonic()
        x, y = next(batches)
        learn.loss_func(learn.model(x), y).backward()
        times.append(time.monotonic() - clock)
    learn.model.zero_grad()
    return min(times)


def fine_tune(learn: Learner, rate: float, share: float) -> None:
    """fastai's recipe for pretrained networks, `Learner.fine_tune`, with as many epochs as fit: one
    with the body frozen, the rest with all layers at rates that grow from the first to the last."""
    with learn.no_bar(), learn.no_logging():
        end = EndsBy(share)
        learn.freeze()
        learn.fit_one_cycle(1, slice(rate), pct_start=0.99, cbs=end)
        learn.unfreeze()
        # Validation after each epoch takes about a third of a training step for each item.
        epoch = batch_seconds(learn) * (len(learn.dls.train) + len(learn.dls.valid) / 3)
        if left(share) > epoch / 2:
            learn.fit_one_cycle(
                max(1, int(left(share) / epoch)),
                slice(rate / 2 / 100, rate / 2),
                pct_start=0.3,
                div=EARLY,
                cbs=end,
            )


def best_of(
    trials: list[dict], train: Callable[[dict, EndsBy], float], share: float
) -> tuple[dict, float]:
    """Trains with one set of settings after the other until the share of the budget has passed,
    from the first again, with the next `round`, where all were tried; the best one and its value,
    which is the higher the better. A training that was cut counts where it is the first."""
    best, value, slowest, number = trials[0], float("-inf"), 0.0, 0
    while not number or left(share) > slowest:
        clock, end = time.monotonic(), EndsBy(share)
        settings = {**trials[number % len(trials)], "round": number // len(trials)}
        found = train(settings, end)
        if found > value and not (end.cut and number):
            best, value = settings, found
        slowest = max(slowest, time.monotonic() - clock)
        number += 1
    return best, value
