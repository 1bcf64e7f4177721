"""Trials that go wrong, in every way: each costs itself and no more, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import seedbed
from tests.conftest import eventually
from tests.e2e.conftest import SAMPLE, serve
from tests.e2e.faulty_models import FAULTS

PLUGIN = "tests.e2e.faulty_models"
# Seconds; more than any model here is silent that does not hang.
SILENCE = 15.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seedbed.Client]:
    """Of a server with the models that go wrong."""
    packages = tmp_path_factory.mktemp("packages")
    about = packages / "faulty-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[seedbed]\nfaulty = {PLUGIN}\n")
    root = Path(__file__).resolve().parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(packages), prepend=":")
        patch.setenv("PYTHONPATH", str(root), prepend=":")
        data_dir = tmp_path_factory.mktemp("faulty") / "data"
        options = ["--silence-timeout", f"{SILENCE}"]
        with serve(data_dir, *options) as server, seedbed.connect(server.address) as client:
            assert client.plugin_problems() == []
            yield client


# What a person reads of each, in the leaderboard.
REASONS = {
    "is_killed": "worker process died: killed by signal 9",
    "reads_null": "worker process died: killed by signal 11 (SIGSEGV)",
    "ends_process": "worker process died: exited with status 3",
    "calls_exit": "crashed: the model's code called sys.exit('done')",
    "crashes": "crashed: ZeroDivisionError: no items of class 7",
    "interrupts": "crashed: KeyboardInterrupt",
    "lacks_gpu_memory": "out of memory: CUDA out of memory. Tried to allocate 20.00 GiB",
    "loses_gpu": "the accelerator cpu failed: CUDA error: unspecified launch failure",
    "leaks_files": "Too many open files",
    "diverges": "diverged: the training loss became ",
    "puts_out_nan": "diverged: the outputs are not finite",
    "puts_out_scores": "they are from -2 to -2, and probabilities of the classes are needed",
    "puts_out_too_few": "and (91, 2) is needed",
    "puts_out_words": "they are <U32, and an array of numbers is needed",
    "cannot_be_saved": "its model cannot be saved: crashed: TypeError: a lock cannot be written",
}


def test_every_fault_costs_its_trial_and_the_linear_model_comes_back(
    client: seedbed.Client,
) -> None:
    assert REASONS.keys() == FAULTS.keys() - {"hangs"}
    names = ["linear", *REASONS]
    job = client.train(
        "tabular",
        SAMPLE,
        budget=f"{len(names) + 2}trials",
        search_space={"architecture": names},
        seed=1,
    )
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TRIAL_BUDGET"
    assert job.model().info.architecture == "linear"
    assert job.test_score is not None and job.test_score.value > 0.9
    trials = {trial.architecture: trial for trial in job.trials("number")}
    for name, says in REASONS.items():
        assert trials[name].state is seedbed.TrialState.FAILED, name
        assert says in trials[name].reason, name
        assert "Traceback" not in trials[name].reason
        assert trials[name].validation_score is None
    leaderboard = job.trials()
    assert leaderboard[0].architecture == "linear"
    assert {trial.architecture for trial in leaderboard} == set(names)
    logs = [e.body.message for e in job.watch() if isinstance(e.body, seedbed.Log)]
    for spoilt in ("the accelerator cpu failed in trial", "files were left open in trial"):
        assert any(spoilt in log and "goes on in another process" in log for log in logs)


def test_what_ran_out_of_memory_is_tried_again_with_smaller_settings(
    client: seedbed.Client,
) -> None:
    job = client.train(
        "tabular",
        "sample://wine",
        budget="6trials",
        search_space={"architecture": ["linear", "hungry"]},
        seed=1,
    )
    hungry = [trial for trial in job.trials("number") if trial.architecture == "hungry"]
    assert [trial.parameters["batch_size"] for trial in hungry] == [64, 32, 16]
    for trial in hungry[:2]:
        assert trial.state is seedbed.TrialState.FAILED
        assert trial.reason.startswith("out of memory: Unable to allocate 1.00 GiB")
    assert hungry[2].state is not seedbed.TrialState.FAILED
    assert job.model().info.architecture == "linear"
    logs = [e.body.message for e in job.watch() if isinstance(e.body, seedbed.Log)]
    assert not any("the worker process died" in log for log in logs)


def test_a_trial_that_hangs_is_ended_soon_after_the_budget(client: seedbed.Client) -> None:
    job = client.train(
        "tabular",
        SAMPLE,
        budget="6s",
        search_space={"architecture": ["linear", "hangs"]},
        seed=1,
    )
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TIME_BUDGET"
    (hung,) = (trial for trial in job.trials() if trial.architecture == "hangs")
    assert hung.reason.startswith("hung: it had not stopped ")
    assert hung.reason.endswith("s after the time was up; its process was ended")
    assert job.model().info.architecture == "linear"


def test_a_trial_that_hangs_is_ended_when_the_search_is_stopped(client: seedbed.Client) -> None:
    job = client.train(
        "tabular",
        SAMPLE,
        budget="50trials",
        search_space={"architecture": ["linear", "hangs"]},
        detach=True,
        seed=1,
    )
    assert eventually(lambda: any(t.architecture == "hangs" for t in job.trials()), seconds=30)
    job.stop()
    job.wait()
    assert job.info.stop_reason == "USER"
    (hung,) = (trial for trial in job.trials() if trial.architecture == "hangs")
    assert "s after it was asked to; its process was ended" in hung.reason
    assert job.model().info.architecture == "linear"


def test_a_trial_that_hangs_is_ended_where_no_time_is_set(client: seedbed.Client) -> None:
    job = client.train(
        "tabular",
        SAMPLE,
        budget="4trials",
        search_space={"architecture": ["linear", "hangs"]},
        seed=1,
    )
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TRIAL_BUDGET"
    (hung,) = (trial for trial in job.trials() if trial.architecture == "hangs")
    assert hung.reason.startswith("hung: nothing was heard of it for ")
    assert hung.reason.endswith(" s; its process was ended")
    assert job.model().info.architecture == "linear"


def test_a_job_with_nothing_but_failures_says_what_failed(client: seedbed.Client) -> None:
    with pytest.raises(seedbed.JobFailed) as caught:
        client.train(
            "tabular",
            SAMPLE,
            budget="600s",
            search_space={"architecture": ["crashes", "reads_null", "is_killed", "ends_process"]},
        )
    assert caught.value.reason == "NO_TRIAL_SUCCEEDED"
    assert "nothing is left to try and no trial succeeded; the last one: " in str(caught.value)
    assert "narrow the search space to architectures that do not fail" in str(caught.value)


def test_a_model_that_cannot_predict_the_test_split_is_passed_over(client: seedbed.Client) -> None:
    job = client.train(
        "tabular",
        SAMPLE,
        budget="2trials",
        # A baseline would stay, being as good within chance.
        search_space={"architecture": ["overfed", "tabm"], "epochs": 5},
        seed=1,
    )
    assert job.trials()[0].architecture == "overfed"
    assert job.model().info.architecture == "tabm"
    logs = [e.body.message for e in job.watch() if isinstance(e.body, seedbed.Log)]
    assert any("so the next best counts; overfed: crashed: LookupError" in log for log in logs)


def test_a_budget_too_small_for_anything_still_brings_a_model(client: seedbed.Client) -> None:
    job = client.train(
        "tabular", SAMPLE, budget="5s", search_space={"architecture": ["slow", "tabm"]}
    )
    assert job.state is seedbed.JobState.SUCCEEDED
    assert job.info.stop_reason == "TIME_BUDGET"
    first, second = job.trials("number")
    assert first.reason == "interrupted: it was too slow"
    assert second.state is seedbed.TrialState.COMPLETE
    assert job.model().info.architecture == "slow"
    logs = [e.body.message for e in job.watch() if isinstance(e.body, seedbed.Log)]
    assert any("slow is trained all the same, beyond the budget" in log for log in logs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator here, and it works")
def test_a_job_whose_accelerator_has_gone_runs_on_the_cpu(tmp_path: Path) -> None:
    with (
        serve(tmp_path / "data", "--devices", "cuda:0") as server,
        seedbed.connect(server.address) as client,
    ):
        space = {"architecture": "tabm", "epochs": 3}
        job = client.train("tabular", "sample://wine", budget="1trials", search_space=space)
        assert job.state is seedbed.JobState.SUCCEEDED
        logs = [e.body for e in job.watch() if isinstance(e.body, seedbed.Log)]
    (warning,) = (log for log in logs if log.severity == "WARNING")
    assert warning.message.startswith("cuda:0 cannot be used: ")
    assert "the job runs on the CPU" in warning.message
