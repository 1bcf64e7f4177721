"""The time series task and its models."""

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

from seedbed_sdk import features as sdk_features
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.features import RidgeClassifier
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import Blueprint, Data, Hardware, Interrupted, Trainer
from seedbed_series.catalogue import architectures
from seedbed_series.networks import SeriesAugment
from seedbed_series.rocket import MiniRocket
from seedbed_series.task import SeriesOptions, TimeSeriesClassification

SPOKEN = Path(os.environ.get("SEEDBED_DATA", "../shared/data")) / "spoken-digits.zip"
ARCHITECTURES = {a.name: a for a in architectures()}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def bumps(count: int = 60, length: int = 32) -> pd.DataFrame:
    """A steep rise and a slow fall, or the other way round, at a random place in noise."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(count):
        ramp = np.linspace(1, 0, 8)
        series = random.normal(size=length) * 0.1
        place = int(random.integers(0, length - 8))
        series[place : place + 8] += ramp if index % 2 else ramp[::-1]
        rows.append(series)
    table = pd.DataFrame(rows, columns=[f"t{i}" for i in range(length)])
    table["label"] = ["falls" if i % 2 else "rises" for i in range(count)]
    return table


TestTimeSeriesClassification = task_contract(
    "time_series_classification",
    lambda: Dataset.from_frame(bumps()),
    target="label",
    parameters={"epochs": 10, "features": 2_000, "resolution": 64},
)


def block_for(table: pd.DataFrame, target: str = "label", **options: object) -> DataBlock:
    task = TimeSeriesClassification()
    given = SeriesOptions.model_validate(options)
    return task.data_block(Dataset.from_frame(table), target, given)


def prepared(table: pd.DataFrame, **options: object) -> tuple[DataBlock, Data]:
    block = block_for(table, **options)
    data = block.prepare(0)
    return block, Data(data.train, data.valid)


def build(name: str, block: DataBlock, **changes: object) -> Trainer:
    architecture = ARCHITECTURES[name]
    parameters = {**architecture.portfolio[0], **changes}
    return architecture.build(Blueprint(block, parameters, Hardware(), 1))


def long_form(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each point in time, shuffled, of two channels."""
    values = table.drop(columns="label").to_numpy()
    count, length = values.shape
    frame = pd.DataFrame(
        {
            "id": np.repeat(np.arange(count), length),
            "minute": np.tile(np.arange(length), count),
            "height": values.ravel(),
            "depth": -values.ravel(),
            "label": np.repeat(table["label"].to_numpy(), length),
            "ward": np.repeat(np.arange(count) % 10, length),
        }
    )
    return frame.sample(frac=1.0, random_state=0)


def test_wide_long_and_listed_tables_give_the_same_series() -> None:
    table = bumps()
    rows = table.drop(columns="label").to_numpy()
    listed = pd.DataFrame({"height": list(rows), "depth": list(-rows), "label": table["label"]})
    text = listed.assign(**{c: [str(v.tolist()) for v in listed[c]] for c in ("height", "depth")})
    long = long_form(table)
    columns = ["height", "depth"]
    wide = prepared(table)[1].train.inputs["series"]
    others = [
        prepared(listed)[1],
        prepared(text)[1],
        prepared(long, series_column="id", order_column="minute", value_columns=columns)[1],
    ]
    for data in others:
        series = data.train.inputs["series"]
        assert series.shape[1] == 2
        np.testing.assert_allclose(series[:, 0], wide[:, 0], atol=1e-4)
        np.testing.assert_allclose(series[:, 1], -wide[:, 0], atol=1e-4)


def test_series_of_a_group_stay_together() -> None:
    options = {"series_column": "id", "order_column": "minute", "group_column": "ward"}
    block = block_for(long_form(bumps()), value_columns=["height"], **options)
    assert block.items["train"]["ward"].nunique() == 10
    assert len(block.prepare(0).valid) % 6 == 0


