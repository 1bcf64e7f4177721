"""The DataBlock: the types of the data, which items there are, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks import INPUT_BLOCKS, TARGET_BLOCKS
from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem, TargetBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.splitters import RandomSplitter, Splitter
from seedbed_sdk.trainer import SplitArrays

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
MIN_TRAIN_ITEMS = 4
NAMED_PROBLEMS = 5


@dataclass(frozen=True)
class PreparedData:
    """Encoded splits, and the items that were left out of each."""

    train: SplitArrays
    valid: SplitArrays
    test: SplitArrays
    problems: Mapping[str, Sequence[ItemProblem]] = field(default_factory=dict)


@dataclass
class DataBlock:
    """Answers the five questions about a dataset (after fast.ai's DataBlock): what types the inputs
    and the target have, which items there are, how they are split, and in which columns input and
    target stand.

    `items` has a table for `train` and, where the data brings them, `valid` and `test`; the
    splitter takes what is missing out of `train`. Columns hold plain values, or for files a
    `FileRef` or bytes. More than `max_bad_fraction` of unusable items in a split is an error; fewer
    are left out.
    `notes` are things to tell the user, such as which columns are not used.
    """

    inputs: Sequence[InputBlock]
    target: TargetBlock
    items: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    splitter: Splitter = field(default_factory=RandomSplitter)
    max_bad_fraction: float = 0.1
    notes: Sequence[str] = ()

    @property
    def input_types(self) -> tuple[str, ...]:
        return tuple(block.type for block in self.inputs)

    def fields(self) -> tuple[Field, ...]:
        """The columns a model of this data predicts from."""
        return tuple(f for block in self.inputs for f in block.fields())

    def prepare(self, seed: int) -> PreparedData:
        """Fits the blocks on the training items and encodes all splits, each item once.

        Raises InvalidArgument where the target cannot be learned, too many items are bad, or too
        few are left.
        """
        self.target.fit(self._target_rows())
        encoded: dict[str, SplitArrays] = {}
        kept_items: dict[str, pd.DataFrame] = {}
        problems: dict[str, Sequence[ItemProblem]] = {}
        targets = {split: self.target.encode(items) for split, items in self.items.items()}
        unlabelled = [problem.position for problem in targets["train"].problems]
        labelled = np.setdiff1d(np.arange(len(self.items["train"])), unlabelled)
        fitted_on = self.items["train"].iloc[labelled].drop(columns=list(self.target.columns))
        for block in self.inputs:
            block.fit(fitted_on)
        for split, items in self.items.items():
            arrays, good, bad = self._encode(split, items, targets[split])
            encoded[split] = arrays
            kept_items[split] = items.iloc[good]
            problems[split] = bad
        return self._split(encoded, kept_items, problems, seed)

    def _target_rows(self) -> pd.DataFrame:
        return self.items["train"]

    def _encode(
        self, split: str, items: pd.DataFrame, target: Encoded
    ) -> tuple[SplitArrays, Array, Sequence[ItemProblem]]:
        results = [block.encode(items) for block in self.inputs]
        problems = [p for result in [target, *results] for p in result.problems]
        bad = {p.position for p in problems}
        allowed = self.max_bad_fraction * len(items)
        unlabelled = {p.position for p in target.problems}
        unreadable = [p for p in problems if p.position not in unlabelled]
        count = len({p.position for p in unreadable})
        if count > allowed:
            raise InvalidArgument(
                "job.dataset",
                f"{count} of {len(items)} items of the {split} split cannot be used, more than the "
                f"{self.max_bad_fraction:.0%} that `options.max_bad_fraction` allows: "
                f"{name_problems(unreadable)}",
                reason="TOO_MANY_BAD_ITEMS",
            )
        good = np.array([i for i in range(len(items)) if i not in bad], dtype=np.int64)
        inputs = {name: array for result in results for name, array in result.arrays.items()}
        if bad:
            inputs = {name: array[good] for name, array in inputs.items()}
        return SplitArrays(inputs, target.arrays["target"][good]), good, problems

    def _split(
        self,
        encoded: dict[str, SplitArrays],
        items: dict[str, pd.DataFrame],
        problems: dict[str, Sequence[ItemProblem]],
        seed: int,
    ) -> PreparedData:
        rest = np.arange(len(encoded["train"]))
        if len(rest) < MIN_TRAIN_ITEMS:
            raise InvalidArgument(
                "job.dataset",
                f"{len(rest)} usable training items are left of {len(self.items['train'])}; "
                f"at least {MIN_TRAIN_ITEMS} are needed",
                reason="TOO_FEW_ITEMS",
            )
        groups = self.target.stratify(encoded["train"].target)
        whole = encoded["train"]
        for split in ("test", "valid"):
            if split not in encoded:
                rest, held = self.splitter.hold_out(split, rest, items["train"], groups, seed)
                encoded[split] = _take(whole, held)
        return PreparedData(
            _take(whole, rest) if len(rest) < len(whole) else whole,
            encoded["valid"],
            encoded["test"],
            problems,
        )

    def encode_examples(self, items: pd.DataFrame) -> tuple[dict[str, Array], list[ItemProblem]]:
        """Arrays for items without a target, and those that cannot be used."""
        results = [block.encode(items) for block in self.inputs]
        arrays = {name: array for result in results for name, array in result.arrays.items()}
        return arrays, [p for result in results for p in result.problems]

    def state(self) -> dict[str, Any]:
        """The fitted blocks as JSON-able data."""
        return {
            "inputs": [{"type": block.type, **block.state()} for block in self.inputs],
            "target": {"type": self.target.type, **self.target.state()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DataBlock:
        """A block that can encode and decode, without items.

        Raises InvalidArgument for a type of block that is not installed.
        """
        return cls(
            inputs=[_known(INPUT_BLOCKS, s["type"]).from_state(s) for s in state["inputs"]],
            target=_known(TARGET_BLOCKS, state["target"]["type"]).from_state(state["target"]),
        )


def name_problems(problems: Sequence[ItemProblem]) -> str:
    """The first few problems by name, and how many more there are."""
    named = "; ".join(f"{p.name}: {p.reason}" for p in problems[:NAMED_PROBLEMS])
    more = len(problems) - NAMED_PROBLEMS
    return f"{named}; and {more} more" if more > 0 else named


def _take(arrays: SplitArrays, rows: Array) -> SplitArrays:
    return SplitArrays({k: v[rows] for k, v in arrays.inputs.items()}, arrays.target[rows])


def _known(table: Mapping[str, Any], type_name: str) -> Any:
    if type_name not in table:
        raise InvalidArgument(
            "model",
            f"the model uses the data type {type_name!r}; this version knows {', '.join(table)}",
            reason="UNKNOWN_BLOCK_TYPE",
        )
    return table[type_name]
