"""Who interacted with what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.side_features import side_features
from seedbed_sdk.blocks.vocabulary import labels_of, pack, unpack
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = 0
FIRST_CODE = 1
TOP_N = 10


class UserItemBlock(InputBlock):
    """A column of users and one of items. Encoded as `user` and `item`, int64 [N]: the place in
    `users` or `items` (sorted as text) plus 1; 0 is one that the training data does not have.

    `user_table` and `item_table` describe them, with a key column of the same name as `user` or
    `item`; they give `user_features` and `item_features`, float32 [codes, F], whose row 0 is zeros.
    What is in `item_table` alone is known too. `seen_by` tells what a user has interacted with in
    the training data, which is left out of what is recommended; `top_n` is how many to recommend
    where an example does not say.
    """

    type: ClassVar[str] = "user_item"

    def __init__(
        self,
        user: str,
        item: str,
        *,
        user_table: pd.DataFrame | None = None,
        item_table: pd.DataFrame | None = None,
        top_n: int = TOP_N,
    ) -> None:
        self.user = user
        self.item = item
        self.user_table = user_table
        self.item_table = item_table
        self.top_n = top_n
        self.users: tuple[str, ...] = ()
        self.items: tuple[str, ...] = ()
        self.user_feature_names: tuple[str, ...] = ()
        self.item_feature_names: tuple[str, ...] = ()
        self.user_features: Array = np.zeros((1, 0), dtype=np.float32)
        self.item_features: Array = np.zeros((1, 0), dtype=np.float32)
        self.seen_starts: Array = np.zeros(2, dtype=np.int64)
        self.seen_items: Array = np.zeros(0, dtype=np.int32)
        self.seen_liked: Array = np.zeros(0, dtype=np.bool_)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.user, self.item)

    def fields(self) -> tuple[Field, ...]:
        return (Field(self.user, "user"), Field(self.item, "item"))

    @property
    def user_count(self) -> int:
        """How many codes of users there are, 0 included."""
        return len(self.users) + FIRST_CODE

    @property
    def item_count(self) -> int:
        """How many codes of items there are, 0 included."""
        return len(self.items) + FIRST_CODE

    def fit(self, items: pd.DataFrame) -> None:
        users, things = labels_of(items[self.user]), labels_of(items[self.item])
        complete = (users.notna() & things.notna()).to_numpy()
        self.users = tuple(sorted(users[complete].unique()))
        rated = set(things[complete].unique())
        for noun, count in (("user", len(self.users)), ("item", len(rated))):
            if count < 2:
                raise InvalidArgument(
                    "job.dataset",
                    f"there are {count} different values in the column {getattr(self, noun)!r} of "
                    f"{noun}s; at least two {noun}s are needed to learn what they have in common",
                    reason="TOO_FEW_DISTINCT",
                )
        described = set() if self.item_table is None else set(self._keys(self.item_table))
        self.items = tuple(sorted(rated | described))
        self.user_feature_names, self.user_features = _described(
            self.user_table, self.user, self.users
        )
        self.item_feature_names, self.item_features = _described(
            self.item_table, self.item, self.items
        )
        self.__dict__.pop("_user_places", None)
        self.__dict__.pop("_item_places", None)
        codes = self.user_codes(users[complete]), self.item_codes(things[complete])
        self.remember(*codes, np.ones(len(codes[0]), dtype=np.bool_))

    def encode(self, items: pd.DataFrame) -> Encoded:
        arrays: dict[str, Array] = {}
        problems: list[ItemProblem] = []
        for name, column, codes in (
            ("user", self.user, self.user_codes),
            ("item", self.item, self.item_codes),
        ):
            if column not in items.columns:
                raise InvalidArgument(
                    "job.dataset",
                    f"no column {column!r} among {', '.join(map(str, items.columns))}",
                    reason="MISSING_COLUMN",
                )
            labels = labels_of(items[column])
            arrays[name] = codes(labels)
            problems += [
                ItemProblem(i, f"row {items.index[i]}", f"no {name} in column {column!r}")
                for i in np.flatnonzero(labels.isna().to_numpy()).tolist()
            ]
        return Encoded(arrays, problems)

    def user_codes(self, labels: pd.Series) -> Array:
        """Codes of labels of users, int64; 0 for those that are not known."""
        import pandas as pd

        return (
            np.asarray(self._user_places.get_indexer(pd.Index(labels)), dtype=np.int64) + FIRST_CODE
        )

    def item_codes(self, labels: pd.Series) -> Array:
        """Codes of labels of items, int64; 0 for those that are not known."""
        import pandas as pd

        return (
            np.asarray(self._item_places.get_indexer(pd.Index(labels)), dtype=np.int64) + FIRST_CODE
        )

    def seen_by(self, user: int) -> Array:
        """Codes of the items a user has interacted with, the latest last; none for code 0."""
        return self.seen_items[self.seen_starts[user] : self.seen_starts[user + 1]]

    def liked_by(self, user: int) -> Array:
        """Those of `seen_by` that count as liked."""
        part = slice(self.seen_starts[user], self.seen_starts[user + 1])
        return self.seen_items[part][self.seen_liked[part]]

    def users_of(self, item: int) -> Array:
        """Codes of the users who have interacted with an item."""
        places = np.flatnonzero(self.seen_items == item)
        return np.searchsorted(self.seen_starts, places, side="right") - 1

    def remember(self, users: Array, items: Array, liked: Array) -> None:
        """Sets who has seen what from codes of users and items [N] in order of time; `liked` [N]
        tells which of it counts as liked."""
        order = np.argsort(users, kind="stable")
        self.seen_items = items[order].astype(np.int32)
        self.seen_liked = liked[order].astype(np.bool_)
        counts = np.bincount(users, minlength=self.user_count)
        self.seen_starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def _keys(self, table: pd.DataFrame) -> list[str]:
        return [str(label) for label in labels_of(table[self.item]).dropna().unique()]

    @cached_property
    def _user_places(self) -> pd.Index:
        import pandas as pd

        return pd.Index(self.users, dtype=object)

    @cached_property
    def _item_places(self) -> pd.Index:
        import pandas as pd

        return pd.Index(self.items, dtype=object)

    def state(self) -> dict[str, Any]:
        return {
            "user": self.user,
            "item": self.item,
            "top_n": self.top_n,
            "users": list(self.users),
            "items": list(self.items),
            "user_feature_names": list(self.user_feature_names),
            "item_feature_names": list(self.item_feature_names),
            "user_features": pack(self.user_features),
            "item_features": pack(self.item_features),
            "seen_starts": pack(self.seen_starts),
            "seen_items": pack(self.seen_items),
            "seen_liked": pack(self.seen_liked),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> UserItemBlock:
        block = cls(state["user"], state["item"], top_n=state["top_n"])
        block.users, block.items = tuple(state["users"]), tuple(state["items"])
        block.user_feature_names = tuple(state["user_feature_names"])
        block.item_feature_names = tuple(state["item_feature_names"])
        block.user_features = unpack(state["user_features"])
        block.item_features = unpack(state["item_features"])
        block.seen_starts = unpack(state["seen_starts"])
        block.seen_items = unpack(state["seen_items"])
        block.seen_liked = unpack(state["seen_liked"])
        return block


def _described(
    table: pd.DataFrame | None, key: str, labels: tuple[str, ...]
) -> tuple[tuple[str, ...], Array]:
    """Names of features and their values by code, with a row of zeros for what is not known."""
    if table is None:
        return (), np.zeros((len(labels) + FIRST_CODE, 0), dtype=np.float32)
    names, values = side_features(table, key, labels)
    return names, np.concatenate([np.zeros((FIRST_CODE, len(names)), dtype=np.float32), values])
