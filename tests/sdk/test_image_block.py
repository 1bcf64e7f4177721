"""Pictures: any format in, uint8 squares out, bad ones named with their reason."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from seedbed_sdk.blocks import ImageBlock
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument


def picture(
    width: int,
    height: int,
    color: tuple[int, ...] = (200, 30, 60),
    kind: str = "PNG",
    **more: object,
) -> bytes:
    buffer = io.BytesIO()
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[len(color)]
    Image.new(mode, (width, height), color if len(color) > 1 else color[0]).save(
        buffer, kind, **more
    )
    return buffer.getvalue()


def items(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"image": pd.Series(list(values), dtype=object)})


def test_side_is_the_median_shorter_side_and_at_most_160() -> None:
    block = ImageBlock()
    block.fit(items(picture(40, 60), picture(50, 30), picture(90, 50)))
    assert block.side == 40
    block = ImageBlock()
    block.fit(items(picture(900, 700)))
    assert block.side == 160


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_formats_and_shapes_become_rgb_squares(kind: str) -> None:
    block = ImageBlock(side=24)
    encoded = block.encode(items(picture(48, 30, kind=kind)))
    image = encoded.arrays["image"]
    assert image.shape == (1, 24, 24, 3) and image.dtype == np.uint8
    assert not encoded.problems
    assert np.abs(image[0, 12, 12].astype(int) - [200, 30, 60]).max() <= 8


def test_grey_transparent_and_rotated_pictures_are_taken_upright() -> None:
    block = ImageBlock(side=16)
    grey = block.encode(items(picture(16, 16, (77,)))).arrays["image"]
    assert (grey == 77).all()
    clear = block.encode(items(picture(16, 16, (10, 20, 30, 128)))).arrays["image"]
    assert clear.shape == (1, 16, 16, 3)

    half = Image.new("RGB", (16, 16), (0, 0, 0))
    half.paste((255, 255, 255), (0, 0, 16, 8))
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half.save(buffer, "PNG", exif=exif)
    turned = block.encode(items(buffer.getvalue())).arrays["image"][0]
    assert turned[2, 8].sum() == 0 and turned[13, 8].sum() == 765


def absent() -> bytes:
    raise FileNotFoundError(2, "no such file in the dataset", "gone.png")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"just some text, no picture", "not a picture in a known format"),
        (b"", "the file is empty"),
        (picture(640, 640, kind="JPEG")[:2000], "truncated or damaged JPEG"),
        ("cat.png", "expected the bytes of a picture file, got str 'cat.png'"),
        (None, "expected the bytes of a picture file, got nothing"),
        (FileRef("gone.png", absent), "cannot be read: no such file in the dataset"),
    ],
)
def test_what_is_no_picture_is_named_with_its_reason(value: object, reason: str) -> None:
    block = ImageBlock(side=16)
    encoded = block.encode(items(picture(16, 16), value))
    (problem,) = encoded.problems
    assert problem.position == 1
    assert problem.reason.startswith(reason)
    assert encoded.arrays["image"].shape == (2, 16, 16, 3)
    assert not encoded.arrays["image"][1].any()


def test_a_picture_bomb_is_refused_by_its_header() -> None:
    bomb = bytearray(picture(8, 8, kind="BMP"))
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2
    encoded = ImageBlock(side=16).encode(items(bytes(bomb)))
    assert "60000 x 60000 pixels; at most 100000000" in encoded.problems[0].reason or (
        "too many pixels" in encoded.problems[0].reason
    )


def test_no_readable_picture_at_all_is_an_error_with_examples() -> None:
    with pytest.raises(InvalidArgument) as caught:
        ImageBlock().fit(items(b"text", b""))
    assert caught.value.message == (
        "job.dataset: none of 2 training pictures that were looked at can be read: "
        "row 0: not a picture in a known format; row 1: the file is empty"
    )


def test_state_survives_and_decides_the_size() -> None:
    block = ImageBlock("photo", 48)
    again = ImageBlock.from_state(block.state())
    assert (again.column, again.side) == ("photo", 48)


def test_files_are_read_once_each() -> None:
    reads: list[str] = []

    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            reads.append(name)
            return picture(16, 16)

        return read

    refs = [FileRef(f"{i}.png", reader(f"{i}.png")) for i in range(5)]
    ImageBlock(side=16).encode(items(*refs))
    assert sorted(reads) == [ref.name for ref in refs]
