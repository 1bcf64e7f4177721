"""Outputs that are no answers for their target are refused, in words for their author."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed_sdk.blocks import CategoryBlock, MaskBlock, MultiCategoryBlock, RegressionBlock
from seedbed_sdk.blocks.base import TargetBlock
from seedbed_sdk.blocks.mask_classes import MaskClasses
from seedbed_sdk.outputs import check_outputs
from seedbed_sdk.trainer import Diverged, UnusableOutputs

CLASSES = CategoryBlock("y", ("a", "b", "c"))
LABELS = MultiCategoryBlock("y", ("a", "b", "c"))
MASKS = MaskBlock("y", (7, 9), MaskClasses(names=("road", "car"), values=(0, 1)))
RIGHT = np.full((4, 3), 1 / 3)


@pytest.mark.parametrize(
    ("target", "outputs"),
    [
        (CLASSES, RIGHT),
        (CLASSES, RIGHT.astype(np.float16)),
        (CLASSES, np.eye(3, dtype=bool)[[0, 1, 2, 0]]),
        (LABELS, RIGHT * 3),
        (RegressionBlock("y"), np.full((4, 1), -1e30)),
        (MASKS, np.zeros((4, 7, 9), dtype=np.uint8)),
    ],
)
def test_answers_are_taken(target: TargetBlock, outputs: np.ndarray) -> None:
    check_outputs(target, outputs, 4)


@pytest.mark.parametrize(
    ("target", "outputs", "says"),
    [
        (CLASSES, [[1.0]], "they are list, and an array of numbers is needed"),
        (CLASSES, RIGHT.astype(str), "they are <U32, and an array of numbers is needed"),
        (CLASSES, RIGHT[:2], "they have the shape (2, 3), and (4, 3) is needed"),
        (CLASSES, RIGHT[:, :1], "they have the shape (4, 1), and (4, 3) is needed"),
        (CLASSES, RIGHT[:, 0], "they have the shape (4,), and (4, 3) is needed"),
        (
            CLASSES,
            RIGHT * 9 - 5,
            "they are from -2 to -2, and probabilities of the classes are needed, from 0 to 1",
        ),
        (
            CLASSES,
            RIGHT * 1.5,
            "those of an item add up to 1.5 to 1.5, and probabilities of the classes are needed, "
            "which add up to 1",
        ),
        (LABELS, RIGHT * 6, "they are from 2 to 2, and probabilities"),
        (MASKS, np.zeros((3, 7, 9)), "the shape (3, 7, 9), and (4, ...) is needed"),
    ],
)
def test_what_is_no_answer_is_refused(target: TargetBlock, outputs: object, says: str) -> None:
    with pytest.raises(UnusableOutputs) as caught:
        check_outputs(target, outputs, 4)
    assert says in str(caught.value)


def test_what_is_not_finite_has_diverged() -> None:
    with pytest.raises(Diverged, match="the outputs are not finite"):
        check_outputs(RegressionBlock("y"), np.array([[1.0], [np.inf]]), 2)
