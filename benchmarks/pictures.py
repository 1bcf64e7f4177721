"""Pictures for the benchmarks: a small archive's, in a folder per class."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ARCHIVE = "cifar10-2k.zip"
CLASSES = 10


def write_pictures(folder: Path, per_class: int) -> int:
    """Writes training pictures of 32 x 32 pixels into a folder per class, real ones where the
    archive is in `$SEEDBED_DATA` or beside the repository, else generated ones. Returns how
    many."""
    files = pictures(per_class)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return len(files)


def pictures(per_class: int) -> dict[str, bytes]:
    """The files that `write_pictures` writes, by their names in the folder."""
    data = os.environ.get("SEEDBED_DATA")
    archive = Path(data or Path(__file__).parents[2] / "shared" / "data") / ARCHIVE
    if not archive.is_file():
        return _generated(per_class)
    found: dict[str, list[str]] = {}
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            split, _, rest = name.partition("/")
            if split == "train" and not name.endswith("/"):
                found.setdefault(rest.partition("/")[0], []).append(name)
        chosen = [name for names in found.values() for name in names[:per_class]]
        return {name.removeprefix("train/"): opened.read(name) for name in chosen}


def _generated(per_class: int) -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    files = {}
    for label in range(CLASSES):
        for number in range(per_class):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[..., label % 3] //= 1 + label
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            files[f"class-{label}/{number}.jpg"] = buffer.getvalue()
    return files
