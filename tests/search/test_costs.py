"""How long a model takes to predict, as it is measured."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.trainer import Data, Run
from seedbed_server.search.costs import seconds_for_an_item

LOADING = 0.3


class Busy:
    """A Trainer that is at work for so many seconds for each call and each item, and in its first
    call as long as it takes to load something."""

    def __init__(self, call: float, item: float) -> None:
        self.call, self.item = call, item
        self.calls: list[int] = []

    def fit(self, data: Data, run: Run) -> None:
        raise NotImplementedError

    def predict(self, inputs: Arrays) -> Array:
        count = len(inputs["values"])
        first = not self.calls
        self.calls.append(count)
        ends = time.perf_counter() + self.call + self.item * count + (LOADING if first else 0.0)
        while time.perf_counter() < ends:
            pass
        return np.zeros(count)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        raise NotImplementedError


def inputs(count: int) -> Arrays:
    return {"values": np.zeros((count, 1), dtype=np.float32)}


def test_what_is_measured_is_an_item_and_not_the_call() -> None:
    trainer = Busy(call=0.004, item=0.0001)
    assert 0.0001 <= seconds_for_an_item(trainer, inputs(10_000)) < 0.0003
    assert trainer.calls[:3] == [1, 1, 4]
    assert max(trainer.calls) < 5_000


def test_loading_in_the_first_call_does_not_count() -> None:
    found = seconds_for_an_item(Busy(call=0.0, item=0.01), inputs(10_000))
    assert 0.01 <= found < 0.05


def test_few_items_are_enough() -> None:
    trainer = Busy(call=0.001, item=0.0)
    assert 0.0003 < seconds_for_an_item(trainer, inputs(3)) < 0.05
    assert trainer.calls == [1, 1, 3]
