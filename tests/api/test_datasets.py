"""DatasetService: registering, uploading in pieces, inspecting, deleting."""

from __future__ import annotations

import hashlib
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from seedbed.v1 import datasets_pb2
from tests.api.harness import Harness, launch, refused
from tests.conftest import eventually

Source = datasets_pb2.DataSource
DATA = bytes(range(256)) * 20000


def create(*sources: Source, **fields: Any) -> datasets_pb2.CreateDatasetRequest:
    dataset = datasets_pb2.Dataset(sources=sources)
    return datasets_pb2.CreateDatasetRequest(dataset=dataset, **fields)


def get(service: Harness, name: str) -> datasets_pb2.Dataset:
    return service.datasets.GetDataset(datasets_pb2.GetDatasetRequest(name=name))


def delete(service: Harness, name: str) -> Empty:
    return service.datasets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(name=name))


def header(
    upload_id: str, data: bytes = DATA, /, **fields: Any
) -> datasets_pb2.UploadDatasetRequest:
    values = {
        "upload_id": upload_id,
        "file_name": "table.csv",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **fields,
    }
    return datasets_pb2.UploadDatasetRequest(header=datasets_pb2.UploadHeader(**values))


def chunks(data: bytes, size: int = 2**20) -> list[datasets_pb2.UploadDatasetRequest]:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return [datasets_pb2.UploadDatasetRequest(chunk=piece) for piece in pieces]


def upload(service: Harness, *parts: Any) -> datasets_pb2.UploadDatasetResponse:
    return service.datasets.UploadDataset(iter(parts), timeout=20)


def test_a_dataset_is_registered_by_uri(service: Harness, root: Path) -> None:
    path = root / "registered.csv"
    name = service.dataset(path, "a,b\n1,2\n")
    dataset = get(service, name)
    assert dataset.display_name == "registered.csv"
    assert dataset.sources[0].uri == str(path)
    assert dataset.size_bytes == 8
    assert len(dataset.fingerprint) == 64
    assert get(service, name.rpartition("/")[2]) == dataset


def test_what_may_not_be_read_is_named(service: Harness, root: Path) -> None:
    error = refused(
        service.datasets.CreateDataset,
        create(
            Source(uri="/etc/hostname"),
            Source(uri=str(root / "none.csv")),
            Source(uri="s3://bucket/x"),
        ),
    )
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert set(error.violations) == {f"dataset.sources[{i}].uri" for i in range(3)}
    assert str(root) in error.violations["dataset.sources[0].uri"]
    assert "does not exist" in error.violations["dataset.sources[1].uri"]
    assert "'s3'" in error.violations["dataset.sources[2].uri"]
    error = refused(service.datasets.CreateDataset, create())
    assert "dataset.sources" in error.violations
    error = refused(service.datasets.CreateDataset, create(Source(uri="dataset:abcd")))
    assert "write datasets/ID" in error.violations["dataset.sources[0].uri"]
    error = refused(service.datasets.CreateDataset, create(Source(uri="datasets/nothere")))
    assert error.violations == {"dataset.sources": "there is no dataset 'nothere'"}


def test_checking_creates_nothing_and_a_request_id_creates_once(
    service: Harness, root: Path
) -> None:
    (root / "once.csv").write_text("a\n1\n")
    source = Source(uri=str(root / "once.csv"))
    checked = service.datasets.CreateDataset(
        create(source, validate_only=True, dataset_id="checked")
    )
    assert checked.fingerprint
    error = refused(service.datasets.GetDataset, datasets_pb2.GetDatasetRequest(name=checked.name))
    assert error.code == grpc.StatusCode.NOT_FOUND
    request = create(source, request_id=str(uuid.uuid4()))
    first = service.datasets.CreateDataset(request)
    assert service.datasets.CreateDataset(request).name == first.name
    request.dataset.display_name = "other"
    error = refused(service.datasets.CreateDataset, request)
    assert error.code == grpc.StatusCode.ALREADY_EXISTS


