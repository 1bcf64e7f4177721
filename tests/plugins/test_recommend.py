"""Collaborative filtering: the task, how rows are held out, its models and their answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from seedbed_recommend.catalogue import ARCHITECTURES, BIAS_ONLY, EASE, MIXED_EFFECTS, MOST_POPULAR
from seedbed_recommend.interactions import InteractionData, padded
from seedbed_recommend.similar import similarities
from seedbed_recommend.splitter import PerUserSplitter
from seedbed_recommend.task import CollaborativeFilteringTask, RecommendOptions
from seedbed_sdk.blocks import InteractionBlock, Ranking, RatingBlock, Regression, UserItemBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit
from seedbed_sdk.ensemble import joined
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.splitters import ColumnSplitter
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import AnsweringTrainer, Architecture, Blueprint, Data, Hardware, Trainer

FOLDER = Path(os.environ.get("SEEDBED_DATA", "../shared/data"))
TASTES, USERS, ITEMS, EACH = 3, 40, 60, 18
FAST = {"epochs": 3, "embedding_size": 16, "batch_size": 256}


def ratings(seed: int = 0) -> pd.DataFrame:
    """Users who like one of three genres and mostly take its items, the popular ones first."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        weights = np.where(np.arange(ITEMS) % TASTES == user % TASTES, 8.0, 1.0)
        weights /= 1.0 + np.arange(ITEMS) / 10
        taken = generator.choice(ITEMS, EACH, replace=False, p=weights / weights.sum())
        for place, item in enumerate(taken):
            liked = item % TASTES == user % TASTES
            value = np.clip(round((4 if liked else 2) + generator.normal(0, 0.7)), 1, 5)
            rows.append((f"u{user:02}", int(item), float(value), 1_000 * user + place))
    return pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"])


def movies() -> pd.DataFrame:
    """The items, and one that nobody has rated."""
    genres = ["comedy|short", "drama", "horror|short"]
    rows = [(i, f"Film {i} ({1950 + i})", genres[i % TASTES]) for i in range(ITEMS + 1)]
    return pd.DataFrame(rows, columns=["movieId", "title", "genres"])


def dataset(table: pd.DataFrame | None = None, **tables: pd.DataFrame) -> Dataset:
    rows = ratings() if table is None else table
    return Dataset({"train": DataSplit(rows)}, "table", tables=tables)


def block_for(data: Dataset, target: str = "", **options: object) -> DataBlock:
    given = RecommendOptions.model_validate(options)
    return CollaborativeFilteringTask().data_block(data, target, given)


def build(block: DataBlock, architecture: Architecture, **changes: object) -> Trainer:
    parameters = {**architecture.portfolio[0], **changes}
    return architecture.build(Blueprint(block, parameters, Hardware(), 0))


def train(block: DataBlock, architecture: Architecture, **changes: object) -> Trainer:
    prepared = block.prepare(0)
    trainer = build(block, architecture, **changes)
    run = RecordingRun(METRICS[block.target.default_metric], prepared.valid.target)
    trainer.fit(Data(prepared.train, prepared.valid), run)
    return trainer


def answers(block: DataBlock, trainer: Trainer, *examples: dict[str, Any]) -> list[Any]:
    assert isinstance(trainer, AnsweringTrainer)
    return list(trainer.answer(block, examples))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are no faster on several threads, and far slower where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TestRatings = task_contract(
    "collaborative_filtering", lambda: dataset(items=movies()), parameters=FAST
)
TestRankings = task_contract(
    "collaborative_filtering",
    lambda: dataset(items=movies()),
    options={"feedback": "implicit"},
    parameters={**FAST, "epochs": 10},
)
TestInteractionsWithoutRatings = task_contract(
    "collaborative_filtering",
    lambda: dataset(ratings()[["userId", "movieId"]]),
    parameters={**FAST, "epochs": 10},
)


# --- the task ------------------------------------------------------------------------------------


