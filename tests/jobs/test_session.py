"""What a worker writes, and that it may not once it has lost the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from seedbed_sdk.errors import FailedPrecondition
from seedbed_server.jobs.session import JobSession, LeaseLost
from seedbed_server.jobs.values import (
    BestChanged,
    Consumption,
    EarlierJob,
    EpochFinished,
    Finding,
    InputField,
    JobState,
    Log,
    Progress,
    Score,
    StateChanged,
    StopReason,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from seedbed_server.store import PageRequest, Store
from tests.store.values import a_model, with_job


@dataclass
class Bench:
    """A leased job, its session, and how often the session has called."""

    store: Store
    session: JobSession
    calls: list[int] = field(default_factory=list)

    def bodies(self) -> list[object]:
        """What the events say, but for the job's clock."""
        bodies = [event.body for event in self.store.events.after("job1", 2, 1000)]
        return [
            replace(body, seconds=None) if isinstance(body, StateChanged | BestChanged) else body
            for body in bodies
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    store.migrate()
    with_job(store)
    leased = store.jobs.lease()
    assert leased is not None
    calls: list[int] = []
    session = JobSession(store, "job1", leased.attempt, lambda: calls.append(1))
    yield Bench(store, session, calls)
    store.close()


def test_a_trial_is_followed_from_start_to_end(bench: Bench) -> None:
    session = bench.session
    session.start_trial(Trial(0, "line", {"learning_rate": 0.1}, baseline=True))
    session.report_epochs([EpochFinished(0, 1, 3, 0.5, 40, 1.0), EpochFinished(0, 2, 3, 0.6, 80)])
    running = session.trials()[0]
    assert (running.state, running.epochs, running.samples) == (TrialState.RUNNING, 2, 80)
    assert running.epoch_scores == (0.5, 0.6)
    assert running.validation_score is None
    assert session.job().consumption == Consumption(0, 80)
    session.report_epochs([EpochFinished(0, 3, 3, 0.7, 120)])
    session.finish_trial(
        Trial(0, "line", {"learning_rate": 0.1}, TrialState.COMPLETE, True, 0.7, (0.5, 0.6, 0.7)),
        samples_total=120,
    )
    done = session.trials()[0]
    assert done.state is TrialState.COMPLETE and done.baseline
    assert done.start_time == running.start_time is not None
    assert done.end_time is not None and done.end_time >= running.start_time
    assert session.job().consumption == Consumption(1, 120)
    kinds = [type(body) for body in bench.bodies()]
    assert kinds == [TrialStarted, EpochFinished, EpochFinished, EpochFinished, TrialFinished]
    assert len(bench.calls) == 4


def test_many_epochs_are_one_transaction_and_none_are_nothing(bench: Bench) -> None:
    bench.session.start_trial(Trial(0, "line", {}))
    bench.session.report_epochs([EpochFinished(0, i, 900, 0.5, i) for i in range(1, 901)])
    bench.session.report_epochs([])
    assert len(bench.calls) == 2
    assert bench.store.jobs.get("job1").last_sequence == 903
    assert len(bench.session.trials()[0].epoch_scores) == 900


def test_states_progress_best_findings_and_logs_are_events(bench: Bench) -> None:
    session = bench.session
    session.set_state(JobState.PREPARING)
    session.set_state(JobState.SEARCHING)
    first, second = Finding("INFO", "a", "m"), Finding("WARNING", "b", "m")
    session.set_findings([first])
    session.set_findings([first, second])
    session.set_progress(Progress(0.5, 2.0, "half"))
    session.set_best(BestChanged(0, "line", 0.5), Score("accuracy", 0.5, 10))
    session.log("INFO", "text")
    assert bench.bodies() == [
        StateChanged(JobState.SEARCHING),
        first,
        second,
        Progress(0.5, 2.0, "half"),
        BestChanged(0, "line", 0.5),
        Log("INFO", "text"),
    ]
    job = session.job()
    assert job.findings == (first, second)
    assert job.progress == Progress(0.5, 2.0, "half")
    assert job.validation_score == Score("accuracy", 0.5, 10)


def test_success_comes_with_its_model_at_once(bench: Bench) -> None:
    score = Score("accuracy", 0.5, 10, 0.4, 0.6, 0.95)
    bench.session.succeed(a_model(), StopReason.TIME_BUDGET, score, None)
    job = bench.session.job()
    assert (job.state, job.model, job.stop_reason) == (
        JobState.SUCCEEDED,
        "model1",
        StopReason.TIME_BUDGET,
    )
    assert job.validation_score == score and job.test_score is None
    assert job.end_time is not None and job.progress.fraction == 1.0
    assert bench.store.models.get("model1").inputs == (InputField("a", "numeric"),)
    assert bench.bodies() == [
        StateChanged(JobState.SUCCEEDED, None, StopReason.TIME_BUDGET, "model1")
    ]


def test_failure_keeps_the_error_and_ends_running_trials(bench: Bench) -> None:
    error = FailedPrecondition("the dataset vanished", reason="DATASET_VANISHED")
    bench.session.start_trial(Trial(0, "line", {}))
    bench.session.fail(error)
    job = bench.session.job()
    assert (job.state, job.error) == (JobState.FAILED, error.to_dict())
    assert bench.session.trials()[0].reason == "the job ended during the trial"


def test_a_finished_trial_forgives_earlier_deaths(bench: Bench) -> None:
    bench.store.jobs.worker_died("job1", 1, "killed")
    leased = bench.store.jobs.lease()
    assert leased is not None and leased.deaths == 1
    session = JobSession(bench.store, "job1", leased.attempt)
    session.start_trial(Trial(0, "line", {}))
    assert session.job().deaths == 1
    session.finish_trial(Trial(0, "line", {}, TrialState.FAILED, reason="NaN"), samples_total=0)
    assert session.job().deaths == 0


def test_earlier_jobs_are_kept_and_told_where_there_are_any(bench: Bench) -> None:
    assert bench.session.job().earlier_jobs is None
    bench.session.set_earlier_jobs([])
    assert bench.session.job().earlier_jobs == ()
    assert bench.bodies() == []
    earlier = EarlierJob("job0", "line", {"epochs": 3}, 0.25)
    bench.session.set_earlier_jobs([earlier])
    assert bench.session.job().earlier_jobs == (earlier,)
    assert bench.bodies() == [Log("INFO", "the best settings of earlier jobs are tried too: job0")]


SCORE = Score("accuracy", 0.5, 10)
WRITES: tuple[Callable[[JobSession], None], ...] = (
    lambda s: s.set_state(JobState.SEARCHING),
    lambda s: s.set_progress(Progress()),
    lambda s: s.set_findings([]),
    lambda s: s.set_earlier_jobs([]),
    lambda s: s.start_trial(Trial(0, "line", {})),
    lambda s: s.report_epochs([EpochFinished(0, 1, 1, 0.5, 1)]),
    lambda s: s.finish_trial(Trial(0, "line", {}, TrialState.COMPLETE), samples_total=1),
    lambda s: s.set_best(BestChanged(0, "line", 0.5), SCORE),
    lambda s: s.log("INFO", "text"),
    lambda s: s.succeed(a_model(), StopReason.USER, SCORE, SCORE),
    lambda s: s.fail(FailedPrecondition("no")),
    lambda s: s.cancel(),
)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("how", ["requeued", "cancelled"])
def test_no_write_passes_once_the_lease_is_lost(
    bench: Bench, write: Callable[[JobSession], None], how: str
) -> None:
    if how == "requeued":
        bench.store.jobs.requeue_active("gone")
    else:
        bench.store.jobs.cancel("job1")
    before = (bench.store.jobs.get("job1"), bench.session.trials())
    with pytest.raises(LeaseLost) as raised:
        write(bench.session)
    assert (raised.value.code, raised.value.reason) == ("ABORTED", "LEASE_LOST")
    assert (bench.store.jobs.get("job1"), bench.session.trials()) == before
    assert bench.store.models.list("default", PageRequest()).items == ()
    assert bench.calls == []
