"""Groups that the names of files speak of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seedbed_sdk.blocks.base import Array

MAX_PATTERN_CHARS = 200


def groups_of_names(names: Sequence[str], pattern: str) -> Array:
    """The group of each name [N] as text: what the first pair of parentheses in `pattern` matched
    in it, or the whole match where the pattern has none; empty for a name without a match.

    The pattern is a regular expression of RE2, which takes time proportional to the names' length
    whatever the pattern, so that it may come from anyone. Raises ValueError for one that is not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # A name in an archive may hold bytes that are no text.
    column = pa.array([name.encode(errors="replace").decode() for name in names], pa.string())
    whole = rf"^(?s:.*?)({pattern})(?s:.*)$"
    try:
        matched = pc.match_substring_regex(column, pattern)
        try:
            found = pc.replace_substring_regex(column, whole, r"\2")
        except pa.ArrowInvalid as error:
            if "replacement" not in str(error):
                raise
            found = pc.replace_substring_regex(column, whole, r"\1")
    except pa.ArrowInvalid as error:
        raise ValueError(str(error).removeprefix("Invalid regular expression: ")) from error
    groups = pc.if_else(matched, found, pa.scalar("", pa.string()))
    return np.asarray(groups.to_numpy(zero_copy_only=False), dtype=object)
