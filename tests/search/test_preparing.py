"""Which jobs share prepared data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.trainer import Hardware
from seedbed_server.data.sources import DataSource
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.preparing import prepare, scope
from seedbed_server.store import PreparedStore
from tests.store.values import a_dataset, a_job

SOURCES = (DataSource("/data/t.csv"),)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def plan_of(registry: Registry, **options: Any) -> Plan:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(200, 3)), columns=["a", "b", "c"])
    frame["y"] = np.where(frame["a"] > 0, "high", "low")
    return make_plan(
        registry,
        Dataset.from_frame(frame),
        task_name="tabular",
        target="y",
        options=options,
        metric_name="",
        search_space={},
        hardware=Hardware(),
    )


def scope_of(
    registry: Registry,
    fingerprint: str = "f",
    sources: tuple[DataSource, ...] = SOURCES,
    **options: Any,
) -> str:
    plan = plan_of(registry, **options)
    return scope(plan, a_job(target="y"), a_dataset(fingerprint=fingerprint), sources, registry)


def test_jobs_on_the_same_content_share(registry: Registry) -> None:
    usual = scope_of(registry)
    assert scope_of(registry) == usual
    assert scope_of(registry, valid_fraction=0.3, test_fraction=0.1) == usual
    assert scope_of(registry, sources=(DataSource("/elsewhere/t.csv"),)) == usual


@pytest.mark.parametrize(
    "differing",
    [
        {"fingerprint": "other"},
        {"exclude": ["b"]},
        {"max_bad_fraction": 0.5},
        {"group_column": "c"},
        {"sources": (DataSource("/data/t.csv", role="items"),)},
    ],
    ids=lambda differing: next(iter(differing)),
)
def test_jobs_on_other_data_or_with_other_options_do_not(
    registry: Registry, differing: dict[str, Any]
) -> None:
    assert scope_of(registry, **differing) != scope_of(registry)


def test_a_second_job_finds_what_the_first_prepared(registry: Registry, tmp_path: Path) -> None:
    store = PreparedStore(tmp_path)
    for _ in range(2):
        plan = plan_of(registry)
        job = a_job(target="y", seed=1)
        prepared = prepare(plan, job, a_dataset(), SOURCES, registry, store, memory_limit=2**20)
        assert len(prepared.train) == 128
        assert not plan.block.items
        assert prepared.store is not None
        kept = prepared.store.get_or_compute("features", lambda: {"x": np.ones(3)})
        assert kept["x"].sum() == 3
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    store.close()
