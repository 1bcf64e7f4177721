"""Protos to values and back; nothing else in the client reads a proto's fields."""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from seedbed import types as t
from seedbed.errors import from_status
from seedbed.job_parts import (
    Consumption,
    EarlierJob,
    JobPlan,
    PlannedArchitecture,
    PlannedTrial,
    Replay,
)
from seedbed.space import Choices, Domain, FloatRange, IntRange
from seedbed.v1 import (
    datasets_pb2,
    jobs_pb2,
    models_pb2,
    tasks_pb2,
    values_pb2,
)
from seedbed.values import (
    from_duration,
    from_example,
    from_struct,
    from_struct_value,
    from_timestamp,
    to_duration,
    to_struct_value,
)


def optional(message: Message, field: str) -> float | None:
    """The field's value, or None where it is unset."""
    return getattr(message, field) if message.HasField(field) else None


def _enum_name(enum: EnumDescriptor, value: int) -> str:
    """Empty for the unspecified value, and for what only a newer server knows."""
    known = enum.values_by_number.get(value) if value else None
    return known.name if known else ""


def domain(message: tasks_pb2.Domain) -> Domain:
    """A Domain."""
    match message.WhichOneof("kind"):
        case "float_range":
            real = message.float_range
            return FloatRange(real.low, real.high, real.log)
        case "int_range":
            whole = message.int_range
            return IntRange(whole.low, whole.high, whole.log)
        case _:
            return Choices(tuple(from_struct_value(v) for v in message.choices.values))


def domain_to_proto(value: Domain, field: str) -> tasks_pb2.Domain:
    """The reverse of `domain`."""
    match value:
        case FloatRange(low, high, log):
            return tasks_pb2.Domain(
                float_range=tasks_pb2.Domain.FloatRange(low=low, high=high, log=log)
            )
        case IntRange(first, last, log):
            return tasks_pb2.Domain(
                int_range=tasks_pb2.Domain.IntRange(low=first, high=last, log=log)
            )
        case Choices(values):
            items = [to_struct_value(item, field) for item in values]
            return tasks_pb2.Domain(choices=tasks_pb2.Domain.Choices(values=items))


def task(message: tasks_pb2.Task) -> t.Task:
    """A Task."""
    return t.Task(
        name=message.name,
        title=message.title,
        description=message.description,
        options_schema=from_struct(message.options_schema),
        metrics=tuple(
            t.Metric(m.name, m.higher_is_better, tuple(m.target_types)) for m in message.metrics
        ),
        architectures=tuple(
            t.Architecture(
                a.name,
                a.description,
                a.baseline,
                {key: domain(value) for key, value in sorted(a.search_space.items())},
            )
            for a in message.architectures
        ),
        prediction_kinds=tuple(message.prediction_kinds),
        input_types=tuple(message.input_types),
        target_types=tuple(message.target_types),
        package=message.package,
        package_version=message.package_version,
    )


def _split(value: int) -> str:
    return _enum_name(datasets_pb2.DataSource.Split.DESCRIPTOR, value)


def dataset(message: datasets_pb2.Dataset) -> t.Dataset:
    """A Dataset."""
    return t.Dataset(
        name=message.name,
        display_name=message.display_name,
        sources=tuple(t.Source(s.uri, _split(s.split), s.role, s.query) for s in message.sources),
        fingerprint=message.fingerprint,
        size_bytes=message.size_bytes,
        create_time=from_timestamp(message.create_time),
        layout=message.layout,
    )


def source_to_proto(source: t.Source) -> datasets_pb2.DataSource:
    """The reverse of what `dataset` does with a source."""
    name = source.split or "SPLIT_UNSPECIFIED"
    return datasets_pb2.DataSource(
        uri=source.uri,
        split=datasets_pb2.DataSource.Split.Value(name),
        role=source.role,
        query=source.query,
    )


def finding(message: datasets_pb2.Finding) -> t.Finding:
    """A Finding."""
    severity = _enum_name(datasets_pb2.Finding.Severity.DESCRIPTOR, message.severity)
    return t.Finding(
        severity=severity or "INFO",
        kind=message.kind,
        subject=message.subject,
        message=message.message,
        suggestion=message.suggestion,
    )


def inspection(message: datasets_pb2.InspectDatasetResponse) -> t.Inspection:
    """What InspectDataset answered."""
    return t.Inspection(
        layout=message.layout,
        splits={_split(s.split) or "TRAIN": s.item_count for s in message.splits},
        columns=tuple(
            t.Column(c.name, c.type, c.missing_count, c.distinct_count, tuple(c.examples))
            for c in message.columns
        ),
        classes={c.label: c.count for c in message.classes},
        target=message.target,
        samples=tuple(from_example(e) for e in message.samples),
        findings=tuple(finding(f) for f in message.findings),
        tasks=tuple(message.tasks),
        content=message.content,
        guesses=tuple(t.Guess(g.what, g.value, g.why, g.overrule) for g in message.guesses),
        tables=tuple(
            t.SideTable(table.role, table.row_count, tuple(table.columns))
            for table in message.tables
        ),
    )