def test_columns_of_values_are_found_named_or_begin_alike() -> None:
    table = bumps().assign(patient="x", age=40)
    block = block_for(table, value_prefix="t")
    assert block.inputs[0].columns == tuple(f"t{i}" for i in range(32))
    assert block.notes == ("not used: 'patient', 'age'",)
    assert set(block.inputs[0].ignored) == {"patient", "age"}
    assert len(block_for(table).inputs[0].columns) == 33
    named = block_for(table, value_columns=["t3", "t2", "t1", "t0"])
    assert named.inputs[0].columns == ("t3", "t2", "t1", "t0")


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"value_columns": ["t99"]}, "job.options.value_columns", "no column 't99'"),
        ({"value_prefix": "q"}, "job.options.value_prefix", "holds numbers and begins with 'q'"),
        ({"series_column": "id"}, "job.options.series_column", "no column 'id'"),
        ({"order_column": "t0"}, "job.options.series_column", "order_column is given"),
        ({"value_columns": ["t0", "t1"]}, "job.dataset", "a series of 2 values"),
        ({"group_column": "ward"}, "job.options.group_column", "no column 'ward'"),
    ],
)
def test_options_that_will_not_do(options: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        block_for(bumps(), **options)
    (violation,) = caught.value.violations
    assert violation.field == field and message in violation.description


def test_a_series_of_two_classes_is_refused() -> None:
    table = long_form(bumps(4))
    table.iloc[0, table.columns.get_loc("label")] = "stays"
    with pytest.raises(InvalidArgument, match="has several classes in column 'label'"):
        block_for(table, series_column="id", order_column="minute", value_columns=["height"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rocket_linear", {"features": 2_000}),
        ("series_convnet", {"epochs": 20, "width": 8}),
        ("gaf_convnet", {"epochs": 20, "width": 8}),
    ],
)
def test_what_looks_at_shapes_finds_them_wherever_they_are(
    name: str, changes: dict[str, object]
) -> None:
    block, data = prepared(bumps(150))
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    build(name, block, **changes).fit(data, run)
    assert run.best_score >= 0.85


def test_training_that_is_stopped_at_once_ends_as_interrupted() -> None:
    block, data = prepared(bumps(30))
    run = RecordingRun(METRICS["accuracy"], data.valid.target, stop_after=0)
    for name in ARCHITECTURES:
        with pytest.raises(Interrupted):
            build(name, block).fit(data, run)


@pytest.mark.parametrize("length", [8, 9, 33, 200])
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_rocket_features_are_shares_of_time(channels: int, length: int) -> None:
    rocket = MiniRocket(channels, length, 1_000, seed=3)
    random = np.random.default_rng(0)
    inputs = {"series": random.normal(size=(12, channels, length)).astype(np.float32)}
    rocket.fit(inputs, 3)
    features = rocket.features(inputs)
    assert features.shape == (12, 84 * (1_000 // 84))
    assert features.min() >= 0 and features.max() <= 1
    assert 0.35 < features.mean() < 0.65
    again = MiniRocket(channels, length, 1_000, seed=3)
    again.restore(rocket.tensors())
    np.testing.assert_array_equal(again.features(inputs), features)


def test_series_augment_is_seeded_and_does_nothing_at_zero() -> None:
    series = torch.randn(4, 2, 40)
    target = torch.zeros(4, dtype=torch.long)
    first, second = (
        SeriesAugment(1.0)({"series": series}, target, torch.Generator().manual_seed(5))[0]
        for _ in range(2)
    )
    assert torch.equal(first["series"], second["series"])
    assert not torch.equal(first["series"], series)
    plain, _ = SeriesAugment(0.0)({"series": series}, target, torch.Generator())
    assert torch.equal(plain["series"], series)


@pytest.mark.parametrize("width", [None, 0.5])
def test_ridge_takes_constant_features_absent_classes_and_many_items(
    width: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_features, "MAX_SOLVED", 300)
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 4))
    features[:, 3] = 5.0
    target = (features[:, 0] > 0).astype(np.int64) * 2
    ridge = RidgeClassifier(3, width)
    assert ridge.fit(features, target, seed=0) == 300
    outputs = ridge.probabilities(features)
    np.testing.assert_allclose(outputs.sum(axis=1), 1)
    assert np.mean(outputs.argmax(axis=1) == target) > 0.94
    again = RidgeClassifier(3, width)
    again.restore(ridge.tensors())
    np.testing.assert_array_equal(again.probabilities(features), outputs)


def test_the_penalty_is_chosen_by_what_leaving_out_items_really_costs() -> None:
    """Pure noise: the probabilities have to say that nothing is known."""
    random = np.random.default_rng(0)
    features, target = random.normal(size=(40, 200)), random.integers(0, 2, 40)
    ridge = RidgeClassifier(2)
    ridge.fit(features, target, seed=0)
    fresh = ridge.probabilities(random.normal(size=(400, 200)))
    assert np.mean(np.abs(fresh[:, 0] - 0.5)) < 0.3


def loudness(points: int = 64) -> Dataset:
    """Real series: how loud a spoken digit is over time; the class is the digit."""
    tables: dict[str, list[list[object]]] = {"train": [], "test": []}
    with zipfile.ZipFile(SPOKEN) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav")):
            samples, _ = soundfile.read(io.BytesIO(archive.read(name)))
            split, digit, _ = name.split("/")
            parts = np.array_split(samples, points)
            tables[split].append([*(float(np.sqrt(np.mean(p**2))) for p in parts), digit])
    columns = [*(f"t{i}" for i in range(points)), "label"]
    train, test = (pd.DataFrame(tables[s], columns=columns) for s in ("train", "test"))
    return Dataset.from_frame(train, test)


def test_random_convolutions_beat_a_linear_model_on_the_loudness_of_words() -> None:
    if not SPOKEN.exists():
        pytest.skip(f"no {SPOKEN.name} in {SPOKEN.parent}; set SEEDBED_DATA")
    task = TimeSeriesClassification()
    block = task.data_block(loudness(), "label", task.options())
    data = block.prepare(0)
    trial = Data(data.train, data.valid)
    scores = {}
    for name in ("series_linear", "rocket_linear"):
        trainer = build(name, block, **({"features": 2_000} if "rocket" in name else {}))
        trainer.fit(trial, RecordingRun(METRICS["accuracy"], data.valid.target))
        outputs = trainer.predict(data.test.inputs)
        scores[name] = METRICS["accuracy"].compute(data.test.target, outputs)
    assert scores["rocket_linear"] > scores["series_linear"] + 0.1, scores
