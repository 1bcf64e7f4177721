"""Pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

MAX_SIDE = 160
MIN_SIDE = 8
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 2**20
SIZED_BY = 64


class ImageBlock(InputBlock):
    """A column of picture files, as FileRefs or bytes, in any format that Pillow reads.

    Encoded as `image`: uint8 [N, side, side, 3], RGB, upright (EXIF), scaled so that the shorter
    side fits and cropped around the centre. `side` is the median shorter side of the training
    pictures, at most 160 pixels.
    """

    type: ClassVar[str] = "image"

    def __init__(self, column: str = "image", side: int = 0) -> None:
        self.column = column
        self.side = side

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def fields(self) -> tuple[Field, ...]:
        return (Field(self.column, "image"),)

    def fit(self, items: pd.DataFrame) -> None:
        if self.side:
            return
        positions = np.linspace(0, len(items) - 1, min(SIZED_BY, len(items))).astype(int)
        sides = []
        reasons = []
        for position in dict.fromkeys(positions.tolist()):
            value = items[self.column].iloc[position]
            try:
                sides.append(min(_open(value).size))
            except _Unusable as error:
                reasons.append(f"{_name(value, position)}: {error}")
        if not sides:
            raise InvalidArgument(
                "job.dataset",
                f"none of {len(reasons)} training pictures that were looked at can be read: "
                f"{'; '.join(reasons[:3])}",
                reason="NO_READABLE_IMAGES",
            )
        self.side = int(np.clip(np.median(sides), MIN_SIDE, MAX_SIDE))

    def encode(self, items: pd.DataFrame) -> Encoded:
        values = list(items[self.column])
        images = np.zeros((len(values), self.side, self.side, 3), dtype=np.uint8)

        def decode(position: int) -> ItemProblem | None:
            try:
                images[position] = _decode(values[position], self.side)
            except _Unusable as error:
                return ItemProblem(position, _name(values[position], position), str(error))
            return None

        with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
            found = pool.map(decode, range(len(values)))
        return Encoded({"image": images}, [problem for problem in found if problem is not None])

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "side": self.side}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ImageBlock:
        return cls(state["column"], state["side"])


class _Unusable(Exception):
    """Says of a picture why it cannot be used."""


def _name(value: object, position: int) -> str:
    return value.name if isinstance(value, FileRef) else f"row {position}"


def _open(value: object) -> Any:
    """The picture with its header read and its pixels not."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(value, FileRef):
        try:
            data = value.read()
        except OSError as error:
            raise _Unusable(f"cannot be read: {error.strerror or error}") from error
    elif isinstance(value, bytes):
        data = value
    else:
        raise _Unusable(f"expected the bytes of a picture file, got {_described(value)}")
    if not data:
        raise _Unusable("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise _Unusable(f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    try:
        image = Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _Unusable("not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise _Unusable(f"too many pixels; at most {MAX_PIXELS} are decoded") from error
    if image.width * image.height > MAX_PIXELS:
        raise _Unusable(
            f"{image.width} x {image.height} pixels; at most {MAX_PIXELS} in all are decoded"
        )
    return image


def _decode(value: object, side: int) -> Array:
    from PIL import Image, ImageOps

    image = _open(value)
    try:
        image.draft("RGB", (side, side))
        upright = ImageOps.exif_transpose(image).convert("RGB")
        if upright.size != (side, side):
            upright = ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        kind = image.format or "picture"
        raise _Unusable(f"truncated or damaged {kind}: {error}") from error
    return np.asarray(upright, dtype=np.uint8)


def _described(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "nothing"
    return f"{type(value).__name__} {str(value)[:40]!r}"