def test_a_dataset_of_datasets_keeps_them(service: Harness, root: Path) -> None:
    train = service.dataset(root / "inner-train.csv", "a\n1\n2\n")
    test = service.dataset(root / "inner-test.csv", "a\n3\n")
    sources = (Source(uri=train, split=Source.TRAIN), Source(uri=test, split=Source.TEST))
    both = service.datasets.CreateDataset(create(*sources))
    assert [s.uri for s in both.sources] == [train, test]
    assert [s.split for s in both.sources] == [Source.TRAIN, Source.TEST]
    error = refused(service.datasets.DeleteDataset, datasets_pb2.DeleteDatasetRequest(name=train))
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "is used by the dataset" in error.message
    delete(service, both.name)
    delete(service, train)
    assert (root / "inner-train.csv").exists()


def test_datasets_are_listed_newest_first(service: Harness, root: Path) -> None:
    names = [service.dataset(root / f"list-{i}.csv") for i in range(3)]
    page = service.datasets.ListDatasets(datasets_pb2.ListDatasetsRequest(page_size=2))
    assert [d.name for d in page.datasets] == names[:0:-1]
    page = service.datasets.ListDatasets(
        datasets_pb2.ListDatasetsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert page.datasets[0].name == names[0]


def test_a_file_is_uploaded_used_and_deleted(service: Harness) -> None:
    answer = upload(service, header("whole", display_name="All of it"), *chunks(DATA))
    assert answer.committed_bytes == len(DATA)
    dataset = answer.dataset
    assert dataset.display_name == "All of it"
    assert dataset.size_bytes == len(DATA)
    assert [s.uri for s in dataset.sources] == [dataset.name]
    folder = service.data_dir / "uploads" / dataset.name.rpartition("/")[2]
    assert (folder / "table.csv").read_bytes() == DATA
    # The same upload again is answered without a byte.
    assert upload(service, header("whole")).dataset.name == dataset.name
    job = service.finished(dataset.name)
    assert job.dataset == dataset.name
    delete(service, dataset.name)
    assert not folder.exists()


def test_an_upload_goes_on_where_it_was_cut(service: Harness) -> None:
    half = len(DATA) // 2

    def cut() -> Iterator[datasets_pb2.UploadDatasetRequest]:
        yield header("cut")
        yield from chunks(DATA[:half])
        while not cancelled:
            time.sleep(0.01)

    cancelled = False
    call = service.datasets.UploadDataset.future(cut())
    partial = service.data_dir / "uploads" / ".partial" / "default.cut"
    assert eventually(lambda: partial.exists() and partial.stat().st_size == half)
    busy = refused(service.datasets.UploadDataset, iter([header("cut")]))
    assert busy.reason == "UPLOAD_BUSY"
    call.cancel()
    cancelled = True
    assert eventually(
        lambda: _committed(service, "cut") == half,
    )
    error = refused(service.datasets.UploadDataset, iter([header("cut"), *chunks(DATA)]))
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert error.metadata == {"committed_bytes": str(half)}
    assert f"go on with offset {half}" in error.message
    # A stream that ends early keeps what arrived.
    answer = upload(service, header("cut", offset=half), *chunks(DATA[half : half + 10]))
    assert (answer.committed_bytes, answer.HasField("dataset")) == (half + 10, False)
    answer = upload(service, header("cut", offset=half + 10), *chunks(DATA[half + 10 :]))
    assert answer.dataset.size_bytes == len(DATA)


def _committed(service: Harness, upload_id: str) -> int:
    try:
        return upload(service, header(upload_id)).committed_bytes
    except grpc.RpcError:
        return -1


def test_an_upload_survives_the_server_s_death(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with launch(data_dir) as first:
        upload(first, header("long"), *chunks(DATA[: 2**20]))
        first.end(signal.SIGKILL)
    with launch(data_dir) as second:
        assert upload(second, header("long")).committed_bytes == 2**20
        answer = upload(second, header("long", offset=2**20), *chunks(DATA[2**20 :]))
        assert answer.HasField("dataset")


def test_a_wrong_hash_keeps_nothing(service: Harness) -> None:
    wrong = header("hash", sha256="0" * 64)
    error = refused(service.datasets.UploadDataset, iter([wrong, *chunks(DATA)]))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "nothing of it is kept" in error.violations["header.sha256"]
    assert not (service.data_dir / "uploads" / ".partial" / "default.hash").exists()
    assert upload(service, header("hash")).committed_bytes == 0


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("file_name", "../x.csv", "without folders"),
        ("file_name", "", "must be the file's name"),
        ("file_name", "..", "must be the file's name"),
        ("file_name", "a\\b", "without folders"),
        ("file_name", "é" * 128, "may have at most 255 bytes, got 256"),
        ("size_bytes", 0, "must be from 1 to 10,737,418,240, got 0"),
        ("size_bytes", 2**40, "must be from 1 to"),
        ("sha256", "abc", "64 hexadecimal digits, got 'abc'"),
        ("upload_id", "a/b", "1 to 63 letters"),
        ("dataset_id", "X", "4 to 63 of a-z"),
    ],
)
def test_a_header_that_will_not_do_is_refused(
    service: Harness, field: str, value: Any, text: str
) -> None:
    error = refused(service.datasets.UploadDataset, iter([header("bad", **{field: value})]))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert text in error.violations[f"header.{field}"]


