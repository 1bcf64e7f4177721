"""The client against a real server."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import seedbed
from seedbed.upload import CHUNK_BYTES, zip_folder
from tests.client.proxy import BreakingProxy
from tests.client.tables import write_table


@pytest.fixture(scope="module")
def trained(server: str, server_root: Path) -> seedbed.Job:
    """A job on a small table that the server reads itself, with its events in `EVENTS`."""
    table = write_table(server_root / "small.csv")
    with seedbed.connect(server) as client:
        EVENTS.clear()
        dataset = client.create_dataset(f"file://{table}")
        return client.train(
            "tabular", dataset, target="label", budget="3trials", seed=1, progress=EVENTS.append
        )


EVENTS: list[seedbed.Event] = []


def test_no_server_there_says_what_to_do() -> None:
    with pytest.raises(seedbed.Unavailable) as caught:
        seedbed.connect("127.0.0.1:1")
    assert str(caught.value).startswith(
        "no seedbed server answers at 127.0.0.1:1; start one with "
        "`seedbed serve --address 127.0.0.1:1`"
    )


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:8470", "server: is HOST:PORT or unix:PATH without http://"),
        ("localhost", "server: is HOST:PORT or unix:PATH, such as 127.0.0.1:8470, got 'localhost'"),
    ],
)
def test_an_address_that_is_none_is_refused(address: str, says: str) -> None:
    with pytest.raises(seedbed.InvalidArgument) as caught:
        seedbed.connect(address)
    assert str(caught.value).startswith(says)


def test_lists_tasks(server: str) -> None:
    with seedbed.connect(server) as client:
        tasks = {task.id: task for task in client.tasks()}
        assert client.plugin_problems() == []
        assert client.task("tabular") == tasks["tabular"]
        with pytest.raises(seedbed.NotFound, match="tabular"):
            client.task("tabula")
    assert any(a.baseline for a in tasks["tabular"].architectures)


def test_inspects(server: str, server_root: Path) -> None:
    table = write_table(server_root / "inspected.csv")
    with seedbed.connect(server) as client:
        dataset = client.create_dataset(f"file://{table}")
        found = client.inspect(dataset, "label")
        assert client.dataset(dataset.id) == dataset
        assert dataset in client.datasets()
        client.delete_dataset(dataset)
        with pytest.raises(seedbed.NotFound):
            client.dataset(dataset.id)
    assert [column.name for column in found.columns] == ["size", "colour", "label"]
    assert set(found.classes) == {"yes", "no"}
    assert "tasks/tabular" in found.tasks


def test_trains_and_predicts(server: str, trained: seedbed.Job) -> None:
    with seedbed.connect(server) as client:
        job = client.job(trained.id)
        assert job.state is seedbed.JobState.SUCCEEDED
        assert job.info.stop_reason == "TRIAL_BUDGET"
        trials = job.trials()
        assert len(trials) == 3
        assert any(trial.baseline for trial in trials)
        assert job.test_score is not None
        assert job.test_score.lower is not None
        assert job.test_score.lower <= job.test_score.value
        model = job.model()
        rows = [{"size": 3.0, "colour": "red"}, {"size": -3.0, "colour": None}]
        yes, no = model.predict(rows)
        assert isinstance(yes, seedbed.Classification)
        assert (yes.value, no.value) == ("yes", "no")
        assert sum(yes.probabilities.values()) == pytest.approx(1)
        assert model.predict(rows[0]) == [yes]
        assert model.predict([]) == []
        assert model.id in [other.id for other in client.models()]


def test_events_are_typed_and_without_gaps(server: str, trained: seedbed.Job) -> None:
    assert [event.sequence for event in EVENTS] == list(range(1, len(EVENTS) + 1))
    kinds = {type(event.body) for event in EVENTS}
    assert {
        seedbed.StateChanged,
        seedbed.TrialStarted,
        seedbed.EpochFinished,
        seedbed.TrialFinished,
        seedbed.BestChanged,
    } <= kinds
    last = EVENTS[-1].body
    assert isinstance(last, seedbed.StateChanged)
    assert last.state is seedbed.JobState.SUCCEEDED
    with seedbed.connect(server) as client:
        job = client.job(trained.id)
        assert list(job.watch(after=len(EVENTS) - 2)) == EVENTS[-2:]
        assert list(job.watch(after=len(EVENTS))) == []


def test_violations_read_well(server: str, server_root: Path) -> None:
    table = write_table(server_root / "violations.csv")
    with seedbed.connect(server) as client:
        dataset = client.create_dataset(f"file://{table}")
        with pytest.raises(seedbed.InvalidArgument) as caught:
            client.train("tabular", dataset, target="label", options={"no_such_option": 1})
        assert "no_such_option" in str(caught.value)
        assert caught.value.violations[0].field.startswith("job.options")
        with pytest.raises(seedbed.InvalidArgument) as caught:
            client.train("tabular", dataset, target="lable")
        assert caught.value.violations[0].field == "job.target"
        assert "label" in str(caught.value)


def test_a_predict_row_must_have_the_columns(server: str, trained: seedbed.Job) -> None:
    with seedbed.connect(server) as client:
        model = client.model(client.job(trained.id).info.model)
        with pytest.raises(seedbed.InvalidArgument, match="colour"):
            model.predict({"size": 1.0})
        with pytest.raises(seedbed.InvalidArgument, match="shape"):
            model.predict({"size": 1.0, "colour": "red", "shape": "round"})


def test_downloads_the_bundle_whole(server: str, trained: seedbed.Job, tmp_path: Path) -> None:
    with seedbed.connect(server) as client:
        model = client.job(trained.id).model()
        path = model.download(tmp_path)
        assert path == tmp_path / f"{model.id}.zip"
        assert model.info.size_bytes > 0
        with zipfile.ZipFile(path) as bundle:
            assert bundle.testzip() is None
            assert not [name for name in bundle.namelist() if name.endswith((".pkl", ".pt"))]
        with pytest.raises(seedbed.InvalidArgument, match="path: there is no folder"):
            model.download(tmp_path / "none" / "model.zip")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_uploads_what_the_server_cannot_read(server: str, tmp_path: Path) -> None:
    train, test = write_table(tmp_path / "a.csv"), write_table(tmp_path / "b.csv", seed=1)
    with seedbed.connect(server) as client:
        dataset = client.create_dataset(train, test=test)
        assert [source.split for source in dataset.sources] == ["TRAIN", "TEST"]
        uploaded = client.dataset(dataset.sources[0].uri)
        assert uploaded.display_name == "a.csv"
        assert uploaded.size_bytes == train.stat().st_size
        found = client.inspect(dataset, "label")
        assert found.splits == {"TRAIN": 300, "TEST": 300}
        assert client.create_dataset(uploaded.id) == uploaded


def test_an_upload_goes_on_after_a_break(server: str, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    write_table(path, rows=200_000)
    assert path.stat().st_size > 3 * CHUNK_BYTES
    with (
        BreakingProxy(server, cut_after=2 * CHUNK_BYTES) as proxy,
        seedbed.connect(proxy.address) as client,
    ):
        dataset = client.create_dataset(path)
        assert proxy.connections >= 2
    assert dataset.size_bytes == path.stat().st_size


def test_a_watch_goes_on_after_breaks(server: str, server_root: Path) -> None:
    table = write_table(server_root / "watched.csv")
    with BreakingProxy(server) as proxy, seedbed.connect(proxy.address) as client:
        dataset = client.create_dataset(f"file://{table}")
        job = client.train("tabular", dataset, target="label", budget="3trials", detach=True)
        seen = []
        for event in job.watch():
            seen.append(event.sequence)
            if len(seen) in (2, 5):
                proxy.cut()
        assert proxy.connections >= 3
    assert seen == list(range(1, len(seen) + 1))


def test_data_that_cannot_be(server: str, tmp_path: Path) -> None:
    with seedbed.connect(server) as client:
        with pytest.raises(seedbed.InvalidArgument) as caught:
            client.create_dataset("none.csv")
        assert str(caught.value) == "data: there is no file, folder or dataset 'none.csv'"
        (tmp_path / "empty.csv").touch()
        with pytest.raises(seedbed.InvalidArgument, match=r"data: .*empty.csv is empty"):
            client.create_dataset(tmp_path / "empty.csv")
        with pytest.raises(seedbed.InvalidArgument, match="data: is empty"):
            client.create_dataset([])


@pytest.mark.parametrize(
    ("points", "field", "says"),
    [
        ({"epochs": 5}, "starting_points", "must be a list of mappings, got {'epochs': 5}"),
        (["tabm"], "starting_points[0]", "must be a mapping of names to values, got 'tabm'"),
        ([{"epochs": {1, 2}}], "starting_points[0]", "must hold what JSON can say"),
    ],
)
def test_starting_points_that_cannot_be(server: str, points: Any, field: str, says: str) -> None:
    with seedbed.connect(server) as client, pytest.raises(seedbed.InvalidArgument) as caught:
        client.train("tabular", "sample://wine", starting_points=points)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert says in str(caught.value)


def test_stops_and_cancels(server: str, server_root: Path) -> None:
    table = write_table(server_root / "long.csv")
    with seedbed.connect(server) as client:
        dataset = client.create_dataset(f"file://{table}")
        job = client.train("tabular", dataset, target="label", budget="10m", detach=True)
        for event in job.watch():
            if isinstance(event.body, seedbed.BestChanged):
                job.stop()
        assert job.refresh().state is seedbed.JobState.SUCCEEDED
        assert job.info.stop_reason == "USER"
        job = client.train("tabular", dataset, target="label", budget="10m", detach=True)
        with pytest.raises(seedbed.FailedPrecondition, match=r"has no model: wait\(\) for its end"):
            job.model()
        job.cancel()
        assert job.wait().state is seedbed.JobState.CANCELLED
        with pytest.raises(seedbed.FailedPrecondition, match="it ended without one"):
            job.model()
        job.delete()
        with pytest.raises(seedbed.NotFound):
            job.refresh()


def test_a_closed_client_says_so(server: str) -> None:
    client = seedbed.connect(server)
    client.close()
    with pytest.raises(seedbed.Unavailable, match="the client is closed"):
        client.tasks()


def test_the_same_folder_packs_to_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.png").write_bytes(b"one")
    (folder / "notes.csv").write_bytes(b"a,b\n" * 100)
    (folder / ".hidden").write_bytes(b"no")
    zip_folder(folder, tmp_path / "a.zip")
    (folder / "cat" / "1.png").touch()
    zip_folder(folder, tmp_path / "b.zip")
    digests = [hashlib.sha256((tmp_path / n).read_bytes()).digest() for n in ("a.zip", "b.zip")]
    assert digests[0] == digests[1]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["cat/1.png", "notes.csv"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(seedbed.InvalidArgument, match=r"data: the folder .* has no files"):
        zip_folder(tmp_path / "empty", tmp_path / "c.zip")
