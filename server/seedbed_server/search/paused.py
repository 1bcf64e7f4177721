"""Trials that pause: their checkpoints, and which of them goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seedbed_sdk.trainer import ContinuingTrainer
from seedbed_server.jobs.values import Trial, TrialState
from seedbed_server.search.rungs import Rungs, by_lead, promoted, rungs_of
from seedbed_server.store.files import full_disk_is_an_error

MOST = 16


@dataclass
class PausedTrials:
    """The trials that may go on, each with a checkpoint in a folder below `folder`.

    Of more than 16 those furthest behind are given up.
    """

    folder: Path
    rungs: Rungs
    _trials: dict[int, Trial] = field(default_factory=dict)
    _reached: dict[int, int] = field(default_factory=dict)

    def restore(self, earlier: Sequence[Trial]) -> None:
        """Takes the trials of an earlier worker whose checkpoints are there."""
        for trial in earlier:
            reached = [rung for rung, _ in rungs_of(trial, self.rungs.metric)]
            if trial.state is TrialState.PRUNED and reached and self.checkpoint(trial).is_dir():
                self._trials[trial.number] = trial
                self._reached[trial.number] = reached[-1]

    def add(self, trial: Trial, rung: int, trainer: ContinuingTrainer) -> None:
        """Writes the checkpoint of a trial that has paused at a rung. Raises ResourceExhausted
        where the disk is full."""
        checkpoint = self.checkpoint(trial)
        partial = checkpoint.with_name(f"{checkpoint.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with full_disk_is_an_error(self.folder):
            partial.mkdir(parents=True)
            trainer.save_checkpoint(partial)
            shutil.rmtree(checkpoint, ignore_errors=True)
            partial.rename(checkpoint)
        self._trials[trial.number] = trial
        self._reached[trial.number] = rung
        for number in by_lead(self.rungs, self._reached)[MOST:]:
            self.give_up(self._trials[number])

    def promoted(self) -> Trial | None:
        """As `rungs.promoted`."""
        number = promoted(self.rungs, self._reached)
        return None if number is None else self._trials[number]

    def furthest_ahead(self) -> Trial | None:
        """The trial to go on with where there is nothing better to do."""
        order = by_lead(self.rungs, self._reached)
        return self._trials[order[0]] if order else None

    def checkpoint(self, trial: Trial) -> Path:
        """The folder of a trial's checkpoint."""
        return self.folder / f"paused-{trial.number}"

    def give_up(self, trial: Trial) -> None:
        """Removes a trial's checkpoint: it has gone on, or will not."""
        self._trials.pop(trial.number, None)
        self._reached.pop(trial.number, None)
        shutil.rmtree(self.checkpoint(trial), ignore_errors=True)
