"""The DataBlock: the types of the data, which items there are, and how they are split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from seedbed_sdk.blocks import INPUT_BLOCKS, TARGET_BLOCKS
from seedbed_sdk.blocks.base import (
    Array,
    Block,
    Encoded,
    Field,
    InputBlock,
    ItemProblem,
    TargetBlock,
)
from seedbed_sdk.encoding import (
    TARGET,
    EncodedSplit,
    InFolder,
    InMemory,
    Place,
    encode_inputs,
    encode_target,
)
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.mapped import (
    FolderCache,
    StoredArrays,
    open_arrays,
    release_maps,
    size_of,
    write_rows,
)
from seedbed_sdk.splitters import RandomSplitter, Splitter
from seedbed_sdk.trainer import ArrayStore, SplitArrays

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
MIN_TRAIN_ITEMS = 4
NAMED_PROBLEMS = 5
BLOCKS = "blocks.json"
MIN_FIT_ITEMS = 10_000


@dataclass(frozen=True)
class PreparedData:
    """Encoded splits, and the items that were left out of each. `store` keeps arrays for later jobs
    with the same splits."""

    train: SplitArrays
    valid: SplitArrays
    test: SplitArrays
    problems: Mapping[str, Sequence[ItemProblem]] = field(default_factory=dict)
    store: ArrayStore | None = None


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

    def __post_init__(self) -> None:
        if self.items:
            self.splitter.check(self.items["train"])

    @property
    def input_types(self) -> tuple[str, ...]:
        return tuple(block.type for block in self.inputs)

    def fields(self) -> tuple[Field, ...]:
        """The columns a model of this data predicts from."""
        return tuple(f for block in self.inputs for f in block.fields())

    def prepare(self, seed: int, cache: FolderCache | None = None) -> PreparedData:
        """Fits the blocks on the training items and encodes all splits, each item once; with a
        cache, once for all jobs whose cache has what is kept for the same data and options.

        Raises InvalidArgument where the target cannot be learned, too many items are bad, or too
        few are left.
        """
        if cache is None:
            return self._split(self._encode_all(InMemory()), seed, None)
        limit = cache.memory_limit
        folder = cache.folder("encoded", lambda path: self._write(InFolder(path, limit)))
        # Also after they were fitted just now, so that a job on data that was prepared before has
        # blocks that are no different.
        self._restore(json.loads((folder / BLOCKS).read_text()))
        encoded = {split: InFolder(folder, limit).read(split) for split in self.items}
        return self._split(encoded, seed, cache)

    def _write(self, place: InFolder) -> None:
        for split, encoded in self._encode_all(place).items():
            place.keep(split, encoded)
        (place.folder / BLOCKS).write_text(json.dumps(self.state()))

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.inputs = [
            cast(InputBlock, type(block).from_state(of))
            for block, of in zip(self.inputs, state["inputs"], strict=True)
        ]
        self.target = cast(TargetBlock, type(self.target).from_state(state["target"]))

    def _encode_all(self, place: Place) -> dict[str, EncodedSplit]:
        train = self.items["train"]
        self.target.fit(train)
        targets = {
            split: encode_target(self.target.encode, items, split, place)
            for split, items in self.items.items()
        }
        unlabelled = [problem.position for problem in targets["train"].problems]
        inputs = train.drop(columns=list(self.target.columns))
        rows = np.setdiff1d(np.arange(len(train)), unlabelled) if unlabelled else None
        for block in self.inputs:
            block.fit(_to_fit_on(inputs, rows, block.max_fit_cells))
            release_maps()
        return {
            split: self._encode(split, items, targets[split], place)
            for split, items in self.items.items()
        }

    def _encode(
        self, split: str, items: pd.DataFrame, target: Encoded, place: Place | None = None
    ) -> EncodedSplit:
        """The usable items of a split; raises InvalidArgument where too many are not."""
        encoded = encode_inputs(
            [block.encode for block in self.inputs], items, split, target, place or InMemory()
        )
        unlabelled = {problem.position for problem in target.problems}
        unreadable = [p for p in encoded.problems if p.position not in unlabelled]
        count = len({problem.position for problem in unreadable})
        if count > self.max_bad_fraction * len(items):
            raise InvalidArgument(
                "job.dataset",
                f"{count} of {len(items)} items of the {split} split cannot be used, more than the "
                f"{self.max_bad_fraction:.0%} that `options.max_bad_fraction` allows: "
                f"{name_problems(unreadable)}",
                reason="TOO_MANY_BAD_ITEMS",
            )
        return encoded

    def _split(
        self, encoded: Mapping[str, EncodedSplit], seed: int, cache: FolderCache | None
    ) -> PreparedData:
        whole = encoded["train"]
        rest = np.arange(len(whole.target))
        if len(rest) < MIN_TRAIN_ITEMS:
            raise InvalidArgument(
                "job.dataset",
                f"{len(rest)} usable training items are left of {len(self.items['train'])}; "
                f"at least {MIN_TRAIN_ITEMS} are needed",
                reason="TOO_FEW_ITEMS",
            )
        # The others are not taken along: of a table in files they would come into memory.
        items = self.items["train"][list(dict.fromkeys(self.splitter.columns.values()))]
        if len(whole.kept) < len(items):
            items = items.iloc[whole.kept]
        groups = self.target.stratify(whole.target)
        taken: dict[str, Array] = {}
        for split in ("test", "valid"):
            if split not in encoded:
                rest, taken[split] = self.splitter.hold_out(split, rest, items, groups, seed)
        if taken:
            taken["train"] = rest
        scope = _digest(taken)
        splits = {name: SplitArrays(of.inputs, of.target) for name, of in encoded.items()}
        splits |= _taken(splits["train"], taken, scope, cache)
        return PreparedData(
            splits["train"],
            splits["valid"],
            splits["test"],
            {split: of.problems for split, of in encoded.items()},
            None if cache is None else StoredArrays(cache, scope),
        )

    def joined(self, train: SplitArrays, valid: SplitArrays) -> SplitArrays:
        """Training and validation items as one split to train on."""
        return SplitArrays(
            {k: np.concatenate([v, valid.inputs[k]]) for k, v in train.inputs.items()},
            np.concatenate([train.target, valid.target]),
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
    def from_state(
        cls, state: Mapping[str, Any], blocks: Mapping[str, type[Block]] | None = None
    ) -> DataBlock:
        """A block that can encode and decode, without items. `blocks` are the installed types by
        name, or those of the SDK alone.

        Raises InvalidArgument for a type of block that is not installed.
        """
        known = {**INPUT_BLOCKS, **TARGET_BLOCKS} if blocks is None else blocks
        return cls(
            inputs=[_known(known, s["type"]).from_state(s) for s in state["inputs"]],
            target=_known(known, state["target"]["type"]).from_state(state["target"]),
        )


def _to_fit_on(items: pd.DataFrame, rows: Array | None, max_cells: int) -> pd.DataFrame:
    """The items at the positions `rows` (None: all), as many as `InputBlock.max_fit_cells` says."""
    count = len(items) if rows is None else len(rows)
    most = max(MIN_FIT_ITEMS, max_cells // max(1, len(items.columns)))
    if max_cells and count > most:
        drawn = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
        rows = drawn if rows is None else rows[drawn]
    return items if rows is None else items.iloc[rows]


def name_problems(problems: Sequence[ItemProblem]) -> str:
    """The first few problems by name, and how many more there are."""
    named = "; ".join(f"{p.name}: {p.reason}" for p in problems[:NAMED_PROBLEMS])
    more = len(problems) - NAMED_PROBLEMS
    return f"{named}; and {more} more" if more > 0 else named


def _digest(rows: Mapping[str, Array]) -> str:
    """Which rows each split has, in short."""
    digest = hashlib.sha256()
    for split, of_split in sorted(rows.items()):
        digest.update(f"{split} {len(of_split)} ".encode() + of_split.astype("<i8").tobytes())
    return digest.hexdigest()


def _taken(
    whole: SplitArrays, rows: Mapping[str, Array], scope: str, cache: FolderCache | None
) -> dict[str, SplitArrays]:
    """Splits that are rows of another: copied in memory, or in files where that is too small."""
    small = cache is None or size_of(whole.inputs) + whole.target.nbytes <= cache.memory_limit
    if cache is None or small:
        return {
            split: SplitArrays({k: v[of] for k, v in whole.inputs.items()}, whole.target[of])
            for split, of in rows.items()
        }

    def write(folder: Path) -> None:
        for split, of in rows.items():
            (folder / split / "inputs").mkdir(parents=True)
            for name, array in whole.inputs.items():
                write_rows(folder / split / "inputs" / f"{name}.npy", array, of)
            write_rows(folder / split / f"{TARGET}.npy", whole.target, of)

    folder = cache.folder(f"split {scope}", write) if rows else Path()
    return {
        split: SplitArrays(
            open_arrays(folder / split / "inputs", cache.memory_limit),
            open_arrays(folder / split, cache.memory_limit)[TARGET],
        )
        for split in rows
    }


def _known(table: Mapping[str, Any], type_name: str) -> Any:
    if type_name not in table:
        raise InvalidArgument(
            "model",
            f"the model uses the data type {type_name!r}; this version knows {', '.join(table)}",
            reason="UNKNOWN_BLOCK_TYPE",
        )
    return table[type_name]
