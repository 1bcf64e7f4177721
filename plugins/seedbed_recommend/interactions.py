"""Interactions to be ranked: training rows are interactions, scored rows are users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks import InteractionBlock, UserItemBlock
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.interaction import NOTHING
from seedbed_sdk.blocks.user_item import UNKNOWN
from seedbed_sdk.blocks.vocabulary import labels_of
from seedbed_sdk.datablock import MIN_TRAIN_ITEMS, DataBlock, PreparedData
from seedbed_sdk.encoding import encode_target
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.mapped import FolderCache
from seedbed_sdk.trainer import SplitArrays

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.encoding import EncodedSplit, Place
    from seedbed_sdk.mapped import FolderCache

MAX_USERS = 20_000
MAX_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class _Rows:
    """Interactions: codes of the users and items, and `owner`, which tells users apart that the
    training data does not have."""

    user: Array
    item: Array
    owner: Array

    def __getitem__(self, rows: Array) -> _Rows:
        return _Rows(self.user[rows], self.item[rows], self.owner[rows])

    def __add__(self, other: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.user, other.user]),
            np.concatenate([self.item, other.item]),
            np.concatenate([self.owner, other.owner]),
        )


@dataclass
class InteractionData(DataBlock):
    """The training split has a row an interaction: inputs `user` and `item`, int64 [N]; target the
    item again, int32 [N, 1]. The other splits have a row a user, 20,000 of them at most, drawn at
    random: inputs `user` int64 [U] and `history`, the codes of the items the user had turned to
    before, the latest last, int32 [U, S] padded with -1 in front; target the items held out,
    int32 [U, M] padded likewise. Of more than 2,000 items of a user the latest are kept.
    """

    def _encode_all(self, place: Place) -> dict[str, EncodedSplit]:
        (block,), target = self.inputs, self.target
        assert isinstance(block, UserItemBlock)
        assert isinstance(target, InteractionBlock)
        train = self.items["train"]
        target.fit(train)
        block.fit(train)
        target.items = block.items
        encoded = {
            split: self._encode(
                split, items, encode_target(target.encode, items, split, place), place
            )
            for split, items in self.items.items()
        }
        of_train = encoded["train"]
        liked = np.asarray(of_train.target[:, 0] > 0)
        block.remember(of_train.inputs["user"], of_train.inputs["item"], liked)
        return encoded

    def _split(
        self,
        encoded: Mapping[str, EncodedSplit],
        seed: int,
        cache: FolderCache | None,  # noqa: ARG002
    ) -> PreparedData:
        (block,) = self.inputs
        assert isinstance(block, UserItemBlock)
        rows: dict[str, _Rows] = {}
        for split, of in encoded.items():
            user, item = np.asarray(of.inputs["user"]), np.asarray(of.inputs["item"])
            owner = _owners(user, self.items[split][block.user].iloc[of.kept])
            rows[split] = _Rows(user, item, owner)[np.flatnonzero(of.target[:, 0])]
        whole = encoded["train"]
        kept = self.items["train"].iloc[whole.kept[np.flatnonzero(whole.target[:, 0])]]
        self._hold_out(rows, kept, seed)
        before_test = rows["train"] + rows["valid"]
        return PreparedData(
            _flat(rows["train"]),
            _by_user(rows["valid"], rows["train"], seed),
            _by_user(rows["test"], before_test, seed),
            {split: of.problems for split, of in encoded.items()},
        )

    def joined(self, train: SplitArrays, valid: SplitArrays) -> SplitArrays:
        held = valid.target > UNKNOWN
        users = np.repeat(valid.inputs["user"], held.sum(axis=1))
        items = valid.target[held].astype(np.int64)
        return _flat(
            _Rows(
                np.concatenate([train.inputs["user"], users]),
                np.concatenate([train.inputs["item"], items]),
                np.zeros(0, dtype=np.int64),
            )
        )

    def _hold_out(self, rows: dict[str, _Rows], kept: pd.DataFrame, seed: int) -> None:
        """Takes the splits that are not there out of the training rows."""
        whole = rows["train"]
        rest = np.arange(len(whole.user))
        if len(rest) < MIN_TRAIN_ITEMS:
            raise InvalidArgument(
                "job.dataset",
                f"{len(rest)} interactions are left of {len(self.items['train'])} rows; "
                f"at least {MIN_TRAIN_ITEMS} are needed",
                reason="TOO_FEW_ITEMS",
            )
        for split in ("test", "valid"):
            if split not in rows:
                rest, held = self.splitter.hold_out(split, rest, kept, None, seed)
                rows[split] = whole[held]
        rows["train"] = whole[rest]
        for split in ("valid", "test"):
            if not len(rows[split].user):
                raise InvalidArgument(
                    "job.dataset",
                    f"the {split} split has no interaction that can be used",
                    reason="TOO_FEW_ITEMS",
                )


def padded(owner: Array, values: Array, count: int) -> Array:
    """The values of each of `count` owners in their order, the last 2,000 at most, as int32
    [count, longest] padded with -1 in front."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=count)
    back = np.repeat(np.cumsum(counts), counts) - np.arange(len(order))  # 1 is an owner's last
    width = int(np.clip(counts.max(initial=0), 1, MAX_LENGTH))
    table = np.full((count, width), NOTHING, dtype=np.int32)
    recent = back <= width
    table[owner[order][recent], width - back[recent]] = values[order][recent]
    return table


def _flat(rows: _Rows) -> SplitArrays:
    inputs = {"user": rows.user, "item": rows.item}
    return SplitArrays(inputs, rows.item.astype(np.int32)[:, None])


def _owners(users: Array, labels: pd.Series) -> Array:
    """The code of a known user; for others negative numbers, the same for the same label."""
    import pandas as pd

    return np.where(users != UNKNOWN, users, -1 - pd.factorize(labels_of(labels))[0])


def _by_user(held: _Rows, before: _Rows, seed: int) -> SplitArrays:
    owners, first, place = np.unique(held.owner, return_index=True, return_inverse=True)
    drawn = np.arange(len(owners))
    if len(owners) > MAX_USERS:
        drawn = np.sort(np.random.default_rng([seed, 2]).permutation(len(owners))[:MAX_USERS])
    rank = np.full(len(owners), NOTHING, dtype=np.int64)
    rank[drawn] = np.arange(len(drawn))
    scored = rank[place] >= 0
    target = padded(rank[place][scored], held.item[scored], len(drawn))
    at = np.searchsorted(owners, before.owner)
    known = owners[np.minimum(at, len(owners) - 1)] == before.owner
    whose = np.where(known, rank[np.minimum(at, len(owners) - 1)], NOTHING)
    earlier = whose >= 0
    history = padded(whose[earlier], before.item[earlier], len(drawn))
    return SplitArrays({"user": held.user[first[drawn]], "history": history}, target)
