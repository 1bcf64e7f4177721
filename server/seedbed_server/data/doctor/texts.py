"""Findings about texts that are nearly the same in two splits."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from seedbed_server.data.doctor.context import SEED, Array, Context
from seedbed_server.jobs.values import Finding

SERIOUS_SHARE = 0.01
SHINGLE = 3
HASHES = 64
ROWS = 4
SIMILAR = 0.8
MIN_WORDS = 5
MAX_WORDS = 400
MAX_CHARS = 10_000
SHOWN = 2
_PRIME = (1 << 61) - 1
_WORD = re.compile(r"\w+")


def about_alike_texts(context: Context) -> Iterator[Finding]:
    """Held-out texts most of whose runs of three words are those of a training text, whatever
    their case and punctuation. Texts that are equal to the letter are those of `about_rows` and
    `about_same_files`."""
    texts = _texts(context)
    train = texts.get("train")
    if not train:
        return
    here = _shingled(train)
    buckets = _buckets(here)
    same = set(train)
    for split, others in texts.items():
        if split == "train" or context.is_late():
            continue
        found = []
        for text, shingles in zip(others, _shingled(others), strict=True):
            if text in same or shingles is None:
                continue
            like = _most_alike(shingles, here, buckets)
            if like is not None:
                found.append((text, train[like]))
        if found:
            shown = "; ".join(f"{_short(a)} like {_short(b)}" for a, b in found[:SHOWN])
            yield Finding(
                "WARNING" if len(found) >= SERIOUS_SHARE * len(others) else "INFO",
                f"near_duplicate_texts_in_{split}",
                f"{len(found):,} of {len(others):,} {split} texts that were looked at are almost "
                f"the same as a training text: {shown}",
                context.shape.text,
                f"Keep such texts in one split: {split} scores come out too high.",
            )


def _texts(context: Context) -> Mapping[str, Sequence[str]]:
    shape = context.shape
    if context.layout != "table":
        return {split: facts.texts for split, facts in context.files.items() if facts.texts}
    if not shape.text or shape.user:
        return {}
    tables = {"train": context.table(), **dict(context.held_out())}
    return {
        split: [str(v) for v in context.sampled(table, 20_000)[shape.text].dropna()]
        for split, table in tables.items()
        if table is not None and shape.text in table.columns
    }


def _shingled(texts: Sequence[str]) -> list[Array | None]:
    """The different runs of words of each text as sorted hashes; None for one of few words."""
    found: list[Array | None] = []
    for text in texts:
        words = _WORD.findall(text[:MAX_CHARS].lower())[:MAX_WORDS]
        if len(words) < MIN_WORDS:
            found.append(None)
            continue
        runs = {" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}
        hashes = [zlib.crc32(run.encode(errors="replace")) for run in runs]
        found.append(np.unique(np.array(hashes, dtype=np.uint64)))
    return found


def _signature(shingles: Array) -> Array:
    """The least hash of the shingles under each of `HASHES` random functions (MinHash)."""
    factors, offsets = _FUNCTIONS
    least: Array = ((shingles[:, None] * factors + offsets) >> np.uint64(17)).min(axis=0)
    return least


def _bands(shingles: Array) -> list[tuple[int, bytes]]:
    bands = _signature(shingles).reshape(-1, ROWS)
    return [(i, band.tobytes()) for i, band in enumerate(bands)]


def _buckets(shingled: Sequence[Array | None]) -> Mapping[tuple[int, bytes], list[int]]:
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for i, shingles in enumerate(shingled):
        if shingles is not None:
            for band in _bands(shingles):
                buckets.setdefault(band, []).append(i)
    return buckets


def _most_alike(
    shingles: Array,
    here: Sequence[Array | None],
    buckets: Mapping[tuple[int, bytes], list[int]],
) -> int | None:
    candidates = {i for band in _bands(shingles) for i in buckets.get(band, ())[:50]}
    best, which = SIMILAR, None
    for i in sorted(candidates):
        other = here[i]
        assert other is not None
        common = len(np.intersect1d(shingles, other, assume_unique=True))
        share = common / (len(shingles) + len(other) - common)
        if share >= best:
            best, which = share, i
    return which


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _functions() -> tuple[Array, Array]:
    random = np.random.default_rng(SEED)
    factors = random.integers(1, _PRIME, HASHES, dtype=np.uint64) | np.uint64(1)
    return factors, random.integers(0, _PRIME, HASHES, dtype=np.uint64)


_FUNCTIONS = _functions()
