"""How a model is trained, whatever it is: the protocol that networks and other models share."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from seedbed_sdk.blocks.base import Array, Arrays, Prediction
from seedbed_sdk.space import Parameters, Space

if TYPE_CHECKING:
    from seedbed_sdk.datablock import DataBlock
    from seedbed_sdk.learner import Learner
    from seedbed_sdk.range_test import RangeTest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a trial may use. `device` is a torch device such as `cpu` or `cuda:0`."""

    device: str = "cpu"
    threads: int = 1

    @property
    def accelerated(self) -> bool:
        return self.device != "cpu"


@dataclass(frozen=True, slots=True)
class SplitArrays:
    """The encoded items of one split: every array has a row per item. Arrays may be mapped from a
    file that is larger than memory, so that only the rows in use should be copied."""

    inputs: Arrays
    target: Array

    def __len__(self) -> int:
        return len(self.target)


class ArrayStore(Protocol):
    """Keeps arrays across jobs."""

    def get_or_compute(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays kept under the key, or else what `compute` returns, which is then kept.

        They are read-only and may be mapped from a file. What raises keeps nothing.
        """


@dataclass(frozen=True)
class Data:
    """What a trial is trained on and chosen by. The test split is not in it.

    `cache` keeps what several trials of a job share; `store` keeps arrays for later jobs on the
    same data and splits, such as the features of a frozen backbone.
    """

    train: SplitArrays
    valid: SplitArrays
    cache: dict[Hashable, object] = field(default_factory=dict)
    store: ArrayStore | None = None

    def cached(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` returned when it was first called with this key in this job."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]  # type: ignore[return-value]

    def stored(
        self, key: tuple[str | int | float | bool, ...], compute: Callable[[], Arrays]
    ) -> Arrays:
        """`cached` for arrays that depend on the data, the splits and the key alone: they are kept
        for later jobs too. What was shortened to fit a budget does not belong here."""
        store = self.store
        if store is None:
            return self.cached(key, compute)
        return self.cached(key, lambda: store.get_or_compute(repr(key), compute))


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What a trainer tells after an epoch.

    `valid_outputs` are the activated outputs on the validation split [N, ...].
    `samples` counts the training items passed since the trial began. `predict_seconds` is how long
    the validation outputs took, or would with the model as it will be once trained, so that the
    time for final scoring can be set aside; `validation_seconds` is what they took where that is
    less. `every` says how many epochs there are from one report to the next; the first and the last
    may come sooner.
    """

    epoch: int
    epochs: int
    valid_outputs: Array
    samples: int
    train_loss: float | None = None
    predict_seconds: float = 0.0
    validation_seconds: float | None = None
    every: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a report: whether it is the trial's best epoch so far, and whether to end.
    `pause` comes with `stop` and says that the trial may go on later, from a checkpoint."""

    best: bool
    stop: bool
    pause: bool = False


class Diverged(Exception):
    """The loss or the outputs are no longer finite; ends the trial as failed."""


class UnusableOutputs(Exception):
    """What a model puts out is no answer for the target: another shape, or no probabilities where
    they are needed; ends the trial as failed. The text says what it is and what is needed."""


class Interrupted(Exception):
    """The trial was asked to end before it had anything to keep."""


SHARED = "shared "
"""How the names of decisions begin that hold for all trials of a job."""


class Run(Protocol):
    """A trial's line to the search. All limits are already reduced by what finishing needs."""

    def report(self, report: EpochReport) -> Verdict:
        """Tells that an epoch has ended. A trainer that is told to stop returns from `fit`.

        Raises Diverged where the outputs are not finite, and UnusableOutputs where they are not
        what the target needs.
        """

    def should_stop(self) -> bool:
        """Whether to end at the next chance, within a second; to be asked between batches."""

    def seconds_left(self) -> float:
        """Seconds of wall clock that the trial may still use; infinite without such a budget."""

    def samples_left(self) -> float:
        """Training items that the trial may still pass; infinite without such a budget."""

    def decide(self, name: str, at: int, unchanged: float, measure: Callable[[], float]) -> float:
        """What `measure` returns, which may depend on the clock; it is written down where it is
        not `unchanged`, so that the trial can be run again to the same result: then what was
        written down for this `name` and `at`, such as the step, is returned instead. Whatever a
        trainer does by how much time is left, other than to stop, it is to decide here.

        Of what several trials share, such as the rows that features are computed for, the name
        begins with `SHARED`.
        """

    def log(self, message: str) -> None:
        """Tells the user what is going on before the first epoch, such as computing features."""


@runtime_checkable
class RateFindingRun(Protocol):
    """A run that may want to know which learning rate suits the network that it is of."""

    def find_rate(self, cost: int, test: Callable[[float], RangeTest]) -> None:
        """To be called before the first step. `test` is a range test that passes up to `cost`
        training items and gives up where it would take more than a number of seconds; it may be
        called, and leaves the network as it was."""


class UnlimitedRun:
    """A `Run` without limits and without anybody to tell, to derive from; what is left to write is
    `report`."""

    def should_stop(self) -> bool:
        """Never."""
        return False

    def seconds_left(self) -> float:
        """No limit."""
        return math.inf

    def samples_left(self) -> float:
        """No limit."""
        return math.inf

    def decide(
        self,
        name: str,  # noqa: ARG002
        at: int,  # noqa: ARG002
        unchanged: float,  # noqa: ARG002
        measure: Callable[[], float],
    ) -> float:
        """What is measured."""
        return measure()

    def log(self, message: str) -> None:
        """Nobody is told."""


class Trainer(Protocol):
    """A model that can be trained, asked, saved and loaded.

    A trainer belongs to one process and one thread. It must be deterministic for the blueprint's
    seed as long as `run.seconds_left()` is infinite.
    """

    def fit(self, data: Data, run: Run) -> None:
        """Trains, reports at least once, and ends with the best reported state in place.

        Raises Diverged, Interrupted, or whatever the model's library raises: the search turns an
        exception into a failed trial with its reason.
        """

    def predict(self, inputs: Arrays) -> Array:
        """Activated outputs [N, ...] for encoded inputs, in the shape the target block decodes."""

    def save(self, folder: Path) -> None:
        """Writes what `load` needs into an existing empty folder; nothing that is unpickled."""

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""


@runtime_checkable
class ContinuingTrainer(Protocol):
    """A trainer that can go on where it was told to pause: after `load_checkpoint`, `fit` continues
    bit for bit, as if there had been no pause, and reports the epochs that follow."""

    def save_checkpoint(self, folder: Path) -> None:
        """Writes the whole state into an existing folder, after `fit` has returned for a pause."""

    def load_checkpoint(self, folder: Path) -> None:
        """Reads what `save_checkpoint` wrote, into a trainer built from the same blueprint."""


@runtime_checkable
class BatchableTrainer(Protocol):
    """A trainer that leaves the training to a Learner, which may then be trained together with
    those of other trials; see `seedbed_sdk.batched`."""

    def learner_for(self, data: Data, run: Run) -> tuple[Learner, Data]:
        """The learner, with any checkpoint loaded, and what it is to be trained on. Its `fit` with
        that and the same `run` is all that is left of the trainer's own.

        Raises as `fit` does.
        """


@runtime_checkable
class AnsweringTrainer(Protocol):
    """A trainer that answers raw examples by itself, where a prediction is more than the decoded
    outputs of one item: a ranking of all items for a user, a mask at the picture's own size."""

    def answer(self, block: DataBlock, examples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction for each example, a mapping of column to raw value.

        Raises InvalidArgument with a violation for each field `examples[i]…` that cannot be used.
        """


@runtime_checkable
class JoiningTrainer(AnsweringTrainer, Protocol):
    """An AnsweringTrainer that also knows how it answers together with others, so that it can be in
    an ensemble."""

    def together(self, members: Sequence[Trainer], weights: Sequence[float]) -> Trainer:
        """An AnsweringTrainer that predicts, saves and loads as
        `seedbed_sdk.ensemble.EnsembleTrainer` does. The trainer itself is one of the members, which
        are all of this kind."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that an architecture needs to build a trainer: fitted block, hyperparameters, place."""

    block: DataBlock
    parameters: Parameters
    hardware: Hardware = Hardware()
    seed: int = 0


def _always(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of model: for which types of data it is, how it is built, and where to search.

    `space` holds every hyperparameter with the values it may take; `learning_rate` and `epochs` are
    the names to use for these. `portfolio` holds complete settings known to be good, tried before
    the search begins; the first is the default. A `baseline` is always tried first. `fits` says
    whether it suits the data and the hardware at hand. `refits` says that it is cheap and stable
    enough for the chosen model to be trained once more, for the epochs that were best, on training
    and validation items together, where there are at most `refit_items` training items; with
    `refit_whole` for all epochs of the trial, as suits a learning rate that decays to the end.
    Where time allows up to `refit_repeats` models with other seeds are trained so, and answer with
    their mean. `memory_grows_with` names the hyperparameters of which larger values take more
    memory: where a trial runs out of it, the next ones have smaller values of these; without any,
    there is no next.
    """

    name: str
    description: str
    input_types: tuple[str, ...]
    target_types: tuple[str, ...]
    build: Callable[[Blueprint], Trainer]
    space: Space
    portfolio: Sequence[Mapping[str, object]]
    baseline: bool = False
    refits: bool = False
    refit_items: int = 10_000
    refit_whole: bool = False
    refit_repeats: int = 1
    memory_grows_with: tuple[str, ...] = ()
    fits: Callable[[DataBlock, Hardware], bool] = _always
