"""Folders of pictures and of masks: which mask belongs to which picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from seedbed_server.data.trees import MASK_FOLDERS, PICTURE_FOLDERS, Entry

_ENDS = re.compile(
    r"[_\-. ](masks?|labels?|seg|segmentations?|gt|annot(?:ation)?s?|lbl|l|img|rgb)$"
)
_BESIDE = re.compile(r"[_\-. ](masks?|seg|segmentations?)$")
_ENOUGH = 0.5


@dataclass(slots=True)
class Pairs:
    """Pictures with their masks, in the order of their names, and what has no counterpart."""

    pairs: list[tuple[Entry, Entry]] = field(default_factory=list)
    without_mask: list[Entry] = field(default_factory=list)
    without_picture: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """What its name says of a picture: whether it is a mask, whether a folder says that it is none,
    and what it shares with its counterpart."""

    is_mask: bool
    is_named: bool
    folder: str
    stem: str


def find_pairs(entries: Sequence[Entry], *, insist: bool = False) -> dict[str, Pairs]:
    """Pairs by split, where there is a folder of masks, or masks lie beside their pictures, and
    most masks have a picture; else nothing. `insist` takes any pair as enough."""
    splits: dict[str, list[tuple[_Place, Entry]]] = {}
    for entry in entries:
        if entry.kind == "image":
            splits.setdefault(entry.split or "train", []).append((_place(entry), entry))
    found = {split: _pair(placed) for split, placed in splits.items()}
    pairs = sum(len(of_split.pairs) for of_split in found.values())
    masks = pairs + sum(len(of_split.without_picture) for of_split in found.values())
    if (
        not pairs
        or (not insist and pairs < _ENOUGH * masks)
        or not found.get("train", Pairs()).pairs
    ):
        return {}
    return {split: of_split for split, of_split in found.items() if of_split.pairs}


def _place(entry: Entry) -> _Place:
    path = PurePosixPath(entry.inner)
    masks = [MASK_FOLDERS.fullmatch(part.lower()) for part in path.parts[:-1]]
    pictures = [PICTURE_FOLDERS.fullmatch(part.lower()) for part in path.parts[:-1]]
    rest = [
        part
        for part, mask, picture in zip(path.parts[:-1], masks, pictures, strict=True)
        if not mask and not picture
    ]
    stem = path.stem.lower()
    beside = not any(masks) and not any(pictures) and bool(_BESIDE.search(stem))
    return _Place(any(masks) or beside, any(pictures), "/".join(rest).lower(), _ENDS.sub("", stem))


def _pair(placed: Sequence[tuple[_Place, Entry]]) -> Pairs:
    masks = [(place, entry) for place, entry in placed if place.is_mask]
    named = any(place.is_named for place, _ in placed)
    pictures = [(p, e) for p, e in placed if not p.is_mask and (p.is_named or not named)]
    by_place = {(place.folder, place.stem): entry for place, entry in masks}
    by_stem: dict[str, Entry | None] = {}
    for place, entry in masks:
        # A name that several masks have belongs to none of them.
        by_stem[place.stem] = None if place.stem in by_stem else entry
    pairs = Pairs()
    used: set[int] = set()
    for place, picture in pictures:
        mask = by_place.get((place.folder, place.stem)) or by_stem.get(place.stem)
        if mask is None or id(mask) in used:
            pairs.without_mask.append(picture)
        else:
            used.add(id(mask))
            pairs.pairs.append((picture, mask))
    pairs.without_picture = [entry for _, entry in masks if id(entry) not in used]
    return pairs
