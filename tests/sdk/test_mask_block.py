"""Masks: values and colours become class numbers, void stays void, bad masks are named."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seedbed_sdk.blocks import MaskBlock, Segmentation
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.mask_classes import MaskClasses
from seedbed_sdk.blocks.mask_pictures import enlarge, segmentation
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.segmentation_metrics import VOID, iou_by_class, pixel_counts

SIZE = (8, 12)
LEGEND = pd.DataFrame(
    {"name": ["road", "sky", "Void"], "r": [128, 0, 0], "g": [0, 0, 0], "b": [0, 255, 0]}
)


def png(pixels: Array, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def halves(left: object, right: object, size: tuple[int, int] = SIZE) -> Array:
    pixels = np.zeros((*size, *np.shape(left)), dtype=np.uint8)
    pixels[:, : size[1] // 2] = left
    pixels[:, size[1] // 2 :] = right
    return pixels


def items(*masks: object, size: tuple[int, int] = SIZE) -> pd.DataFrame:
    picture = png(np.zeros((*size, 3), dtype=np.uint8))
    return pd.DataFrame(
        {
            "image": pd.Series([picture] * len(masks), dtype=object),
            "mask": pd.Series(list(masks), dtype=object),
        }
    )


def fitted(
    frame: pd.DataFrame, *, legend: pd.DataFrame | None = None, void: Sequence[int | str] = ()
) -> MaskBlock:
    if legend is None:
        classes = MaskClasses(void_asked=tuple(void))
    else:
        classes = MaskClasses.of_legend(legend, void)
    block = MaskBlock("mask", SIZE, classes)
    block.fit(frame)
    return block


def test_grey_values_are_classes_in_their_order_and_255_is_void() -> None:
    frame = items(png(halves(3, 7)), png(halves(7, 255)))
    block = fitted(frame)
    assert block.classes.names == ("3", "7")
    target = block.encode(frame).arrays["target"]
    assert target.dtype == np.uint8 and target.shape == (2, *SIZE)
    assert (target[0] == halves(0, 1)).all() and (target[1] == halves(1, VOID)).all()


def test_black_and_white_masks_have_two_classes() -> None:
    block = fitted(items(png(halves(0, 255))))
    assert block.classes.names == ("0", "255")


@pytest.mark.parametrize("void", [(11,), ("11",), (" 11 ",)])
def test_a_value_the_user_calls_void_is_no_class(void: tuple[int | str, ...]) -> None:
    frame = items(png(halves(0, 1)), png(halves(1, 11)))
    assert fitted(frame).classes.names == ("0", "1", "11")
    block = fitted(frame, void=void)
    assert block.classes.names == ("0", "1")
    assert (block.encode(frame).arrays["target"][1] == halves(1, VOID)).all()


def test_colours_are_read_by_the_legend_and_its_void_row_is_void() -> None:
    frame = items(png(halves((128, 0, 0), (0, 0, 255))), png(halves((0, 0, 0), (128, 0, 0))))
    block = fitted(frame, legend=LEGEND)
    assert block.classes.names == ("road", "sky")
    target = block.encode(frame).arrays["target"]
    assert (target[0] == halves(0, 1)).all() and (target[1] == halves(VOID, 0)).all()
    assert block.classes.colours().tolist() == [[128, 0, 0], [0, 0, 255]]
    block = fitted(frame, legend=LEGEND.assign(name=["road", "sky", "none"]), void=["#000000"])
    assert block.classes.names == ("road", "sky")


def test_a_palette_picture_holds_the_values_of_its_palette_places() -> None:
    image = Image.fromarray(halves(1, 2)).convert("P")
    image.putdata(halves(1, 2).ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert fitted(items(buffer.getvalue())).classes.names == ("1", "2")


def test_colours_without_a_legend_are_named_by_what_they_are() -> None:
    block = fitted(items(png(halves((255, 0, 16), (0, 128, 0)))))
    assert block.classes.names == ("#008000", "#ff0010")


def test_a_legend_of_values_names_them() -> None:
    legend = pd.DataFrame({"Name": ["cat", "dog"], "value": [0, 1]})
    frame = items(png(halves(0, 1)), png(halves(1, 5)))
    block = fitted(frame, legend=legend)
    (problem,) = block.encode(frame).problems
    assert block.classes.names == ("cat", "dog")
    assert problem.reason == "the value 5 is not in the legend"


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "there is no mask for this picture"),
        (b"", "the file is empty"),
        (b"no picture", "not a picture in a known format"),
        (png(halves(0, 1))[:60], "truncated or damaged PNG"),
        (
            png(halves(0, 1, (6, 4))),
            "the mask is 4 x 6 pixels and its picture 12 x 8; they must agree",
        ),
        (png(halves(0, 9)), "the value 9 is not in the training masks"),
        (png(halves((9, 0, 0), (0, 0, 0))), "the mask has colours where the others have"),
    ],
)
def test_bad_masks_are_named_with_their_reason(mask: object, reason: str) -> None:
    block = fitted(items(png(halves(0, 1))))
    encoded = block.encode(items(png(halves(0, 1)), mask))
    (problem,) = encoded.problems
    assert (problem.position, problem.name) == (1, "row 1")
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (items(b"x", None), "none of 2 training masks can be read: row 0: not a picture"),
        (items(png(halves(4, 4))), "the masks have the single class 4"),
        (
            items(png(np.arange(300 * 12, dtype=np.uint16).reshape(300, 12)), size=(300, 12)),
            "the masks have 3600 different values; at most 255 classes",
        ),
    ],
)
def test_masks_that_teach_nothing_are_an_error(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        fitted(frame)
    assert caught.value.message.startswith(f"job.target: {message}")


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        (LEGEND[["name", "r"]], "the legend has the columns name, r; it needs name, r, g and b"),
        (LEGEND.assign(g=[0, 300, 0]), "column 'g' of the legend takes whole numbers from 0 to"),
        (LEGEND.assign(name="road"), "the legend has a name or a value twice"),
    ],
)
def test_a_wrong_legend_is_an_error(legend: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        MaskClasses.of_legend(legend, ())
    assert caught.value.message.startswith(f"job.dataset: {message}")


def test_an_unknown_void_is_an_error_with_the_names() -> None:
    with pytest.raises(InvalidArgument) as caught:
        MaskClasses.of_legend(LEGEND, ["rood"])
    assert caught.value.message == (
        "job.options.void: no class 'rood'; there are road, sky, Void; did you mean 'road'?"
    )


def test_state_survives_json_and_encodes_the_same() -> None:
    frame = items(png(halves((128, 0, 0), (0, 0, 255))), png(halves((0, 0, 0), (128, 0, 0))))
    block = fitted(frame, legend=LEGEND)
    again = MaskBlock.from_state(json.loads(json.dumps(block.state())))
    assert again.weights == pytest.approx(block.weights)
    expected = block.encode(frame).arrays["target"]
    assert (again.encode(frame).arrays["target"] == expected).all()


def test_rare_classes_weigh_more_and_the_mean_over_pixels_is_one() -> None:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[0, :6] = 1
    block = fitted(items(png(mask)))
    common, rare = block.weights
    share = 6 / 96
    assert rare > common
    assert common * (1 - share) + rare * share == pytest.approx(1.0)
    assert rare / common == pytest.approx(np.sqrt((1 - share) / share))


def test_void_pixels_do_not_count_in_the_loss() -> None:
    block = fitted(items(png(halves(0, 1))))
    target = torch.from_numpy(halves(0, VOID))[None]
    raw = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    block.loss(raw, target).backward()
    assert raw.grad is not None
    assert raw.grad[..., :6].abs().min() > 0 and raw.grad[..., 6:].abs().max() == 0
    right = torch.stack([target[0] != 1, target[0] == 1])[None].float() * 40
    assert float(block.loss(right, target)) == pytest.approx(0.0, abs=1e-4)
    everything_void = block.loss(raw, torch.full_like(target, VOID))
    assert torch.isfinite(everything_void)


def test_metrics_are_those_of_sums_over_all_pixels() -> None:
    targets = np.array([[[0, 0, 1, VOID]], [[1, 1, 2, 2]]], dtype=np.uint8)
    outputs = np.array([[[0, 1, 1, 2]], [[1, 1, 1, 2]]], dtype=np.uint8)
    # By class: agreed 1, 3, 1; true 2, 3, 2; said 1, 5, 1.
    assert iou_by_class(targets, outputs, 4)[:3].tolist() == [1 / 2, 3 / 5, 1 / 2]
    assert np.isnan(iou_by_class(targets, outputs, 4)[3])
    expected = {
        "mean_iou": (1 / 2 + 3 / 5 + 1 / 2) / 3,
        "dice": (2 / 3 + 6 / 8 + 2 / 3) / 3,
        "pixel_accuracy": 5 / 7,
    }
    for name, value in expected.items():
        metric = METRICS[name]
        assert metric.compute(targets, outputs) == pytest.approx(value)
        assert metric.statistics is not None and metric.finish is not None
        sums = metric.statistics(targets, outputs).sum(axis=0)
        assert metric.finish(sums) == pytest.approx(value)
    assert pixel_counts(targets, outputs).shape == (2, 3, 3)


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import f1_score, jaccard_score

    generator = np.random.default_rng(0)
    targets = generator.integers(0, 5, (3, 9, 7)).astype(np.uint8)
    outputs = generator.integers(0, 5, (3, 9, 7)).astype(np.uint8)
    flat = targets.ravel(), outputs.ravel()
    assert METRICS["mean_iou"].compute(targets, outputs) == pytest.approx(
        jaccard_score(*flat, average="macro")
    )
    assert METRICS["dice"].compute(targets, outputs) == pytest.approx(
        f1_score(*flat, average="macro")
    )


def test_nothing_to_judge_is_undefined() -> None:
    void = np.full((1, 2, 2), VOID, dtype=np.uint8)
    assert np.isnan(METRICS["pixel_accuracy"].compute(void, np.zeros_like(void)))
    assert np.isnan(METRICS["mean_iou"].compute(void, np.zeros_like(void)))


def test_a_prediction_has_the_mask_the_overlay_and_the_shares() -> None:
    classes = MaskClasses.of_legend(LEGEND, ())
    picture = np.full((*SIZE, 3), 200, dtype=np.uint8)
    numbers = halves(0, 1)
    numbers[:, 3:] = 1
    found = segmentation(numbers, classes, picture)
    assert isinstance(found, Segmentation)
    assert found.shares == (("sky", 0.75), ("road", 0.25))
    mask = Image.open(io.BytesIO(found.mask_png))
    assert mask.mode == "L" and (np.asarray(mask) == numbers).all()
    drawn = np.asarray(Image.open(io.BytesIO(found.overlay_png)))
    assert drawn.shape == (*SIZE, 3)
    blue, edge = drawn[4, 10], drawn[4, 3]
    assert blue[2] > 200 > blue[0]
    assert edge[2] > blue[2]


def test_enlarging_keeps_what_is_where() -> None:
    numbers = halves(0, 4)
    large = enlarge(numbers, (80, 120))
    assert set(np.unique(large)) == {0, 4}
    assert (large[:, :55] == 0).all() and (large[:, 65:] == 4).all()
