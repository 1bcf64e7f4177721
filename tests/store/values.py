"""Values for tests of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_server.data.references import DataSource
from seedbed_server.jobs.values import Budget, InputField, Job, Model, Score
from seedbed_server.store import Dataset, Store
from seedbed_server.store.values import now


def a_dataset(dataset_id: str = "data", **fields: Any) -> Dataset:
    dataset = Dataset(
        id=dataset_id,
        project="default",
        display_name="t.csv",
        sources=(DataSource("/data/t.csv", "train"),),
        fingerprint="f" * 64,
        signature="s",
        size_bytes=8,
        create_time=now(),
    )
    return replace(dataset, **fields)


def a_job(job_id: str = "job1", **fields: Any) -> Job:
    time = now()
    job = Job(
        id=job_id,
        project="default",
        task="tiny",
        dataset="data",
        budget=Budget(wall_clock_seconds=60.0, trials=3),
        create_time=time,
        update_time=time,
        options={"mode": "ok", "list": [1, 2.5, None]},
        search_space={
            "learning_rate": FloatRange(1e-4, 0.1, log=True),
            "epochs": IntRange(1, 5),
            "architecture": Choices(("line", "net")),
        },
        seed=2**53,
    )
    return replace(job, **fields)


def with_job(store: Store, job_id: str = "job1", **fields: Any) -> Job:
    """A queued job over a dataset."""
    if not store.datasets.exists("data"):
        store.datasets.create(a_dataset())
    return store.jobs.create(a_job(job_id, **fields))


def a_model(model_id: str = "model1") -> Model:
    """A model of the job that `a_job` makes."""
    return Model(
        id=model_id,
        project="default",
        task="tiny",
        job="job1",
        trial=0,
        architecture="line",
        parameters={"learning_rate": 0.1},
        inputs=(InputField("a", "numeric"),),
        folder=model_id,
        create_time=now(),
        classes=("no", "yes"),
        validation_score=Score("accuracy", 0.5, 10),
    )
