"""The trained models of a search that may be published, alone or together."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.ensemble import can_be_joined
from seedbed_sdk.metrics import Metric
from seedbed_sdk.trainer import Blueprint, Trainer
from seedbed_server.jobs.values import Constraints, Trial
from seedbed_server.search.budget import SCORING_MARGIN
from seedbed_server.search.choosing import beats_by_more_than_chance
from seedbed_server.search.costs import Cost, Meter
from seedbed_server.search.space import SearchSpace
from seedbed_server.store.files import full_disk_is_an_error, write_text

MOST = 12
# More of one architecture say the same, once a search has come near to what it can do.
MOST_ALIKE = 3
MAX_BYTES = 512 * 2**20
INDEX = "candidates.json"
SELECTING_SECONDS = 0.5
LOADING_SECONDS = 0.05


@dataclass(eq=False)
class Candidate:
    """A trial with its outputs on the validation split. The trainer is there for the best alone,
    since the others are on the disk.

    `best_epoch` is 0 where it is not known, for a trial whose files were made anew.
    `item_seconds` is how long an item's prediction takes; `cost` is there under constraints.
    """

    trial: Trial
    trainer: Trainer | None
    outputs: Array
    best_epoch: int = 0
    item_seconds: float = 0.0
    cost: Cost | None = None

    @property
    def score(self) -> float:
        """On the validation split."""
        assert self.trial.validation_score is not None
        return self.trial.validation_score

    def seconds_for(self, items: int) -> float:
        """What opening it and predicting so many items may take."""
        return SCORING_MARGIN * self.item_seconds * items + LOADING_SECONDS


@dataclass(frozen=True, slots=True)
class Missed:
    """A trial that does not meet the constraints."""

    trial: int
    architecture: str
    cost: Cost


@dataclass
class CandidatePool:
    """The best trial, and the next best for an ensemble: at most 12 and 512 MiB, of every
    architecture the best before others, and at most three where there are several. For targets
    whose outputs cannot be averaged it is the best trial alone.

    `folder` holds the trainers' files as `trial-{n}`, so that a new worker can go on. `passed_over`
    is a trial whose score was better than the kept baseline's by no more than chance; `closest` the
    one of those that do not meet the constraints that is nearest to it.
    """

    folder: Path
    block: DataBlock
    metric: Metric
    target: Array
    seed: int
    space: SearchSpace
    blueprint: Callable[[Trial], Blueprint]
    constraints: Constraints
    meter: Meter | None
    tell: Callable[[str], None]
    best: Candidate | None = None
    passed_over: Trial | None = None
    closest: Missed | None = None
    _others: list[Candidate] = field(default_factory=list)

    def all(self) -> list[Candidate]:
        """The best one first, then by their scores."""
        return [] if self.best is None else [self.best, *self._others]

    def offer(self, candidate: Candidate) -> bool:
        """Takes a trial that has a trainer, or a better state of one that was taken; returns
        whether it is the best now. Raises ResourceExhausted where the disk is full."""
        if not self._meets_constraints(candidate):
            self._write_index()
            return False
        is_best = self._is_best(candidate)
        known = [c for c in self.all() if c.trial.number != candidate.trial.number]
        best = candidate if is_best else self.best
        kept = self._kept(best, [c for c in [*known, candidate] if c is not best])
        if candidate not in kept:
            return False
        self._save(candidate)
        if self.best is not None and is_best:
            self.best.trainer = None
        self.best = best
        if not is_best:
            candidate.trainer = None
        self._others = self._within_bytes([c for c in kept if c is not best])
        for dropped in (c for c in known if c not in self.all()):
            self._remove(dropped.trial)
        self._write_index()
        return is_best

    def load(self, candidate: Candidate) -> Trainer:
        """The candidate's trainer."""
        if candidate.trainer is not None:
            return candidate.trainer
        return self._opened(candidate.trial)

    def restore(self, earlier: Sequence[Trial], predict: Callable[[Trainer], Array]) -> None:
        """Takes those of an earlier worker's scored trials whose files are there; `predict` gives
        the validation outputs of one whose outputs are not."""
        index = self._read_index()
        there = [
            trial
            for trial in earlier
            if trial.architecture in self.space.architectures and self.folder_of(trial).is_dir()
        ]
        if missed := index.get("closest"):
            self.closest = Missed(missed["trial"], missed["architecture"], Cost(**missed["cost"]))
        if not there:
            return
        found = sorted((self._restored(trial, index, predict) for trial in there), key=self._rank)
        chosen = [c for c in found if c.trial.number == index.get("best")] or found
        self.best = chosen[0]
        self.best.trainer = self.load(self.best)
        self._others = [c for c in found if c is not self.best]

    def folder_of(self, trial: Trial) -> Path:
        """Where the trainer of a trial is, if it was kept."""
        return self.folder / f"trial-{trial.number}"

    def entries(self) -> set[str]:
        """The names in `folder` of all that is kept."""
        kept = [candidate.trial for candidate in self.all()]
        paths = [path for trial in kept for path in (self.folder_of(trial), self._outputs(trial))]
        return {INDEX, *(path.name for path in paths)}

    def _meets_constraints(self, candidate: Candidate) -> bool:
        if self.constraints == Constraints():
            return True
        assert self.meter is not None and candidate.trainer is not None
        trial, folder = candidate.trial, self.folder / "measured"
        candidate.cost = self.meter.measure_trainer(
            folder, candidate.trainer, trial.architecture, self.blueprint(trial)
        )
        share = candidate.cost.share(self.constraints)
        if share <= 1.0:
            return True
        self.tell(
            f"trial {trial.number} ({trial.architecture}) does not meet the constraints: it takes "
            f"{candidate.cost.text()}"
        )
        if self.closest is None or share < self.closest.cost.share(self.constraints):
            self.closest = Missed(trial.number, trial.architecture, candidate.cost)
        return False

    def _is_best(self, candidate: Candidate) -> bool:
        """Of equal scores the earlier stays: it is the likelier a default that is known to be good,
        and on a small validation split many trials are equal by chance. A baseline stays unless it
        is beaten by more than chance."""
        if self.best is None:
            return True
        if not self.metric.better(candidate.score, self.best.score):
            return False
        if candidate.trial.baseline or not self.best.trial.baseline:
            return True
        if beats_by_more_than_chance(
            self.metric, self.target, candidate.outputs, self.best.outputs, seed=self.seed
        ):
            return True
        self.passed_over = candidate.trial
        return False

    def _kept(self, best: Candidate | None, others: Sequence[Candidate]) -> list[Candidate]:
        """The best one and those to keep beside it, by their scores."""
        assert best is not None
        if not self.block.target.averages or (
            best.trainer is not None and not can_be_joined(best.trainer)
        ):
            return [best]
        ranked = sorted(others, key=self._rank)
        met = Counter([best.trial.architecture])
        leading: list[Candidate] = []
        following: list[Candidate] = []
        for candidate in ranked:
            name = candidate.trial.architecture
            if not met[name]:
                leading.append(candidate)
            elif met[name] < MOST_ALIKE or len(self.space.architectures) == 1:
                following.append(candidate)
            met[name] += 1
        chosen = [*leading, *following][: MOST - 1]
        return [best, *sorted(chosen, key=self._rank)]

    def _within_bytes(self, others: Sequence[Candidate]) -> list[Candidate]:
        assert self.best is not None
        kept: list[Candidate] = []
        total = self._bytes(self.best)
        for candidate in others:
            total += self._bytes(candidate)
            if total > MAX_BYTES:
                self._remove(candidate.trial)
            else:
                kept.append(candidate)
        return kept

    def _bytes(self, candidate: Candidate) -> int:
        files = self.folder_of(candidate.trial).rglob("*")
        return candidate.outputs.nbytes + sum(f.stat().st_size for f in files if f.is_file())

    def _rank(self, candidate: Candidate) -> tuple[float, int]:
        """The best first; what is not defined comes last."""
        score = -candidate.score if self.metric.higher_is_better else candidate.score
        return (np.inf if np.isnan(score) else score, candidate.trial.number)

    def _save(self, candidate: Candidate) -> None:
        """Writes the trainer aside and then in place, so that what is in place is whole."""
        assert candidate.trainer is not None
        folder = self.folder_of(candidate.trial)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with full_disk_is_an_error(self.folder):
            partial.mkdir(parents=True)
            candidate.trainer.save(partial)
            np.save(self._outputs(candidate.trial), candidate.outputs)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)

    def _remove(self, trial: Trial) -> None:
        shutil.rmtree(self.folder_of(trial), ignore_errors=True)
        self._outputs(trial).unlink(missing_ok=True)

    def _outputs(self, trial: Trial) -> Path:
        return self.folder / f"outputs-{trial.number}.npy"

    def _write_index(self) -> None:
        kept = {
            str(c.trial.number): {
                "best_epoch": c.best_epoch,
                "item_seconds": c.item_seconds,
                "cost": None if c.cost is None else asdict(c.cost),
            }
            for c in self.all()
        }
        index = {
            "best": None if self.best is None else self.best.trial.number,
            "closest": None if self.closest is None else asdict(self.closest),
            "candidates": kept,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / INDEX, json.dumps(index))

    def _restored(
        self, trial: Trial, index: Mapping[str, Any], predict: Callable[[Trainer], Array]
    ) -> Candidate:
        known = index.get("candidates", {}).get(str(trial.number))
        if known is None:
            trainer = self._opened(trial)
            return Candidate(trial, trainer, predict(trainer))
        cost = None if known["cost"] is None else Cost(**known["cost"])
        outputs = np.load(self._outputs(trial))
        return Candidate(trial, None, outputs, known["best_epoch"], known["item_seconds"], cost)

    def _opened(self, trial: Trial) -> Trainer:
        trainer = self.space.architectures[trial.architecture].build(self.blueprint(trial))
        trainer.load(self.folder_of(trial))
        return trainer

    def _read_index(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / INDEX).read_text()))
        except FileNotFoundError:
            return {}
