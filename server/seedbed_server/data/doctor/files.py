"""What reading the files shows: which are damaged or the same, and a few numbers of each."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef

MAX_FILES = 6_000
THUMBNAIL = (17, 16)
MAX_PIXELS = 100_000_000
MAX_SAMPLES = 20_000_000
MAX_CHARS = 2_000
BANDS = 16
_INTERLEAVED = 8

Array = NDArray[Any]


class Damaged(Exception):
    """Why a file cannot be used."""


@dataclass(slots=True)
class FileFacts:
    """The files of a split that were looked at, of `count` there are. Of those that can be read,
    `names`, a `digest` of the contents, and what they are: `numbers` are a grey thumbnail followed
    by means of colours [N, 17 * 16 + 3] of pictures, or band energies of sounds [N, 19], and
    `shapes` the width and height, or rate and length, [N, 2]; `texts` their beginning. `damaged`
    says of the others why."""

    count: int
    names: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    numbers: list[Array] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def looked_at(self) -> int:
        return len(self.names) + len(self.damaged)


def look_at_files(dataset: Dataset, deadline: float) -> Mapping[str, FileFacts]:
    """Reads the files that are items in each split, or a sample of them spread evenly, until the
    deadline. Masks are not among them."""
    files = {split: _items(dataset, data) for split, data in dataset.splits.items()}
    total = max(1, sum(map(len, files.values())))
    begun, found = time.monotonic(), {}
    done = 0
    for split, of_split in files.items():
        done += len(of_split)
        room = max(1, MAX_FILES * len(of_split) // total)
        chosen = of_split[:: max(1, -(-len(of_split) // room))]
        # Each split has its part of the time, so that they can be compared.
        until = begun + (deadline - begun) * (done / total)
        found[split] = _look(chosen, dataset.content, len(of_split), until)
    return found


def read_picture(data: bytes) -> Any:
    """A decoded picture. Raises Damaged."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data))
            if picture.width * picture.height > MAX_PIXELS:
                raise Damaged(f"has {picture.width:,} x {picture.height:,} pixels")
            # A large JPEG is decoded at a fraction of its size, and still read to its end.
            picture.draft("RGB", (256, 256))
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Damaged(f"cannot be decoded: {error}") from error
    return picture


def _items(dataset: Dataset, data: DataSplit) -> Sequence[FileRef]:
    if dataset.layout != "image_masks" or data.table is None:
        return data.files
    images = set(data.table["image"])
    return [file for file in data.files if file.name in images]


def _look(files: Sequence[FileRef], kind: str, count: int, deadline: float) -> FileFacts:
    facts = FileFacts(count)
    add = _READERS.get(kind)
    # In an order that leaves an even sample where the time is up.
    for file in (f for start in range(_INTERLEAVED) for f in files[start::_INTERLEAVED]):
        if time.monotonic() >= deadline:
            break
        try:
            data = file.read()
            if add is not None:
                add(facts, data)
        except (Damaged, OSError) as error:
            facts.damaged[file.name] = str(error)
        else:
            facts.names.append(file.name)
            facts.digests.append(hashlib.blake2b(data, digest_size=16).digest())
    return facts


def _add_picture(facts: FileFacts, data: bytes) -> None:
    from PIL import Image

    picture = read_picture(data)
    size = picture.size
    small = picture.convert("RGB").resize(THUMBNAIL, Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.float32).ravel()
    colours = np.asarray(small, dtype=np.float32).reshape(-1, 3).mean(axis=0)
    facts.numbers.append(np.concatenate([grey, colours]))
    facts.shapes.append(size)


def _add_sound(facts: FileFacts, data: bytes) -> None:
    try:
        import soundfile
    except ImportError:
        return  # The audio task, which needs it, is not installed either.
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            length, rate = len(sound), sound.samplerate
            samples = sound.read(min(length, MAX_SAMPLES), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, ValueError) as error:
        raise Damaged(f"cannot be decoded: {error}") from error
    if not len(samples):
        raise Damaged("has no samples")
    if len(samples) < min(length, MAX_SAMPLES):
        raise Damaged(f"ends after {len(samples):,} of {length:,} samples")
    wave = samples.mean(axis=1)
    if not np.isfinite(wave).all():
        raise Damaged("has samples that are no numbers")
    spectrum = np.abs(np.fft.rfft(wave[: 2**18])) ** 2
    edges = np.geomspace(1, len(spectrum) + 1, BANDS + 1).astype(np.int64) - 1
    bands = [spectrum[a : max(a + 1, b)].sum() for a, b in pairwise(edges)]
    level = float(np.sqrt((wave**2).mean()))
    shape = np.log10(np.array(bands) / (spectrum.sum() + 1e-12) + 1e-6)
    facts.numbers.append(
        np.array([*shape, level, float(np.abs(wave).max()), length / rate], dtype=np.float32)
    )
    facts.shapes.append((rate, length))


def _add_text(facts: FileFacts, data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Damaged(f"is not UTF-8: byte {data[error.start]:#04x} at {error.start:,}") from error
    facts.texts.append(text[:MAX_CHARS])


_READERS: Mapping[str, Callable[[FileFacts, bytes], None]] = {
    "image": _add_picture,
    "audio": _add_sound,
    "text": _add_text,
}
