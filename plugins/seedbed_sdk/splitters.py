"""How validation and test items are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from seedbed_sdk.blocks.base import Array

if TYPE_CHECKING:
    import pandas as pd

MAX_HELD_OUT = 20_000


class Splitter(Protocol):
    """Takes the items of a split out of the training items."""

    def hold_out(
        self, split: str, rows: Array, items: pd.DataFrame, groups: Array | None, seed: int
    ) -> tuple[Array, Array]:
        """Divides `rows` (positions in `items`, sorted) into those that stay and those held out.

        `split` is `valid` or `test`; `groups` has a stratification label for every item, or is
        None. The same arguments give the same division. Both results are sorted and not empty.
        """


@dataclass(frozen=True, slots=True)
class RandomSplitter:
    """Random, keeping the groups' shares as far as their sizes allow: each group gives its share,
    rounded by largest remainder, and none gives its last item."""

    valid_fraction: float = 0.2
    test_fraction: float = 0.2

    def hold_out(
        self,
        split: str,
        rows: Array,
        items: pd.DataFrame,  # noqa: ARG002
        groups: Array | None,
        seed: int,
    ) -> tuple[Array, Array]:
        fraction = self.valid_fraction if split == "valid" else self.test_fraction
        wanted = int(np.clip(round(fraction * len(rows)), 1, min(MAX_HELD_OUT, len(rows) - 1)))
        generator = np.random.default_rng([seed, 0 if split == "valid" else 1])
        if groups is None:
            held = np.sort(generator.permutation(rows)[:wanted])
        else:
            held = np.sort(_stratified(rows, groups[rows], wanted, generator))
        return np.setdiff1d(rows, held, assume_unique=True), held


def _stratified(rows: Array, labels: Array, wanted: int, generator: np.random.Generator) -> Array:
    names, counts = np.unique(labels, return_counts=True)
    ideal = counts * (wanted / len(rows))
    share = np.minimum(np.floor(ideal).astype(np.int64), counts - 1)
    remainder = np.where(share < counts - 1, ideal - share, -1.0)
    missing = wanted - int(share.sum())
    for group in np.argsort(-remainder, kind="stable")[: max(missing, 0)]:
        if remainder[group] >= 0:
            share[group] += 1
    held = [
        generator.permutation(rows[labels == name])[:count]
        for name, count in zip(names, share, strict=True)
    ]
    taken = np.concatenate(held)
    return taken if len(taken) else generator.permutation(rows)[:1]
