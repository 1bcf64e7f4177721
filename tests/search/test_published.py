"""When the model of an extended job gives way to another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from seedbed_sdk.metrics import METRICS
from seedbed_server.jobs.values import Model, Score, Trial
from seedbed_server.search.candidates import Candidate
from seedbed_server.search.chosen import Chosen, Part
from seedbed_server.search.published import Published

TRUTH = np.arange(10.0)
RMSE = METRICS["rmse"]


def outputs(error: float) -> Any:
    """With this rmse."""
    return (TRUTH + error)[:, None]


def published(error: float, members: list[int], refits: int = 0) -> Published:
    refit: list[dict[str, object] | None] = [
        {} if place < refits else None for place in range(max(refits, len(members)))
    ]
    model = Model(
        id="m",
        project="default",
        task="tabular",
        job="j",
        trial=members[0],
        architecture="line",
        parameters={},
        inputs=(),
        folder="m",
        create_time=datetime.now(UTC),
        validation_score=Score("rmse", error, 10),
        recipe={"members": members * (len(refit) // len(members)), "refit": refit},
    )
    return Published(model, RMSE, TRUTH)


def chosen(error: float, members: list[int], refits: int = 0) -> Chosen:
    candidates = [Candidate(Trial(n, "line", {}), None, outputs(error)) for n in members]
    parts = [
        Part(candidate, None, refitted={} if place < refits else None)  # type: ignore[arg-type]
        for place, candidate in enumerate(candidates)
    ]
    return Chosen(tuple(parts), outputs(error))


def test_what_has_a_better_score_takes_its_place() -> None:
    before = published(1.0, [3])
    for better in (chosen(0.9, [5]), chosen(0.9, [3, 5]), chosen(0.9, [3])):
        assert before.may_give_way_to(better) and before.gives_way_to(better)
    for no_better in (chosen(1.0, [5]), chosen(1.1, [3, 5]), chosen(1.1, [3])):
        assert not before.may_give_way_to(no_better) and not before.gives_way_to(no_better)
    assert not published(1.0, [3], refits=1).gives_way_to(chosen(1.0, [5], refits=1))


def test_its_own_trial_takes_its_place_where_more_models_are_trained_on_all_items() -> None:
    before = published(1.0, [3])
    assert before.may_give_way_to(chosen(1.0, [3])) and not before.gives_way_to(chosen(1.0, [3]))
    assert before.gives_way_to(chosen(1.0, [3], refits=1))
    once = published(1.0, [3], refits=1)
    assert not once.gives_way_to(chosen(1.0, [3], refits=1))
    assert once.gives_way_to(chosen(1.0, [3, 3], refits=2))


def test_an_ensemble_does_not_give_way_to_another_that_is_no_better() -> None:
    before = published(1.0, [3, 4])
    assert not before.may_give_way_to(chosen(1.0, [3, 4], refits=2))
    assert not before.gives_way_to(chosen(1.0, [3], refits=1))
