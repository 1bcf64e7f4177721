"""Pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.file_bytes import Unusable, file_bytes, item_name
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

MAX_SIDE = 160
MAX_WHOLE_SIDE = 320
MIN_SIDE = 8
SIDEWAYS = (5, 6, 7, 8)
ORIENTATION = 0x0112
MAX_PIXELS = 100_000_000
SIZED_BY = 64


class ImageBlock(InputBlock):
    """A column of picture files, as FileRefs or bytes, in any format that Pillow reads.

    Encoded as `image`: uint8 [N, height, width, 3], RGB, upright (EXIF). As a rule a square of
    `side` pixels, the median shorter side of the training pictures and at most 160, scaled so that
    the shorter side fits and cropped around the centre. With `whole`, nothing is cropped: pictures
    are stretched to `size` (height, width), the median size of the training pictures, scaled down
    so that the longer side has at most 320 pixels.
    """

    type: ClassVar[str] = "image"

    def __init__(
        self,
        column: str = "image",
        side: int = 0,
        *,
        whole: bool = False,
        size: tuple[int, int] = (0, 0),
    ) -> None:
        self.column = column
        self.whole = whole
        self.size = size if whole else (side, side)

    @property
    def side(self) -> int:
        """The shorter side in pixels."""
        return min(self.size)

    @property
    def height(self) -> int:
        return self.size[0]

    @property
    def width(self) -> int:
        return self.size[1]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def fields(self) -> tuple[Field, ...]:
        return (Field(self.column, "image"),)

    def fit(self, items: pd.DataFrame) -> None:
        if self.side:
            return
        positions = np.linspace(0, len(items) - 1, min(SIZED_BY, len(items))).astype(int)
        sizes = []
        reasons = []
        for position in dict.fromkeys(positions.tolist()):
            value = items[self.column].iloc[position]
            try:
                sizes.append(upright_size(open_picture(value)))
            except Unusable as error:
                reasons.append(f"{item_name(value, position)}: {error}")
        if not sizes:
            raise InvalidArgument(
                "job.dataset",
                f"none of {len(reasons)} training pictures that were looked at can be read: "
                f"{'; '.join(reasons[:3])}",
                reason="NO_READABLE_IMAGES",
            )
        if self.whole:
            self.size = _whole_size(sizes)
        else:
            side = int(np.clip(np.median([min(size) for size in sizes]), MIN_SIDE, MAX_SIDE))
            self.size = (side, side)

    def encode(self, items: pd.DataFrame) -> Encoded:
        values = list(items[self.column])
        images = np.zeros((len(values), *self.size, 3), dtype=np.uint8)

        def decode(position: int) -> ItemProblem | None:
            try:
                images[position] = self._decode(values[position])
            except Unusable as error:
                return ItemProblem(position, item_name(values[position], position), str(error))
            return None

        with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
            found = pool.map(decode, range(len(values)))
        return Encoded({"image": images}, [problem for problem in found if problem is not None])

    def _decode(self, value: object) -> Array:
        from PIL import Image, ImageOps

        wanted = (self.width, self.height)
        image = open_picture(value)
        with damage_told(image):
            image.draft("RGB", wanted)
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if upright.size == wanted:
                pass
            elif self.whole:
                upright = upright.resize(wanted, Image.Resampling.BILINEAR, reducing_gap=2.0)
            else:
                upright = ImageOps.fit(upright, wanted, Image.Resampling.BILINEAR)
        return np.asarray(upright, dtype=np.uint8)

    @staticmethod
    def pixels(value: object) -> Array:
        """The whole picture at its own size, upright: uint8 [H, W, 3]. Raises Unusable."""
        from PIL import ImageOps

        image = open_picture(value)
        with damage_told(image):
            upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright, dtype=np.uint8)

    def state(self) -> dict[str, Any]:
        if self.whole:
            return {"column": self.column, "size": list(self.size)}
        return {"column": self.column, "side": self.side}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ImageBlock:
        if "size" in state:
            height, width = state["size"]
            return cls(state["column"], whole=True, size=(height, width))
        return cls(state["column"], state["side"])


def _whole_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The median (height, width), scaled down where it is too large."""
    height, width = np.median(np.array(sizes), axis=0)
    scale = min(1.0, MAX_WHOLE_SIDE / max(height, width))
    return max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))


def open_picture(value: object) -> Any:
    """The picture with its header read and its pixels not."""
    from PIL import Image, UnidentifiedImageError

    data = file_bytes(value, "picture")
    try:
        image = Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Unusable("not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"too many pixels; at most {MAX_PIXELS} are decoded") from error
    if image.width * image.height > MAX_PIXELS:
        raise Unusable(
            f"{image.width} x {image.height} pixels; at most {MAX_PIXELS} in all are decoded"
        )
    return image


@contextmanager
def damage_told(image: Any) -> Iterator[None]:
    """Turns what Pillow raises over damaged pixels into Unusable."""
    from PIL import Image

    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        kind = image.format or "picture"
        raise Unusable(f"truncated or damaged {kind}: {error}") from error


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width once the picture is turned as its EXIF data says."""
    sideways = image.getexif().get(ORIENTATION) in SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)
