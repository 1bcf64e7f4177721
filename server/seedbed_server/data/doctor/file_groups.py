"""The finding about files that belong together by their names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seedbed_sdk.file_names import groups_of_names
from seedbed_server.data.doctor.context import HELD_OUT, Context
from seedbed_server.jobs.values import Finding


def about_file_groups(context: Context) -> Iterator[Finding]:
    """Numbered names that fall into groups, where a split is still to be held out. Whether files of
    a group are alike is not looked at, so that this is no more than a hint."""
    shape = context.shape
    absent = [split for split in HELD_OUT if split not in shape.dataset.splits]
    options = ("group_pattern", "group_column", "split_column", "time_column")
    if not absent or any(context.options.get(option) for option in options):
        return
    found = shape.name_groups
    if found is None:
        return
    here = np.array(sorted(found.sizes), dtype=object)
    torn = ""
    for split in HELD_OUT:
        names = shape.file_names(split)
        if names:
            share = np.isin(groups_of_names(names, found.pattern), here).mean()
            torn += f"; {share:.0%} of the {split} files are of such a group too"
    yield Finding(
        "INFO",
        "file_groups_torn",
        f"the names of {found.sizes.total():,} of {len(shape.file_names('train')):,} training "
        f"files are numbered in {len(found.sizes):,} groups: {found.shown()}; a random split for "
        f"{' and '.join(absent)} puts files of one group on both sides{torn}",
        "",
        "If files of a group are alike, as frames of one video or takes of one speaker are, set "
        f"the option group_pattern={found.pattern}, which keeps a group in one split.",
    )
