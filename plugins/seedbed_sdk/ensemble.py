"""Several trained models that answer together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.trainer import AnsweringTrainer, Data, JoiningTrainer, Run, Trainer

ENSEMBLE = "ensemble"
"""What stands for the architecture of such a model."""


class EnsembleTrainer:
    """Implements `seedbed_sdk.trainer.Trainer`: the mean of the members' activated outputs,
    weighted. The weights are positive and add up to 1; there is one for each member."""

    def __init__(self, members: Sequence[Trainer], weights: Sequence[float]) -> None:
        if not members or len(members) != len(weights):
            raise ValueError(f"{len(members)} members need as many weights, got {len(weights)}")
        self.members = tuple(members)
        self.weights = tuple(weights)

    def fit(self, data: Data, run: Run) -> None:
        """Raises NotImplementedError: the members are trained before, each by itself."""
        raise NotImplementedError("the members of an ensemble are trained each by itself")

    def predict(self, inputs: Arrays) -> Array:
        """Float64 [N, ...] in the shape that each member puts out."""
        return weighted_mean([member.predict(inputs) for member in self.members], self.weights)

    def save(self, folder: Path) -> None:
        """Writes a folder for each member."""
        for place, member in _places(folder, self.members):
            place.mkdir()
            member.save(place)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        for place, member in _places(folder, self.members):
            member.load(place)


def joined(members: Sequence[Trainer], weights: Sequence[float]) -> Trainer:
    """The members as one trainer, which answers as they do where all of them can be joined."""
    first = members[0]
    if isinstance(first, JoiningTrainer) and all(isinstance(m, JoiningTrainer) for m in members):
        return first.together(members, weights)
    return EnsembleTrainer(members, weights)


def can_be_joined(trainer: Trainer) -> bool:
    """Whether a trainer can be in an ensemble, as far as its answers are concerned."""
    return isinstance(trainer, JoiningTrainer) or not isinstance(trainer, AnsweringTrainer)


def weighted_mean(outputs: Sequence[Array], weights: Sequence[float]) -> Array:
    """The mean of arrays of one shape as float64; the weights add up to 1."""
    total = weights[0] * outputs[0].astype(np.float64)
    for array, weight in zip(outputs[1:], weights[1:], strict=True):
        total += weight * array
    return np.asarray(total)


def _places(folder: Path, members: Sequence[Trainer]) -> list[tuple[Path, Trainer]]:
    return [(folder / f"member-{index}", member) for index, member in enumerate(members)]
