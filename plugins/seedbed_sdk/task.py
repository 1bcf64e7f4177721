"""What a task plugin is: how the data is read, and what could fit it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from seedbed_sdk.file_names import MAX_PATTERN_CHARS
from seedbed_sdk.trainer import Architecture, Hardware

if TYPE_CHECKING:
    from seedbed_sdk.datablock import DataBlock
    from seedbed_sdk.dataset import Dataset


class TaskOptions(BaseModel):
    """Options that every task has. A task adds its own in a subclass; the JSON Schema of the class
    is what clients see and what a job's options are checked against."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the training items held out to choose by."
    )
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share held out to score once, where the data has no test split.",
    )
    group_column: str = Field(
        "",
        description="Column of the table that says what belongs together, such as a patient or a "
        "customer: no group is split between training, validation and test.",
    )
    group_pattern: str = Field(
        "",
        max_length=MAX_PATTERN_CHARS,
        description="Where items are files: a regular expression (RE2's) whose first pair of "
        "parentheses, or else whole match, in a file's path says what the file belongs to, as "
        r"`([^/]+)_\d+\.` does for frames of videos: such a group is not split between training, "
        "validation and test. Files without a match are each alone.",
    )
    time_column: str = Field(
        "",
        description="Column of times: the newest items are for testing, those before them for "
        "validation.",
    )
    split_column: str = Field(
        "",
        description="Column that says what each item is for: train, valid or test, or a usual "
        "other word such as training, val, dev or holdout.",
    )
    max_bad_fraction: float = Field(
        0.1, ge=0, lt=1, description="Share of items that may be unreadable before the job fails."
    )

    @property
    def not_features(self) -> tuple[str, ...]:
        """The columns that divide the items and so tell nothing about new ones. Times are not
        among them: a date may tell something."""
        return tuple(name for name in (self.group_column, self.split_column) if name)


Options = TypeVar("Options", bound=TaskOptions)


class Task(ABC, Generic[Options]):
    """Something that can be learned from data.

    `name` is what users write, in lower_snake_case. `input_types` and `target_types` are the types
    of block its data may have. `layouts` are the dataset layouts it can read, and `contents` what
    files may be, where it reads files.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    options: type[Options]
    input_types: ClassVar[tuple[str, ...]]
    target_types: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[str, ...]] = ("table",)
    contents: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def data_block(self, dataset: Dataset, target: str, options: Options) -> DataBlock:
        """How the data is read. `target` is the column to predict, or empty where none was named.

        Raises InvalidArgument with the field at fault (`job.target`, `job.options.…`,
        `job.dataset`) where the data does not suit the task. Reads no more than it must: this also
        runs to check a job before it is queued.
        """

    def missing(self) -> Sequence[str]:
        """What would make the task better and is not installed, such as pretrained weights: a
        sentence each, what is missing and, after `; `, what would bring it. For operators."""
        return ()

    def for_metric(self, options: Options, metric: str) -> Options:  # noqa: ARG002
        """The options, with what follows from the metric the user named, such as ranking items
        where a ranking is to be measured. Empty where none was named."""
        return options

    def architectures(
        self,
        block: DataBlock,
        hardware: Hardware,
        available: Sequence[Architecture],
    ) -> list[Architecture]:
        """What could fit. `available` are the installed architectures for the block's types; the
        default takes those that say they fit."""
        return [a for a in available if a.fits(block, hardware)]
