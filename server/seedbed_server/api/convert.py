"""Values to messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from seedbed.v1 import datasets_pb2, jobs_pb2, models_pb2, tasks_pb2, values_pb2
from seedbed_sdk.space import Choices, Domain, FloatRange
from seedbed_server.api import names, status
from seedbed_server.catalogue import ProblemInfo, TaskInfo
from seedbed_server.jobs import values
from seedbed_server.store import DATASET_SCHEME, Dataset
from seedbed_server.store.values import now


def timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


def duration(seconds: float | None) -> Duration | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    message = Duration()
    message.FromTimedelta(timedelta(seconds=max(0.0, seconds)))
    return message


def struct(data: Mapping[str, Any]) -> Struct:
    message = Struct()
    message.update(data)
    return message


def split_to_message(split: str) -> datasets_pb2.DataSource.Split.ValueType:
    return datasets_pb2.DataSource.Split.Value(split.upper() or "SPLIT_UNSPECIFIED")


def dataset_to_message(dataset: Dataset) -> datasets_pb2.Dataset:
    own_name = names.dataset(dataset.project, dataset.id)
    sources = [
        datasets_pb2.DataSource(
            uri=names.dataset(dataset.project, source.uri.removeprefix(DATASET_SCHEME))
            if source.uri.startswith(DATASET_SCHEME)
            else source.uri,
            split=split_to_message(source.split),
            role=source.role,
            query=source.query,
        )
        for source in dataset.sources
    ]
    if dataset.upload_file:
        # Where the server keeps the file is its own business; this name can be used as a source.
        sources = [datasets_pb2.DataSource(uri=own_name)]
    return datasets_pb2.Dataset(
        name=own_name,
        display_name=dataset.display_name,
        sources=sources,
        fingerprint=dataset.fingerprint,
        size_bytes=dataset.size_bytes,
        create_time=timestamp(dataset.create_time),
        layout=dataset.layout,
    )


def finding_to_message(finding: values.Finding) -> datasets_pb2.Finding:
    return datasets_pb2.Finding(
        severity=datasets_pb2.Finding.Severity.Value(finding.severity),
        kind=finding.kind,
        subject=finding.subject,
        message=finding.message,
        suggestion=finding.suggestion,
    )


def score_to_message(score: values.Score | None) -> values_pb2.Score | None:
    return None if score is None else _score(score)


def _score(score: values.Score) -> values_pb2.Score:
    return values_pb2.Score(
        metric=score.metric,
        value=score.value,
        lower=score.lower,
        upper=score.upper,
        confidence=score.confidence,
        item_count=score.item_count,
    )


def budget_to_message(budget: values.Budget) -> jobs_pb2.Budget:
    return jobs_pb2.Budget(
        wall_clock=duration(budget.wall_clock_seconds),
        trials=budget.trials,
        samples=budget.samples,
        target_score=budget.target_score,
    )


def _constraints(constraints: values.Constraints) -> jobs_pb2.Constraints | None:
    if constraints == values.Constraints():
        return None
    return jobs_pb2.Constraints(
        max_latency=duration(constraints.max_latency_seconds),
        max_size_bytes=constraints.max_size_bytes,
    )


def progress_to_message(progress: values.Progress) -> jobs_pb2.Progress:
    return jobs_pb2.Progress(
        fraction=progress.fraction,
        time_left=duration(progress.seconds_left),
        message=progress.message,
    )


def consumption_to_message(used: values.Consumption) -> jobs_pb2.Consumption:
    return jobs_pb2.Consumption(
        wall_clock=duration(used.seconds),
        trials=used.trials,
        samples=used.samples,
        preparing=duration(used.preparing_seconds),
        searching=duration(used.searching_seconds),
        finishing=duration(used.finishing_seconds),
    )


def _replay(job: values.Job) -> jobs_pb2.Replay | None:
    replay = job.replay
    if replay is None:
        return None
    return jobs_pb2.Replay(
        model=names.model(job.project, replay.model),
        expected_digest=replay.expected_digest,
        digest=replay.digest,
        identical=replay.identical,
        expected_score=replay.expected_score,
        score=replay.score,
    )


def _stop_reason(reason: values.StopReason | None) -> jobs_pb2.Job.StopReason.ValueType:
    return jobs_pb2.Job.StopReason.Value(str(reason) if reason else "STOP_REASON_UNSPECIFIED")


def job_to_message(job: values.Job) -> jobs_pb2.Job:
    return jobs_pb2.Job(
        name=names.job(job.project, job.id),
        display_name=job.display_name,
        task=names.task(job.task),
        dataset=names.dataset(job.project, job.dataset),
        target=job.target,
        options=struct(job.options),
        metric=job.metric,
        budget=budget_to_message(job.budget),
        seed=job.seed,
        search_space={k: domain_to_message(d) for k, d in job.search_space.items()},
        constraints=_constraints(job.constraints),
        find_learning_rate=job.find_learning_rate,
        state=jobs_pb2.Job.State.Value(str(job.state)),
        error=None if job.error is None else status.to_status(job.error),
        stop_reason=_stop_reason(job.stop_reason),
        progress=progress_to_message(job.progress),
        consumption=consumption_to_message(job.used(now())),
        model=names.model(job.project, job.model) if job.model else "",
        validation_score=score_to_message(job.validation_score),
        test_score=score_to_message(job.test_score),
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
        update_time=timestamp(job.update_time),
        last_sequence=job.last_sequence,
        findings=[finding_to_message(f) for f in job.findings],
        replay_of=names.job(job.project, job.replay_of) if job.replay_of else "",
        replay=_replay(job),
        starting_points=map(struct, job.starting_points),
        ignore_earlier_jobs=job.ignore_earlier_jobs,
        earlier_jobs=[
            jobs_pb2.EarlierJob(
                job=names.job(job.project, earlier.job),
                architecture=earlier.architecture,
                parameters=struct(earlier.parameters),
                distance=earlier.distance,
            )
            for earlier in job.earlier_jobs or ()
        ],
    )


def origin_job(project: str, job_id: str) -> str:
    """The name of the job whose settings are tried; empty where they are not of one."""
    return names.job(project, job_id) if job_id else ""


def trial_to_message(job: values.Job, trial: values.Trial) -> jobs_pb2.Trial:
    return jobs_pb2.Trial(
        name=names.trial(job.project, job.id, trial.number),
        number=trial.number,
        state=jobs_pb2.Trial.State.Value(str(trial.state)),
        architecture=trial.architecture,
        baseline=trial.baseline,
        parameters=struct(trial.parameters),
        validation_score=trial.validation_score,
        epochs=trial.epochs,
        samples=trial.samples,
        duration=duration(trial.seconds),
        reason=trial.reason,
        start_time=timestamp(trial.start_time),
        end_time=timestamp(trial.end_time),
        origin=trial.origin,
        origin_job=origin_job(job.project, trial.origin_job),
    )


def event_to_message(project: str, event: values.Event) -> jobs_pb2.JobEvent:
    message = jobs_pb2.JobEvent(sequence=event.sequence, time=timestamp(event.time))
    body = event.body
    if isinstance(body, values.StateChanged):
        message.state_changed.CopyFrom(
            jobs_pb2.JobEvent.StateChanged(
                state=jobs_pb2.Job.State.Value(str(body.state)),
                error=None if body.error is None else status.to_status(body.error),
                stop_reason=_stop_reason(body.stop_reason),
                model=names.model(project, body.model) if body.model else "",
                wall_clock=duration(body.seconds),
            )
        )
    elif isinstance(body, values.Progress):
        message.progress.CopyFrom(progress_to_message(body))
    elif isinstance(body, values.Finding):
        message.finding.CopyFrom(finding_to_message(body))
    elif isinstance(body, values.Log):
        severity = jobs_pb2.JobEvent.Log.Severity.Value(body.severity)
        message.log.CopyFrom(jobs_pb2.JobEvent.Log(severity=severity, message=body.message))
    else:
        _add_trial_event(message, body)
    return message


def _add_trial_event(
    message: jobs_pb2.JobEvent,
    body: values.TrialStarted | values.EpochFinished | values.TrialFinished | values.BestChanged,
) -> None:
    if isinstance(body, values.TrialStarted):
        message.trial_started.CopyFrom(
            jobs_pb2.JobEvent.TrialStarted(
                trial=body.trial,
                architecture=body.architecture,
                parameters=struct(body.parameters),
            )
        )
    elif isinstance(body, values.EpochFinished):
        message.epoch_finished.CopyFrom(
            jobs_pb2.JobEvent.EpochFinished(
                trial=body.trial,
                epoch=body.epoch,
                epochs=body.epochs,
                train_loss=body.train_loss,
                validation_score=body.validation_score,
                samples=body.samples,
            )
        )
    elif isinstance(body, values.TrialFinished):
        message.trial_finished.CopyFrom(
            jobs_pb2.JobEvent.TrialFinished(
                trial=body.trial,
                state=jobs_pb2.Trial.State.Value(str(body.state)),
                validation_score=body.validation_score,
                reason=body.reason,
            )
        )
    else:
        message.best_changed.CopyFrom(
            jobs_pb2.JobEvent.BestChanged(
                trial=body.trial,
                architecture=body.architecture,
                validation_score=body.validation_score,
                wall_clock=duration(body.seconds),
                trials=body.trials,
                samples=body.samples,
            )
        )


def heartbeat_message(sequence: int) -> jobs_pb2.JobEvent:
    message = jobs_pb2.JobEvent(sequence=sequence, time=timestamp(now()))
    message.heartbeat.SetInParent()
    return message


def model_to_message(model: values.Model) -> models_pb2.Model:
    return models_pb2.Model(
        name=names.model(model.project, model.id),
        display_name=model.display_name,
        task=names.task(model.task),
        job=names.job(model.project, model.job),
        trial=model.trial,
        architecture=model.architecture,
        parameters=struct(model.parameters),
        validation_score=score_to_message(model.validation_score),
        test_score=score_to_message(model.test_score),
        test_scores=[_score(score) for score in model.test_scores],
        inputs=[models_pb2.Field(name=f.name, type=f.type) for f in model.inputs],
        target=model.target,
        classes=model.classes,
        dataset_fingerprint=model.dataset_fingerprint,
        size_bytes=model.size_bytes,
        create_time=timestamp(model.create_time),
        latency=duration(model.latency_seconds),
        digest=model.digest,
    )


def domain_to_message(domain: Domain) -> tasks_pb2.Domain:
    message = tasks_pb2.Domain()
    if isinstance(domain, Choices):
        message.choices.SetInParent()
        for value in domain.values:
            message.choices.values.add().CopyFrom(struct({"": value}).fields[""])
    elif isinstance(domain, FloatRange):
        message.float_range.low = domain.low
        message.float_range.high = domain.high
        message.float_range.log = domain.log
    else:
        message.int_range.low = domain.low
        message.int_range.high = domain.high
        message.int_range.log = domain.log
    return message


def task_to_message(task: TaskInfo) -> tasks_pb2.Task:
    return tasks_pb2.Task(
        name=names.task(task.name),
        title=task.title,
        description=task.description,
        options_schema=struct(task.options_schema),
        metrics=[
            tasks_pb2.Metric(
                name=m.name, higher_is_better=m.higher_is_better, target_types=m.target_types
            )
            for m in task.metrics
        ],
        architectures=[
            tasks_pb2.Architecture(
                name=a.name,
                description=a.description,
                baseline=a.baseline,
                search_space={k: domain_to_message(d) for k, d in a.search_space.items()},
            )
            for a in task.architectures
        ],
        prediction_kinds=task.prediction_kinds,
        package=task.package,
        package_version=task.package_version,
        input_types=task.input_types,
        target_types=task.target_types,
    )


def problem_to_message(problem: ProblemInfo) -> tasks_pb2.PluginProblem:
    return tasks_pb2.PluginProblem(
        plugin=problem.plugin, package=problem.package, message=problem.message
    )
