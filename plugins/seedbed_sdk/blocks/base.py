"""What a block is: the type of an input or of a target, and all that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import torch

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """An item that cannot be used: its position in the items, its name and why."""

    position: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Arrays whose first axis is the item, and the items that could not be encoded.

    The arrays have a row for every item; the rows of bad items are filled with zeros.
    """

    arrays: Arrays
    problems: Sequence[ItemProblem] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Field:
    """A column that a model predicts from, and its type, as `seedbed.v1.Field` has it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Classification:
    """`probabilities` are (label, probability), the highest first; they add up to 1."""

    label: str
    probabilities: tuple[tuple[str, float], ...]
    kind: ClassVar[str] = "classification"


@dataclass(frozen=True, slots=True)
class Regression:
    """A value in the target's unit, with an interval that covers a share `confidence`."""

    value: float
    lower: float | None = None
    upper: float | None = None
    confidence: float | None = None
    kind: ClassVar[str] = "regression"


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Any number of classes. `labels` are those that apply, the most probable first;
    `probabilities` are (label, probability) of every class, the highest first."""

    labels: tuple[str, ...]
    probabilities: tuple[tuple[str, float], ...]
    kind: ClassVar[str] = "multi_label"


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A class for every pixel, at the picture's own size. `mask_png` is an 8 or 16 bit grey PNG of
    class numbers; `overlay_png` shows them in colours over the picture. `shares` are (class, share
    of the pixels), the largest first; they add up to 1."""

    mask_png: bytes = field(repr=False)
    overlay_png: bytes = field(repr=False)
    shares: tuple[tuple[str, float], ...] = ()
    kind: ClassVar[str] = "segmentation"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Things with a score, the best first; scores compare within one ranking only."""

    items: tuple[tuple[str, float], ...]
    kind: ClassVar[str] = "ranking"


@dataclass(frozen=True, slots=True)
class MultiTarget:
    """A prediction for each of several targets, by the target's column."""

    targets: tuple[tuple[str, Classification | Regression], ...]
    kind: ClassVar[str] = "multi_target"


Prediction = Classification | Regression | MultiLabel | Segmentation | Ranking | MultiTarget


class Block(ABC):
    """A part of a DataBlock: reads columns of the items, learns what it needs from the training
    items, and turns items into arrays. `state` is JSON-able and goes into the bundle.

    `version` is raised when the same items come to be encoded into other arrays, so that what was
    prepared before is not used again."""

    type: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns of the items that it reads."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as JSON-able data."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Block:
        """The block that `state` was called on."""


class InputBlock(Block):
    """The type of what is predicted from. `ignored` are columns of the data that a fitted block was
    given and does not use, and why.

    `becomes` is the type that it is also encoded as, so that the architectures for that type may be
    used too: sounds become pictures. A block that becomes `image` puts out an array `image`, uint8
    [N, H, W, C] with C 1 or 3. `natural` is False where such pictures are no photographs, and
    mirroring, cropping or colouring them differently would change what they show.

    `max_fit_cells` is how many values (rows times columns) of the training items are enough to fit
    on: of more, rows are drawn at random, the same each time. 0 is all of them, for a block that
    has to see each, as one that numbers users has."""

    becomes: ClassVar[str] = ""
    max_fit_cells: ClassVar[int] = 0
    natural: bool = True
    ignored: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The columns it reads with their types, for `Model.inputs`."""

    @abstractmethod
    def fit(self, items: pd.DataFrame) -> None:
        """Learns vocabularies, ranges and sizes from the training items alone.

        Raises InvalidArgument where nothing can be learned from them.
        """

    @abstractmethod
    def encode(self, items: pd.DataFrame) -> Encoded:
        """Turns items into arrays; names and reasons of bad items are returned, not raised."""


class TargetBlock(Block):
    """The type of what is predicted: decides output size, loss, activation, metrics, decoding.

    `averages` says that the mean of several models' activated outputs is an answer too, as it is of
    probabilities and of numbers, and is not of class numbers."""

    column: str
    averages: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]]
    default_metric: ClassVar[str]
    prediction_kind: ClassVar[str]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @abstractmethod
    def fit(self, items: pd.DataFrame) -> None:
        """Learns classes or scale from the training items.

        Raises InvalidArgument with field `job.target` where there is nothing to learn: no values,
        or a single one.
        """

    @abstractmethod
    def encode(self, items: pd.DataFrame) -> Encoded:
        """One array, `target` [N, ...]; an item whose target is missing or unknown is a problem."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of their outputs; empty where the target has none."""
        return ()

    @property
    @abstractmethod
    def output_size(self) -> int:
        """Numbers per item that a network has to put out."""

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of an item's activated outputs; None where they may differ in shape."""
        return None

    @abstractmethod
    def loss(
        self, raw: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor:
        """The mean loss of raw outputs [B, output size, ...] against encoded targets [B, ...]."""

    @abstractmethod
    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw outputs [B, output size, ...] to what metrics and `decode` take: probabilities,
        values, maps of class numbers."""

    @abstractmethod
    def stratify(self, encoded: Array) -> Array | None:
        """Labels [N] whose shares a split should keep; None where it does not matter."""

    def guess(self, train: Array, count: int) -> Array:
        """What would be put out for `count` items by somebody who knows the encoded training
        targets and not the items, [count, ...]: the mean, or the shares of the classes."""
        import numpy as np

        if self.output_size == 1 or train.ndim > 1:
            guess = np.atleast_1d(train.mean(axis=0))
        else:
            guess = np.bincount(train, minlength=self.output_size) / len(train)
        return np.tile(guess, (count, *[1] * guess.ndim))

    def calibrate(self, target: Array, outputs: Array) -> None:
        """Learns from the validation split what `decode` needs, such as the width of intervals, in
        place of what it had learned before."""

    def calibrated(self, outputs: Array) -> Array:
        """Activated outputs as `decode` understands them after `calibrate`, to be measured."""
        return outputs

    def details(self, target: Array, outputs: Array) -> Mapping[str, float]:  # noqa: ARG002
        """More about how good activated outputs are, for reports: a name and a value, such as the
        IoU of each class. NaN where it is not defined."""
        return {}

    @abstractmethod
    def decode(self, outputs: Array) -> list[Prediction]:
        """Activated outputs [N, ...] to predictions."""
