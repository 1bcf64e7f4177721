"""A job that goes on with more budget, a model that is trained again, a plan before all that."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import seedbed
from seedbed.cli import run
from tests.conftest import eventually
from tests.e2e.conftest import SAMPLE, House, refused

pytestmark = pytest.mark.usefixtures("undisturbed")


def write_xor(path: Path, rows: int = 600) -> Path:
    """A table whose class a line cannot tell."""
    rng = random.Random(1)
    pairs = [(rng.uniform(-1, 1), rng.uniform(-1, 1)) for _ in range(rows)]
    path.write_text("a,b,y\n" + "".join(f"{a},{b},{'uv'[a * b > 0]}\n" for a, b in pairs))
    return path


@pytest.fixture(scope="module")
def xor(house: House) -> seedbed.Dataset:
    return house.register(f"file://{write_xor(house.root / 'xor.csv')}")


def settings(job: seedbed.Job) -> list[str]:
    """What was tried, by number."""
    return [
        json.dumps([trial.architecture, dict(trial.parameters)], sort_keys=True)
        for trial in job.trials("number")
    ]


def best(job: seedbed.Job) -> float:
    assert job.validation_score is not None
    return job.validation_score.value


# Extending


def test_an_extended_job_finds_a_better_model_and_repeats_no_trial(
    house: House, xor: seedbed.Dataset
) -> None:
    job = house.client.train("tabular", xor, budget="2trials", seed=1)
    first, before, tried, last = best(job), job.model(), settings(job), job.info.last_sequence
    assert first < 0.7
    seen: list[seedbed.Event] = []
    job.extend("4trials", seen.append)
    assert [event.sequence for event in seen] == list(range(last + 1, job.info.last_sequence + 1))
    assert settings(job)[:2] == tried
    assert len(set(settings(job))) == len(settings(job)) == job.info.trials == 6
    assert best(job) > max(first, 0.85)
    after = job.model()
    assert after.id != before.id
    assert after.info.trial > 1
    known = {model.id for model in house.client.models()}
    assert {before.id, after.id} <= known
    assert before.predict([{"a": 0.5, "b": 0.5}])
    row = after.predict([{"a": 0.9, "b": 0.8}])[0]
    assert isinstance(row, seedbed.Classification)
    assert row.label == "v"


def test_where_nothing_better_is_found_the_same_model_stays(house: House) -> None:
    space = {"architecture": "linear"}
    job = house.client.train("tabular", SAMPLE, budget="3trials", seed=1, search_space=space)
    model, test, score = job.info.model, job.test_score, best(job)
    models = len(house.client.models())
    job.extend("2trials")
    assert (job.state, job.info.stop_reason) == (seedbed.JobState.SUCCEEDED, "TRIAL_BUDGET")
    assert len(set(settings(job))) == 5
    assert best(job) >= score
    if job.info.model == model:
        assert job.test_score == test
        assert len(house.client.models()) == models
    else:
        assert best(job) > score


def test_an_extended_job_is_never_worse_also_where_its_files_have_gone(
    house: House, xor: seedbed.Dataset
) -> None:
    job = house.client.train("tabular", xor, budget="4trials", seed=2)
    model, score = job.model(), best(job)
    kept = house.server.data_dir / "cache" / "kept" / job.id
    assert f"trial-{model.info.trial}" in [path.name for path in kept.iterdir()]
    shutil.rmtree(kept)
    job.extend("1trials")
    assert best(job) >= score
    assert job.info.model == model.name or best(job) > score
    assert kept.is_dir()
    job.delete()
    assert not kept.exists()
    assert eventually(lambda: not house.leftovers()["scratch"])


def test_the_clock_of_an_extended_job_counts_what_was_used(house: House) -> None:
    job = house.client.train("tabular", SAMPLE, budget="6s", seed=1)
    used = job.info.consumption.seconds
    assert 4 < used <= 6.5
    job.extend("5s")
    assert job.info.budget.seconds == 11
    again = job.info.consumption
    assert used + 3 < again.seconds <= 11.5
    whole = again.preparing + again.searching + again.finishing
    assert again.seconds == pytest.approx(whole, abs=1e-3)
    assert job.info.seconds == again.seconds


def test_an_extension_of_changed_data_fails_and_the_model_stays(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_xor(house.root / "changing.csv")
    job = house.client.train("tabular", house.register(f"file://{path}"), budget="1trials")
    model = job.info.model
    text = path.read_text()
    path.write_text(text + "0.1,0.1,v\n")
    with pytest.raises(seedbed.JobFailed, match="the dataset changed since the job was created"):
        job.extend("1trials")
    with pytest.raises(seedbed.JobFailed, match="the dataset changed since the job was created"):
        job.replay()
    assert job.refresh().info.model == model
    assert house.client.model(model).predict([{"a": 0.5, "b": 0.5}])
    path.write_text(text)
    job.extend("1trials")
    assert job.state is seedbed.JobState.SUCCEEDED
    # What was given when the data had changed is there too.
    assert job.info.trials == 3


# Replaying


@pytest.mark.parametrize("budget", ["3trials", "6s", "20000samples"])
def test_a_model_is_trained_again_to_the_same_weights(house: House, budget: str) -> None:
    job = house.client.train("tabular", SAMPLE, budget=budget, seed=3)
    again = job.replay()
    replay = again.info.replay
    assert replay is not None
    assert again.info.replay_of == job.name
    assert again.state is seedbed.JobState.SUCCEEDED
    assert again.info.model == ""
    assert replay.identical
    assert replay.digest == replay.expected_digest == job.model().info.digest != ""
    assert replay.score == replay.expected_score == best(job)
    trial = again.trials()[0]
    assert trial.number == job.model().info.trial
    assert trial.validation_score == best(job)
    assert eventually(lambda: not house.leftovers()["scratch"])
    with pytest.raises(seedbed.FailedPrecondition, match="has no search to go on with"):
        again.extend("1trials")
    with pytest.raises(seedbed.FailedPrecondition, match="has no model to train again"):
        again.replay()


def test_the_network_of_an_extended_job_cut_off_by_the_clock_is_trained_again(
    house: House, xor: seedbed.Dataset
) -> None:
    space = {"architecture": "tabm", "batch_size": 64}
    job = house.client.train("tabular", xor, budget="5s", seed=1, search_space=space)
    for _ in range(2):
        replay = job.replay().info.replay
        assert replay is not None
        assert replay.identical
        job.extend("5s")


def test_a_network_that_was_trained_together_with_others_is_trained_again_with_them(
    house: House,
) -> None:
    space: Any = {"architecture": "tabm", "members": 4, "width": 32, "depth": 1}
    space |= {"epochs": 4, "batch_size": 64}
    # The default, which is tried first and alone, is the slowest here.
    space["learning_rate"] = (4e-3, 2e-2)
    wanted: Any = {"metric": "log_loss", "seed": 1, "search_space": space}
    job = house.client.train("tabular", SAMPLE, budget="9trials", **wanted)
    with sqlite3.connect(house.server.data_dir / "seedbed.db") as rows:
        found = rows.execute(
            "SELECT number, recipe FROM trials WHERE job = ?", (job.id,)
        ).fetchall()
    companies = {number: json.loads(recipe)["company"] for number, recipe in found}
    chosen = companies[job.model().info.trial]
    assert len(chosen) == 8
    replay = job.replay().info.replay
    assert replay is not None
    assert replay.identical
    assert replay.score == best(job)


def test_at_the_terminal(house: House, xor: seedbed.Dataset, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    server = ["--server", house.server.address]
    job = house.client.train("tabular", xor, budget="1trials", seed=1)
    assert run([*server, "job", "replay", job.id]) == 0
    assert capsys.readouterr().out.startswith("identical: model ")
    assert run([*server, "job", "replay", job.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replay"]["identical"] is True
    assert run([*server, "job", "extend", job.id, "--budget", "1trials", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    assert run([*server, "job", "extend", job.id, "--budget", "-5s"]) == 1
    assert "must be at least 5 s" in capsys.readouterr().err
    assert run([*server, "job", "extend", "nosuchjob", "--budget", "5s"]) == 1
    assert "there is no job 'nosuchjob'" in capsys.readouterr().err
    assert run([*server, "job", "show", job.id]) == 0
    assert "preparing" in capsys.readouterr().out


# Planning


def test_a_plan_says_what_then_happens(house: House, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    sample = house.register(SAMPLE)
    space = {"architecture": ["linear", "lightgbm"]}
    before = house.leftovers()
    plan = house.client.plan("tabular", sample, budget="4trials", seed=5, search_space=space)
    assert house.leftovers() == before
    assert (plan.target, plan.metric, plan.trials) == ("target", "accuracy", 4)
    assert {a.name: a.problem for a in plan.architectures} == {"linear": "", "lightgbm": ""}
    assert plan.architectures[0].baseline
    assert sum(a.first_trials for a in plan.architectures) == 4
    assert plan.memory_bytes > 10**8
    assert plan.seconds is not None
    known = sum(trial.seconds or 0.0 for trial in plan.first_trials)
    assert plan.preparing + known < plan.seconds < plan.preparing + known + 2

    job = house.client.train("tabular", sample, budget="4trials", seed=5, search_space=space)
    planned = [[t.architecture, dict(t.parameters)] for t in plan.first_trials]
    tried = [[t.architecture, dict(t.parameters)] for t in job.trials("number")]
    assert planned == tried

    arguments = ["--server", house.server.address, "plan", "--task", "tabular"]
    arguments += ["--data", sample.id, "--budget", "2trials", "--search", "architecture=linear"]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    assert run(arguments) == 0
    assert "linear (baseline)" in capsys.readouterr().out


def test_a_plan_counts_what_fits_into_the_time(house: House, xor: seedbed.Dataset) -> None:
    wanted: Any = {"search_space": {"architecture": "linear"}}
    plan = house.client.plan("tabular", xor, budget="20s,100trials", **wanted)
    assert plan.trials is not None and plan.seconds is not None
    assert plan.trials > 1 and plan.seconds <= 20
    plan = house.client.plan("tabular", xor, budget=seedbed.Budget(trials=2**62), **wanted)
    assert plan.trials == 2**62
    open_end = seedbed.Budget(target_score=2.0)
    plan = house.client.plan("tabular", xor, budget=open_end, **wanted)
    assert plan.trials is None and plan.seconds is None


def test_a_plan_knows_that_trials_pause(house: House, xor: seedbed.Dataset) -> None:
    space: Any = {"architecture": "tabm", "epochs": 12, "members": 4, "width": 32, "depth": 1}
    wanted: Any = {"search_space": space, "budget": "24trials", "seed": 4, "metric": "log_loss"}
    plan = house.client.plan("tabular", xor, **wanted)
    assert plan.samples is not None and plan.paused_trials is not None
    job = house.client.train("tabular", xor, **wanted)
    # All of them to their end would pass 384 items in each of 12 epochs.
    assert job.info.consumption.samples < 0.9 * 24 * 12 * 384
    assert plan.samples == pytest.approx(job.info.consumption.samples, rel=0.3)
    paused = sum(trial.state is seedbed.TrialState.PRUNED for trial in job.trials())
    assert plan.paused_trials > 0 and paused > 0


def test_a_plan_says_which_architectures_miss_the_constraints(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = house.register(SAMPLE)
    wanted: Any = {"budget": "4trials", "max_size": 80_000, "max_latency": 10.0}
    plan = house.client.plan("tabular", sample, **wanted)
    found = {architecture.name: architecture for architecture in plan.architectures}
    linear, network = found["linear"], found["tabm"]
    assert (linear.meets_constraints, linear.constraints_reason) == (True, "")
    assert linear.size_bytes is not None and linear.size_bytes < 80_000
    assert linear.latency_seconds is not None and linear.latency_seconds < 10.0
    assert network.meets_constraints is False
    assert network.constraints_reason.startswith("misses the constraints: its model takes ")
    arguments = ["--server", house.server.address, "plan", "--task", "tabular"]
    assert run([*arguments, "--data", sample.id, "--budget", "4trials", "--max-size", "80kB"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "meets the constraints: " in out
    assert "misses the" in out
    plan = house.client.plan("tabular", sample, budget="4trials")
    assert {(a.meets_constraints, a.constraints_reason) for a in plan.architectures} == {(None, "")}


def test_a_plan_is_refused_as_a_job_is(house: House, xor: seedbed.Dataset) -> None:
    plan = house.client.plan
    with refused(house, seedbed.InvalidArgument, ["no task 'tabula'"], "job.task"):
        plan("tabula", xor)
    with refused(house, seedbed.NotFound, ["no dataset 'nosuchdata'"]):
        plan("tabular", "projects/default/datasets/nosuchdata")
    with refused(house, seedbed.InvalidArgument, ["at least 1"], "job.budget.trials"):
        plan("tabular", xor, budget=seedbed.Budget(trials=-1))
    with refused(house, seedbed.InvalidArgument, ["nowhere"], "job.target"):
        plan("tabular", xor, target="nowhere")
    with refused(house, seedbed.InvalidArgument, ["is not inside"], 'job.search_space["epochs"]'):
        plan("tabular", xor, search_space={"epochs": "5000..9000"})
