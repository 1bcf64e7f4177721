"""Networks that need texts in another form than the block's arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.learner import Learner
from seedbed_sdk.trainer import Data, Run, SplitArrays


class ConvertedTrainer(ABC):
    """Turns texts into the arrays of a network and leaves the rest to the Learner.

    `learner` is there once `fit` has learned what the network's size depends on, or `load` has read
    it.
    """

    learner: Learner
    _checkpoint: Path | None = None

    @abstractmethod
    def splits(self, data: Data, run: Run) -> tuple[SplitArrays, Arrays]:
        """The network's inputs and the target of the training split, and the inputs of the
        validation split; makes the learner."""

    @abstractmethod
    def convert(self, inputs: Arrays) -> Arrays:
        """The network's inputs for encoded texts."""

    def fit(self, data: Data, run: Run) -> None:
        train, valid = self.splits(data, run)
        if self._checkpoint is not None:
            self.learner.load_checkpoint(self._checkpoint)
            self._checkpoint = None
        self.learner.fit(Data(train, SplitArrays(valid, data.valid.target)), run)

    def save_checkpoint(self, folder: Path) -> None:
        """The state of the network's training; what it is trained on is found out again."""
        self.learner.save_checkpoint(folder)

    def load_checkpoint(self, folder: Path) -> None:
        """Has the next `fit` go on with what `save_checkpoint` wrote, which has to stay until
        then."""
        self._checkpoint = folder

    def predict(self, inputs: Arrays) -> Array:
        return self.learner.predict(self.convert(inputs))

    def save(self, folder: Path) -> None:
        self.learner.save(folder)

    def load(self, folder: Path) -> None:
        self.learner.load(folder)
