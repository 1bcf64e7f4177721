"""What searches leave for later ones: of one project, for as long as the job is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from seedbed_server.jobs.values import Winner
from seedbed_server.store import Store
from seedbed_server.store.values import now
from tests.store.values import with_job


def put(store: Store, job_id: str, **fields: Any) -> Winner:
    """A job that has ended, and what it found."""
    project = fields.get("project", "default")
    if job_id not in store.jobs.ids():
        with_job(store, job_id, project=project)
        store.jobs.cancel(job_id)
    winner = Winner(
        job=job_id,
        project=project,
        task="tiny",
        target="y",
        target_type="category",
        metric="accuracy",
        architecture="net",
        parameters={"epochs": 3, "learning_rate": 0.1, "bias": True, "layers": None},
        score=0.75,
        features={"items": 2.5, "column:numeric": 1.0},
        dataset_fingerprint="f" * 64,
        create_time=now(),
    )
    winner = replace(winner, **fields)
    with store.jobs.writing(job_id) as writer:
        store.winners.put(writer, winner)
    return winner


def test_winners_come_back_as_they_were_the_newest_first(store: Store) -> None:
    first, second = put(store, "job1"), put(store, "job2", create_time=now() + timedelta(hours=1))
    assert store.winners.of("default", "tiny") == [second, first]
    assert store.winners.of("default", "small") == []


def test_no_project_sees_another_s(store: Store) -> None:
    mine, theirs = put(store, "job1"), put(store, "job2", project="theirs")
    assert store.winners.of("default", "tiny") == [mine]
    assert store.winners.of("theirs", "tiny") == [theirs]
    assert store.winners.of("nobody", "tiny") == []


def test_a_job_that_was_extended_has_one_and_a_deleted_job_none(store: Store) -> None:
    put(store, "job1")
    better = put(store, "job1", score=0.9)
    assert store.winners.of("default", "tiny") == [better]
    store.jobs.delete("job1")
    assert store.winners.of("default", "tiny") == []
