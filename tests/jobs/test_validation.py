"""What is said of budgets, options and spaces that will not do, and of those that will."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange
from seedbed_server.catalogue import TaskInfo, read_contents
from seedbed_server.jobs.space_check import check_space
from seedbed_server.jobs.validation import (
    check_budget,
    check_constraints,
    check_options,
    check_seed,
)
from seedbed_server.jobs.values import Budget, Constraints
from tests.executors.functions import catalogue


@pytest.fixture(scope="module")
def task() -> TaskInfo:
    return read_contents(catalogue()).tasks["tiny"]


@pytest.mark.parametrize(
    "budget",
    [
        Budget(wall_clock_seconds=5.0),
        Budget(trials=1),
        Budget(samples=1),
        Budget(target_score=-3.5),
    ],
)
def test_one_limit_is_enough(budget: Budget) -> None:
    assert list(check_budget(budget)) == []


@pytest.mark.parametrize(
    ("budget", "field", "text"),
    [
        (Budget(wall_clock_seconds=0), "wall_clock", "must be at least 5 s, got 0 s"),
        (Budget(wall_clock_seconds=4.999), "wall_clock", "must be at least 5 s, got 4.999 s"),
        (Budget(trials=-1), "trials", "must be at least 1, got -1"),
        (Budget(target_score=math.nan), "target_score", "must be a finite number, got nan"),
        (Budget(target_score=math.inf), "target_score", "must be a finite number, got inf"),
    ],
)
def test_limits_have_a_minimum(budget: Budget, field: str, text: str) -> None:
    (violation,) = check_budget(budget)
    assert (violation.field, violation.description) == (f"job.budget.{field}", text)


def test_seeds_have_a_range() -> None:
    assert list(check_seed(0)) == list(check_seed(2**53)) == []
    assert [v.description for v in check_seed(2**53 + 1)] == [
        f"must be from 0 to 2^53, got {2**53 + 1}"
    ]


@pytest.mark.parametrize(
    "options", [{}, {"epochs": 3}, {"epochs": 3.0}, {"limit": None}, {"valid_fraction": 0.5}]
)
def test_options_that_will_do(task: TaskInfo, options: dict[str, Any]) -> None:
    assert list(check_options(options, task)) == []


@pytest.mark.parametrize(
    ("options", "field", "text"),
    [
        ({"epochs": 2.5}, "epochs", "got 2.5; it must be of type integer"),
        ({"epochs": 0}, "epochs", "got 0; it must be at least 1"),
        ({"epochs": True}, "epochs", "got True; it must be of type integer"),
        ({"mode": 1}, "mode", "got 1; it must be of type string (What the test driver does)"),
        ({"zzz": 1}, "zzz", "task 'tiny' has no such option; it has: epochs, keep, limit, mode, "
         "valid_fraction"),
    ],
)  # fmt: skip
def test_options_that_will_not_do(
    task: TaskInfo, options: dict[str, Any], field: str, text: str
) -> None:
    (violation,) = check_options(options, task)
    assert (violation.field, violation.description) == (f"job.options.{field}", text)


@pytest.mark.parametrize(
    ("key", "wanted", "fitted"),
    [
        ("learning_rate", FloatRange(1e-3, 1e-2), FloatRange(1e-3, 1e-2)),
        ("learning_rate", IntRange(1, 1), FloatRange(1.0, 1.0)),
        ("learning_rate", Choices((1, 0.01)), Choices((1.0, 0.01))),
        ("epochs", FloatRange(2.0, 9.0, log=True), IntRange(2, 9, log=True)),
        ("epochs", Choices((3.0,)), Choices((3,))),
        ("layers", Choices((4.0, 1.0)), Choices((4, 1))),
        ("bias", Choices((True,)), Choices((True,))),
        ("architecture", Choices(("net",)), Choices(("net",))),
    ],
)
def test_domains_inside_take_the_task_s_types(
    task: TaskInfo, key: str, wanted: Domain, fitted: Domain
) -> None:
    checked = check_space({key: wanted}, task)
    assert checked.violations == []
    assert repr(checked.space) == repr({key: fitted})


@pytest.mark.parametrize(
    ("key", "wanted", "text"),
    [
        ("learning_rate", FloatRange(0.0, 0.1, log=True), "low must be above 0, got 0"),
        ("learning_rate", FloatRange(math.nan, 0.1), "is empty: low nan is above high 0.1"),
        ("learning_rate", Choices(()), "has no values; give at least one"),
        ("learning_rate", Choices(("fast",)), "fast is not inside 0.0001..0.1 or 0.001..1"),
        ("learning_rate", Choices((None,)), "None is not inside"),
        ("epochs", FloatRange(1.5, 3.0), "1.5..3 is not inside 1..30"),
        ("epochs", IntRange(1, 31), "1..31 is not inside 1..30"),
        ("layers", IntRange(1, 4), "1..4 is not inside 1, 2, 4"),
        ("layers", Choices((1, 3)), "1, 3 is not inside 1, 2, 4"),
        ("layers", Choices((True,)), "True is not inside 1, 2, 4"),
        ("bias", Choices((1,)), "1 is not inside True, False"),
        ("architecture", IntRange(0, 1), "must be choices among: line, net"),
    ],
)
def test_domains_that_are_empty_or_outside(
    task: TaskInfo, key: str, wanted: Domain, text: str
) -> None:
    (violation,) = check_space({key: wanted}, task).violations
    assert violation.field == f'job.search_space["{key}"]'
    assert text in violation.description


def test_a_domain_must_fit_the_chosen_architectures(task: TaskInfo) -> None:
    chosen = {"architecture": Choices(("line",))}
    (violation,) = check_space({**chosen, "layers": Choices((1,))}, task).violations
    assert violation.description == "the chosen architectures do not have it; these do: net"
    (violation,) = check_space({**chosen, "learning_rate": Choices((0.5,))}, task).violations
    assert violation.description == "0.5 is not inside 0.0001..0.1"


@pytest.mark.parametrize(
    ("constraints", "fields"),
    [
        (Constraints(), []),
        (Constraints(0.005, 1_000_000), []),
        (Constraints(max_latency_seconds=0.0), ["job.constraints.max_latency"]),
        (
            Constraints(-1.0, 0),
            ["job.constraints.max_latency", "job.constraints.max_size_bytes"],
        ),
    ],
)
def test_constraints_are_above_zero(constraints: Constraints, fields: list[str]) -> None:
    found = list(check_constraints(constraints))
    assert [violation.field for violation in found] == fields
    assert all("leave it unset" in violation.description for violation in found)
