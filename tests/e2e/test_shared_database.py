"""A search that goes on at another server on the same PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

import seedbed
from tests.conftest import eventually
from tests.e2e.conftest import serve, write_noise
from tests.running_databases import Cluster
from tests.shared_databases import new_database

SPACE: dict[str, object] = {"architecture": "tabm", "epochs": 8, "batch_size": 64}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_search_whose_server_is_killed_ends_at_the_other(
    tmp_path: Path, cluster: Cluster
) -> None:
    settings = (f"SEEDBED_DATABASE={new_database(cluster)}", "SEEDBED_LEASE_SECONDS=5")
    data_dir, allowed = tmp_path / "data", ("--allow-root", str(tmp_path))
    table = write_noise(tmp_path / "noise.csv", rows=1000)
    with serve(data_dir, *allowed, prefix=("env", *settings)) as first:
        with seedbed.connect(first.address) as client:
            job = client.train(
                "tabular",
                table,
                target="y",
                budget="4trials",
                search_space=SPACE,
                seed=1,
                detach=True,
            )
            ended = seedbed.TrialState.COMPLETE
            assert eventually(lambda: [t.state for t in job.trials()].count(ended) >= 1, 240)
        with (
            serve(data_dir, *allowed, prefix=("env", *settings)) as second,
            seedbed.connect(second.address) as client,
        ):
            before = {t.number: t for t in client.job(job.id).trials() if t.state is ended}
            first.kill()
            after = client.job(job.id)
            model = after.wait().model()
            trials = {t.number: t for t in after.trials()}
            assert {number: trials[number] for number in before} == before
            counted = [t for t in trials.values() if t.state is not seedbed.TrialState.FAILED]
            assert len(counted) == 4
            settings_tried = [sorted(t.parameters.items()) for t in counted]
            assert all(settings_tried.count(tried) == 1 for tried in settings_tried)
            assert model.predict([{"a": 0.1, "b": 0.2, "c": "x"}])
