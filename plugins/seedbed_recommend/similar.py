"""Items that are like an item."""

from __future__ import annotations

import numpy as np

from seedbed_sdk.blocks import UserItemBlock
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.user_item import UNKNOWN

FEATURE_WEIGHT = 5.0
MAX_USERS = 2_000


def similarities(block: UserItemBlock, item: int) -> Array:
    """How much every item is like one of them, float64 [codes], in [0, 1]; the item itself and code
    0 have -inf.

    The cosine between the sets of users of both, in which the cosine between their features counts
    as five users in common, so that it decides where there are few. Of an item that nothing is
    known about, the share of users that each other item has. At most 2,000 users of the item, the
    first by their labels, are looked at.
    """
    counts = np.bincount(block.seen_items, minlength=block.item_count).astype(np.float64)
    users = block.users_of(item)[:MAX_USERS] if item != UNKNOWN else np.zeros(0, dtype=np.int64)
    features = _feature_cosines(block.item_features, item)
    if len(users):
        together = np.concatenate([block.seen_by(int(user)) for user in users])
        common = np.bincount(together, minlength=block.item_count)
        weight = FEATURE_WEIGHT if block.item_features.shape[1] else 1.0
        norm = np.sqrt(len(users) * np.maximum(counts, 1.0)) + weight
        scores = (common + FEATURE_WEIGHT * features) / norm
    elif features.any():
        scores = features
    else:
        scores = counts / max(len(block.users), 1)
    scores[[UNKNOWN, item]] = -np.inf
    return np.asarray(scores)


def _feature_cosines(features: Array, item: int) -> Array:
    """In [0, 1]; opposites count as unlike."""
    wide = features.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(wide[item])
    return np.asarray(np.clip(wide @ wide[item] / np.where(norms > 0, norms, 1.0), 0.0, 1.0))
