"""Folders and archives as trees of files: which splits they have, and what they look like."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from seedbed_server.data import archives, tables
from seedbed_server.data.folders import is_ignored
from seedbed_server.data.references import Policy, ResolvedSource

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")

AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
TEXTS = (".txt", ".text")
_KINDS = {"image": IMAGES, "audio": AUDIO, "text": TEXTS}
PICTURE_FOLDERS = re.compile(r"images?|imgs?|pictures?|photos?|jpegimages|frames?|rgb|inputs?")
MASK_FOLDERS = re.compile(
    r"masks?|labels?|annotations?|annots?|segmentations?|seg|gt|ground[_ -]?truth"
)

# Files that come with data and are none.
_NOTES = (".txt", ".md", ".rst", ".pdf", ".html", ".json", ".yaml", ".yml", ".xml", ".py", "")
_WORD = re.compile(r"[^a-z]+")
_SPLIT_WITH_ROLE = re.compile(
    rf"({'|'.join(SPLIT_FOLDERS)})[_\-. ]?({PICTURE_FOLDERS.pattern}|{MASK_FOLDERS.pattern})"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a tree. `path` is where it lies; `name` is that without a folder that wraps the
    whole tree; `inner` is its path in its split, or the same where it lies in none; `split` is
    empty there. `read(limit)` returns its bytes, or raises OSError; `file` is it in a folder.
    `plugged` are the endings of tables that plugins read."""

    path: str
    name: str
    inner: str
    split: str
    read: Callable[[int], bytes] = field(repr=False)
    file: Path | None = None
    plugged: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name.lower()).suffix

    @property
    def kind(self) -> str:
        """`image`, `audio`, `text`, or empty for anything else."""
        return next((kind for kind, known in _KINDS.items() if self.suffix in known), "")

    @property
    def is_table(self) -> bool:
        return tables.is_table(self.name, self.plugged) and self.suffix != ".txt"

    @property
    def is_note(self) -> bool:
        return self.suffix in _NOTES

    @property
    def is_item(self) -> bool:
        """Whether it is a piece of data by itself."""
        return not self.is_table and not self.is_note


def open_tree(source: ResolvedSource, policy: Policy) -> list[Entry]:
    """The files of a folder or archive, sorted by name, without what systems put beside data.

    Raises InvalidArgument as `list_files` and `open_archive` do.
    """
    assert source.path is not None
    # In a tree a picture is a picture, even where a plugin reads tables out of such files.
    plugged = frozenset(policy.readers).difference(*_KINDS.values())
    if source.path.is_dir():
        paths = dict(source.files())
        reads = {name: partial(_read_file, path) for name, path in paths.items()}
        return [replace(e, file=paths[e.path]) for e in _in_splits(reads, plugged)]
    members = archives.open_archive(source.path, policy, source.field)
    return _in_splits({m.name: m.read for m in members if not is_ignored(m.name)}, plugged)


def in_split(entries: Sequence[Entry], split: str) -> list[Entry]:
    """What a tree that was said to be one split holds of it: the folder of that name where it has
    one, the contents of the only split folder, or everything."""
    there = {entry.split for entry in entries} - {""}
    wanted = split if split in there else next(iter(there)) if len(there) == 1 else ""
    if wanted:
        entries = [entry for entry in entries if entry.split == wanted]
        return [replace(entry, name=entry.inner, split=split) for entry in entries]
    return [replace(entry, inner=entry.name, split=split) for entry in entries]


def by_folders(entries: Sequence[Entry], said: Collection[str]) -> list[Entry]:
    """What a tree holds by the names of its folders, without the splits that other sources are said
    to be. What lies in no split folder is training data, or left out where there is a `train/`;
    tables stay, as their names may say what they are for."""
    beside = "" if any(entry.split == "train" for entry in entries) else "train"
    kept = []
    for entry in entries:
        split = entry.split or ("" if entry.is_table else beside)
        if (entry.split and entry.split not in said) or (
            not entry.split and (split or entry.is_table)
        ):
            kept.append(replace(entry, split=split))
    return kept