def test_ratings_are_predicted_where_there_are_some() -> None:
    block = block_for(dataset())
    assert isinstance(block.target, RatingBlock)
    assert block.target.column == "rating"
    assert [f.name for f in block.fields()] == ["userId", "movieId"]
    assert [f.type for f in block.fields()] == ["user", "item"]


@pytest.mark.parametrize(
    ("columns", "user", "item"),
    [
        (["user_id", "item_id", "rating", "timestamp"], "user_id", "item_id"),
        (["Customer ID", "SKU", "stars", "date"], "Customer ID", "SKU"),
        (["who", "what", "rating", "timestamp"], "who", "what"),
    ],
)
def test_columns_are_found_by_name_or_shape(columns: list[str], user: str, item: str) -> None:
    block = block_for(dataset(ratings().set_axis(columns, axis=1)))
    assert block.fields()[0].name == user
    assert block.fields()[1].name == item
    assert isinstance(block.target, RatingBlock)


def test_a_metric_of_rankings_makes_a_ranking() -> None:
    task, options = CollaborativeFilteringTask(), RecommendOptions()
    assert task.for_metric(options, "recall_at_10").feedback == "implicit"
    assert task.for_metric(options, "rmse").feedback == "explicit"
    assert task.for_metric(options, "").feedback == "auto"
    with pytest.raises(InvalidArgument, match="'rmse' measures explicit feedback") as caught:
        task.for_metric(RecommendOptions(feedback="implicit"), "rmse")
    assert caught.value.violations[0].field == "job.metric"


@pytest.mark.parametrize("target", ["", "rating", "movieId"])
def test_the_settled_target_gives_the_same_ranking_again(target: str) -> None:
    block = block_for(dataset(), target, feedback="implicit")
    assert isinstance(block.target, InteractionBlock)
    again = block_for(dataset(), block.target.column, feedback="implicit")
    assert again.target.state() == block.target.state()


