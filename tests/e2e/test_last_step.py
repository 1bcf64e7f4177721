"""What becomes of the trials in the end: an ensemble, and a model within its constraints."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seedbed
from seedbed_sdk.bundle import open_bundle
from seedbed_sdk.registry import load
from seedbed_sdk.trainer import Hardware
from tests.conftest import eventually
from tests.e2e.conftest import SAMPLE, House

pytestmark = pytest.mark.usefixtures("undisturbed")

COLUMNS, ROWS = 20, 900


def write_both(path: Path, jump: float) -> Path:
    """A table of a sum of many columns, which a linear model finds and trees do not, and of a jump
    at both ends of another, which trees find and a linear model does not."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(ROWS, COLUMNS + 1))
    target = values[:, :-1].sum(axis=1) + np.where(np.abs(values[:, -1]) > 0.67, jump, -jump)
    names = [f"c{index}" for index in range(COLUMNS + 1)]
    lines = [",".join(f"{value:.5f}" for value in row) for row in np.c_[values, target]]
    path.write_text("\n".join([",".join([*names, "y"]), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def both(house: House) -> seedbed.Dataset:
    return house.register(f"file://{write_both(house.root / 'both.csv', jump=1.8)}")


@pytest.fixture(scope="module")
def ensembled(house: House, both: seedbed.Dataset) -> seedbed.Job:
    return house.client.train(
        "tabular",
        both,
        target="y",
        budget="3trials",
        seed=1,
        search_space={"architecture": ["linear", "lightgbm"]},
    )


def test_models_that_know_different_things_answer_together(ensembled: seedbed.Job) -> None:
    info = ensembled.model().info
    assert info.architecture == "ensemble"
    members = info.parameters["members"]
    assert {member["architecture"] for member in members} == {"linear", "lightgbm"}
    assert sum(member["weight"] for member in members) == pytest.approx(1.0)
    best = ensembled.trials()[0]
    assert info.trial == best.number
    assert info.validation_score is not None and best.validation_score is not None
    assert info.validation_score.value < best.validation_score
    assert info.test_score is not None
    assert info.test_score.value < best.validation_score


def test_an_extended_job_publishes_them_together_though_the_best_trial_is_the_same(
    house: House,
) -> None:
    # With the smaller jump the linear model is the better one.
    data = house.register(f"file://{write_both(house.root / 'linear.csv', jump=1.4)}")
    space = {"architecture": ["linear", "lightgbm"]}
    wanted: Any = {"target": "y", "seed": 1, "search_space": space}
    job = house.client.train("tabular", data, budget="2trials", **wanted)
    before, leader = job.model(), job.trials()[0].number
    assert before.info.architecture == "linear"
    job.extend("1trials")
    assert job.trials()[0].number == leader == before.info.trial
    after = job.model()
    assert after.info.architecture == "ensemble"
    assert before.info.validation_score is not None and after.info.validation_score is not None
    assert after.info.validation_score.value < before.info.validation_score.value
    assert job.validation_score == after.info.validation_score
    assert job.test_score == after.info.test_score
    replay = job.replay().info.replay
    assert replay is not None and replay.identical


def test_its_bundle_predicts_what_the_service_does(
    ensembled: seedbed.Job, both: seedbed.Dataset, house: House, tmp_path: Path
) -> None:
    model = ensembled.model()
    with zipfile.ZipFile(model.download(tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path)
    manifest_path = next(tmp_path.rglob("bundle.json"))
    manifest = json.loads(manifest_path.read_text())
    assert manifest["architecture"] == "ensemble"
    weights = [member["weight"] for member in manifest["members"]]
    assert weights == [member["weight"] for member in model.info.parameters["members"]]
    lines = (house.root / "both.csv").read_text().splitlines()
    names = lines[0].split(",")[:-1]
    rows = [dict(zip(names, map(float, line.split(",")[:-1]), strict=True)) for line in lines[1:21]]
    predictor = open_bundle(manifest_path.parent, load(), Hardware())
    ours = [answer.value for answer in predictor.predict(rows)]  # type: ignore[union-attr]
    served = [answer.value for answer in model.predict(rows)]
    assert ours == pytest.approx(served)
    truth = [float(line.split(",")[-1]) for line in lines[1:21]]
    assert np.corrcoef(ours, truth)[0, 1] > 0.8


def test_it_can_be_trained_again_to_the_same_weights(ensembled: seedbed.Job) -> None:
    again = ensembled.replay().info.replay
    assert again is not None
    assert again.identical
    assert again.score == again.expected_score


def test_models_of_ratings_are_trained_once_more_and_answer_together(house: House) -> None:
    shared = Path(os.environ.get("SEEDBED_DATA", "../shared/data")).absolute()
    for name in ("movielens-train.csv", "movielens-movies.csv"):
        shutil.copy(shared / name, house.root / name)
    space = {"architecture": ["mixed_effects", "neural_collaborative"], "epochs": [3, 4]}
    job = house.client.train(
        "collaborative_filtering",
        house.root / "movielens-train.csv",
        tables={"items": house.root / "movielens-movies.csv"},
        target="rating",
        budget="2trials",
        seed=1,
        search_space=space,
    )
    info = job.model().info
    assert info.architecture == "ensemble"
    members = info.parameters["members"]
    assert {m["architecture"] for m in members} == {"mixed_effects", "neural_collaborative"}
    best = job.trials()[0].validation_score
    assert info.validation_score is not None and best is not None
    assert info.validation_score.value < best
    (ranking,) = job.model().predict([{"userId": 1, "top_n": 5}])
    assert len(ranking.items) == 5  # type: ignore[union-attr]
    again = job.replay().info.replay
    assert again is not None
    assert again.identical


def test_an_ensemble_stays_unless_more_trials_bring_something_better(
    ensembled: seedbed.Job,
) -> None:
    before = ensembled.model()
    ensembled.extend("1trials")
    after = ensembled.model()
    assert before.info.validation_score is not None and after.info.validation_score is not None
    if after.id == before.id:
        assert ensembled.validation_score == before.info.validation_score
        assert ensembled.test_score == before.info.test_score
    else:
        assert after.info.validation_score.value < before.info.validation_score.value


def test_a_network_is_trained_with_several_seeds_that_answer_together(
    house: House, tmp_path: Path
) -> None:
    said: list[str] = []

    def watch(event: seedbed.Event) -> None:
        if isinstance(event.body, seedbed.Log):
            said.append(event.body.message)

    space = {"architecture": "tabm", "epochs": [4, 5], "members": 4, "width": 32}
    job = house.client.train(
        "tabular", SAMPLE, budget="10trials", seed=1, search_space=space, progress=watch
    )
    info = job.model().info
    assert info.architecture == "tabm"
    assert info.parameters["members"] == 4
    assert any("with 2 seeds; the models answer with their mean" in line for line in said)
    with zipfile.ZipFile(job.model().download(tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path)
    manifest = json.loads(next(tmp_path.rglob("bundle.json")).read_text())
    seeds = {member["seed"] for member in manifest["members"]}
    assert len(seeds) == len(manifest["members"]) == 2
    assert [member["weight"] for member in manifest["members"]] == [0.5, 0.5]
    again = job.replay().info.replay
    assert again is not None
    assert again.identical
    assert again.score == again.expected_score


def test_a_smaller_model_is_chosen_where_the_best_is_too_large(house: House) -> None:
    free = house.client.train("tabular", SAMPLE, budget="3trials", seed=1)
    sizes = {free.model().info.architecture: free.model().info.size_bytes}
    assert free.model().info.latency is not None
    job = house.client.train(
        "tabular", SAMPLE, budget="3trials", seed=1, max_size=100_000, max_latency="10s"
    )
    model = job.model().info
    assert job.info.constraints == seedbed.Constraints(10.0, 100_000)
    assert model.size_bytes <= 100_000
    assert model.latency is not None and 0 < model.latency < 10
    assert model.architecture == "linear", sizes
    assert len(job.trials()) == 3


@pytest.mark.parametrize(
    ("limit", "says"),
    [({"max_size": "1kB"}, "a size of"), ({"max_latency": "1us"}, "a latency of")],
)
def test_constraints_that_nothing_meets_are_told_with_what_came_closest(
    house: House, limit: dict[str, str], says: str
) -> None:
    models = len(house.client.models())
    with pytest.raises(seedbed.JobFailed) as caught:
        house.client.train("tabular", SAMPLE, budget="2trials", seed=1, **limit)  # type: ignore[arg-type]
    for words in ("no trial meets the constraints", "came closest", "trial ", says):
        assert words in str(caught.value)
    assert caught.value.reason == "CONSTRAINTS_NOT_MET"
    assert len(house.client.models()) == models
    assert eventually(lambda: not house.leftovers()["scratch"])


@pytest.mark.parametrize("limit", [{"max_size": 0}, {"max_latency": "-5ms"}])
def test_limits_that_are_none_are_refused(house: House, limit: dict[str, object]) -> None:
    with pytest.raises(seedbed.InvalidArgument):
        house.client.train("tabular", SAMPLE, **limit)  # type: ignore[arg-type]