def score(message: values_pb2.Score) -> t.Score:
    """A Score."""
    return t.Score(
        metric=message.metric,
        value=message.value,
        item_count=message.item_count,
        lower=optional(message, "lower"),
        upper=optional(message, "upper"),
        confidence=optional(message, "confidence"),
    )


def job_state(value: int) -> t.JobState:
    """A state; one that this client does not know is UNKNOWN."""
    return t.JobState(_enum_name(jobs_pb2.Job.State.DESCRIPTOR, value) or "UNKNOWN")


def _stop_reason(value: int) -> str:
    return _enum_name(jobs_pb2.Job.StopReason.DESCRIPTOR, value)


def budget(message: jobs_pb2.Budget) -> t.Budget:
    """A Budget."""
    has = message.HasField
    return t.Budget(
        seconds=from_duration(message.wall_clock) if has("wall_clock") else None,
        trials=message.trials if has("trials") else None,
        samples=message.samples if has("samples") else None,
        target_score=message.target_score if has("target_score") else None,
    )


def budget_to_proto(value: t.Budget) -> jobs_pb2.Budget:
    """The reverse of `budget`."""
    return jobs_pb2.Budget(
        wall_clock=None if value.seconds is None else to_duration(value.seconds),
        trials=value.trials,
        samples=value.samples,
        target_score=value.target_score,
    )


def progress(message: jobs_pb2.Progress) -> t.Progress:
    """Progress."""
    left = from_duration(message.time_left) if message.HasField("time_left") else None
    return t.Progress(message.fraction, left, message.message)


def consumption(message: jobs_pb2.Consumption) -> Consumption:
    """A Consumption."""
    return Consumption(
        seconds=from_duration(message.wall_clock),
        trials=message.trials,
        samples=message.samples,
        preparing=from_duration(message.preparing),
        searching=from_duration(message.searching),
        finishing=from_duration(message.finishing),
    )


def replay(message: jobs_pb2.Replay) -> Replay:
    """A Replay."""
    return Replay(
        message.model,
        message.expected_digest,
        message.digest,
        message.identical,
        message.expected_score,
        optional(message, "score"),
    )


def _seconds(message: Message, field: str) -> float | None:
    return from_duration(getattr(message, field)) if message.HasField(field) else None


def _constraints(message: jobs_pb2.Constraints) -> t.Constraints:
    size = message.max_size_bytes if message.HasField("max_size_bytes") else None
    return t.Constraints(_seconds(message, "max_latency"), size)


def plan(message: jobs_pb2.JobPlan) -> JobPlan:
    """A JobPlan."""
    return JobPlan(
        target=message.job.target,
        metric=message.job.metric,
        preparing=from_duration(message.preparing),
        finishing=from_duration(message.finishing),
        seconds=_seconds(message, "wall_clock"),
        trials=message.trials if message.HasField("trials") else None,
        memory_bytes=message.memory_bytes,
        architectures=tuple(
            PlannedArchitecture(
                a.name,
                a.baseline,
                _seconds(a, "epoch"),
                a.epochs,
                _seconds(a, "trial"),
                a.memory_bytes,
                a.problem,
                a.first_trials,
                a.meets_constraints if a.HasField("meets_constraints") else None,
                _seconds(a, "latency"),
                a.size_bytes if a.HasField("size_bytes") else None,
                a.constraints_reason,
            )
            for a in message.architectures
        ),
        first_trials=tuple(
            PlannedTrial(
                p.architecture,
                from_struct(p.parameters),
                _seconds(p, "duration"),
                p.origin,
                p.origin_job,
            )
            for p in message.first_trials
        ),
        paused_trials=message.paused_trials if message.HasField("paused_trials") else None,
        samples=message.samples if message.HasField("samples") else None,
    )


