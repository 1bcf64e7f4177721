"""What is said of starting points that will not do, and what becomes of those that will."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seedbed_sdk.space import Choices, Domain, FloatRange
from seedbed_server.catalogue import TaskInfo, read_contents
from seedbed_server.jobs.starting_points import CheckedPoints, check_points, domains_of
from tests.executors.functions import catalogue


@pytest.fixture(scope="module")
def task() -> TaskInfo:
    return read_contents(catalogue()).tasks["tiny"]


def check(
    task: TaskInfo, *points: dict[str, Any], wanted: dict[str, Domain] | None = None
) -> CheckedPoints:
    wanted = wanted or {}
    return check_points(points, domains_of(task, wanted), wanted)


def test_points_take_the_types_of_their_architecture(task: TaskInfo) -> None:
    point = {"architecture": "net", "learning_rate": 1, "epochs": 3.0, "layers": 4.0, "bias": True}
    checked = check(task, point)
    assert checked.violations == []
    fitted = {"architecture": "net", "bias": True, "epochs": 3, "layers": 4, "learning_rate": 1.0}
    assert repr(checked.points) == repr([fitted])


def test_the_only_architecture_need_not_be_named(task: TaskInfo) -> None:
    wanted: dict[str, Domain] = {"architecture": Choices(("net",))}
    checked = check(task, {"epochs": 3}, wanted=wanted)
    assert checked.violations == []
    assert checked.points == [{"architecture": "net", "epochs": 3}]


@pytest.mark.parametrize(
    ("point", "field", "text"),
    [
        ({}, "", "is empty; give at least one hyperparameter, such as learning_rate"),
        (
            {"epochs": 3},
            ".architecture",
            "is required, since there are several to choose from: line, net",
        ),
        (
            {"architecture": "lien"},
            ".architecture",
            "'lien' is none of those that this job may try: line, net; did you mean 'line'?",
        ),
        (
            {"architecture": ["net"]},
            ".architecture",
            "['net'] is none of those that this job may try: line, net; did you mean 'net'?",
        ),
        (
            {"architecture": "line", "epoch": 3},
            ".epoch",
            "line has no such hyperparameter; it has: learning_rate, epochs; "
            "did you mean 'epochs'?",
        ),
        (
            {"architecture": "line", "layers": 2},
            ".layers",
            "line has no such hyperparameter; it has: learning_rate, epochs",
        ),
        (
            {"architecture": "line", "learning_rate": 0.5},
            ".learning_rate",
            "must be a number in 0.0001..0.1, got 0.5",
        ),
        (
            {"architecture": "line", "learning_rate": "0.01"},
            ".learning_rate",
            "must be a number in 0.0001..0.1, got '0.01'",
        ),
        (
            {"architecture": "line", "learning_rate": math.nan},
            ".learning_rate",
            "must be a number in 0.0001..0.1, got nan",
        ),
        (
            {"architecture": "line", "learning_rate": None},
            ".learning_rate",
            "must be a number in 0.0001..0.1, got None",
        ),
        (
            {"architecture": "line", "epochs": 2.5},
            ".epochs",
            "must be a whole number in 1..30, got 2.5",
        ),
        (
            {"architecture": "line", "epochs": True},
            ".epochs",
            "must be a whole number in 1..30, got True",
        ),
        ({"architecture": "net", "layers": 3}, ".layers", "must be one of 1, 2, 4, got 3"),
        ({"architecture": "net", "layers": [1]}, ".layers", "must be one of 1, 2, 4, got [1]"),
        ({"architecture": "net", "bias": 1}, ".bias", "must be one of True, False, got 1"),
    ],
)
def test_what_will_not_do_is_named(
    task: TaskInfo, point: dict[str, Any], field: str, text: str
) -> None:
    good = {"architecture": "net", "epochs": 3}
    (violation,) = check(task, good, point).violations
    assert violation.field == f"job.starting_points[1]{field}"
    assert violation.description == text


def test_all_that_is_wrong_is_said_at_once(task: TaskInfo) -> None:
    points = {"architecture": "net", "epochs": 0, "layers": 9}, {"architecture": "tree"}
    assert [v.field for v in check(task, *points).violations] == [
        "job.starting_points[0].epochs",
        "job.starting_points[0].layers",
        "job.starting_points[1].architecture",
    ]


def test_points_lie_inside_the_search_space_of_the_job(task: TaskInfo) -> None:
    wanted: dict[str, Domain] = {
        "architecture": Choices(("net",)),
        "learning_rate": FloatRange(0.001, 0.01),
    }
    outside = {"learning_rate": 0.5}, {"architecture": "line"}
    assert [v.description for v in check(task, *outside, wanted=wanted).violations] == [
        "the job's search_space allows 0.001..0.01, got 0.5",
        "'line' is none of those that this job may try: net",
    ]


def test_there_is_a_limit_to_their_number(task: TaskInfo) -> None:
    point = {"architecture": "net", "epochs": 3}
    assert check(task, *[point] * 100).violations == []
    (violation,) = check(task, *[point] * 101).violations
    assert (violation.field, violation.description) == (
        "job.starting_points",
        "at most 100 may be given, got 101",
    )
