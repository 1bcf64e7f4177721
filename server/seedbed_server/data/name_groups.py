"""Groups of files that their names tell of, as frames of videos or takes of a speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seedbed_sdk.file_names import groups_of_names

PATTERNS = (
    r"([^/]+)_\d+\.",
    r"([^/]+?)[_\-. ][A-Za-z]*\d+\.",
    r"([^/]*[^/\d])\d+\.",
)
"""What a group's files may be called, the plainest form first: the group and a number."""

LOOKED_AT = 2_000
MIN_GROUPS = 3
GROUPED_SHARE = 0.5
ALIKE_SHARE = 0.9
PURE_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class NameGroups:
    """The pattern that finds the groups, as the option `group_pattern` takes it, and how many files
    each group of several has."""

    pattern: str
    sizes: Counter[str]

    def shown(self, most: int = 3) -> str:
        """The largest groups by name, with their sizes."""
        named = [f"{name!r} ({count:,} files)" for name, count in self.sizes.most_common(most)]
        more = len(self.sizes) - most
        return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def find_name_groups(names: Sequence[str], labels: Sequence[str]) -> NameGroups | None:
    """The groups that numbered names fall into, where most files share theirs with others; None
    where they do not, or where the groups may be no more than the classes: `labels` has one for
    each name, or is empty."""
    if not names:
        return None
    some = names[:: -(-len(names) // LOOKED_AT)]
    for pattern in PATTERNS:
        if (groups_of_names(some, pattern) != "").mean() < ALIKE_SHARE:
            continue
        found = groups_of_names(names, pattern)
        counts = Counter(group for group in found.tolist() if group)
        sizes = Counter({group: n for group, n in counts.items() if n > 1})
        if len(sizes) < MIN_GROUPS or sizes.total() < GROUPED_SHARE * len(names):
            return None
        if labels and _are_classes(found.tolist(), labels):
            return None
        return NameGroups(pattern, sizes)
    return None


def _are_classes(groups: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether the files of a group have one class, and a class not several groups."""
    of_group: dict[str, Counter[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        of_group.setdefault(group, Counter())[label] += 1
    usual = [of.most_common(1)[0] for of in of_group.values()]
    if sum(count for _, count in usual) < PURE_SHARE * len(labels):
        return False
    groups_of_class = Counter(label for label, _ in usual)
    return bool(np.median(list(groups_of_class.values())) < MIN_GROUPS)
