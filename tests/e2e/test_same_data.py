"""The same rows from a file, a store of objects, a database and an upload train the same model."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import seedbed
from tests.e2e.conftest import serve

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

BUCKET = "seedbed-test"


@dataclass(frozen=True)
class Places:
    """A server, and the same table in a folder that it may read and in a bucket."""

    client: seedbed.Client
    address: str
    folder: Path


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the table in several formats; the CSV file is in the bucket too."""
    folder = tmp_path_factory.mktemp("places")
    generator = pd.Series(range(400))
    table = pd.DataFrame(
        {
            "size": (generator * 37 % 101) / 10,
            "colour": generator.map(lambda i: ("red", "green", "blue")[i % 3]),
            "weight": generator * 53 % 89,
        }
    )
    table["kind"] = ((table["size"] + table["weight"] / 20) > 7).map({True: "big", False: "small"})
    table.to_csv(folder / "table.csv", index=False)
    table.to_parquet(folder / "table.parquet")
    with sqlite3.connect(folder / "table.db") as database:
        table.to_sql("things", database, index=False)
    patch = pytest.MonkeyPatch()
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.upload_file(str(folder / "table.csv"), BUCKET, "in/table.csv")
    yield folder
    server.stop()
    patch.undo()


@pytest.fixture(scope="module")
def places(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    allowed = [part for scheme in ("s3", "sqlite") for part in ("--allow-scheme", scheme)]
    data_dir = tmp_path_factory.mktemp("server") / "data"
    with (
        serve(data_dir, "--allow-root", str(bucket), *allowed) as server,
        seedbed.connect(server.address) as client,
    ):
        yield Places(client, server.address, bucket)


def trained(client: seedbed.Client, data: str, query: str = "") -> tuple[object, ...]:
    """What tells one model from another."""
    job = client.train(
        "tabular",
        data,
        target="kind",
        query=query,
        budget="3trials",
        seed=3,
    )
    assert job.test_score is not None
    board = [(t.architecture, dict(t.parameters), t.validation_score) for t in job.trials()]
    return board, job.test_score.value


def test_every_place_trains_the_same_model(places: Places) -> None:
    client, folder = places.client, places.folder
    # The client uploads what is a file here; the server reads the others by itself.
    expected = trained(client, str(folder / "table.csv"))
    assert trained(client, f"s3://{BUCKET}/in/table.csv") == expected
    assert trained(client, str(folder / "table.parquet")) == expected
    query = "SELECT size, colour, weight, kind FROM things ORDER BY rowid"
    assert trained(client, f"sqlite:///{folder}/table.db", query) == expected


def test_a_place_that_is_not_there_is_named(places: Places) -> None:
    for uri, said in {
        f"s3://{BUCKET}/in/other.csv": "does not exist",
        "gs://bucket/file.csv": "--allow-scheme gs",
        "https://example.invalid/file.csv": "--allow-scheme https",
    }.items():
        with pytest.raises(seedbed.InvalidArgument) as caught:
            places.client.create_dataset(uri)
        assert said in str(caught.value), str(caught.value)
    with pytest.raises(seedbed.InvalidArgument, match="SELECT"):
        places.client.create_dataset(
            f"sqlite:///{places.folder}/table.db", query="DROP TABLE things"
        )
