"""Jobs from the data to the answers of a model, and through everything that can befall them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import seedbed
from seedbed.v1 import jobs_pb2, jobs_pb2_grpc
from tests.conftest import child_environment, eventually
from tests.e2e.conftest import SAMPLE, SLOW, House, children, serve, write_noise

pytestmark = pytest.mark.usefixtures("undisturbed")

# A search whose trials take two seconds each, for jobs that are to be seen to their end.
SECONDS = SLOW | {"epochs": 12}


@pytest.fixture(scope="module")
def noise(house: House) -> seedbed.Dataset:
    """Data that a network needs some seconds a trial for, and learns nothing from."""
    return house.register(f"file://{write_noise(house.root / 'noise.csv')}")


def until(job: seedbed.Job, condition: Callable[[seedbed.Event], bool]) -> seedbed.Event:
    """The first event of the job that is so; fails where the job ends without."""
    for event in job.watch():
        if condition(event):
            return event
    pytest.fail(f"job {job.id} ended {job.refresh().state} before that")


def until_at_work(job: seedbed.Job, trial: int) -> None:
    """Waits until the trial is in the midst of its epochs."""
    until(job, lambda e: isinstance(e.body, seedbed.EpochFinished) and e.body.trial == trial)


def at_rest(house: House) -> set[int]:
    """The server's processes when no job is at work; those that check jobs have started."""
    house.client.train("tabular", "sample://wine", budget="1trials")
    assert eventually(lambda: not house.leftovers()["scratch"])
    return children(house.server)


# Train, compare, predict


def test_a_class_is_learned_compared_and_predicted(house: House) -> None:
    events: list[seedbed.Event] = []
    job = house.client.train("tabular", SAMPLE, budget="5trials", seed=1, progress=events.append)
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TRIAL_BUDGET"
    assert (job.info.metric, job.info.target) == ("accuracy", "target")
    trials = job.trials()
    assert sorted(trial.number for trial in trials) == [0, 1, 2, 3, 4]
    scores = [trial.validation_score or 0.0 for trial in trials]
    assert scores == sorted(scores, reverse=True)
    tried = {trial.architecture for trial in trials}
    assert tried == {"linear", "kernel_ridge", "lightgbm", "tabm"}
    assert {trial.architecture for trial in trials if trial.baseline} == {"linear"}
    assert job.validation_score is not None
    assert job.validation_score.value == scores[0]
    test = job.test_score
    assert test is not None
    assert test.value >= 0.92
    assert test.item_count >= 100
    assert test.lower is not None and test.upper is not None
    assert test.lower < test.value <= test.upper
    assert [event.sequence for event in events] == list(range(1, job.info.last_sequence + 1))

    model = job.model()
    assert sorted(model.info.classes) == ["benign", "malignant"]
    data = load_breast_cancer(as_frame=True)
    answers = model.predict(data.data.to_dict("records"))
    truth = data.target_names[data.target]
    right = sum(a.value == true for a, true in zip(answers, truth, strict=True))
    assert right / len(truth) >= 0.92
    for answer in answers:
        assert isinstance(answer, seedbed.Classification)
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)


def test_a_number_is_learned_compared_and_predicted(house: House) -> None:
    job = house.client.train("tabular", "sample://diabetes", budget="4trials", seed=1)
    trials = job.trials()
    scores = [trial.validation_score for trial in trials if trial.validation_score is not None]
    assert scores == sorted(scores), "the smallest error comes first"
    assert any(trial.baseline and trial.architecture == "linear" for trial in trials)
    assert job.test_score is not None
    assert job.test_score.metric == "rmse"
    frame = load_diabetes(as_frame=True).frame
    truth = frame["target"].to_numpy()
    assert job.test_score.value < 0.9 * truth.std()
    answers = job.model().predict(frame.drop(columns="target").to_dict("records"))
    values = np.array([answer.value for answer in answers], dtype=float)
    assert np.corrcoef(values, truth)[0, 1] > 0.6
    within = 0
    for answer, true in zip(answers, truth, strict=True):
        assert isinstance(answer, seedbed.Regression)
        assert answer.lower is not None and answer.upper is not None
        assert answer.lower <= answer.value <= answer.upper
        within += answer.lower <= true <= answer.upper
    first = answers[0]
    assert isinstance(first, seedbed.Regression)
    assert first.confidence is not None
    assert within / len(answers) > first.confidence - 0.15


