"""Starting points of the user and of earlier jobs, on a real server: who is tried when, what is
shown of it, and that no project learns from another."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import seedbed
from seedbed.cli import run
from seedbed.v1 import datasets_pb2, datasets_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from tests.conftest import RunningServer
from tests.e2e.conftest import serve, write_noise

TREES = {"architecture": "lightgbm", "epochs": 37, "num_leaves": 16}
FAST = {"architecture": ["linear", "lightgbm"], "epochs": "20..40"}
# Its trials can be watched.
SLOW = {"architecture": "tabm", "epochs": 10, "batch_size": 64, "width": [32, 64]}


def write_bump(path: Path, seed: int, columns: int = 2, rows: int = 400) -> Path:
    """A table whose class a line cannot tell and trees can; tables with three times as many
    columns are not alike."""
    rng = random.Random(seed)
    names = [f"x{i}" for i in range(columns)]
    values = [[rng.uniform(-1, 1) for _ in names] for _ in range(rows)]
    lines = [",".join([*map(str, row), "uv"[abs(row[0]) > 0.5]]) for row in values]
    path.write_text("\n".join([",".join([*names, "y"]), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on which the jobs of each test are on data of its own kind."""
    root = tmp_path_factory.getbasetemp()
    with serve(tmp_path_factory.mktemp("server") / "data", "--allow-root", str(root)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[seedbed.Client]:
    with seedbed.connect(server.address) as found:
        yield found


def train(client: seedbed.Client, data: Path, trials: int = 3, **more: Any) -> seedbed.Job:
    more = {"search_space": FAST, "seed": 1, "ignore_earlier_jobs": False, **more}
    return client.train("tabular", data, target="y", budget=f"{trials}trials", **more)


def origins(job: seedbed.Job) -> list[str]:
    return [trial.origin for trial in job.trials("number")]


def settings(job: seedbed.Job) -> list[tuple[str, dict[str, Any]]]:
    return [(trial.architecture, dict(trial.parameters)) for trial in job.trials("number")]


def test_a_job_tries_its_own_starting_points_and_what_an_earlier_one_found(
    client: seedbed.Client, server: RunningServer, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = write_bump(tmp_path / "one.csv", 1), write_bump(tmp_path / "two.csv", 2)
    first = train(client, data[0], starting_points=[TREES])
    assert origins(first) == ["baseline", "baseline", "starting_point"]
    assert first.info.starting_points == (TREES,)
    assert first.info.earlier_jobs == ()
    best = first.trials()[0]
    assert best.origin == "starting_point"
    assert (best.parameters["epochs"], best.parameters["num_leaves"]) == (37, 16)
    # What was left out is the default.
    assert best.parameters["learning_rate"] == 0.06

    point = {"architecture": "lightgbm", "num_leaves": 4}
    more: dict[str, Any] = {"search_space": FAST, "seed": 1, "ignore_earlier_jobs": False}
    plan = client.plan(
        "tabular", data[1], target="y", budget="8trials", starting_points=[point], **more
    )
    second = train(client, data[1], 8, starting_points=[point])
    (earlier,) = second.info.earlier_jobs
    assert (earlier.job, earlier.architecture) == (first.name, "lightgbm")
    assert earlier.parameters == best.parameters
    assert 0 < earlier.distance < 0.1
    expected = [*2 * ["baseline"], "starting_point", "earlier_job", *3 * ["portfolio"], "sampler"]
    assert origins(second) == expected
    assert second.trials("number")[3].origin_job == first.name
    assert second.trials("number")[3].parameters == best.parameters
    assert [(t.architecture, dict(t.parameters)) for t in plan.first_trials] == settings(second)
    assert [t.origin for t in plan.first_trials] == expected
    assert plan.first_trials[3].origin_job == first.name
    logs = [event.body.message for event in second.watch() if isinstance(event.body, seedbed.Log)]
    assert logs == [f"the best settings of earlier jobs are tried too: {first.id}"]

    assert run(["--server", server.address, "job", "show", second.id]) == 0
    shown = capsys.readouterr().out
    for words in (
        "starting point  lightgbm num_leaves=4",
        f"earlier job     {first.id} (distance 0.0",
        f"  {first.id}  ",
        "  start  ",
        "  portfolio  ",
        "  sampler  ",
    ):
        assert words in shown
    assert run(["--server", server.address, "job", "show", second.id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["earlier_jobs"] == [first.id]
    assert {row["origin"] for row in found["leaderboard"]} == set(expected)


def test_earlier_jobs_are_ignored_where_a_seed_and_trials_are_to_repeat_everything(
    client: seedbed.Client, tmp_path: Path
) -> None:
    data = write_bump(tmp_path / "one.csv", 1, columns=10)
    first = train(client, data, 5)
    again = train(client, data, 5, ignore_earlier_jobs=None)
    assert again.info.ignore_earlier_jobs
    assert again.info.earlier_jobs == ()
    assert settings(again) == settings(first)
    assert again.test_score == first.test_score
    with_it = train(client, data, 5)
    assert [job.job for job in with_it.info.earlier_jobs] == [first.name]
    assert with_it.info.earlier_jobs[0].distance == 0.0
    assert with_it.trials()[0].validation_score == first.trials()[0].validation_score


def test_what_another_job_found_meanwhile_changes_no_search_that_has_begun(
    client: seedbed.Client, tmp_path: Path
) -> None:
    data = write_bump(tmp_path / "one.csv", 1, columns=40)
    job = train(client, data, 2)
    assert job.info.earlier_jobs == ()
    other = train(client, data, 3, starting_points=[TREES])
    assert other.info.earlier_jobs == ()
    job.extend("6trials")
    assert job.info.earlier_jobs == ()
    assert settings(job) == settings(train(client, data, 8, ignore_earlier_jobs=True))
    replay = job.replay().info.replay
    assert replay is not None
    assert replay.identical


def test_a_deleted_job_is_not_learned_from(client: seedbed.Client, tmp_path: Path) -> None:
    data = write_bump(tmp_path / "one.csv", 1, columns=150)
    train(client, data, 3).delete()
    second = train(client, data, 3)
    assert second.info.earlier_jobs == ()
    assert "earlier_job" not in origins(second)


def test_no_project_learns_from_another(
    client: seedbed.Client, server: RunningServer, tmp_path: Path
) -> None:
    data = write_bump(tmp_path / "one.csv", 1, columns=2)
    train(client, data, 3)
    with grpc.insecure_channel(server.address) as channel:
        jobs = jobs_pb2_grpc.JobServiceStub(channel)

        def train_elsewhere() -> jobs_pb2.Job:
            dataset = datasets_pb2_grpc.DatasetServiceStub(channel).CreateDataset(
                datasets_pb2.CreateDatasetRequest(
                    parent="projects/theirs",
                    dataset=datasets_pb2.Dataset(sources=[datasets_pb2.DataSource(uri=str(data))]),
                )
            )
            wanted = jobs_pb2.Job(
                task="tabular",
                dataset=dataset.name,
                target="y",
                budget=jobs_pb2.Budget(trials=3),
            )
            plan = jobs.PlanJob(jobs_pb2.PlanJobRequest(parent="projects/theirs", job=wanted))
            job = jobs.CreateJob(jobs_pb2.CreateJobRequest(parent="projects/theirs", job=wanted))
            for _ in jobs.WatchJob(jobs_pb2.WatchJobRequest(name=job.name)):
                pass
            job = jobs.GetJob(jobs_pb2.GetJobRequest(name=job.name))
            planned = [trial.origin_job for trial in plan.first_trials if trial.origin_job]
            assert planned == [earlier.job for earlier in job.earlier_jobs]
            return job

        theirs = train_elsewhere()
        assert theirs.state == jobs_pb2.Job.SUCCEEDED
        assert list(theirs.earlier_jobs) == []
        again = train_elsewhere()
        assert [earlier.job for earlier in again.earlier_jobs] == [theirs.name]


def test_a_server_that_was_killed_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    data, folder = write_noise(tmp_path / "noise.csv", rows=1500), tmp_path / "data"
    point = {"width": 32, "members": 4}
    with serve(folder) as server, seedbed.connect(server.address) as client:
        first = train(client, data, 1, search_space={**SLOW, "epochs": 10, "width": 64})
        job = train(client, data, 3, search_space=SLOW, starting_points=[point], detach=True)
        for event in job.watch():
            body = event.body
            if isinstance(body, seedbed.EpochFinished) and body.trial == 1:
                break
        decided = job.refresh().info.earlier_jobs
        server.kill()
    assert [earlier.job for earlier in decided] == [first.name]
    with serve(folder) as server, seedbed.connect(server.address) as client:
        again = client.job(job.id).wait()
        assert again.info.earlier_jobs == decided
        trials = again.trials("number")
        assert [trial.origin for trial in trials[:3]] == [
            "starting_point",
            "earlier_job",
            "earlier_job",
        ]
        assert trials[1].state is seedbed.TrialState.FAILED
        assert trials[1].parameters == trials[2].parameters == decided[0].parameters
