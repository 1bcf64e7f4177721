"""The tabular task and its models, on real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from seedbed_sdk.batched import BatchedLearner
from seedbed_sdk.blocks import CategoryBlock, MultiTargetBlock, RegressionBlock, TabularBlock
from seedbed_sdk.datablock import DataBlock, PreparedData
from seedbed_sdk.dataset import Dataset, DataSplit
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Architecture, Blueprint, Data, Hardware, Interrupted
from seedbed_sdk.worth_batching import batch_limit
from seedbed_tabular.catalogue import ARCHITECTURES, BOOSTING, LINEAR, NETWORK
from seedbed_tabular.network import TabularLearner, TabularNetwork
from seedbed_tabular.task import TabularOptions, TabularTask

FOLDER = Path(os.environ.get("SEEDBED_DATA", "../shared/data"))
LOADERS = {"breast_cancer": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}


def block_for(table: pd.DataFrame, target: str = "", **options: object) -> DataBlock:
    given = TabularOptions.model_validate(options)
    return TabularTask().data_block(Dataset.from_frame(table), target, given)


def prepared(name: str, seed: int = 0) -> tuple[DataBlock, PreparedData, Data]:
    block = block_for(LOADERS[name](as_frame=True).frame, "target")
    data = block.prepare(seed)
    return block, data, Data(data.train, data.valid)


def settings(architecture: Architecture, **changes: object) -> dict[str, object]:
    """The first defaults, with fewer epochs for the network."""
    shorter = {"epochs": 10} if architecture is NETWORK else {}
    return {**architecture.portfolio[0], **shorter, **changes}


def recording(trial: Data, stop_after: int | None = None, samples: float = np.inf) -> RecordingRun:
    """A run scored by accuracy."""
    return RecordingRun(METRICS["accuracy"], trial.valid.target, stop_after, samples=samples)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are no faster on several threads, and far slower where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the task ------------------------------------------------------------------------------------


def small(**columns: object) -> pd.DataFrame:
    base = {"age": [1.0, 2.5, 3.0, 4.0, 5.0, 6.0], "city": list("aabbab")}
    return pd.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list("xyxyxy"), CategoryBlock),
        ([True, False, True, False, True, False], CategoryBlock),
        ([0, 1, 0, 1, 0, 1], CategoryBlock),
        ([0.0, 1.0, np.nan, 1.0, 0.0, 1.0], CategoryBlock),
        ([1, 2, 3, 4, 5, 6], RegressionBlock),
        ([0.5, 1.5, 0.5, 1.5, 0.5, 1.5], RegressionBlock),
    ],
)
def test_the_type_of_the_target_follows_from_its_values(values: list[object], kind: type) -> None:
    assert isinstance(block_for(small(goal=values), "goal").target, kind)


def test_the_type_of_the_target_can_be_given() -> None:
    table = small(goal=[0, 1, 0, 1, 0, 1])
    assert isinstance(block_for(table, "goal", target_type="regression").target, RegressionBlock)


def test_a_usual_name_is_taken_as_the_target() -> None:
    assert block_for(small(Label=list("xyxyxy"))).target.column == "Label"


@pytest.mark.parametrize(
    ("extra", "target", "reason", "message"),
    [
        (
            {"income": list("xyxyxy")},
            "incme",
            "UNKNOWN_COLUMN",
            "no column 'incme'; there are 'age', 'city', 'income'; did you mean 'income'?",
        ),
        ({}, "", "TARGET_NOT_NAMED", "name the column to predict: none has a usual name"),
        (
            {"y": [1] * 6, "class": [2] * 6},
            "",
            "TARGET_NOT_NAMED",
            "name the column to predict: 'y', 'class' could each be it",
        ),
        ({"goal": pd.date_range("2020", periods=6)}, "goal", "TARGET_UNSUITABLE", "holds dates"),
    ],
)
def test_a_target_that_will_not_do(
    extra: dict[str, object], target: str, reason: str, message: str
) -> None:
    table = small(**extra)
    with pytest.raises(InvalidArgument) as caught:
        block_for(table, target)
    (violation,) = caught.value.violations
    assert (violation.field, caught.value.reason) == ("job.target", reason)
    assert message in violation.description


def test_free_text_is_no_target_unless_told() -> None:
    table = pd.DataFrame({"a": range(40), "note": [f"a remark about item {i}" for i in range(40)]})
    with pytest.raises(InvalidArgument, match="'note' holds free text"):
        block_for(table, "note")
    assert isinstance(block_for(table, "note", target_type="category").target, CategoryBlock)


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"exclude": ["cty"]}, "job.options.exclude", "no column 'cty'; did you mean 'city'?"),
        ({"exclude": ["y"]}, "job.options.exclude", "'y' is the target; leave it out"),
        ({"exclude": ["age", "city"]}, "job.options.exclude", "no column is left to predict 'y'"),
        (
            {"column_types": {"Age": "category"}},
            "job.options.column_types",
            "no column 'Age'; did you mean 'age'?",
        ),
    ],
)
def test_options_that_will_not_do(options: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        block_for(small(y=list("xyxyxy")), "y", **options)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert message in violation.description


def test_excluded_columns_and_given_types_reach_the_block() -> None:
    table = small(y=list("xyxyxy"), zip=[1, 2, 1, 2, 1, 2])
    block = block_for(table, "y", exclude=["city"], column_types={"zip": "category"})
    (inputs,) = block.inputs
    assert isinstance(inputs, TabularBlock)
    assert inputs.requested == {"age": "auto", "zip": "category"}


def test_a_test_table_may_have_more_columns_and_not_fewer() -> None:
    train = small(y=list("xyxyxy"))
    task, options = TabularTask(), TabularOptions()
    more = task.data_block(Dataset.from_frame(train, train.assign(extra=1)), "y", options)
    assert list(more.items["test"].columns) == ["age", "city", "y"]
    with pytest.raises(InvalidArgument, match="the test split has no column 'age', which"):
        task.data_block(Dataset.from_frame(train, train.drop(columns="age")), "y", options)


def test_a_dataset_without_a_table_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="has 0 files and no table"):
        TabularTask().data_block(Dataset({"train": DataSplit()}, "files"), "y", TabularOptions())


def test_several_targets_are_named_with_commas() -> None:
    table = small(goal=list("xyxyxy"), price=[1.5, 2, 3, 4, 5, 6])
    target = block_for(table, "goal, price").target
    assert isinstance(target, MultiTargetBlock)
    assert [type(part) for part in target.parts] == [CategoryBlock, RegressionBlock]
    with pytest.raises(InvalidArgument, match="no column 'prize'"):
        block_for(table, "goal,prize")
    with pytest.raises(InvalidArgument, match="'price' is the target; leave it out"):
        block_for(table, "goal,price", exclude=["price"])


def test_a_column_with_a_comma_in_its_name_is_one_target() -> None:
    assert isinstance(block_for(small(**{"a,b": list("xyxyxy")}), "a,b").target, CategoryBlock)


def test_groups_are_not_torn_and_not_learned_from() -> None:
    table = pd.DataFrame({"a": range(60), "who": np.repeat(range(12), 5), "t": list("xyyxy") * 12})
    block = block_for(table, "t", group_column="who")
    (inputs,) = block.inputs
    assert isinstance(inputs, TabularBlock)
    assert inputs.columns == ("a",)
    data = block.prepare(seed=0)
    groups = [set(split.inputs["numeric"][:, 0] // 5) for split in (data.train, data.valid)]
    assert not groups[0] & groups[1]


def test_the_newest_rows_are_held_out_and_a_column_can_say_which() -> None:
    table = pd.DataFrame(
        {
            "a": range(60),
            "day": pd.date_range("2024-01-01", periods=60),
            "part": ["train"] * 40 + ["valid"] * 10 + ["test"] * 10,
            "t": list("xyyxy") * 12,
        }
    )
    for options in ({"time_column": "day"}, {"split_column": "part"}):
        data = block_for(
            table, "t", exclude=[] if "split_column" in options else ["part"], **options
        ).prepare(0)
        assert data.train.inputs["numeric"][:, 0].max() < data.valid.inputs["numeric"][:, 0].min()
        assert data.valid.inputs["numeric"][:, 0].max() < data.test.inputs["numeric"][:, 0].min()
    with pytest.raises(InvalidArgument, match="no column 'dya'"):
        block_for(table, "t", time_column="dya")


def test_rows_without_a_target_are_left_out() -> None:
    target = ["x", "y", "x", "y", "x", "y", "x", None]
    table = pd.DataFrame({"a": range(8), "t": target})
    data = block_for(table, "t").prepare(seed=0)
    assert len(data.train) + len(data.valid) + len(data.test) == 7


# --- the models ----------------------------------------------------------------------------------

EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)


def test_a_baseline_is_there_and_portfolios_lie_in_their_spaces() -> None:
    assert [a.name for a in ARCHITECTURES if a.baseline] == ["linear"]
    for architecture in ARCHITECTURES:
        for setting in architecture.portfolio:
            assert setting.keys() == architecture.space.keys()
            assert all(setting[name] in domain for name, domain in architecture.space.items())
    for architecture in (BOOSTING, NETWORK):
        assert {"learning_rate", "epochs"} <= architecture.space.keys()


@EVERY
@pytest.mark.parametrize(
    ("name", "metric", "at_least"),
    [("breast_cancer", "accuracy", 0.92), ("wine", "accuracy", 0.9), ("diabetes", "r2", 0.2)],
)
def test_learns(
    architecture: Architecture, name: str, metric: str, at_least: float, tmp_path: Path
) -> None:
    block, data, trial = prepared(name)
    blueprint = Blueprint(block, settings(architecture), Hardware(threads=1), seed=3)
    trainer = architecture.build(blueprint)
    run = RecordingRun(METRICS[metric], trial.valid.target)
    trainer.fit(trial, run)
    outputs = trainer.predict(data.test.inputs)
    assert METRICS[metric].compute(data.test.target, outputs) >= at_least
    # The best reported state is the one that is kept.
    kept = METRICS[metric].compute(trial.valid.target, trainer.predict(trial.valid.inputs))
    assert kept == pytest.approx(run.best_score)

    trainer.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".safetensors", ".json", ".txt"}
    loaded_block = DataBlock.from_state(block.state())
    loaded = architecture.build(Blueprint(loaded_block, settings(architecture), seed=99))
    loaded.load(tmp_path)
    np.testing.assert_allclose(loaded.predict(data.test.inputs), outputs, rtol=1e-6, atol=1e-7)

    again = architecture.build(blueprint)
    second = RecordingRun(METRICS[metric], data.valid.target)
    again.fit(Data(data.train, data.valid), second)
    assert second.scores == run.scores
    np.testing.assert_array_equal(again.predict(data.test.inputs), outputs)


def test_the_linear_baseline_is_good_on_breast_cancer() -> None:
    scores = []
    for seed in range(3):
        block, data, trial = prepared("breast_cancer", seed)
        trainer = LINEAR.build(Blueprint(block, settings(LINEAR)))
        trainer.fit(trial, recording(trial))
        scores.append(
            METRICS["accuracy"].compute(data.test.target, trainer.predict(data.test.inputs))
        )
    assert np.mean(scores) >= 0.96


def messy(count: int = 400) -> pd.DataFrame:
    """Mixed types with gaps; the class follows from a number, a category and a gap."""
    generator = np.random.default_rng(0)
    number = generator.normal(size=count)
    word = generator.choice(["low", "high", "mid"], count)
    gap = generator.random(count) < 0.3
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 500, count), unit="D")
    answer = (number + (word == "high") * 2 + gap * 3) > 1.5
    return pd.DataFrame(
        {
            "number": number,
            "word": np.where(generator.random(count) < 0.1, None, word),
            "gap": np.where(gap, np.nan, 1.0),
            "day": days,
            "answer": np.where(answer, "yes", "no"),
        }
    )


@EVERY
def test_learns_from_categories_gaps_and_dates(architecture: Architecture) -> None:
    block = block_for(messy(), "answer")
    data = block.prepare(seed=0)
    trial = Data(data.train, data.valid)
    trainer = architecture.build(Blueprint(block, settings(architecture), seed=0))
    trainer.fit(trial, recording(trial))
    outputs = trainer.predict(data.test.inputs)
    assert METRICS["accuracy"].compute(data.test.target, outputs) >= 0.85
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, rtol=1e-5)
    unseen = pd.DataFrame([{"number": None, "word": "huge", "gap": None, "day": "2030-01-01"}])
    arrays, problems = block.encode_examples(unseen)
    assert not problems
    assert np.isfinite(trainer.predict(arrays)).all()


@EVERY
def test_only_categories(architecture: Architecture) -> None:
    table = messy()[["word", "answer"]]
    block = block_for(table, "answer")
    data = block.prepare(seed=0)
    trial = Data(data.train, data.valid)
    trainer = architecture.build(Blueprint(block, settings(architecture), seed=0))
    trainer.fit(trial, recording(trial))
    assert np.isfinite(trainer.predict(data.test.inputs)).all()


@EVERY
@pytest.mark.parametrize("target", ["answer,word", "number,day_number", "answer,number"])
def test_learns_several_targets(architecture: Architecture, target: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    table = messy().dropna(subset=["word"]).drop(columns="day").reset_index(drop=True)
    table["day_number"] = table["number"] * 2 + generator.normal(size=len(table)) * 0.1
    table["near"] = table["number"] + generator.normal(size=len(table)) * 0.2
    table["code"] = table["word"].map({"low": "l", "high": "h", "mid": "m"})
    block = block_for(table, target)
    data = block.prepare(seed=0)
    metric = METRICS[block.target.default_metric]
    run = RecordingRun(metric, data.valid.target)
    trainer = architecture.build(Blueprint(block, settings(architecture), seed=0))
    trainer.fit(Data(data.train, data.valid), run)
    outputs = trainer.predict(data.test.inputs)
    assert metric.compute(data.test.target, outputs) >= 0.75

    trainer.save(tmp_path)
    loaded_block = DataBlock.from_state(block.state())
    loaded = architecture.build(Blueprint(loaded_block, settings(architecture), seed=99))
    loaded.load(tmp_path)
    np.testing.assert_allclose(loaded.predict(data.test.inputs), outputs, rtol=1e-5, atol=1e-6)
    kinds = {prediction.kind for prediction in loaded_block.target.decode(outputs)}
    assert kinds == {"multi_target"}


@EVERY
def test_learns_from_free_text(architecture: Architecture) -> None:
    generator = np.random.default_rng(0)
    good, bad = ("lovely fresh clean quiet", "broken dirty loud late")
    verdict = generator.random(300) < 0.5
    notes = [
        " ".join([*generator.choice((good if v else bad).split(), 4), "room", f"number{i}"])
        for i, v in enumerate(verdict)
    ]
    block = block_for(pd.DataFrame({"note": notes, "again": verdict}), "again")
    data = block.prepare(seed=0)
    trial = Data(data.train, data.valid)
    trainer = architecture.build(Blueprint(block, settings(architecture), seed=0))
    trainer.fit(trial, recording(trial))
    outputs = trainer.predict(data.test.inputs)
    assert METRICS["accuracy"].compute(data.test.target, outputs) >= 0.95


def test_small_networks_are_trained_together_as_if_alone() -> None:
    block, _, data = prepared("wine")
    # With larger rates a change of the weights in their last bits grows to 0.007 in two epochs.
    changes = {"members": 4, "width": 32, "epochs": 2, "learning_rate": 5e-4}

    def learners() -> list[TabularLearner]:
        made = [
            NETWORK.build(Blueprint(block, settings(NETWORK, **{**changes, **own}), seed=seed))
            for seed, own in enumerate(
                [{"learning_rate": 1e-3}, {"weight_decay": 1.0}, {"dropout": 0.0}, {}]
            )
        ]
        return [trainer for trainer in made if isinstance(trainer, TabularLearner)]

    alone, together = learners(), learners()
    alone_runs, runs = [recording(data) for _ in alone], [recording(data) for _ in alone]
    for learner, run in zip(alone, alone_runs, strict=True):
        learner.fit(data, run)
    assert BatchedLearner(together).fit(data, runs) == [None] * 4
    for one, other in zip(alone_runs, runs, strict=True):
        for mine, yours in zip(one.reports, other.reports, strict=True):
            np.testing.assert_allclose(mine.valid_outputs, yours.valid_outputs, atol=2e-3)
    assert batch_limit(learners()[0], data, 8, timed=False) == 8
    wide = NETWORK.build(Blueprint(block, settings(NETWORK, width=256), seed=1))
    assert isinstance(wide, TabularLearner)
    assert batch_limit(wide, data, 8, timed=False) == 1


def test_the_network_puts_out_the_mean_of_its_members() -> None:
    block, data, _ = prepared("wine")
    trainer = NETWORK.build(Blueprint(block, settings(NETWORK), seed=0))
    assert isinstance(trainer, TabularLearner)
    trainer.network.eval()
    batch = {name: torch.from_numpy(array) for name, array in data.test.inputs.items()}
    with torch.no_grad():
        members = trainer.network(batch).softmax(dim=2)
    assert (members.std(dim=1) > 0).all()
    np.testing.assert_allclose(
        trainer.predict(data.test.inputs), members.mean(dim=1).numpy(), rtol=1e-5, atol=1e-6
    )


def test_a_long_table_is_sampled_by_the_linear_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed_tabular.linear.MAX_ITEMS", 100)
    monkeypatch.setattr("seedbed_tabular.linear.CHUNK", 30)
    block, data, trial = prepared("breast_cancer")
    trainer = LINEAR.build(Blueprint(block, settings(LINEAR)))
    trainer.fit(trial, recording(trial))
    outputs = trainer.predict(data.test.inputs)
    assert len(outputs) == len(data.test)
    assert METRICS["accuracy"].compute(data.test.target, outputs) >= 0.9


def test_sample_budgets_are_kept() -> None:
    block, data, trial = prepared("breast_cancer")
    allowed = len(data.train) * 5
    for architecture in ARCHITECTURES:
        run = recording(trial, samples=allowed)
        architecture.build(Blueprint(block, settings(architecture))).fit(trial, run)
        assert 0 < run.reports[-1].samples <= allowed, architecture.name


def test_boosting_ends_when_told_and_keeps_the_best() -> None:
    block, _, trial = prepared("breast_cancer")
    trainer = BOOSTING.build(Blueprint(block, settings(BOOSTING, epochs=1000)))
    run = recording(trial, stop_after=2)
    trainer.fit(trial, run)
    assert [report.epoch for report in run.reports] == [50, 100]
    kept = METRICS["accuracy"].compute(trial.valid.target, trainer.predict(trial.valid.inputs))
    assert kept == max(run.scores)


@pytest.mark.parametrize("architecture", [LINEAR, BOOSTING], ids=lambda a: a.name)
def test_a_trial_stopped_before_it_began_has_nothing(architecture: Architecture) -> None:
    block, _, trial = prepared("wine")
    run = recording(trial, stop_after=0)
    with pytest.raises(Interrupted, match="stopped before"):
        architecture.build(Blueprint(block, settings(architecture))).fit(trial, run)


def test_boosting_shares_the_binned_table_between_trials() -> None:
    block, data, trial = prepared("breast_cancer")
    for leaves in (4, 31):
        parameters = settings(BOOSTING, num_leaves=leaves, min_child_samples=leaves, epochs=20)
        shared = BOOSTING.build(Blueprint(block, parameters))
        shared.fit(trial, recording(trial))
        alone = BOOSTING.build(Blueprint(block, parameters))
        fresh = Data(data.train, data.valid)
        alone.fit(fresh, recording(fresh))
        np.testing.assert_array_equal(
            shared.predict(data.test.inputs), alone.predict(data.test.inputs)
        )
    assert len(trial.cache) == 1


def test_every_parameter_of_the_network_gets_a_gradient() -> None:
    block = block_for(messy(), "answer")
    data = block.prepare(seed=0)
    (inputs,) = block.inputs
    assert isinstance(inputs, TabularBlock)
    network = TabularNetwork(inputs, 2, members=4, width=16, depth=2, dropout=0.0)
    batch = {name: torch.from_numpy(array) for name, array in data.train.inputs.items()}
    raw = network(batch)
    assert raw.shape == (len(data.train), 4, 2)
    block.target.loss(raw.mean(dim=1), torch.from_numpy(data.train.target)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("architecture", "at_least"), [(LINEAR, 0.845), (BOOSTING, 0.873)])
def test_adult(architecture: Architecture, at_least: float) -> None:
    if not (FOLDER / "adult-train.csv").exists():
        pytest.skip(f"no adult-train.csv in {FOLDER}; set SEEDBED_DATA")
    tables = [pd.read_csv(FOLDER / f"adult-{split}.csv") for split in ("train", "test")]
    block = TabularTask().data_block(Dataset.from_frame(*tables), "income", TabularOptions())
    data = block.prepare(seed=0)
    trial = Data(data.train, data.valid)
    trainer = architecture.build(Blueprint(block, settings(architecture), Hardware(threads=2)))
    trainer.fit(trial, recording(trial))
    outputs = trainer.predict(data.test.inputs)
    assert METRICS["accuracy"].compute(data.test.target, outputs) >= at_least