def job(message: jobs_pb2.Job) -> t.JobInfo:
    """A Job."""
    has = message.HasField
    return t.JobInfo(
        name=message.name,
        display_name=message.display_name,
        task=message.task,
        dataset=message.dataset,
        target=message.target,
        metric=message.metric,
        budget=budget(message.budget),
        seed=message.seed if has("seed") else None,
        state=job_state(message.state),
        error=str(from_status(message.error)) if has("error") else "",
        stop_reason=_stop_reason(message.stop_reason),
        progress=progress(message.progress),
        trials=message.consumption.trials,
        samples=message.consumption.samples,
        model=message.model,
        validation_score=score(message.validation_score) if has("validation_score") else None,
        test_score=score(message.test_score) if has("test_score") else None,
        create_time=from_timestamp(message.create_time),
        start_time=from_timestamp(message.start_time) if has("start_time") else None,
        end_time=from_timestamp(message.end_time) if has("end_time") else None,
        last_sequence=message.last_sequence,
        options=from_struct(message.options),
        search_space={k: domain(v) for k, v in sorted(message.search_space.items())},
        findings=tuple(finding(f) for f in message.findings),
        consumption=consumption(message.consumption),
        replay_of=message.replay_of,
        replay=replay(message.replay) if has("replay") else None,
        constraints=_constraints(message.constraints),
        starting_points=tuple(map(from_struct, message.starting_points)),
        ignore_earlier_jobs=message.ignore_earlier_jobs,
        earlier_jobs=tuple(
            EarlierJob(e.job, e.architecture, from_struct(e.parameters), e.distance)
            for e in message.earlier_jobs
        ),
        find_learning_rate=message.find_learning_rate,
    )


def trial_state(value: int) -> t.TrialState:
    """A state; one that this client does not know is UNKNOWN."""
    return t.TrialState(_enum_name(jobs_pb2.Trial.State.DESCRIPTOR, value) or "UNKNOWN")


def trial(message: jobs_pb2.Trial) -> t.Trial:
    """A Trial."""
    return t.Trial(
        number=message.number,
        state=trial_state(message.state),
        architecture=message.architecture,
        baseline=message.baseline,
        parameters=from_struct(message.parameters),
        validation_score=optional(message, "validation_score"),
        epochs=message.epochs,
        samples=message.samples,
        seconds=from_duration(message.duration),
        reason=message.reason,
        origin=message.origin,
        origin_job=message.origin_job,
    )


def event(message: jobs_pb2.JobEvent) -> t.Event | None:
    """An event; None for a heartbeat and for what this client does not know."""
    body = _event_body(message)
    if body is None:
        return None
    return t.Event(message.sequence, from_timestamp(message.time), body)


def _event_body(message: jobs_pb2.JobEvent) -> t.EventBody | None:
    match message.WhichOneof("event"):
        case "state_changed":
            changed = message.state_changed
            error = str(from_status(changed.error)) if changed.HasField("error") else ""
            reason = _stop_reason(changed.stop_reason)
            seconds = _seconds(changed, "wall_clock")
            return t.StateChanged(job_state(changed.state), error, reason, changed.model, seconds)
        case "progress":
            return progress(message.progress)
        case "trial_started":
            begun = message.trial_started
            return t.TrialStarted(begun.trial, begun.architecture, from_struct(begun.parameters))
        case "epoch_finished":
            epoch = message.epoch_finished
            return t.EpochFinished(
                epoch.trial,
                epoch.epoch,
                epoch.epochs,
                epoch.validation_score,
                epoch.samples,
                optional(epoch, "train_loss"),
            )
        case "trial_finished":
            done = message.trial_finished
            value = optional(done, "validation_score")
            return t.TrialFinished(done.trial, trial_state(done.state), value, done.reason)
        case "best_changed":
            best = message.best_changed
            return t.BestChanged(
                best.trial,
                best.architecture,
                best.validation_score,
                _seconds(best, "wall_clock"),
                best.trials,
                best.samples,
            )
        case "finding":
            return finding(message.finding)
        case "log":
            warning = message.log.severity == jobs_pb2.JobEvent.Log.WARNING
            return t.Log("WARNING" if warning else "INFO", message.log.message)
        case _:
            return None


def model(message: models_pb2.Model) -> t.ModelInfo:
    """A Model."""
    has = message.HasField
    return t.ModelInfo(
        name=message.name,
        display_name=message.display_name,
        task=message.task,
        job=message.job,
        trial=message.trial,
        architecture=message.architecture,
        parameters=from_struct(message.parameters),
        validation_score=score(message.validation_score) if has("validation_score") else None,
        test_score=score(message.test_score) if has("test_score") else None,
        inputs=tuple(t.ModelInput(f.name, f.type) for f in message.inputs),
        target=message.target,
        classes=tuple(message.classes),
        dataset_fingerprint=message.dataset_fingerprint,
        size_bytes=message.size_bytes,
        create_time=from_timestamp(message.create_time),
        test_scores=tuple(score(s) for s in message.test_scores),
        digest=message.digest,
        latency=_seconds(message, "latency"),
    )
