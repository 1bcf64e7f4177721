"""Jobs, trials and events as rows, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from seedbed_sdk.space import domain_from_dict, domain_to_dict
from seedbed_server.jobs.values import (
    BestChanged,
    Budget,
    Constraints,
    Consumption,
    EarlierJob,
    EpochFinished,
    Event,
    EventBody,
    Finding,
    Job,
    JobState,
    Log,
    Progress,
    Replay,
    Score,
    StateChanged,
    StopReason,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
)


def score_to_row(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else asdict(score)


def score_from_row(row: Mapping[str, Any] | None) -> Score | None:
    return None if row is None else Score(**row)


_JOB_TO_ROW: Mapping[str, Callable[[Any], Any]] = {
    "budget": asdict,
    "options": dict,
    "search_space": lambda space: {k: domain_to_dict(d) for k, d in space.items()},
    "state": str,
    "error": lambda error: None if error is None else dict(error),
    "stop_reason": lambda reason: None if reason is None else str(reason),
    "progress": asdict,
    "consumption": asdict,
    "validation_score": score_to_row,
    "test_score": score_to_row,
    "findings": lambda findings: [asdict(f) for f in findings],
    "replay": lambda replay: None if replay is None else asdict(replay),
    "constraints": asdict,
    "starting_points": lambda points: [dict(point) for point in points],
    "trace_context": dict,
    "earlier_jobs": lambda jobs: None if jobs is None else [asdict(job) for job in jobs],
}

_JOB_FROM_ROW: Mapping[str, Callable[[Any], Any]] = {
    "budget": lambda row: Budget(**row),
    "search_space": lambda row: {k: domain_from_dict(d) for k, d in row.items()},
    "state": JobState,
    "stop_reason": lambda row: None if row is None else StopReason(row),
    "progress": lambda row: Progress(**row),
    "consumption": lambda row: Consumption(**row),
    "validation_score": score_from_row,
    "test_score": score_from_row,
    "findings": lambda row: tuple(Finding(**f) for f in row),
    "replay": lambda row: None if row is None else Replay(**row),
    "constraints": lambda row: Constraints(**row),
    "starting_points": tuple,
    "earlier_jobs": lambda row: None if row is None else tuple(EarlierJob(**job) for job in row),
}


def job_to_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Columns for some or all fields of a Job."""
    return {k: _JOB_TO_ROW[k](v) if k in _JOB_TO_ROW else v for k, v in fields.items()}


def job_from_row(row: Any) -> Job:
    fields = row._mapping
    return Job(**{k: _JOB_FROM_ROW[k](v) if k in _JOB_FROM_ROW else v for k, v in fields.items()})


def trial_to_row(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": str(trial.state),
        "architecture": trial.architecture,
        "baseline": trial.baseline,
        "parameters": dict(trial.parameters),
        "validation_score": trial.validation_score,
        "epoch_scores": list(trial.epoch_scores),
        "epochs": trial.epochs,
        "samples": trial.samples,
        "seconds": trial.seconds,
        "reason": trial.reason,
        "start_time": trial.start_time,
        "end_time": trial.end_time,
        "recipe": dict(trial.recipe),
        "origin": str(trial.origin),
        "origin_job": trial.origin_job,
    }


def trial_from_row(row: Any) -> Trial:
    fields = {k: v for k, v in row._mapping.items() if k != "job"}
    fields["state"] = TrialState(fields["state"])
    fields["epoch_scores"] = tuple(fields["epoch_scores"])
    return Trial(**fields)


_KINDS: Mapping[type, str] = {
    StateChanged: "state_changed",
    Progress: "progress",
    TrialStarted: "trial_started",
    EpochFinished: "epoch_finished",
    TrialFinished: "trial_finished",
    BestChanged: "best_changed",
    Finding: "finding",
    Log: "log",
}
_BODIES: Mapping[str, Callable[..., EventBody]] = {
    **{kind: cls for cls, kind in _KINDS.items()},
    "state_changed": lambda *, state, stop_reason, **rest: StateChanged(
        state=JobState(state),
        stop_reason=None if stop_reason is None else StopReason(stop_reason),
        **rest,
    ),
    "trial_finished": lambda *, state, **rest: TrialFinished(state=TrialState(state), **rest),
}


def event_kind(body: type[EventBody]) -> str:
    return _KINDS[body]


def event_to_row(body: EventBody) -> dict[str, Any]:
    return {"kind": event_kind(type(body)), "body": asdict(body)}


def event_from_row(row: Any) -> Event:
    return Event(row.sequence, row.time, _BODIES[row.kind](**row.body))