def digit(index: int, data: object = load_digits(n_class=3)) -> tuple[bytes, str]:
    """A handwritten digit as a PNG file's bytes, and which it is."""
    buffer = io.BytesIO()
    pixels = (data.images[index] * 15).astype(np.uint8)  # type: ignore[attr-defined]
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), str(data.target[index])  # type: ignore[attr-defined]


def test_pictures_are_learned_from_a_zip_and_predicted_from_their_bytes(
    house: House, tmp_path: Path
) -> None:
    archive = tmp_path / "digits.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for index in range(120):
            picture, label = digit(index)
            packed.writestr(f"{label}/{index}.png", picture)
    # The other architectures take longer to learn it.
    space = {"architecture": "frozen_backbone"}
    job = house.client.train(
        "image_classification", archive, budget="2trials", search_space=space, seed=1
    )
    assert job.test_score is not None
    assert job.test_score.value >= 0.8
    unseen = [digit(index) for index in range(120, 150)]
    model = job.model()
    assert [(column.name, column.type) for column in model.info.inputs] == [("image", "image")]
    assert model.info.classes == ("0", "1", "2")
    answers = model.predict([{"image": picture} for picture, _ in unseen])
    right = sum(a.value == label for a, (_, label) in zip(answers, unseen, strict=True))
    assert right >= 24
    with pytest.raises(seedbed.InvalidArgument, match="not a picture"):
        model.predict({"image": b"I am text"})


