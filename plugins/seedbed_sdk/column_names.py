"""Usual names of columns in tables of who liked what."""

from __future__ import annotations

import re
from collections.abc import Sequence

USERS = ("user", "customer", "member", "reviewer", "visitor", "reader", "listener", "viewer")
ITEMS = (
    *("item", "movie", "product", "book", "song", "track", "artist", "article", "game", "anime"),
    *("recipe", "business", "restaurant", "isbn", "asin", "sku", "film", "show", "course"),
)
RATINGS = ("rating", "stars", "score", "overall", "bookrating", "userrating", "rate", "ratings")
TIMES = ("timestamp", "time", "date", "datetime", "unixreviewtime", "reviewtime", "createdat")


def column_called(nouns: Sequence[str], names: Sequence[str], *, ids: bool = False) -> str:
    """The first column with one of these names, whatever its case and separators, or empty. With
    `ids` a name may end as those of identifiers do: `movieId`, `user_no`."""
    ends = ("id", "", "no", "number", "name") if ids else ("",)
    plain = {re.sub(r"[\W_]", "", name.lower()): name for name in reversed(names)}
    return next((plain[n + end] for n in nouns for end in ends if n + end in plain), "")
