"""A job in its worker, from the data to the published model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import ItemProblem
from seedbed_sdk.datablock import PreparedData, name_problems
from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.trainer import Data, Hardware
from seedbed_server.data import reading, references
from seedbed_server.data.sources import DataSource
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.sources import sources_of
from seedbed_server.jobs.values import (
    Finding,
    InputField,
    Job,
    JobState,
    Model,
    Score,
    StopReason,
    Trial,
)
from seedbed_server.search import scoring
from seedbed_server.search.budget import Spending
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.examining import examine_once
from seedbed_server.search.loop import Candidate, Search
from seedbed_server.search.preparing import prepare
from seedbed_server.search.refit import Refit, refit
from seedbed_server.store import Dataset as DatasetRow
from seedbed_server.store import Files, PreparedStore, Store

if TYPE_CHECKING:
    from seedbed_server.executors import Assignment, Control


def run_job(assignment: Assignment, control: Control) -> None:
    """Works on a job until it has ended, or goes on with it where an earlier worker was lost.

    Raises SeedbedError with what to tell the user; the executor fails the job with it.
    """
    store = Store(assignment.database_url)
    files = Files(assignment.data_dir)
    session = JobSession(store, assignment.job_id, assignment.attempt, control.notify)
    job = session.job()
    earlier = session.trials()
    started = time.monotonic() - _seconds_used(job, earlier)
    registry = load()
    hardware = Hardware(assignment.device, assignment.threads)
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
    prepared_store = PreparedStore(files.prepared, assignment.policy.prepared_limit_bytes)
    examined = [*found.findings, *examine_once(found.dataset, job, row, prepared_store)]
    # The raw rows are not needed any more once they are encoded.
    del found
    prepared = prepare(
        plan, job, row, sources, registry, prepared_store, assignment.policy.memory_limit_bytes
    )
    findings = [*_findings(plan, prepared), *examined]
    session.set_findings(findings)
    spending = Spending(job.budget, started, test_items=len(prepared.test))
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
        folder=files.cache / "jobs" / job.id,
    )
    session.set_state(JobState.SEARCHING)
    stop_reason = search.run(earlier)
    if search.best is None:
        _end_without_model(search, stop_reason, session)
    else:
        session.set_state(JobState.FINISHING)
        if passed_over := _passed_over(search, search.best):
            session.set_findings([*findings, *passed_over])
        _finish(search, search.best, plan, prepared, stop_reason, files, registry)
    shutil.rmtree(search.folder, ignore_errors=True)
    prepared_store.close()
    store.close()


def _seconds_used(job: Job, earlier: Sequence[Trial]) -> float:
    """What the budget's clock shows: the wait since the job was leased, or, where a worker is
    replaced, what its trials took; the time in which nothing ran is not the user's."""
    if earlier:
        return sum(trial.seconds for trial in earlier)
    if job.start_time is None:
        return 0.0
    return max(0.0, (datetime.now(UTC) - job.start_time).total_seconds())


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


def _passed_over(search: Search, best: Candidate) -> list[Finding]:
    """Why the model is not the one at the top of the leaderboard."""
    other = search.passed_over
    if other is None or not best.trial.baseline:
        return []
    assert other.validation_score is not None and best.trial.validation_score is not None
    return [
        Finding(
            "INFO",
            "baseline_kept",
            f"trial {other.number} ({other.architecture}) has the better {search.metric.name}, "
            f"{other.validation_score:.4g} against {best.trial.validation_score:.4g}, but that is "
            f"no more than chance on {len(search.data.valid)} validation items, so the simpler "
            f"model {best.trial.architecture} was kept",
            best.trial.architecture,
            "Give more data to tell them apart.",
        )
    ]


def _end_without_model(search: Search, reason: StopReason, session: JobSession) -> None:
    """A job that was stopped before a trial had finished is cancelled; one whose budget was used
    up by failures fails."""
    if reason is StopReason.USER:
        session.cancel()
        return
    why = search.last_failure or "no trial could finish within the budget"
    raise SeedbedError(
        f"the budget was used up and no trial succeeded; the last one: {why}; "
        "give a larger budget, or narrow the search space to faster architectures",
        reason="NO_TRIAL_SUCCEEDED",
    )


def _finish(
    search: Search,
    best: Candidate,
    plan: Plan,
    prepared: PreparedData,
    stop_reason: StopReason,
    files: Files,
    registry: Registry,
) -> None:
    """Scores the best trial on the test split, once, and publishes it."""
    job, metric = search.job, plan.metric
    validation = scoring.score(metric, prepared.valid.target, best.outputs, seed=job.seed)
    chosen = refit(search, best) or Refit(best.trainer, dict(best.trial.parameters))
    outputs = chosen.trainer.predict(prepared.test.inputs)
    test = scoring.score(metric, prepared.test.target, outputs, seed=job.seed)
    target = plan.block.target
    measured = scoring.score_all(
        registry.metrics_of(target), target, test, prepared.test.target, outputs
    )
    plan.block.target.calibrate(prepared.valid.target, best.outputs)
    with files.new_model_folder(job.id) as folder:
        bundle.write(
            folder.path,
            block=plan.block,
            trainer=chosen.trainer,
            architecture=best.trial.architecture,
            parameters=chosen.parameters,
            seed=search.trial_seed(best.trial.number),
            about=_about(job, plan, registry, validation, test),
        )
        name, size = folder.publish()
    session = search.session
    try:
        session.succeed(
            _model(job, best.trial, plan, name, size, validation, test, measured),
            stop_reason,
            validation,
            test,
        )
    except BaseException:
        files.delete_model(name)
        raise


def _about(
    job: Job, plan: Plan, registry: Registry, validation: Score, test: Score
) -> Mapping[str, Any]:
    package = registry.packages[plan.task.name]
    return {
        "seedbed": version("seedbed"),
        "task": plan.task.name,
        "package": package.name,
        "package_version": package.version,
        "job": job.id,
        "dataset_fingerprint": job.dataset_fingerprint,
        "validation_score": asdict(validation),
        "test_score": asdict(test),
    }


def _model(
    job: Job,
    trial: Trial,
    plan: Plan,
    folder: str,
    size: int,
    validation: Score,
    test: Score,
    measured: Sequence[Score],
) -> Model:
    return Model(
        id=folder,
        project=job.project,
        task=job.task,
        job=job.id,
        trial=trial.number,
        architecture=trial.architecture,
        parameters=trial.parameters,
        inputs=tuple(InputField(f.name, f.type) for f in plan.block.fields()),
        folder=folder,
        create_time=datetime.now(UTC),
        display_name=job.display_name,
        target=plan.block.target.column,
        classes=plan.block.target.labels,
        validation_score=validation,
        test_score=test,
        test_scores=tuple(measured),
        dataset_fingerprint=job.dataset_fingerprint,
        size_bytes=size,
    )