def split_of_name(name: str) -> str:
    """The split that a file's name speaks of, as in `adult-train.csv`; else empty."""
    words = _WORD.split(PurePosixPath(name.lower()).stem)
    found = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
    return found.pop() if len(found) == 1 else ""


def class_of(name: str) -> str:
    """The folder a file lies in, which is its class; empty at the top."""
    return PurePosixPath(name).parent.name


def class_folders(entries: Sequence[Entry]) -> list[Entry]:
    """The pictures, sounds or texts of a split whose folders are their classes; none where the
    files are not of one kind, or some lie in no folder. Notes beside them do not matter; folders of
    pictures and masks are no classes, and one folder of texts is none."""
    media = [entry for entry in entries if entry.is_item]
    items = media or [e for e in entries if e.kind == "text" and class_of(e.inner)]
    if not items or not items[0].kind or len({entry.kind for entry in items}) > 1:
        return []
    classes = Counter(class_of(entry.inner).lower() for entry in items)
    if "" in classes or (not media and len(classes) < 2):
        return []
    if any(MASK_FOLDERS.fullmatch(folder) for folder in classes) and _are_pairs(items):
        return []
    return items


def content_of(entries: Sequence[Entry]) -> str:
    """What all the files are that are data: `image`, `audio` or `text`; else empty."""
    kinds = {entry.kind for entry in entries if entry.is_item}
    if not kinds:
        kinds = {entry.kind for entry in entries if not entry.is_table}
    return kinds.pop() if len(kinds) == 1 else ""


def _are_pairs(entries: Sequence[Entry]) -> bool:
    """Whether most names occur in more than one folder, as those of a picture and its mask do."""
    stems = Counter(PurePosixPath(entry.inner).stem for entry in entries)
    return sum(count > 1 for count in stems.values()) * 2 > len(stems)


def _read_file(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"has more than {limit:,} bytes, which are the most that are read")
    return data


def _in_splits(files: Mapping[str, Callable[[int], bytes]], plugged: frozenset[str]) -> list[Entry]:
    entries = []
    for original, name in zip(sorted(files), _unwrapped(sorted(files), plugged), strict=True):
        split, inner = _split_of(name)
        entries.append(Entry(original, name, inner, split, files[original], plugged=plugged))
    return entries


def _split_of(name: str) -> tuple[str, str]:
    """The split that a file's folders speak of, and its path in it: `train/x`, and beside masks
    `train_masks/x` or `masks/train/x`. The split is empty where they speak of none."""
    top, _, rest = name.partition("/")
    if not rest:
        return "", name
    plain = top.lower()
    if plain in SPLIT_FOLDERS:
        return SPLIT_FOLDERS[plain], rest
    both = _SPLIT_WITH_ROLE.fullmatch(plain)
    if both:
        return SPLIT_FOLDERS[both[1]], f"{both[2]}/{rest}"
    second, _, inner = rest.partition("/")
    has_role = PICTURE_FOLDERS.fullmatch(plain) or MASK_FOLDERS.fullmatch(plain)
    if inner and has_role and second.lower() in SPLIT_FOLDERS:
        return SPLIT_FOLDERS[second.lower()], f"{top}/{inner}"
    return "", name


def _unwrapped(names: list[str], plugged: frozenset[str]) -> list[str]:
    """Without the one folder that holds everything, where that is not a split or a class."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or next(iter(tops)).lower() in SPLIT_FOLDERS:
        return names
    inner = [name.partition("/")[2] for name in names]
    has_folders = all("/" in name for name in inner)
    splits = any(n.partition("/")[0].lower() in SPLIT_FOLDERS for n in inner if "/" in n)
    has_tables = any(tables.is_table(n, plugged) for n in inner)
    if all(inner) and (has_folders or splits or has_tables):
        return inner
    return names
