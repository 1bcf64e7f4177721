"""Segmentation: the task's contract, its architectures, its answers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seedbed_sdk import bundle
from seedbed_sdk.blocks import ImageBlock, MaskBlock, Segmentation
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.registry import load
from seedbed_sdk.segmentation_metrics import VOID
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import AnsweringTrainer, Blueprint, Data, Hardware, Trainer
from seedbed_vision import backbones, segment_task
from seedbed_vision.augment import Augment, working_size
from seedbed_vision.segment_catalogue import architectures
from seedbed_vision.segment_networks import pick_view

ARCHITECTURES = {a.name: a for a in architectures()}
QUICK = {"epochs": 4, "resolution": 96, "width": 32}
SIZE = (48, 64)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def scene(seed: int) -> tuple[Array, Array]:
    """A red or blue box before a green ground, and where it is: uint8 [48, 64, 3] and [48, 64]."""
    generator = np.random.default_rng(seed)
    mask = np.zeros(SIZE, dtype=np.uint8)
    top, left = generator.integers(4, 20), generator.integers(4, 30)
    mask[top : top + 22, left : left + 26] = 1 + seed % 2
    colours = np.array([[40, 160, 60], [200, 40, 40], [40, 60, 210]])
    noise = generator.normal(0, 12, (*SIZE, 3))
    return np.clip(colours[mask] + noise, 0, 255).astype(np.uint8), mask


def png(pixels: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def boxes(count: int = 24) -> Dataset:
    files = []
    for index in range(count):
        picture, mask = scene(index)
        for folder, pixels in (("images", picture), ("masks", mask)):
            data = png(pixels)
            files.append(FileRef(f"{folder}/{index}.png", lambda d=data: d))
    names = [str(index) for index in range(count)]
    table = pd.DataFrame(
        {
            "image": [f"images/{name}.png" for name in names],
            "mask": [f"masks/{name}.png" for name in names],
        }
    )
    split = DataSplit(table=table, files=tuple(files))
    return Dataset({"train": split}, "image_masks", content="image")


TestSegmentation = task_contract("segmentation", boxes, parameters=QUICK)


def prepared(dataset: Dataset | None = None) -> tuple[DataBlock, Data]:
    task = segment_task.Segmentation()
    block = task.data_block(dataset or boxes(), "", task.options())
    data = block.prepare(0)
    return block, Data(data.train, data.valid)


def build(name: str, block: DataBlock, **changes: object) -> Trainer:
    architecture = ARCHITECTURES[name]
    parameters = {**architecture.portfolio[0], **QUICK, **changes}
    parameters = {k: v for k, v in parameters.items() if k in architecture.space}
    return architecture.build(Blueprint(block, parameters, Hardware(), 1))


@pytest.mark.parametrize(
    ("name", "changes", "at_least"),
    [
        ("pixel_linear", {"epochs": 8}, 0.8),
        ("frozen_pyramid", {"epochs": 15}, 0.75),
        ("unet", {"epochs": 12}, 0.75),
    ],
)
def test_every_architecture_finds_the_boxes(
    name: str, changes: dict[str, object], at_least: float
) -> None:
    block, data = prepared()
    trainer = build(name, block, **changes)
    run = RecordingRun(METRICS["mean_iou"], data.valid.target)
    trainer.fit(data, run)
    assert run.best_score >= at_least
    outputs = trainer.predict(data.valid.inputs)
    assert outputs.dtype == np.uint8 and outputs.shape == data.valid.target.shape


def test_an_opened_model_answers_at_each_pictures_own_size(tmp_path: Path) -> None:
    block, data = prepared()
    trainer = build("pixel_linear", block, epochs=8)
    trainer.fit(data, RecordingRun(METRICS["mean_iou"], data.valid.target))
    bundle.write(
        tmp_path,
        block=block,
        trainer=trainer,
        architecture="pixel_linear",
        parameters=dict(ARCHITECTURES["pixel_linear"].portfolio[0]),
        seed=1,
        about={},
    )
    predictor = bundle.open_bundle(tmp_path, load(), Hardware())
    assert isinstance(predictor.trainer, AnsweringTrainer)
    picture, mask = scene(1)
    large = np.asarray(Image.fromarray(picture).resize((150, 99), Image.Resampling.BILINEAR))
    small, big = predictor.predict([{"image": png(picture)}, {"image": png(large)}])
    for answer, size in ((small, SIZE), (big, (99, 150))):
        assert isinstance(answer, Segmentation)
        assert np.asarray(Image.open(io.BytesIO(answer.mask_png))).shape == size
        assert np.asarray(Image.open(io.BytesIO(answer.overlay_png))).shape == (*size, 3)
        assert {name for name, _ in answer.shares} <= {"0", "1", "2"}
        assert sum(share for _, share in answer.shares) == pytest.approx(1.0)
    assert isinstance(small, Segmentation)
    found = np.asarray(Image.open(io.BytesIO(small.mask_png)))
    assert (found == mask).mean() > 0.9
    with pytest.raises(InvalidArgument, match=r"examples\[0\].*not a picture"):
        predictor.predict([{"image": b"no picture"}])
    with pytest.raises(InvalidArgument, match="missing"):
        predictor.predict([{}])


def test_features_are_computed_once_for_all_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    block, data = prepared()
    seen: list[int] = []
    network = backbones.build(backbones.LITE, pretrained=True, frozen=99).eval()
    pyramid = network.pyramid  # type: ignore[operator]

    def counted(images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(images))
        return pyramid(images)  # type: ignore[no-any-return, operator]

    monkeypatch.setattr(network, "pyramid", counted)
    for rate in (1e-3, 3e-3):
        trainer = build("frozen_pyramid", block, learning_rate=rate, epochs=1)
        monkeypatch.setattr(trainer.trainer, "_backbone", network)  # type: ignore[attr-defined]
        trainer.fit(data, RecordingRun(METRICS["mean_iou"], data.valid.target))
    views = 2
    assert sum(seen) == views * (len(data.train) + len(data.valid))


def test_pictures_are_resized_whole_and_masks_with_them() -> None:
    block, data = prepared()
    (image,) = block.inputs
    assert isinstance(image, ImageBlock) and isinstance(block.target, MaskBlock)
    assert (image.height, image.width) == block.target.size == SIZE
    assert data.train.inputs["image"].shape[1:3] == data.train.target.shape[1:]


def test_augmentation_moves_the_mask_with_the_picture() -> None:
    pairs = [scene(seed) for seed in range(8)]
    images = torch.from_numpy(np.stack([picture for picture, _ in pairs]))
    masks = torch.from_numpy(np.stack([mask for _, mask in pairs]))
    generator = torch.Generator().manual_seed(3)
    batch, target = Augment(48, True, 1.0, zoom_in=0.5)({"image": images}, masks, generator)
    assert target.dtype == torch.uint8 and target.shape == batch["image"].shape[:3]
    assert (target == VOID).any()
    pixels = batch["image"]
    for number, channel in ((0, 1), (1, 0), (2, 2)):
        chosen = pixels[target == number]
        assert (chosen.argmax(dim=1) == channel).float().mean() > 0.9


def test_a_mirrored_view_has_the_mirrored_mask() -> None:
    level = torch.arange(2.0).view(1, 2, 1, 1, 1).expand(16, 2, 4, 4, 3)
    target = torch.zeros(16, 8, 8, dtype=torch.uint8)
    target[:, :, 0] = 1
    batch, picked = pick_view({"level_0": level}, target, torch.Generator().manual_seed(0))
    mirrored = batch["level_0"][:, 0, 0, 0] == 1
    assert mirrored.any() and not mirrored.all()
    assert picked.shape == (16, 4, 4)
    assert (picked[~mirrored][:, :, 0] == 1).all()
    assert (picked[mirrored][:, :, 0] == 0).all()


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((180, 240), 192, (160, 224)),
        ((32, 32), 96, (96, 96)),
        ((8, 200), 64, (16, 320)),
        ((50, 70), None, (50, 70)),
    ],
)
def test_networks_see_pictures_in_their_own_shape(
    size: tuple[int, int], resolution: int | None, expected: tuple[int, int]
) -> None:
    assert working_size(*size, resolution) == expected


def test_the_void_option_takes_one_value_or_several() -> None:
    options = segment_task.SegmentationOptions
    assert options(void=11).void_list == (11,)
    assert options(void="sky, road").void_list == ("sky", "road")
    assert options(void=[3, "sky"]).void_list == (3, "sky")
    assert options().void_list == ()


def test_a_target_that_is_no_mask_is_an_error() -> None:
    task = segment_task.Segmentation()
    with pytest.raises(InvalidArgument, match="'label' is no column of masks"):
        task.data_block(boxes(4), "label", task.options())


def test_every_torchvision_backbone_gives_four_scales() -> None:
    for name in ("resnet18", "mobilenet_v3_large", "convnext_tiny"):
        backbone = backbones.build(name, pretrained=False).eval()
        with torch.no_grad():
            levels = backbone.pyramid(torch.rand(1, 64, 96, 3) * 255)  # type: ignore[operator]
        shapes = [tuple(level.shape[1:3]) for level in levels]
        assert shapes == [(16, 24), (8, 12), (4, 6), (2, 3)]
        assert tuple(level.shape[3] for level in levels) == backbone.pyramid_channels