@pytest.mark.parametrize(
    ("options", "target", "field", "message"),
    [
        ({"user_column": "usr"}, "", "job.options.user_column", "did you mean 'userId'?"),
        ({"item_column": "movieid"}, "", "job.options.item_column", "did you mean 'movieId'?"),
        ({}, "stars", "job.target", "no column 'stars'"),
        ({}, "userId", "job.target", "column 'userId' holds the users"),
        ({"rating_scale": [5, 1]}, "", "job.options.rating_scale", "must be below the highest"),
    ],
)
def test_columns_and_options_that_will_not_do(
    options: dict[str, object], target: str, field: str, message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        block_for(dataset(), target, **options)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert message in violation.description


def test_ratings_that_are_not_there() -> None:
    table = ratings()[["userId", "movieId"]]
    with pytest.raises(InvalidArgument, match="ratings are to be predicted and no column"):
        block_for(dataset(table), feedback="explicit")
    with pytest.raises(InvalidArgument, match="no column of ratings to compare with"):
        block_for(dataset(table), feedback="implicit", positive_from=4)
    assert isinstance(block_for(dataset(table)).target, InteractionBlock)


def test_of_repeated_rows_the_latest_is_used_and_told() -> None:
    table = ratings()
    again = table.iloc[[0]].assign(rating=1.0, timestamp=10**9)
    block = block_for(dataset(pd.concat([again, table])))
    rows = block.items["train"]
    pair = rows[(rows.userId == again.userId.item()) & (rows.movieId == again.movieId.item())]
    assert pair.rating.tolist() == [1.0]
    assert any("1 rows of the train split name a user and an item again" in n for n in block.notes)


def test_a_doubtful_scale_is_told() -> None:
    table = ratings()
    table.loc[::20, "rating"] = 99.0
    assert any(
        "99 is far from the other values" in note for note in block_for(dataset(table)).notes
    )
    prepared = block_for(dataset(table), rating_scale=[1, 5]).prepare(0)
    assert len(prepared.problems["train"]) == 36


def test_a_table_that_does_not_name_its_items() -> None:
    with pytest.raises(InvalidArgument, match="the table of items has no column 'movieId'"):
        block_for(dataset(items=pd.DataFrame({"name": ["a"], "genres": ["b"]})))
    renamed = movies().rename(columns={"movieId": "id"})
    block = block_for(dataset(items=renamed))
    block.prepare(0)
    (inputs,) = block.inputs
    assert isinstance(inputs, UserItemBlock)
    assert "genres=drama" in inputs.item_feature_names


# --- how rows are held out -----------------------------------------------------------------------


def test_the_latest_of_each_user_are_held_out() -> None:
    items = ratings().sort_values("timestamp")
    splitter = PerUserSplitter("userId", by_time=True)
    rest, held = splitter.hold_out("test", np.arange(len(items)), items, None, 0)
    newest_kept = items.iloc[rest].groupby("userId").timestamp.max()
    oldest_held = items.iloc[held].groupby("userId").timestamp.min()
    assert (newest_kept < oldest_held).all()
    assert (items.iloc[held].groupby("userId").size() == round(EACH * 0.2)).all()


def test_without_times_rows_are_drawn_for_the_seed() -> None:
    items, rows = ratings(), np.arange(USERS * EACH)
    splitter = PerUserSplitter("userId", by_time=False)
    first, again, other = (splitter.hold_out("valid", rows, items, None, s)[1] for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_users_with_one_row_each_can_still_be_split() -> None:
    items = pd.DataFrame({"u": range(10)})
    rest, held = PerUserSplitter("u", by_time=True).hold_out("test", np.arange(10), items, None, 0)
    assert (rest.tolist(), held.tolist()) == (list(range(8)), [8, 9])


def test_a_column_may_say_the_splits() -> None:
    table = ratings().assign(part=lambda t: np.where(t.timestamp % 1000 > 14, "test", "train"))
    block = block_for(dataset(table), split_column="part", feedback="implicit")
    assert isinstance(block.splitter, ColumnSplitter)
    assert (block.prepare(0).test.target >= 0).sum() == (table.part == "test").sum()


def test_padding_keeps_the_order() -> None:
    table = padded(np.array([1, 0, 1, 1]), np.array([5, 6, 7, 8]), 3)
    assert table.tolist() == [[-1, -1, 6], [5, 7, 8], [-1, -1, -1]]


def test_rankings_are_scored_by_user() -> None:
    block = block_for(dataset(), feedback="implicit")
    assert isinstance(block, InteractionData)
    prepared = block.prepare(0)
    valid, test = prepared.valid, prepared.test
    assert len(valid) == len(test) == USERS
    assert len(prepared.train) + (valid.target >= 0).sum() + (test.target >= 0).sum() == (
        USERS * EACH
    )
    for row in range(USERS):
        before = set(test.inputs["history"][row]) - {-1}
        assert set(valid.target[row]) - {-1} <= before
        assert not before & (set(test.target[row]) - {-1})
    joined = block.joined(prepared.train, valid)
    assert len(joined) == len(prepared.train) + (valid.target >= 0).sum()


def test_users_and_items_of_a_given_test_split_may_be_new() -> None:
    new = pd.DataFrame({"userId": ["x", "x", "y", "u00"], "movieId": [1, 2, 3, 999]})
    table = ratings()[["userId", "movieId"]]
    data = Dataset({"train": DataSplit(table), "test": DataSplit(new)}, "table")
    test = block_for(data).prepare(0).test
    assert sorted(test.inputs["user"].tolist()) == [0, 0, 1]
    assert sorted((test.target >= 0).sum(axis=1).tolist()) == [1, 1, 2]


# --- models and their answers --------------------------------------------------------------------


def test_models_of_ratings_answer_together(tmp_path: Path) -> None:
    block = block_for(dataset(items=movies()))
    members = [train(block, MIXED_EFFECTS), train(block, BIAS_ONLY)]
    together = joined(members, [0.75, 0.25])
    pair = {"userId": "u03", "movieId": 7}
    (rating,) = answers(block, together, pair)
    each = [answers(block, member, pair)[0].value for member in members]
    assert rating.value == pytest.approx(0.75 * each[0] + 0.25 * each[1])
    (ranking,) = answers(block, together, {"userId": "u03"})
    assert isinstance(ranking, Ranking)
    scores = [score for _, score in ranking.items]
    assert scores == sorted(scores, reverse=True)
    seen = set(ratings().query("userId == 'u03'").movieId)
    assert not seen & {item for item, _ in ranking.items}
    together.save(tmp_path)
    again = joined([build(block, MIXED_EFFECTS), build(block, BIAS_ONLY)], [0.75, 0.25])
    again.load(tmp_path)
    assert answers(block, again, pair) == [rating]
    assert answers(block, again, {"userId": "u03"}) == [ranking]


def of_type(target_type: str) -> list[Architecture]:
    return [a for a in ARCHITECTURES if target_type in a.target_types]


@pytest.mark.parametrize("architecture", of_type("rating"), ids=lambda a: a.name)
def test_models_of_ratings_answer_every_question(architecture: Architecture) -> None:
    block = block_for(dataset(items=movies()), top_n=5)
    changes = {k: v for k, v in FAST.items() if k in architecture.space}
    trainer = train(block, architecture, **changes)
    rating, ranked, similar, newcomer, new_item = answers(
        block,
        trainer,
        {"userId": "u01", "movieId": 3},
        {"userId": "u01", "top_n": 7},
        {"movieId": 3, "userId": None},
        {"userId": "nobody"},
        {"userId": "u01", "movieId": "unheard of"},
    )
    assert isinstance(rating, Regression) and 1 <= rating.value <= 5
    assert isinstance(new_item, Regression) and 1 <= new_item.value <= 5
    assert [len(r.items) for r in (ranked, similar, newcomer)] == [7, 5, 5]
    seen = {str(i) for i in ratings().query("userId == 'u01'").movieId}
    assert not seen & {label for label, _ in ranked.items}
    assert "3" not in {label for label, _ in similar.items}
    scores = [score for _, score in ranked.items]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("architecture", of_type("interaction"), ids=lambda a: a.name)
def test_models_of_rankings_answer_every_question(architecture: Architecture) -> None:
    block = block_for(dataset(items=movies()), feedback="implicit")
    changes = {k: v for k, v in FAST.items() if k in architecture.space}
    trainer = train(block, architecture, **changes)
    ranked, similar, newcomer = answers(
        block, trainer, {"userId": "u01"}, {"movieId": 3}, {"userId": "nobody", "top_n": 3}
    )
    assert all(isinstance(answer, Ranking) for answer in (ranked, similar, newcomer))
    assert [len(r.items) for r in (ranked, similar, newcomer)] == [10, 10, 3]
    seen = {str(i) for i in ratings().query("userId == 'u01'").movieId}
    assert not seen & {label for label, _ in ranked.items}


@pytest.mark.parametrize("architecture", [MOST_POPULAR, EASE], ids=lambda a: a.name)
def test_somebody_new_gets_what_is_popular(architecture: Architecture) -> None:
    block = block_for(dataset(), feedback="implicit")
    trainer = train(block, architecture)
    counts = np.bincount(block.prepare(0).train.inputs["item"])
    (newcomer,) = answers(block, trainer, {"userId": "nobody", "top_n": 5})
    assert isinstance(block.target, InteractionBlock)
    order = np.argsort(-counts, kind="stable")[:5]
    assert [label for label, _ in newcomer.items] == [block.target.items[c - 1] for c in order]


def test_an_item_that_nobody_has_rated_is_judged_by_its_features() -> None:
    block = block_for(dataset(items=movies()))
    trainer = train(block, MIXED_EFFECTS)
    user = f"u{ITEMS % TASTES:02}"
    other = f"u{ITEMS % TASTES + 1:02}"
    fan, no_fan = answers(
        block, trainer, {"userId": user, "movieId": ITEMS}, {"userId": other, "movieId": ITEMS}
    )
    assert fan.value > no_fan.value + 0.5


def test_similar_items_share_users_or_features() -> None:
    block = block_for(dataset(items=movies()))
    block.prepare(0)
    (inputs,) = block.inputs
    assert isinstance(inputs, UserItemBlock)
    for item in ("3", str(ITEMS)):
        code = inputs.items.index(item) + 1
        nearest = np.argsort(-similarities(inputs, code))[:5]
        assert all(int(inputs.items[c - 1]) % TASTES == int(item) % TASTES for c in nearest)


@pytest.mark.parametrize(
    ("example", "field", "message"),
    [
        ({}, "examples[0]", "name 'userId' for a ranking or 'movieId' for items like it"),
        ({"userId": None}, "examples[0]", "or both for a rating"),
        ({"userId": 1, "age": 3}, 'examples[0].fields["age"]', "answers from userId, movieId"),
        ({"userId": 1, "top_n": 0}, 'examples[0].fields["top_n"]', "from 1 to 1000, got 0"),
        ({"userId": 1, "top_n": "9"}, 'examples[0].fields["top_n"]', "got '9'"),
    ],
)
def test_examples_that_cannot_be_answered(
    example: dict[str, Any], field: str, message: str
) -> None:
    block = block_for(dataset())
    trainer = train(block, BIAS_ONLY)
    with pytest.raises(InvalidArgument) as caught:
        answers(block, trainer, example)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert message in violation.description


def test_a_ranking_model_does_not_rate() -> None:
    block = block_for(dataset(), feedback="implicit")
    trainer = train(block, MOST_POPULAR)
    with pytest.raises(InvalidArgument, match="this model ranks items and does not rate them"):
        answers(block, trainer, {"userId": "u01", "movieId": 3})


# --- real data -----------------------------------------------------------------------------------


def movielens() -> Dataset:
    """Skips where the files are not there."""
    if not (FOLDER / "movielens-train.csv").is_file():
        pytest.skip(f"no MovieLens files in {FOLDER}; set SEEDBED_DATA")
    tables = {n: pd.read_csv(FOLDER / f"movielens-{n}.csv") for n in ("train", "test", "movies")}
    splits = {name: DataSplit(tables[name]) for name in ("train", "test")}
    return Dataset(splits, "table", tables={"items": tables["movies"]})


def test_movielens_ratings_are_better_than_biases() -> None:
    block = block_for(movielens())
    prepared = block.prepare(0)
    rmse = METRICS["rmse"]
    scores = {}
    for architecture in (BIAS_ONLY, MIXED_EFFECTS):
        blueprint = Blueprint(block, dict(architecture.portfolio[0]), Hardware(), 0)
        trainer = architecture.build(blueprint)
        both = block.joined(prepared.train, prepared.valid)
        trainer.fit(Data(both, prepared.valid), RecordingRun(rmse, prepared.valid.target))
        outputs = trainer.predict(prepared.test.inputs)
        scores[architecture.name] = rmse.compute(prepared.test.target, outputs)
    assert scores["bias_only"] < 0.9
    assert scores["mixed_effects"] < 0.86


@pytest.mark.slow
def test_movielens_rankings_are_better_than_the_most_popular() -> None:
    block = block_for(movielens(), feedback="implicit")
    prepared = block.prepare(0)
    recall = METRICS["recall_at_10"]
    scores = {}
    for architecture in (MOST_POPULAR, EASE):
        trainer = architecture.build(
            Blueprint(block, dict(architecture.portfolio[0]), Hardware(), 0)
        )
        trainer.fit(
            Data(prepared.train, prepared.valid), RecordingRun(recall, prepared.valid.target)
        )
        outputs = trainer.predict(prepared.test.inputs)
        scores[architecture.name] = recall.compute(prepared.test.target, outputs)
    assert 0.07 < scores["most_popular"] < 0.09
    assert scores["ease"] > 0.12
