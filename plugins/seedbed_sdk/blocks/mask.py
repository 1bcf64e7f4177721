"""A class for every pixel of a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, ItemProblem, Prediction, TargetBlock
from seedbed_sdk.blocks.file_bytes import Unusable, item_name
from seedbed_sdk.blocks.image import damage_told, open_picture, upright_size
from seedbed_sdk.blocks.mask_classes import MaskClasses
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.segmentation_metrics import VOID, iou_by_class

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from PIL import Image

GREY_MODES = ("1", "L", "P", "I", "I;16")
WEIGHT_LIMIT = 10.0
DICE_SMOOTHING = 1.0
TINY = 1e-6
NAMED = 3


class MaskBlock(TargetBlock):
    """A column of mask files, as FileRefs or bytes, which give a value or a colour to every pixel
    of the picture in the column `image_column`.

    Encoded as uint8 [N, height, width] of class numbers, at the `size` (height, width) in which the
    pictures are encoded, with 255 where a pixel is void. The outputs are maps of class numbers of
    the same shape. `classes` says which values are which class and which are void; where it is
    empty, the training masks say. `weights` of the classes in the loss make up for rare ones.
    """

    type: ClassVar[str] = "mask"
    metrics: ClassVar[tuple[str, ...]] = ("mean_iou", "dice", "pixel_accuracy")
    default_metric: ClassVar[str] = "mean_iou"
    prediction_kind: ClassVar[str] = "segmentation"

    def __init__(
        self,
        column: str,
        size: tuple[int, int],
        classes: MaskClasses,
        *,
        image_column: str = "image",
        weights: Sequence[float] = (),
    ) -> None:
        self.column = column
        self.size = size
        self.classes = classes
        self.image_column = image_column
        self.weights = tuple(weights)

    def fit(self, items: pd.DataFrame) -> None:
        """Learns which values occur, unless a legend told, and how frequent the classes are.

        Raises InvalidArgument where no mask can be read, there is one class only, or there are more
        than can be, as in masks that were stored with loss.
        """
        values = list(items[self.column])
        if self.classes.colour is None:
            self.classes.colour = any(self._each(self._is_coloured, values))
        counts: dict[int, int] = {}
        reasons = []
        for position, found in enumerate(self._each(self._count, values)):
            if isinstance(found, Unusable):
                reasons.append(f"{item_name(values[position], position)}: {found}")
                continue
            for value, count in zip(*found, strict=True):
                counts[int(value)] = counts.get(int(value), 0) + int(count)
        if not counts:
            raise InvalidArgument(
                "job.target",
                f"none of {len(values)} training masks can be read: {'; '.join(reasons[:NAMED])}",
                reason="NO_READABLE_MASKS",
            )
        self.classes.learn(counts)
        self.weights = _weights([counts.get(value, 0) for value in self.classes.values])

    def encode(self, items: pd.DataFrame) -> Encoded:
        masks, pictures = list(items[self.column]), list(items[self.image_column])
        target = np.zeros((len(masks), *self.size), dtype=np.uint8)

        def put(position: int) -> Unusable | None:
            try:
                target[position] = self._encode(masks[position], pictures[position])
            except Unusable as error:
                return error
            return None

        with _pool() as pool:
            found = list(pool.map(put, range(len(masks))))
        return Encoded(
            {"target": target},
            [
                ItemProblem(i, item_name(masks[i], i), str(error))
                for i, error in enumerate(found)
                if error is not None
            ],
        )

    def _encode(self, mask: object, picture: object) -> Array:
        from PIL import Image

        values = self._values(mask)
        expected = _picture_size(picture)
        if expected is not None and values.shape != expected:
            raise Unusable(
                f"the mask is {values.shape[1]} x {values.shape[0]} pixels and its picture "
                f"{expected[1]} x {expected[0]}; they must agree"
            )
        numbers = self.classes.numbers(values)
        height, width = self.size
        resized = Image.fromarray(numbers).resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(resized, dtype=np.uint8)

    def _values(self, value: object) -> Array:
        """What stands in the mask: int64 [H, W], grey values or colours as 0xRRGGBB."""
        image = _open_mask(value)
        with damage_told(image):
            if self.classes.colour:
                red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), 2, 0)
                return np.asarray((red << 16) | (green << 8) | blue)
            pixels = np.asarray(image if image.mode in GREY_MODES else image.convert("RGB"))
        if pixels.ndim == 2:
            return pixels.astype(np.int64)
        if (pixels != pixels[..., :1]).any():
            raise Unusable("the mask has colours where the others have grey values")
        return pixels[..., 0].astype(np.int64)

    def _count(self, value: object) -> tuple[Array, Array]:
        return np.unique(self._values(value), return_counts=True)

    def _is_coloured(self, value: object) -> bool:
        image = _open_mask(value)
        if image.mode in GREY_MODES:
            return False
        with damage_told(image):
            pixels = np.asarray(image.convert("RGB"))
        return bool((pixels != pixels[..., :1]).any())

    @staticmethod
    def _each(function: Any, values: Sequence[object]) -> list[Any]:
        """The results over all masks; for those that cannot be used, the reason."""

        def tried(value: object) -> Any:
            try:
                return function(value)
            except Unusable as error:
                return error

        with _pool() as pool:
            return list(pool.map(tried, values))

    def details(self, target: Array, outputs: Array) -> Mapping[str, float]:
        """The intersection over union of each class, as `iou of NAME`."""
        each = iou_by_class(target, outputs, self.output_size)
        return {f"iou of {name}": float(v) for name, v in zip(self.labels, each, strict=True)}

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.classes.names)

    @property
    def output_size(self) -> int:
        return len(self.classes.names)

    def loss(
        self, raw: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor:
        """Weighted cross-entropy and the mean Dice loss of the classes, of logits
        [B, classes, H, W] against class numbers [B, H, W]; void pixels do not count."""
        import torch

        judged = target != VOID
        numbers = torch.where(judged, target, 0).long()
        share = judged.to(raw.dtype)
        weights = torch.tensor(self.weights, device=raw.device)
        logs = raw.log_softmax(dim=1)
        right = logs.gather(1, numbers.unsqueeze(1)).squeeze(1)
        each = -(1.0 - label_smoothing) * right - label_smoothing * logs.mean(dim=1)
        counted = weights[numbers] * share
        entropy = (each * counted).sum() / counted.sum().clamp(min=TINY)
        # A sum for each class, rather than products with a one-hot target as large as the logits.
        agreed = right.exp() * share
        classes = range(raw.shape[1])
        both = torch.stack([agreed[numbers == number].sum() for number in classes])
        true = torch.stack([share[numbers == number].sum() for number in classes])
        said = torch.einsum("bchw,bhw->c", logs.exp(), share)
        dice = (2.0 * both + DICE_SMOOTHING) / (said + true + DICE_SMOOTHING)
        return entropy + (1.0 - dice).mean()

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        """The most probable class of every pixel, uint8 [B, H, W]."""
        import torch

        return raw.argmax(dim=1).to(torch.uint8)

    def stratify(self, encoded: Array) -> Array | None:  # noqa: ARG002
        return None

    def guess(self, train: Array, count: int) -> Array:
        """At each place the class that is most frequent there, for everybody."""
        votes = [(train == number).sum(axis=0) for number in range(self.output_size)]
        most = np.argmax(np.stack(votes), axis=0).astype(np.uint8)
        return np.tile(most, (count, 1, 1))

    def decode(self, outputs: Array) -> list[Prediction]:
        """Masks in the encoded size, with the colours of the classes as overlay."""
        from seedbed_sdk.blocks.mask_pictures import segmentation

        return [segmentation(numbers, self.classes) for numbers in outputs]

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "image_column": self.image_column,
            "size": list(self.size),
            "classes": self.classes.state(),
            "weights": list(self.weights),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MaskBlock:
        height, width = state["size"]
        return cls(
            state["column"],
            (height, width),
            MaskClasses.from_state(state["classes"]),
            image_column=state["image_column"],
            weights=state["weights"],
        )


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1))


def _open_mask(value: object) -> Image.Image:
    if not isinstance(value, FileRef | bytes):
        raise Unusable("there is no mask for this picture")
    image: Image.Image = open_picture(value)
    return image


def _picture_size(picture: object) -> tuple[int, int] | None:
    """Height and width; None for a picture that cannot be read, which its own block tells."""
    try:
        return upright_size(open_picture(picture))
    except Unusable:
        return None


def _weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Proportional to one over the root of the frequency, at most 10, with mean 1 over all pixels.
    The full inverse makes rare classes spill over their borders."""
    frequency = np.asarray(counts, dtype=np.float64) / max(1, sum(counts))
    raw = np.divide(1.0, np.sqrt(frequency), out=np.ones(len(counts)), where=frequency > 0)
    raw /= (raw * frequency).sum() or 1.0
    return tuple(np.minimum(raw, WEIGHT_LIMIT).tolist())
