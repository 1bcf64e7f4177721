"""Pictures that take more than the memory allowed are prepared and trained on within it."""

from __future__ import annotations

import io
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from seedbed_sdk.blocks import CategoryBlock, ImageBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.learner import Batch, Learner, LearnerConfig
from seedbed_sdk.mapped import is_mapped
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing.folders import PlainFolders
from seedbed_sdk.testing.runs import RecordingRun
from seedbed_sdk.trainer import Data

MEBIBYTE = 2**20
SIDE = 160
PICTURES = 6_000
SIZE = PICTURES * SIDE * SIDE * 3
LIMIT = 32 * MEBIBYTE


class Brightness(nn.Module):
    """A network so small that only the pictures take memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, batch: Batch) -> torch.Tensor:
        means: torch.Tensor = batch["image"][:, ::8, ::8].float().mean(dim=(1, 2))
        logits: torch.Tensor = self.head(means / 255)
        return logits


def _train(folder: Path, line: Connection) -> None:
    """Sends the most memory that preparing and two epochs took, and the last score."""
    torch.set_num_threads(1)
    # The first optimiser of a process loads modules, which is not what is measured.
    torch.optim.AdamW(Brightness().parameters())
    block = _block()
    before = _status("VmRSS")
    prepared = block.prepare(0, PlainFolders(folder, LIMIT))
    assert is_mapped(prepared.train.inputs["image"])
    learner = Learner(Brightness(), block, LearnerConfig(2, learning_rate=0.1, batch_size=32))
    run = RecordingRun(METRICS["accuracy"], prepared.valid.target)
    learner.fit(Data(prepared.train, prepared.valid), run)
    line.send((_status("VmHWM") - before, run.scores[-1]))


def _block() -> DataBlock:
    dark, bright = (_picture(level) for level in (60, 190))
    files = [
        FileRef(f"{i}.jpg", (lambda: bright) if i % 2 else (lambda: dark)) for i in range(PICTURES)
    ]
    items = pd.DataFrame({"image": pd.Series(files, dtype=object)})
    items["label"] = ["bright" if i % 2 else "dark" for i in range(PICTURES)]
    return DataBlock([ImageBlock("image", SIDE)], CategoryBlock("label"), {"train": items})


def _picture(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _status(name: str) -> int:
    """A number of bytes out of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory on Linux only")
def test_a_job_stays_within_bounds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_train, args=(tmp_path, theirs))
    process.start()
    theirs.close()
    grown, score = ours.recv()
    process.join()
    assert score > 0.9
    # A chunk of 64 MiB and its mapped pages, twice that for predictions, or 256 MiB mapped.
    assert grown < 350 * MEBIBYTE < SIZE
