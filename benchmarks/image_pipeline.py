"""What pictures cost on their way into a network: prepared ones against random tensors in memory,
and, without the network, against torchvision's folder of files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.measure import Case, compare
from benchmarks.pictures import CLASSES, write_pictures
from seedbed_sdk.batches import BatchSource
from seedbed_sdk.datablock import DataBlock, PreparedData
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.learner import Callback, Learner
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.registry import load
from seedbed_sdk.testing.runs import RecordingRun
from seedbed_sdk.trainer import Blueprint, Data, EpochReport, Hardware, Verdict
from seedbed_server.store import PreparedFolders, PreparedStore

NAME = "image_pipeline"
PER_CLASS = 100
ARCHITECTURE = "small_convnet"
SIDE = 32
BATCH = 64
EPOCHS = 2
TURNS = 3
LOADED_EPOCHS = 50
FOLDER_EPOCHS = 3
LOADER_WORKERS = 2
CLOCK = time.perf_counter


@dataclass(frozen=True, slots=True)
class _Round:
    """Pictures a second, ours and theirs."""

    training: tuple[float, float]
    loading: tuple[float, float]


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        count = write_pictures(folder / "pictures", PER_CLASS)
        store = PreparedStore(folder / "prepared")
        block, prepared = _prepared(folder / "pictures", store)
        # The first steps of a process load what the later ones use.
        _trained(block, prepared)
        done = [_round(block, prepared, folder / "pictures") for _ in range(rounds)]
        store.close()
    yield compare(
        NAME,
        f"training a small residual network on {count:,} prepared pictures of 32 px, which stay in "
        "a mapped file; theirs: the same steps on random tensors in memory, without augmentation; "
        "one thread",
        [r.training for r in done],
        unit="pictures/s",
        limit="required: ratio at least 0.95",
        higher_is_better=True,
    )
    yield compare(
        NAME,
        f"shuffled batches of {count:,} prepared pictures without a network; theirs: torchvision's "
        f"ImageFolder and DataLoader with {LOADER_WORKERS} workers on the same files",
        [r.loading for r in done],
        unit="pictures/s",
        limit="required: ratio at least 5",
        higher_is_better=True,
    )


def _round(block: DataBlock, prepared: PreparedData, folder: Path) -> _Round:
    # By turns, so that what else the machine does meets both sides.
    pairs = [(_trained(block, prepared), _random_steps(block, prepared)) for _ in range(TURNS)]
    ours, theirs = (sum(side) / TURNS for side in zip(*pairs, strict=True))
    return _Round((ours, theirs), (_batches(prepared), _folder_batches(folder)))


def _prepared(folder: Path, store: PreparedStore) -> tuple[DataBlock, PreparedData]:
    """With so little memory allowed that the pictures stay in their file."""
    task = load().tasks["image_classification"]
    block = task.data_block(Dataset.from_folder(folder), "", task.options())
    return block, block.prepare(0, PreparedFolders(store, NAME, memory_limit=1))


@dataclass
class _Clock(Callback):
    """When each step of an epoch ended."""

    epochs: list[list[float]] = field(default_factory=lambda: [[]])

    def after_step(self, learner: Learner) -> None:  # noqa: ARG002
        self.epochs[-1].append(CLOCK())

    def after_epoch(self, learner: Learner, report: EpochReport, verdict: Verdict) -> None:  # noqa: ARG002
        self.epochs.append([])

    def pictures_per_second(self, batch_size: int) -> float:
        """From the first step's end to the last's in each epoch, so without validation."""
        epochs = [times for times in self.epochs if len(times) > 1]
        steps = sum(len(times) - 1 for times in epochs)
        return batch_size * steps / sum(times[-1] - times[0] for times in epochs)


def _learner(block: DataBlock) -> Learner:
    architecture = load().architectures[ARCHITECTURE]
    parameters = {**architecture.portfolio[0], "epochs": EPOCHS}
    learner = architecture.build(Blueprint(block, parameters, Hardware(), seed=0))
    assert isinstance(learner, Learner)
    return learner


def _trained(block: DataBlock, prepared: PreparedData) -> float:
    """Pictures a second of the service's loop, augmentation and averaging of weights with it."""
    learner, clock = _learner(block), _Clock()
    learner.callbacks.append(clock)
    run = RecordingRun(METRICS["accuracy"], prepared.valid.target)
    learner.fit(Data(prepared.train, prepared.valid), run)
    return clock.pictures_per_second(learner.config.batch_size)


def _random_steps(block: DataBlock, prepared: PreparedData) -> float:
    """Pictures a second of as many steps of a plain loop."""
    learner = _learner(block)
    network, batch_size = learner.network.train(), learner.config.batch_size
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    image = 255 * torch.rand(batch_size, *prepared.train.inputs["image"].shape[1:])
    target = torch.randint(CLASSES, (batch_size,))
    steps = EPOCHS * (len(prepared.train) // batch_size)
    began = CLOCK()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network({"image": image}), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return batch_size * steps / (CLOCK() - began)


def _batches(prepared: PreparedData) -> float:
    """Pictures a second that the training loop would get."""
    source = BatchSource(prepared.train, torch.device("cpu"))
    began, count = CLOCK(), 0
    for _ in range(LOADED_EPOCHS):
        for rows in torch.randperm(len(source)).split(BATCH):
            batch, _ = source.take(rows)
            count += len(batch["image"])
    return count / (CLOCK() - began)


def _folder_batches(folder: Path) -> float:
    """Pictures a second of a DataLoader whose workers run already, decoded and of the same size."""
    transform = v2.Compose([v2.PILToTensor(), v2.Resize(SIDE), v2.CenterCrop(SIDE)])
    loader = DataLoader(
        ImageFolder(str(folder), transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=LOADER_WORKERS,
        persistent_workers=True,
    )
    for _ in loader:
        pass
    began = CLOCK()
    count = sum(len(images) for _ in range(FOLDER_EPOCHS) for images, _ in loader)
    return count / (CLOCK() - began)