def test_the_command_line_trains_and_predicts(house: House, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("seedbed")), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=child_environment() | {"SEEDBED_SERVER": house.server.address},
        )

    train = ("train", "--task", "tabular", "--data", "sample://wine", "--budget", "2trials")
    done = run(*train, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= {"job", "state", "model", "task", "metric", "trials", "seconds"}
    assert (result["state"], result["task"]) == ("SUCCEEDED", "tabular")
    assert (result["metric"], result["trials"]) == ("accuracy", 2)
    job = house.client.job(result["job"])
    assert job.validation_score is not None and job.test_score is not None
    assert result["validation_score"] == job.validation_score.value
    assert result["test_score"] == job.test_score.value
    rows = tmp_path / "rows.csv"
    model = house.client.model(result["model"])
    rows.write_text(
        ",".join(f'"{column.name}"' for column in model.info.inputs)
        + "\n"
        + ",".join("1" for _ in model.info.inputs)
        + "\n"
    )
    output = tmp_path / "answers.csv"
    predicted = run("predict", model.id, "--data", str(rows), "--output", str(output))
    assert predicted.returncode == 0, predicted.stderr
    assert len(output.read_text().splitlines()) == 2
    refused = run(*train, "--metric", "acuracy", "--json")
    assert refused.returncode != 0
    assert "did you mean 'accuracy'" in refused.stdout + refused.stderr


# The bundle

OPEN = """
import json, sys
from pathlib import Path
from seedbed_sdk.bundle import open_bundle
from seedbed_sdk.registry import load
from seedbed_sdk.trainer import Hardware

rows = json.loads(sys.stdin.read())
for folder in sys.argv[1:]:
    predictor = open_bundle(Path(folder), load(), Hardware())
    answers = predictor.predict(rows)
    print(json.dumps([dict(answer.probabilities) for answer in answers]))
"""


def assert_is_plain_data(name: str, content: bytes) -> None:
    """Fails for anything but text, JSON and safetensors."""
    match Path(name).suffix:
        case ".json":
            json.loads(content)
        case ".txt" | ".md":
            content.decode()
        case ".safetensors":
            size = int.from_bytes(content[:8], "little")
            tensors = json.loads(content[8 : 8 + size])
            end = max(t["data_offsets"][1] for k, t in tensors.items() if k != "__metadata__")
            assert 8 + size + end == len(content)
        case _:
            pytest.fail(f"the bundle holds {name!r}")


def test_downloaded_bundles_hold_no_pickle_and_predict_the_same_elsewhere(
    house: House, tmp_path: Path
) -> None:
    models = []
    for architecture in ("linear", "lightgbm", "tabm"):
        space = {"architecture": architecture}
        job = house.client.train("tabular", SAMPLE, budget="1trials", search_space=space)
        model = job.model()
        assert model.info.architecture == architecture
        with zipfile.ZipFile(model.download(tmp_path)) as packed:
            assert packed.testzip() is None
            for name in packed.namelist():
                assert_is_plain_data(name, packed.read(name))
            packed.extractall(tmp_path / model.id)
        models.append(model)
    frame = load_breast_cancer(as_frame=True).data
    rows = frame.to_dict("records")[:50]
    elsewhere = subprocess.run(
        [sys.executable, "-c", OPEN, *(str(tmp_path / model.id) for model in models)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        timeout=120,
        env=child_environment(),
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    for model, line in zip(models, elsewhere.stdout.splitlines(), strict=True):
        for there, here in zip(json.loads(line), model.predict(rows), strict=True):
            assert isinstance(here, seedbed.Classification)
            assert there == pytest.approx(dict(here.probabilities), abs=1e-6)


# Budgets and repetition


def story(job: seedbed.Job) -> list[object]:
    """All that must repeat: what was tried, and how it went."""
    return [
        (
            t.number,
            t.state,
            t.architecture,
            dict(t.parameters),
            t.validation_score,
            t.epochs,
            t.samples,
        )
        for t in job.trials("number")
    ]


@pytest.mark.parametrize(
    "trials", [5, pytest.param(12, marks=pytest.mark.slow)], ids=["short", "whole"]
)
def test_the_same_job_twice_gives_the_same_trials_and_scores(house: House, trials: int) -> None:
    first, second = (
        house.client.train("tabular", SAMPLE, budget=f"{trials}trials", seed=7) for _ in range(2)
    )
    assert len(story(first)) == trials
    assert story(first) == story(second)
    assert first.validation_score == second.validation_score
    assert first.test_score == second.test_score
    assert first.model().info.parameters == second.model().info.parameters
    other = house.client.train("tabular", SAMPLE, budget="2trials", seed=8)
    assert story(other) != story(first)[:2]


def test_samples_are_a_budget_that_repeats(house: House) -> None:
    first, second = (
        house.client.train("tabular", "sample://wine", budget="1500samples", seed=7)
        for _ in range(2)
    )
    assert first.info.stop_reason == "SAMPLE_BUDGET"
    # The last epoch is trained to its end; the training split has fewer than 178 items.
    assert 1500 <= first.info.samples < 1500 + 178
    assert first.info.samples == sum(trial.samples for trial in first.trials())
    assert story(first) == story(second)
    assert first.test_score == second.test_score


def test_a_score_that_was_asked_for_ends_the_search(house: House) -> None:
    budget = seedbed.Budget(seconds=120, target_score=0.9)
    job = house.client.train("tabular", SAMPLE, budget=budget, seed=1)
    assert job.info.stop_reason == "TARGET_REACHED"
    assert job.validation_score is not None
    assert job.validation_score.value >= 0.9
    assert job.info.seconds is not None
    assert job.info.seconds < 60


# Watching


def test_a_watch_goes_on_from_any_event_without_gaps(house: House) -> None:
    job = house.client.train("tabular", "sample://wine", budget="2trials", detach=True)
    with grpc.insecure_channel(house.server.address) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)

        def follow(after: int) -> Iterator[jobs_pb2.JobEvent]:
            request = jobs_pb2.WatchJobRequest(name=job.name, after_sequence=after)
            for event in stub.WatchJob(request, timeout=60):
                if event.WhichOneof("event") != "heartbeat":
                    yield event

        whole: list[jobs_pb2.JobEvent] = []
        while not whole or whole[-1].state_changed.state != jobs_pb2.Job.SUCCEEDED:
            after = whole[-1].sequence if whole else 0
            # Three at a time, and then the connection is lost.
            whole += [event for event, _ in zip(follow(after), range(3), strict=False)]
        assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
        assert list(follow(0)) == whole
        assert list(follow(len(whole) - 1)) == whole[-1:]
        assert list(follow(len(whole))) == []
    assert job.refresh().info.last_sequence == len(whole)
    states = [e.state_changed.state for e in whole if e.HasField("state_changed")]
    assert [jobs_pb2.Job.State.Name(state) for state in states] == [
        "QUEUED",
        "PREPARING",
        "SEARCHING",
        "FINISHING",
        "SUCCEEDED",
    ]


# Stopped, cancelled, killed


def test_stopping_returns_the_best_so_far_and_leaves_no_process(
    house: House, noise: seedbed.Dataset
) -> None:
    idle = at_rest(house)
    job = house.client.train(
        "tabular", noise, target="y", budget="600s", search_space=SLOW, detach=True
    )
    until_at_work(job, trial=1)
    workers = children(house.server) - idle
    assert len(workers) == 1
    asked = time.monotonic()
    job.stop().wait()
    assert time.monotonic() - asked <= 5.0
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "USER"
    best = job.trials()[0]
    assert best.validation_score is not None
    assert job.validation_score is not None
    assert job.validation_score.value == best.validation_score
    model = job.model()
    assert (model.info.trial, model.info.architecture) == (best.number, "tabm")
    assert len(model.predict([{"a": 0.1, "b": 0.2, "c": "x"}])) == 1
    assert eventually(lambda: not workers & children(house.server))


def test_cancelling_frees_the_worker_for_the_next_job(house: House, noise: seedbed.Dataset) -> None:
    idle = at_rest(house)
    running, waiting = (
        house.client.train(
            "tabular", noise, target="y", budget="600s", search_space=SLOW, detach=True
        )
        for _ in range(2)
    )
    until_at_work(running, trial=0)
    workers = children(house.server) - idle
    assert len(workers) == 1
    assert waiting.refresh().state is seedbed.JobState.QUEUED
    asked = time.monotonic()
    running.cancel()
    until(
        waiting,
        lambda e: (
            isinstance(e.body, seedbed.StateChanged) and e.body.state is seedbed.JobState.PREPARING
        ),
    )
    assert time.monotonic() - asked <= 2.0
    assert running.refresh().state is seedbed.JobState.CANCELLED
    assert running.info.model == ""
    (trial,) = running.trials()
    assert trial.state is seedbed.TrialState.FAILED
    assert "cancelled" in trial.reason
    until_at_work(waiting, trial=0)
    assert not workers & children(house.server)
    waiting.cancel()
    assert eventually(lambda: children(house.server) <= idle)


def test_a_killed_worker_costs_its_trial_and_no_more(house: House, noise: seedbed.Dataset) -> None:
    idle = at_rest(house)
    job = house.client.train(
        "tabular", noise, target="y", budget="3trials", search_space=SECONDS, detach=True
    )
    until_at_work(job, trial=1)
    earlier = story(job)[0]
    (worker,) = children(house.server) - idle
    os.kill(worker, signal.SIGKILL)
    job.wait()
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TRIAL_BUDGET"
    assert story(job)[0] == earlier
    by_number = job.trials("number")
    assert by_number[1].state is seedbed.TrialState.FAILED
    assert "worker process died: killed by signal 9" in by_number[1].reason
    assert by_number[1].validation_score is None
    assert any(t.state is not seedbed.TrialState.FAILED for t in by_number[2:])
    logs = [e.body for e in job.watch() if isinstance(e.body, seedbed.Log)]
    assert any("the worker process died" in log.message for log in logs)
    assert len(job.model().predict([{"a": 0.1, "b": 0.2, "c": "x"}])) == 1


def test_a_restarted_server_goes_on_with_the_job(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "noise.csv")
    data_dir = tmp_path / "data"
    with serve(data_dir) as server, seedbed.connect(server.address) as client:
        job = client.train(
            "tabular", data, target="y", budget="3trials", search_space=SECONDS, detach=True
        )
        until_at_work(job, trial=1)
        earlier = story(job)[:1]
        processes = children(server)
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert not any(psutil.pid_exists(pid) for pid in processes)
    with serve(data_dir) as server, seedbed.connect(server.address) as client:
        again = client.job(job.id).wait()
        assert again.state is seedbed.JobState.SUCCEEDED
        assert story(again)[:1] == earlier
        interrupted = again.trials("number")[1]
        assert interrupted.state is seedbed.TrialState.FAILED
        assert "the server was stopped during the trial" in interrupted.reason
        events = list(again.watch())
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert len(again.model().predict([{"a": 0.1, "b": 0.2, "c": "x"}])) == 1
