"""Findings about the files that items are: damaged ones, the same ones, masks that do not fit."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import numpy as np

from seedbed_server.data.doctor.context import NAMED, Context
from seedbed_server.data.doctor.files import THUMBNAIL, Damaged, FileFacts, read_picture
from seedbed_server.jobs.values import Finding

SERIOUS_SHARE = 0.01
MAX_BITS = 20
MAX_DIFFERENCE = 6.0
MIN_CONTRAST = 8.0
MAX_MASKS = 600
MAX_VALUES = 256
_PIXELS = THUMBNAIL[0] * THUMBNAIL[1]


def about_damaged_files(context: Context) -> Iterator[Finding]:
    """Files that cannot be read or decoded, by name."""
    for split, facts in _facts(context):
        if facts.damaged:
            first = [f"{name!r} {why}" for name, why in list(facts.damaged.items())[:NAMED]]
            more = len(facts.damaged) - len(first)
            yield Finding(
                "WARNING",
                "damaged_items",
                f"{len(facts.damaged):,} of {facts.looked_at:,} {split} files that were looked at "
                f"cannot be used: {'; '.join(first)}" + (f"; and {more:,} more" if more else ""),
                split,
                "Replace or remove them; they are left out.",
            )


def about_same_files(context: Context) -> Iterator[Finding]:
    """Files with the same contents, in one split, in two, or under two classes."""
    known: dict[bytes, str] = {}
    for split, facts in _facts(context):
        pairs = sorted(zip(facts.names, facts.digests, strict=True))
        first: dict[bytes, str] = {}
        for name, digest in pairs:
            first.setdefault(digest, name)
        if split == "train":
            known = first
            copies = [(name, first[d]) for name, d in pairs if first[d] != name]
            if copies:
                yield Finding(
                    "INFO",
                    "duplicate_files",
                    f"{len(copies):,} of {len(pairs):,} training files have the same contents as "
                    f"another: {_pairs(copies)}",
                    "",
                    "If they are copies by mistake, remove them: validation scores come out too "
                    "high.",
                )
            if context.layout == "class_folders":
                yield from _contradictions(context, copies)
            continue
        copies = [(name, known[d]) for name, d in pairs if d in known]
        if copies:
            yield Finding(
                "WARNING",
                f"files_in_train_and_{split}",
                f"{len(copies):,} of {len(pairs):,} {split} files have the same contents as a "
                f"training file: {_pairs(copies)}",
                "",
                f"Remove them from one of the two: {split} scores come out too high.",
            )


def about_alike_pictures(context: Context) -> Iterator[Finding]:
    """Held-out pictures that look like a training picture, by their difference hash."""
    facts = dict(_facts(context))
    if context.shape.dataset.content != "image" or "train" not in facts:
        return
    train = facts["train"]
    if not train.numbers:
        return
    here = _Hashed(train)
    same = set(train.digests)
    found = [(train.names[i], train.names[j]) for i, j in here.alike(here) if i < j]
    if found:
        yield Finding(
            "INFO",
            "near_duplicate_files",
            f"{len(found):,} of {len(train.names):,} training pictures that were looked at are "
            f"almost the same as another: {_pairs(found)}",
            "",
            "A random split puts some of them into the validation data, whose scores come out too "
            "high.",
        )
    for split, other in facts.items():
        if split == "train" or not other.numbers or context.is_late():
            continue
        pairs = here.alike(_Hashed(other))
        found = [(other.names[i], train.names[j]) for i, j in pairs if other.digests[i] not in same]
        if found:
            yield Finding(
                "WARNING" if len(found) >= SERIOUS_SHARE * len(other.names) else "INFO",
                f"near_duplicate_files_in_{split}",
                f"{len(found):,} of {len(other.names):,} {split} pictures that were looked at are "
                f"almost the same as a training picture: {_pairs(found)}",
                "",
                f"Keep such pictures, as frames of one video are, in one split: {split} scores "
                "come out too high.",
            )


def about_masks(context: Context) -> Iterator[Finding]:
    """Masks of another size than their picture, damaged, or with values that no training mask or
    legend has."""
    if context.layout != "image_masks":
        return
    legend = context.shape.dataset.tables.get("legend")
    known: set[int] | None = None
    if legend is not None and "value" in legend.columns:
        known = {int(value) for value in legend["value"]} | {255}
    for split, data in context.shape.dataset.splits.items():
        if data.table is None:
            continue
        files = {file.name: file for file in data.files}
        wrong: list[str] = []
        values: dict[str, set[int]] = {}
        step = max(1, -(-len(data.table) // MAX_MASKS))
        for image, mask in data.table[["image", "mask"]].to_numpy()[::step]:
            if time.monotonic() >= context.deadline:
                break
            try:
                size = _size(files[image].read())
                picture = read_picture(files[mask].read())
            except (Damaged, OSError) as error:
                wrong.append(f"{mask!r} {error}")
                continue
            if picture.size != size:
                shown = " x ".join(map(str, picture.size))
                wrong.append(f"{mask!r} is {shown} and its picture {size[0]} x {size[1]}")
            elif picture.mode in ("L", "P", "1", "I", "I;16"):
                values[mask] = {int(value) for value in np.unique(np.asarray(picture))}
        if wrong:
            more = f"; and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
            yield Finding(
                "WARNING",
                "bad_masks",
                f"{len(wrong):,} {split} masks do not fit: {'; '.join(wrong[:NAMED])}{more}",
                split,
                "Replace or remove them; they are left out.",
            )
        odd = {m: sorted(v - known) for m, v in values.items() if known and v - known}
        if odd:
            shown = "; ".join(f"{m!r} has {', '.join(map(str, v[:5]))}" for m, v in odd.items())
            where = "the legend" if legend is not None else "the training masks"
            yield Finding(
                "WARNING",
                "unknown_mask_values",
                f"{len(odd):,} {split} masks have values that {where} lacks: {shown[:400]}",
                split,
                "Add the values to the legend, name them as void, or correct the masks.",
            )
        if known is None and split == "train":
            seen = set().union(*values.values()) if values else set()
            known = seen | {255} if 0 < len(seen) <= MAX_VALUES else None


class _Hashed:
    """Difference hashes of pictures, as uint64 [N, 4], and their grey thumbnails."""

    def __init__(self, facts: FileFacts) -> None:
        self.grey = np.stack(facts.numbers)[:, :_PIXELS].astype(np.float32)
        rows = self.grey.reshape(-1, THUMBNAIL[1], THUMBNAIL[0])
        bits = (rows[:, :, 1:] > rows[:, :, :-1]).reshape(len(rows), -1)
        self.hashes = np.packbits(bits, axis=1).view(np.uint64)
        # A picture of one shade is like any other, and tells nothing.
        self.plain = self.grey.std(axis=1) < MIN_CONTRAST

    def alike(self, other: _Hashed) -> Iterator[tuple[int, int]]:
        """Each of the other pictures that looks like one of these, with the one most like it. A
        picture is not compared with itself."""
        for i in np.flatnonzero(~other.plain):
            bits = np.bitwise_count(self.hashes ^ other.hashes[i]).sum(axis=1, dtype=np.int64)
            if other is self:
                bits[i] = MAX_BITS + 1
            near = np.flatnonzero((bits <= MAX_BITS) & ~self.plain)
            if len(near):
                gaps = np.sqrt(((self.grey[near] - other.grey[i]) ** 2).mean(axis=1))
                if gaps.min() <= MAX_DIFFERENCE:
                    yield int(i), int(near[gaps.argmin()])


def _facts(context: Context) -> Iterator[tuple[str, FileFacts]]:
    if context.layout != "table":
        yield from context.files.items()


def _contradictions(context: Context, copies: list[tuple[str, str]]) -> Iterator[Finding]:
    if context.shape.target_types[0] != "category":
        return
    folders = [(a, b) for a, b in copies if a.split("/")[-2:-1] != b.split("/")[-2:-1]]
    if folders:
        yield Finding(
            "WARNING",
            "same_file_in_two_classes",
            f"{len(folders):,} training files have the same contents as one of another class: "
            f"{_pairs(folders)}",
            "",
            "Keep the one whose class is right.",
        )


def _size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return int(picture.width), int(picture.height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Damaged(f"belongs to a picture that cannot be decoded: {error}") from error


def _pairs(found: list[tuple[str, str]]) -> str:
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return ", ".join(f"{a!r} like {b!r}" for a, b in found[:NAMED]) + more
