"""Jobs that look for the learning rate before they search."""

from __future__ import annotations

import pytest

import seedbed
from tests.e2e.conftest import SAMPLE, House


def train(house: House, budget: str) -> seedbed.Job:
    return house.client.train(
        "tabular",
        SAMPLE,
        budget=budget,
        search_space={"architecture": "tabm", "epochs": 4},
        find_learning_rate=True,
        seed=1,
    )


def test_the_rate_that_was_found_is_tried_after_the_default(house: House) -> None:
    job = train(house, "3trials")
    assert job.info.find_learning_rate
    first, second, _ = job.trials("number")
    assert first.parameters["learning_rate"] == pytest.approx(4e-3)
    assert second.parameters["learning_rate"] != first.parameters["learning_rate"]
    assert {**second.parameters, "learning_rate": 0} == {**first.parameters, "learning_rate": 0}
    # What the test passes counts: a hundred batches.
    passed = job.info.samples - sum(t.samples for t in job.trials())
    assert passed > 0 and passed % 100 == 0
    again = train(house, "3trials").trials("number")
    assert [t.parameters for t in again] == [t.parameters for t in job.trials("number")]
    assert [t.validation_score for t in again] == [t.validation_score for t in job.trials("number")]


def test_a_test_that_would_take_much_of_the_budget_is_left_out(house: House) -> None:
    job = train(house, "3000samples")
    assert job.info.samples == sum(t.samples for t in job.trials())
    first, second = job.trials("number")[:2]
    assert {**second.parameters, "learning_rate": 0} != {**first.parameters, "learning_rate": 0}
