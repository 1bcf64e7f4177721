"""Insights of a job: protos to values."""

from __future__ import annotations

from seedbed.converters import consumption, optional
from seedbed.insights import (
    Extrapolation,
    Importances,
    JobInsights,
    LearningCurvePoint,
    TimeSpent,
)
from seedbed.v1 import jobs_pb2
from seedbed.values import from_duration


def insights(message: jobs_pb2.JobInsights) -> JobInsights:
    """A JobInsights."""
    spent = message.time_spent
    return JobInsights(
        job=message.job,
        metric=message.metric,
        higher_is_better=message.higher_is_better,
        learning_curve=tuple(map(_point, message.learning_curve)),
        consumption=consumption(message.consumption),
        time_spent=TimeSpent(
            preparing=from_duration(spent.preparing),
            training=from_duration(spent.training),
            choosing=from_duration(spent.choosing),
            finishing=from_duration(spent.finishing),
            waiting=from_duration(spent.waiting),
        ),
        importances=tuple(map(_importances, message.importances)),
        twice_the_budget=_extrapolation(message.twice_the_budget),
    )


def _point(message: jobs_pb2.LearningCurvePoint) -> LearningCurvePoint:
    return LearningCurvePoint(
        seconds=from_duration(message.wall_clock),
        trials=message.trials,
        samples=message.samples,
        validation_score=message.validation_score,
        trial=message.trial,
        architecture=message.architecture,
    )


def _importances(message: jobs_pb2.Importances) -> Importances:
    shares = {parameter.name: parameter.share for parameter in message.parameters}
    return Importances(message.architecture, shares, message.trials, message.reason)


def _extrapolation(message: jobs_pb2.Extrapolation) -> Extrapolation:
    return Extrapolation(
        trials=message.trials,
        more_trials=message.more_trials,
        best=optional(message, "best"),
        expected=optional(message, "expected"),
        lower=optional(message, "lower"),
        upper=optional(message, "upper"),
        confidence=message.confidence,
        improvement=optional(message, "improvement_probability"),
        method=message.method,
        reason=message.reason,
    )
