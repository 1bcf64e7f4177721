"""The audio task and its models."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from seedbed_audio.augment import SpecAugment
from seedbed_audio.catalogue import architectures
from seedbed_audio.statistics import SpectralStatistics
from seedbed_audio.task import AudioClassification
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import Blueprint, Data, Hardware, Interrupted, Trainer

SPOKEN = Path(os.environ.get("SEEDBED_DATA", "../shared/data")) / "spoken-digits.zip"
ARCHITECTURES = {a.name: a for a in architectures()}
RATE = 8_000


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def sweep(rising: bool, seed: int) -> bytes:
    """A tone that rises or falls, in noise, of random length and place."""
    random = np.random.default_rng(seed)
    seconds = random.uniform(0.2, 0.3)
    course = (
        np.linspace(0, 1, int(seconds * RATE)) if rising else np.linspace(1, 0, int(seconds * RATE))
    )
    low = random.uniform(400, 800)
    tone = np.sin(2 * np.pi * np.cumsum(low + 1_500 * course) / RATE)
    noise = random.normal(size=len(tone)) * 0.05
    buffer = io.BytesIO()
    soundfile.write(buffer, (tone + noise) * 0.5, RATE, format="WAV")
    return buffer.getvalue()


def sweeps(count: int = 30) -> Dataset:
    files = [
        FileRef(f"{kind}/{i}.wav", lambda kind=kind, i=i: sweep(kind == "up", i))
        for kind in ("up", "down")
        for i in range(count)
    ]
    return Dataset({"train": DataSplit(files=tuple(files))}, "class_folders", content="audio")


TestAudioClassification = task_contract(
    "audio_classification", sweeps, parameters={"epochs": 5, "resolution": 64}
)


def prepared(dataset: Dataset, target: str = "") -> tuple[DataBlock, Data]:
    task = AudioClassification()
    block = task.data_block(dataset, target, task.options())
    data = block.prepare(0)
    return block, Data(data.train, data.valid)


def build(name: str, block: DataBlock, **changes: object) -> Trainer:
    architecture = ARCHITECTURES[name]
    parameters = {**architecture.portfolio[0], **changes}
    return architecture.build(Blueprint(block, parameters, Hardware(), 1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [("spectral_linear", {}), ("spectral_kernel", {}), ("spectrogram_convnet", {"epochs": 8})],
)
def test_every_architecture_tells_rising_tones_from_falling_ones(
    name: str, changes: dict[str, object]
) -> None:
    block, data = prepared(sweeps(40))
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    build(name, block, **changes).fit(data, run)
    assert run.best_score >= 0.9


def test_a_table_that_names_sounds_is_read_with_its_classes() -> None:
    files = sweeps(8).splits["train"].files
    table = pd.DataFrame(
        {"file": [f.name for f in files], "kind": [f.path.parent.name for f in files], "take": 1}
    )
    dataset = Dataset({"train": DataSplit(table, files)}, "file_table", content="audio")
    block, data = prepared(dataset, "kind")
    assert block.target.columns == ("kind",) and len(data.train) > 8
    with pytest.raises(InvalidArgument, match="kind, take are several columns"):
        prepared(dataset, "kind,take")


def test_damaged_sounds_are_left_out_by_name() -> None:
    good = sweeps(20).splits["train"].files
    bad = FileRef("up/broken.wav", lambda: b"RIFF")
    dataset = Dataset({"train": DataSplit(files=(*good, bad))}, "class_folders", content="audio")
    task = AudioClassification()
    problems = task.data_block(dataset, "", task.options()).prepare(0).problems["train"]
    assert [p.name for p in problems] == ["up/broken.wav"]


def test_training_that_is_stopped_at_once_ends_as_interrupted() -> None:
    block, data = prepared(sweeps(8))
    run = RecordingRun(METRICS["accuracy"], data.valid.target, stop_after=0)
    for name in ARCHITECTURES:
        with pytest.raises(Interrupted):
            build(name, block).fit(data, run)


def test_statistics_do_not_depend_on_where_the_sound_stands() -> None:
    images = np.zeros((3, 8, 40, 1), dtype=np.uint8)
    sound = np.random.default_rng(0).integers(1, 255, (8, 10, 1))
    images[0, :, :10], images[1, :, 25:35] = sound, sound
    features = SpectralStatistics(4).features({"image": images})
    assert features.shape == (3, 64)
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_allclose(
        features[0, 32:].reshape(4, 8).mean(0), sound[..., 0].mean(1) / 255, rtol=1e-5
    )
    assert np.isfinite(features[2]).all()


def test_spec_augment_masks_and_mixes_by_seed_and_does_nothing_at_zero() -> None:
    images = torch.randint(100, 256, (16, 40, 64, 1), dtype=torch.uint8)
    target = torch.arange(16) % 4
    results = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        batch, shares = SpecAugment(4, 1.0)({"image": images}, target, generator)
        results.append(batch["image"])
        torch.testing.assert_close(shares.sum(1), torch.ones(16))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert results[0].shape == images.shape and results[0].min() < 100 <= images.min()
    plain, shares = SpecAugment(4, 0.0)({"image": images}, target, torch.Generator())
    assert torch.equal(plain["image"], images.float())
    assert torch.equal(shares.argmax(1), target)


def spoken() -> Dataset:
    with zipfile.ZipFile(SPOKEN) as archive:
        names = [n for n in archive.namelist() if n.endswith(".wav")]
        content = {n: archive.read(n) for n in names}
    splits = {
        split: DataSplit(
            files=tuple(
                FileRef(n.removeprefix(f"{split}/"), lambda n=n: content[n])
                for n in names
                if n.startswith(f"{split}/")
            )
        )
        for split in ("train", "test")
    }
    return Dataset(splits, "class_folders", content="audio")


@pytest.mark.parametrize(
    ("name", "at_least"), [("spectral_linear", 0.965), ("spectral_kernel", 0.985)]
)
def test_spoken_digits_are_told_apart(name: str, at_least: float) -> None:
    if not SPOKEN.exists():
        pytest.skip(f"no {SPOKEN.name} in {SPOKEN.parent}; set SEEDBED_DATA")
    task = AudioClassification()
    block = task.data_block(spoken(), "", task.options())
    data = block.prepare(0)
    trainer = build(name, block)
    trial = Data(data.train, data.valid)
    trainer.fit(trial, RecordingRun(METRICS["accuracy"], data.valid.target))
    outputs = trainer.predict(data.test.inputs)
    assert METRICS["accuracy"].compute(data.test.target, outputs) >= at_least
