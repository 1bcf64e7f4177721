"""A job in its worker, from the data to the published model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from seedbed_sdk.blocks.base import ItemProblem
from seedbed_sdk.datablock import PreparedData, name_problems
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.trainer import Data, Hardware
from seedbed_server.data import reading, references
from seedbed_server.data.sources import DataSource
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.sources import sources_of
from seedbed_server.jobs.values import (
    INTERRUPTED,
    EarlierJob,
    Finding,
    Job,
    JobState,
    Trial,
)
from seedbed_server.search.budget import Spending
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.chosen import Finishing
from seedbed_server.search.costs import Meter, raw_example
from seedbed_server.search.earlier import similar_jobs
from seedbed_server.search.examining import examine_once
from seedbed_server.search.faults import CUT_SHORT, unusable_device
from seedbed_server.search.finishing import end_without_model, finish, keep
from seedbed_server.search.loop import Search
from seedbed_server.search.preparing import prepare
from seedbed_server.search.replaying import replay_job, restore
from seedbed_server.search.similarity import describe
from seedbed_server.store import WORKER_PATIENCE, Files, PreparedStore, Store
from seedbed_server.store import Dataset as DatasetRow

if TYPE_CHECKING:
    from seedbed_server.executors import Assignment, Control


def run_job(assignment: Assignment, control: Control) -> None:
    """Works on a job until it has ended, or goes on with it where an earlier worker was lost.

    Raises SeedbedError with what to tell the user; the executor fails the job with it.
    """
    store = Store(assignment.database_url, patience=WORKER_PATIENCE)
    files = Files(assignment.data_dir)
    session = JobSession(store, assignment.job_id, assignment.attempt, control.notify)
    job = session.job()
    started = time.monotonic() - _seconds_used(job)
    registry = load()
    hardware = _hardware(assignment, session)
    session.set_state(JobState.PREPARING)
    row = session.dataset()
    sources = sources_of(row, store, files)
    found = _read(assignment, row, sources, registry)
    plan = make_plan(
        registry,
        found.dataset,
        task_name=job.task,
        target=job.target,
        options=job.options,
        metric_name=job.metric,
        search_space=job.search_space,
        hardware=hardware,
    )
    example = raw_example(plan.block)
    prepared_store = PreparedStore(files.prepared, assignment.policy.prepared_limit_bytes)
    examined = [*found.findings, *examine_once(found.dataset, job, row, prepared_store)]
    # The raw rows are not needed any more once they are encoded.
    del found
    prepared = prepare(
        plan, job, row, sources, registry, prepared_store, assignment.policy.memory_limit_bytes
    )
    findings = [*_findings(plan, prepared), *examined]
    session.set_findings(findings)
    features = describe(plan.block, prepared)
    if job.replay is None and job.earlier_jobs is None:
        job = _with_earlier_jobs(session, job, plan, features)
    spending = Spending(job.budget, started, test_items=len(prepared.test))
    files.take_back(job.id)
    search = Search(
        job=job,
        block=plan.block,
        data=Data(prepared.train, prepared.valid, store=prepared.store),
        space=plan.space,
        metric=plan.metric,
        hardware=hardware,
        spending=spending,
        session=session,
        control=control,
        folder=files.job_scratch(job.id),
        meter=Meter(registry, example),
    )
    if job.replay is not None:
        replay_job(search, job.replay, session.replayed_trials())
    else:
        _search(search, Finishing(plan, prepared, findings, files, registry, features))
    prepared_store.close()
    store.close()


def _with_earlier_jobs(
    session: JobSession, job: Job, plan: Plan, features: Mapping[str, float]
) -> Job:
    """The job with the earlier jobs whose best settings it tries, which stay the same from then on,
    also where others end before it is gone on with."""
    found: tuple[EarlierJob, ...] = ()
    # One that an earlier version began goes on as it was begun.
    if not session.trials():
        target_type = plan.block.target.type
        found = similar_jobs(session.winners(), job, target_type, features, plan.space, plan.metric)
    session.set_earlier_jobs(found)
    return replace(job, earlier_jobs=found)


def _search(search: Search, means: Finishing) -> None:
    """Searches until the budget is used, and ends the job."""
    session = search.session
    earlier = session.trials()
    published = session.model()
    session.set_state(JobState.SEARCHING)
    if published is not None and not search.control.stop_requested():
        for trial in (t for t in earlier if t.number == published.trial):
            restore(search, trial, earlier)
    stop_reason = search.run(_to_try_again(earlier, search.spending))
    if search.best is not None:
        session.set_state(JobState.FINISHING)
        finish(search, means, stop_reason, published)
    elif published is not None:
        keep(search, means, stop_reason, published)
    else:
        end_without_model(search, stop_reason)


def _to_try_again(earlier: Sequence[Trial], spending: Spending) -> list[Trial]:
    """The earlier trials; those that ended for want of time count, but not their settings."""
    short = [trial for trial in earlier if trial.reason.startswith(CUT_SHORT)]
    spending.trials += len(short)
    return [replace(t, reason=INTERRUPTED) if t in short else t for t in earlier]


def _hardware(assignment: Assignment, session: JobSession) -> Hardware:
    """Where the job runs: the CPU where its accelerator has gone."""
    if assignment.device != "cpu" and (why := unusable_device(assignment.device)):
        session.log(
            "WARNING",
            f"{assignment.device} cannot be used: {why}; the job runs on the CPU, which is slower",
        )
        return Hardware(threads=assignment.threads)
    return Hardware(assignment.device, assignment.threads)


def _seconds_used(job: Job) -> float:
    """What the budget's clock shows: what the job was at work before, and now since it was leased;
    the time in which nothing ran is not the user's."""
    if job.state_time is None:
        return job.consumption.seconds
    waited = (datetime.now(UTC) - job.state_time).total_seconds()
    return job.consumption.seconds + max(0.0, waited)


def _read(
    assignment: Assignment, row: DatasetRow, sources: Sequence[DataSource], registry: Registry
) -> reading.Reading:
    """The dataset, if it is still what the job was created for."""
    policy = replace(assignment.policy, readers=registry.readers)
    resolved = references.resolve_unchanged(sources, policy, row.fingerprint, row.signature)
    return reading.look(resolved, policy, samples=registry.samples, layout=row.layout)


def _findings(plan: Plan, prepared: PreparedData) -> list[Finding]:
    found = [
        Finding("WARNING", "unusable_items", _left_out(split, problems), subject=split)
        for split, problems in prepared.problems.items()
        if problems
    ]
    found += [
        Finding("INFO", "unused_column", f"column {name!r} is not used: {why}", subject=name)
        for block in plan.block.inputs
        for name, why in block.ignored.items()
    ]
    return found + [Finding("INFO", "note", note) for note in plan.block.notes]


def _left_out(split: str, problems: Sequence[ItemProblem]) -> str:
    count = len({problem.position for problem in problems})
    return f"{count} items of the {split} split were left out: {name_problems(problems)}"
