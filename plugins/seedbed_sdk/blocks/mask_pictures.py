"""Maps of classes as pictures."""

from __future__ import annotations

import io

import numpy as np

from seedbed_sdk.blocks.base import Array, Segmentation
from seedbed_sdk.blocks.mask_classes import MaskClasses

OPACITY = 140
EDGE_OPACITY = 230


def segmentation(
    numbers: Array, classes: MaskClasses, picture: Array | None = None
) -> Segmentation:
    """The prediction for a map of class numbers uint8 [H, W]: drawn over the RGB picture
    uint8 [H, W, 3], or by itself. The mask holds class numbers, in the order of the classes."""
    counts = np.bincount(numbers.ravel(), minlength=len(classes.names))
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    shares = tuple((classes.names[i], float(counts[i] / numbers.size)) for i in order)
    drawn = classes.colours()[numbers]
    shown = drawn if picture is None else overlay(drawn, numbers, picture)
    return Segmentation(_png(numbers), _png(shown), shares)


def overlay(drawn: Array, numbers: Array, picture: Array) -> Array:
    """Colours laid over a picture, with each region's border in a firmer tone: uint8 [H, W, 3]."""
    from PIL import Image

    opacity = np.full(numbers.shape, OPACITY, dtype=np.uint8)
    opacity[1:][numbers[1:] != numbers[:-1]] = EDGE_OPACITY
    opacity[:, 1:][numbers[:, 1:] != numbers[:, :-1]] = EDGE_OPACITY
    laid = Image.composite(
        Image.fromarray(drawn), Image.fromarray(picture), Image.fromarray(opacity)
    )
    return np.asarray(laid)


def enlarge(numbers: Array, size: tuple[int, int]) -> Array:
    """A map of class numbers uint8 [h, w] at another size (height, width), with smooth borders: for
    each pixel the class with the largest share around it."""
    from PIL import Image

    height, width = size
    if numbers.shape == size:
        return numbers
    best = np.zeros(size, dtype=np.uint8)
    result = np.zeros(size, dtype=np.uint8)
    for number in np.unique(numbers):
        shape = Image.fromarray(np.where(numbers == number, 255, 0).astype(np.uint8))
        share = np.asarray(shape.resize((width, height), Image.Resampling.BILINEAR))
        better = share > best
        result[better] = number
        best[better] = share[better]
    return result


def _png(pixels: Array) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