def test_chunks_that_will_not_do_are_refused(service: Harness) -> None:
    call = service.datasets.UploadDataset
    error = refused(call, iter(chunks(b"abc")))
    assert "header" in error.violations
    error = refused(call, iter([]))
    assert "header" in error.violations
    error = refused(call, iter([header("twice"), header("twice")]))
    assert "every message after the first" in error.violations["chunk"]
    error = refused(call, iter([header("more", b"abc"), *chunks(b"abcd")]))
    assert "more than that came" in error.violations["chunk"]
    error = refused(call, iter([header("big"), *chunks(DATA, 2**20 + 1)]))
    assert error.violations["chunk"] == "may have at most 1048576 bytes, got 1048577"
    error = refused(call, iter([header("more", b"xyz", file_name="other.csv")]))
    assert error.reason == "UPLOAD_ID_REUSED"


def test_inspecting_returns_everything_typed(service: Harness, root: Path) -> None:
    name = service.dataset(root / "inspected.csv", "a,b\n1,2\n3,4\n")
    found = service.datasets.InspectDataset(datasets_pb2.InspectDatasetRequest(name=name))
    assert (found.layout, found.target) == ("table", "b")
    assert (found.splits[0].split, found.splits[0].item_count) == (Source.TRAIN, 3)
    assert found.columns[0].examples == ["1", "2"]
    assert found.classes[0].count == 3
    sample = found.samples[0].fields
    assert sample["a"].int64_value == 1
    assert sample["b"].WhichOneof("kind") == "null_value"
    assert sample["c"].double_value == 1.5
    assert sample["d"].bool_value is True
    assert sample["e"].string_value == "text"
    assert sample["f"].bytes_value == b"\x00\xff"
    assert [v.int64_value for v in sample["g"].list_value.values] == [1, 2]
    assert found.findings[0].severity == datasets_pb2.Finding.WARNING
    assert list(found.tasks) == ["tasks/small", "tasks/tiny"]
    assert (found.guesses[0].what, found.guesses[0].overrule) == ("target", "--target")
    assert (found.tables[0].role, list(found.tables[0].columns)) == ("items", ["a", "c"])


def test_a_layout_and_a_role_are_kept_and_checked(service: Harness, root: Path) -> None:
    path = root / "laid.csv"
    path.write_text("a,b\n1,2\n")
    source = datasets_pb2.DataSource(uri=str(path), role="items")
    wanted = datasets_pb2.Dataset(sources=[source], layout="table")
    request = datasets_pb2.CreateDatasetRequest(dataset=wanted)
    made = service.datasets.CreateDataset(request)
    kept = service.datasets.GetDataset(datasets_pb2.GetDatasetRequest(name=made.name))
    assert (kept.layout, kept.sources[0].role) == ("table", "items")
    request.dataset.layout = "tabel"
    error = refused(service.datasets.CreateDataset, request)
    assert error.violations["dataset.layout"].startswith("'tabel' is no layout; there are table, ")
    request.dataset.layout = ""
    request.dataset.sources[0].role = "Some Role"
    error = refused(service.datasets.CreateDataset, request)
    assert "such as items, users or legend" in error.violations["dataset.sources[0].role"]


def test_a_file_that_crashes_its_reader_is_the_caller_s_error(
    service: Harness, dataset: str
) -> None:
    request = datasets_pb2.InspectDatasetRequest(name=dataset, target="crash")
    error = refused(service.datasets.InspectDataset, request)
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "READING_PROCESS_DIED"
    assert "killed by signal 11 (SIGSEGV)" in error.message
    request.target = ""
    assert service.datasets.InspectDataset(request).layout == "table"
