"""The weighted mean of several models, written and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.ensemble import EnsembleTrainer
from seedbed_sdk.trainer import Data, Run


class Constant:
    """A model that answers the same number for each item."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def fit(self, data: Data, run: Run) -> None:
        """There is nothing to learn."""

    def predict(self, inputs: Arrays) -> Array:
        return np.full((len(inputs["x"]), 1), self.value, dtype=np.float32)

    def save(self, folder: Path) -> None:
        (folder / "value").write_text(str(self.value))

    def load(self, folder: Path) -> None:
        self.value = float((folder / "value").read_text())


def test_the_mean_is_weighted_and_survives_its_files(tmp_path: Path) -> None:
    inputs = {"x": np.zeros(3)}
    ensemble = EnsembleTrainer([Constant(1.0), Constant(5.0)], [0.75, 0.25])
    assert ensemble.predict(inputs).tolist() == [[2.0]] * 3
    ensemble.save(tmp_path)
    again = EnsembleTrainer([Constant(), Constant()], [0.75, 0.25])
    again.load(tmp_path)
    assert again.predict(inputs).tolist() == [[2.0]] * 3


def test_every_member_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="1 members need as many weights, got 2"):
        EnsembleTrainer([Constant()], [0.5, 0.5])
    with pytest.raises(ValueError, match="0 members"):
        EnsembleTrainer([], [])
