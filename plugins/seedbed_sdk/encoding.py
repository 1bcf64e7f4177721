"""Items to arrays, a chunk of them at a time, into memory or into files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays, Encoded, ItemProblem
from seedbed_sdk.mapped import (
    CHUNK_BYTES,
    ArrayWriter,
    open_arrays,
    release_maps,
    size_of,
    write_arrays,
    write_rows,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST_CHUNK = 256
MAX_CHUNK = 100_000
PROBLEMS = "problems.json"
TARGET = "target"
KEPT = "kept"

Encode = Callable[["pd.DataFrame"], Encoded]


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """The usable items of a split. `kept` are their positions among all items, int64 [N], sorted;
    `problems` tell of the others."""

    inputs: Arrays
    target: Array
    kept: Array
    problems: Sequence[ItemProblem]


class Place(Protocol):
    """Where the arrays of a dataset are put."""

    def collect(
        self, split: str, what: str, count: int, parts: Iterator[Arrays]
    ) -> Mapping[str, Array]:
        """Puts the parts of arrays behind each other; there are `count` rows at most."""

    def select(self, split: str, target: Array, rows: Array) -> Array:
        """Some rows of the target."""


class InMemory:
    """Implements `Place` without a file."""

    def collect(
        self,
        split: str,  # noqa: ARG002
        what: str,  # noqa: ARG002
        count: int,
        parts: Iterator[Arrays],
    ) -> Mapping[str, Array]:
        wholes: dict[str, Array] = {}
        filled = 0
        for part in parts:
            if not wholes:
                wholes = {k: np.empty((count, *v.shape[1:]), v.dtype) for k, v in part.items()}
            stop = filled + len(next(iter(part.values())))
            for name, array in part.items():
                wholes[name][filled:stop] = array
            filled = stop
        return {name: array[:filled] for name, array in wholes.items()}

    def select(self, split: str, target: Array, rows: Array) -> Array:  # noqa: ARG002
        return target[rows]


@dataclass(frozen=True)
class InFolder:
    """Implements `Place` with a folder of files, and reads what was put there before. What is
    larger than `memory_limit` bytes stays in the files."""

    folder: Path
    memory_limit: int

    def collect(
        self,
        split: str,
        what: str,
        count: int,  # noqa: ARG002
        parts: Iterator[Arrays],
    ) -> Mapping[str, Array]:
        folder = self._folder(split, what)
        folder.mkdir(parents=True)
        writers: dict[str, ArrayWriter] = {}
        with ExitStack() as open_files:
            for part in parts:
                for name, array in part.items():
                    if name not in writers:
                        writer = ArrayWriter(folder / f"{name}.npy")
                        writers[name] = open_files.enter_context(writer)
                    writers[name].append(array)
        return open_arrays(folder, self.memory_limit)

    def select(self, split: str, target: Array, rows: Array) -> Array:
        path = self._folder(split, TARGET) / f"{TARGET}.npy"
        whole = path.rename(path.with_suffix(".whole"))
        write_rows(path, target, rows)
        whole.unlink()
        return open_arrays(path.parent, self.memory_limit)[TARGET]

    def keep(self, split: str, encoded: EncodedSplit) -> None:
        """Writes what `read` needs beside the arrays."""
        folder = self._folder(split, KEPT)
        folder.mkdir()
        write_arrays(folder, {KEPT: encoded.kept})
        text = json.dumps([asdict(problem) for problem in encoded.problems])
        (folder / PROBLEMS).write_text(text)

    def read(self, split: str) -> EncodedSplit:
        """What was encoded and kept."""
        kept = self._folder(split, KEPT)
        return EncodedSplit(
            open_arrays(self._folder(split, "inputs"), self.memory_limit),
            open_arrays(self._folder(split, TARGET), self.memory_limit)[TARGET],
            open_arrays(kept, self.memory_limit)[KEPT],
            [ItemProblem(**problem) for problem in json.loads((kept / PROBLEMS).read_text())],
        )

    def _folder(self, split: str, what: str) -> Path:
        return self.folder / split / what


def encode_target(encode: Encode, items: pd.DataFrame, split: str, place: Place) -> Encoded:
    """The targets of all items of a split, those with a problem among them."""
    problems: list[ItemProblem] = []

    def parts() -> Iterator[Arrays]:
        for _, arrays, found in _in_chunks([encode], items):
            problems.extend(found)
            yield arrays

    return Encoded(place.collect(split, TARGET, len(items), parts()), problems)


def encode_inputs(
    encodes: Sequence[Encode], items: pd.DataFrame, split: str, target: Encoded, place: Place
) -> EncodedSplit:
    """The items of a split that have neither an input nor a target that cannot be used."""
    unlabelled = np.zeros(len(items), dtype=np.bool_)
    unlabelled[[problem.position for problem in target.problems]] = True
    good = ~unlabelled
    problems = list(target.problems)

    def parts() -> Iterator[Arrays]:
        for part, arrays, found in _in_chunks(encodes, items):
            problems.extend(found)
            good[[problem.position for problem in found]] = False
            usable = good[part]
            whole = bool(usable.all())
            yield arrays if whole else {name: array[usable] for name, array in arrays.items()}

    inputs = place.collect(split, "inputs", len(items), parts())
    kept = np.flatnonzero(good)
    encoded = target.arrays[TARGET]
    if len(kept) < len(items):
        encoded = place.select(split, encoded, kept)
    return EncodedSplit(inputs, encoded, kept, problems)


def _in_chunks(
    encodes: Sequence[Encode], items: pd.DataFrame
) -> Iterator[tuple[slice, dict[str, Array], list[ItemProblem]]]:
    """The arrays of one chunk of items after the other, at least one, and their problems. The first
    is small and shows how many items make a chunk of CHUNK_BYTES."""
    start, size = 0, FIRST_CHUNK
    while True:
        part = slice(start, min(start + size, len(items)))
        results = [encode(items.iloc[part]) for encode in encodes]
        arrays = {name: array for result in results for name, array in result.arrays.items()}
        problems = [
            replace(problem, position=problem.position + start)
            for result in results
            for problem in result.problems
        ]
        yield part, arrays, problems
        release_maps()
        start = part.stop
        if start >= len(items):
            return
        size = int(np.clip(CHUNK_BYTES * size / max(size_of(arrays), 1), 1, MAX_CHUNK))
