"""Whose settings a search takes over: of the nearest data, of its own project and kind alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import Choices, FloatRange
from seedbed_server.jobs.values import EarlierJob, Job, Winner
from seedbed_server.search.earlier import RADIUS, similar_jobs
from seedbed_server.search.space import SearchSpace, narrow
from tests.search.test_space import ALL
from tests.store.values import a_job

FEATURES = {"items": 3.0, "column:numeric": 1.0}
NET = {"learning_rate": 0.02, "epochs": 7, "width": 64}


def winner(job: str, **fields: Any) -> Winner:
    """One that is a tenth away."""
    found = Winner(
        job=job,
        project="default",
        task="tiny",
        target="y",
        target_type="category",
        metric="accuracy",
        architecture="net",
        parameters={**NET, "epochs": 10 + len(job)},
        score=0.5,
        features={**FEATURES, "items": 3.1},
        dataset_fingerprint="other",
        create_time=datetime.now(UTC),
    )
    return replace(found, **fields)


def chosen(
    *winners: Winner,
    job: Job | None = None,
    space: SearchSpace | None = None,
    metric: str = "accuracy",
) -> tuple[EarlierJob, ...]:
    job = job or a_job("this", target="y", dataset_fingerprint="mine", metric=metric)
    space = space or narrow(ALL, {})
    return similar_jobs(winners, job, "category", FEATURES, space, METRICS[metric])


def test_the_nearest_come_first_and_no_more_than_three() -> None:
    apart = {"a": 3.4, "bb": 3.1, "ccc": 2.8, "dddd": 3.3, "eeeee": 3.0 + RADIUS + 0.01}
    found = chosen(*(winner(k, features={**FEATURES, "items": v}) for k, v in apart.items()))
    assert [job.job for job in found] == ["bb", "ccc", "dddd"]
    assert [job.distance for job in found] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "other",
    [
        {"project": "theirs"},
        {"task": "small"},
        {"target_type": "regression"},
        {"architecture": "forest"},
        {"features": {**FEATURES, "items": 3.0 + RADIUS + 0.01}},
        {"features": {"items": 3.1, "column:text": 1.0}},
        {"project": "theirs", "dataset_fingerprint": "mine"},
    ],
    ids=["project", "task", "target", "architecture", "size", "columns", "same data"],
)
def test_what_is_not_alike_or_not_one_s_own_is_not_taken(other: dict[str, Any]) -> None:
    assert chosen(winner("other", **other)) == ()


def test_a_job_that_ignores_them_takes_none() -> None:
    job = a_job("this", target="y", ignore_earlier_jobs=True)
    assert chosen(winner("other"), job=job) == ()


def test_the_same_data_is_nearest_but_not_for_another_target() -> None:
    far = {**FEATURES, "items": 9.0}
    same = winner("same", dataset_fingerprint="mine", features=far)
    assert [job.job for job in chosen(winner("other"), same)] == ["same", "other"]
    assert chosen(same)[0].distance == 0.0
    assert chosen(replace(same, target="z")) == ()


def test_of_jobs_on_the_same_data_the_better_by_the_same_metric_comes_first() -> None:
    same = [
        winner("a", dataset_fingerprint="mine", score=0.7),
        winner("bb", dataset_fingerprint="mine", score=0.9),
        winner("ccc", dataset_fingerprint="mine", score=0.1, metric="log_loss"),
        winner("dddd", dataset_fingerprint="mine", score=0.3, metric="log_loss"),
    ]
    assert [job.job for job in chosen(*same)] == ["bb", "a", "ccc"]
    assert [job.job for job in chosen(*same, metric="log_loss")] == ["ccc", "dddd", "a"]


def test_the_same_settings_are_taken_once_and_those_of_a_baseline_or_the_user_never() -> None:
    twice = [winner("a", parameters=NET), winner("b", parameters=NET)]
    linear = winner("c", architecture="linear", parameters={"penalty": 1.0})
    assert [job.job for job in chosen(*twice, linear)] == ["a"]
    job = a_job("this", target="y", starting_points=({"architecture": "net", **NET},))
    assert chosen(*twice, job=job) == ()


def test_settings_are_moved_into_the_space() -> None:
    wanted = {"learning_rate": FloatRange(0.001, 0.01), "width": Choices((128,))}
    (found,) = chosen(winner("a", parameters=NET), space=narrow(ALL, wanted))
    assert found.parameters == {"learning_rate": 0.01, "epochs": 7, "width": 128}
