"""The data directory: models and uploads appear whole or not at all, leftovers go."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from seedbed_sdk.errors import FailedPrecondition, NotFound, ResourceExhausted
from seedbed_server.data.references import DataSource
from seedbed_server.errors import StartupError
from seedbed_server.jobs.sources import sources_of
from seedbed_server.store import DATASET_SCHEME, Files, PageRequest, Store, Upload
from seedbed_server.store.files import write_text
from seedbed_server.store.values import new_id, now
from tests.store.values import a_dataset


def test_a_model_is_seen_once_it_is_whole(files: Files) -> None:
    with files.new_model_folder("job1") as folder:
        (folder.path / "sub").mkdir()
        (folder.path / "sub" / "weights").write_bytes(b"abc")
        assert not (files.models / folder.model_id).exists()
        name, size = folder.publish()
    assert size == 3
    assert (files.model(name) / "sub" / "weights").read_bytes() == b"abc"
    assert list(files.models.iterdir()) == [files.model(name)]
    files.delete_model(name)
    files.delete_model(name)
    assert list(files.models.iterdir()) == []


def test_a_model_that_was_not_published_leaves_nothing(files: Files) -> None:
    with pytest.raises(ZeroDivisionError), files.new_model_folder("job1") as folder:
        (folder.path / "weights").write_bytes(b"abc")
        raise ZeroDivisionError
    assert list(files.models.iterdir()) == []


def test_a_full_disk_is_an_error_that_names_folder_and_space(files: Files) -> None:
    with pytest.raises(ResourceExhausted) as raised, files.new_model_folder("job1") as folder:
        (folder.path / "weights").write_bytes(b"abc")
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"abc")
    assert raised.value.message.startswith(
        f"the disk is full: writing to {files.models} failed with "
    )
    assert raised.value.metadata["folder"] == str(files.models)
    assert list(files.models.iterdir()) == []


def test_other_errors_of_the_system_stay_what_they_are(files: Files) -> None:
    with pytest.raises(OSError) as raised, files.new_model_folder("job1"):
        raise OSError(errno.EIO, "broken disk")
    assert raised.value.errno == errno.EIO


def test_the_directory_is_its_owner_s_and_held_by_one(files: Files) -> None:
    assert stat.S_IMODE(files.root.stat().st_mode) == 0o700
    held = files.lock()
    with pytest.raises(StartupError, match="another process that is still starting"):
        files.lock()
    files.write_server_info({"pid": 1, "address": "x:1"})
    with pytest.raises(StartupError, match=r"in use by a seedbed server \(process 1 at x:1\)"):
        files.lock()
    held.close()
    files.lock().close()


def test_text_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "two")]


def test_the_sweep_removes_what_nobody_owns(files: Files) -> None:
    for path in (
        "models/kept",
        "models/gone",
        "models/.partial-job-x",
        "uploads/kept",
        "uploads/gone",
    ):
        (files.root / path).mkdir()
    files.job_scratch("kept").mkdir(parents=True)
    files.job_scratch("gone").mkdir()
    (files.cache / "kept" / "kept").mkdir(parents=True)
    (files.cache / "kept" / "gone").mkdir()
    new, old = files.partial_upload("default", "new"), files.partial_upload("default", "old")
    for partial in (new, old):
        partial.write_text("x")
    os.utime(old, (time.time() - 90000,) * 2)
    files.sweep(datasets={"kept"}, models={"kept"}, jobs={"kept"}, unfinished={"kept"})
    left = sorted(str(p.relative_to(files.root)) for p in files.root.rglob("*") if "kept" in p.name)
    assert left == [
        "cache/jobs/kept",
        "cache/kept",
        "cache/kept/kept",
        "models/kept",
        "uploads/kept",
    ]
    assert not [p for p in files.root.rglob("*") if "gone" in p.name or ".partial-" in p.name]
    assert new.exists() and not old.exists()


def test_what_an_extended_job_needs_is_put_by_and_taken_back(files: Files) -> None:
    scratch = files.job_scratch("job1")
    for name in ("trial-1", "trial-2", "paused-3"):
        (scratch / name).mkdir(parents=True)
        (scratch / name / "weights").write_text(name)
    files.put_by("job1", {"trial-1"})
    assert not scratch.exists()
    files.take_back("job1")
    assert [str(p.relative_to(scratch)) for p in sorted(scratch.rglob("*"))] == [
        "trial-1",
        "trial-1/weights",
    ]
    # What a worker that was lost had left is newer.
    files.put_by("job1", {"trial-1"})
    (scratch / "trial-4").mkdir(parents=True)
    files.take_back("job1")
    assert [p.name for p in scratch.iterdir()] == ["trial-4"]
    files.drop_kept("job1")
    files.take_back("job2")
    assert not (files.cache / "kept" / "job1").exists()


def test_scratch_files_have_no_name(files: Files) -> None:
    descriptor = files.open_scratch()
    assert list(files.cache.iterdir()) == []
    os.close(descriptor)


def test_ids_are_valid_and_differ() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(i) == 12 and i[0].isalpha() and i.isalnum() and i.islower() for i in ids)


def test_sources_are_followed_through_datasets(store: Store, files: Files) -> None:
    store.datasets.create(a_dataset("uploaded", sources=(), upload_file="u.csv"))
    inner = (DataSource("/a"), DataSource("/b", "test"))
    store.datasets.create(a_dataset("inner", sources=inner))
    outer = a_dataset(
        "outer",
        sources=(
            DataSource(f"{DATASET_SCHEME}inner"),
            DataSource(f"{DATASET_SCHEME}inner", "valid"),
            DataSource(f"{DATASET_SCHEME}uploaded", "train"),
        ),
    )
    store.datasets.create(outer, uses=("inner", "uploaded"))
    assert store.datasets.get("outer") == outer
    uploaded = str(files.uploads / "uploaded" / "u.csv")
    assert sources_of(outer, store, files) == (
        DataSource("/a"),
        DataSource("/b", "test"),
        DataSource("/a", "valid"),
        DataSource("/b", "valid"),
        DataSource(uploaded, "train"),
    )
    with pytest.raises(FailedPrecondition, match="is used by the dataset outer"):
        store.datasets.delete("inner")
    with pytest.raises(NotFound):
        store.datasets.create(a_dataset("other"), uses=("none",))
    assert not store.datasets.exists("other")
    assert len(store.datasets.list("default", PageRequest()).items) == 3


def test_an_upload_id_belongs_to_one_file(store: Store) -> None:
    upload = Upload("up", "default", "t.csv", 3, "a" * 64, "t", "data", now())
    assert store.uploads.begin(upload) == upload
    again = Upload("up", "default", "t.csv", 3, "a" * 64, "t", "other", now())
    assert store.uploads.begin(again) == upload
    other = Upload("up", "default", "t.csv", 4, "a" * 64, "t", "data", now())
    with pytest.raises(FailedPrecondition, match=r"is in use for 't\.csv' of 3 bytes"):
        store.uploads.begin(other)
    assert store.uploads.drop_unfinished(now()) == ["up"]
    assert store.uploads.begin(other) == other
