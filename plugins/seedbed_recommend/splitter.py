"""How interactions are held out of each user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.splitter_base import MAX_HELD_OUT, Splitter, generator_for

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PerUserSplitter(Splitter):
    """Holds out each user's latest rows where `by_time` says that items are in order of time, else
    rows drawn at random of each user. A user keeps at least one row; where the share of many users
    would be more than 20,000 rows, only users drawn at random give theirs."""

    user: str
    by_time: bool
    valid_fraction: float = 0.2
    test_fraction: float = 0.2

    @property
    def columns(self) -> Mapping[str, str]:
        return {"user_column": self.user}

    def hold_out(
        self,
        split: str,
        rows: Array,
        items: pd.DataFrame,
        groups: Array | None,  # noqa: ARG002
        seed: int,
    ) -> tuple[Array, Array]:
        import pandas as pd

        fraction = self.valid_fraction if split == "valid" else self.test_fraction
        generator = generator_for(seed, split)
        order = np.arange(len(rows)) if self.by_time else generator.permutation(len(rows))
        users = pd.factorize(items[self.user].iloc[rows])[0]
        by_user = order[np.argsort(users[order], kind="stable")]
        counts = np.bincount(users)
        share = np.minimum(np.floor(fraction * counts + 0.5).astype(np.int64), counts - 1)
        if not share.any():
            # Every user has so few rows that none can spare one: take some of the newest.
            taken = order[-max(1, min(round(fraction * len(rows)), len(rows) - 1)) :]
        else:
            share = _capped(share, generator)
            place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            late = place >= np.repeat(counts - share, counts)
            taken = by_user[late]
        held = np.sort(rows[taken])
        return np.setdiff1d(rows, held, assume_unique=True), held


def _capped(share: Array, generator: np.random.Generator) -> Array:
    """The rows that each user gives, 0 for those beyond the limit."""
    if share.sum() <= MAX_HELD_OUT:
        return share
    drawn = generator.permutation(len(share))
    within = np.cumsum(share[drawn]) <= MAX_HELD_OUT
    within[0] = True
    capped = np.zeros_like(share)
    capped[drawn[within]] = np.minimum(share[drawn[within]], MAX_HELD_OUT)
    return capped
