"""Prepared data: written once, whole or not at all, and the least recently used goes first."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from seedbed_sdk.mapped import StoredArrays
from seedbed_server.store import PreparedFolders, PreparedStore

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreparedStore]:
    opened = PreparedStore(tmp_path / "prepared")
    yield opened
    opened.close()


def writer(size: int = 100, calls: list[int] | None = None) -> Callable[[Path], None]:
    """Writes a file of `size` bytes and counts itself."""

    def write(folder: Path) -> None:
        if calls is not None:
            calls.append(size)
        (folder / "data").write_bytes(bytes(size))

    return write


def test_an_entry_is_written_once(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(3):
        store = PreparedStore(tmp_path / "prepared")
        folder = store.folder("key", writer(calls=calls))
        assert folder is not None
        assert (folder / "data").stat().st_size == 100
        store.close()
    assert calls == [100]


def test_entries_of_different_keys_differ(store: PreparedStore) -> None:
    assert store.folder("a", writer()) != store.folder("b", writer())


def test_what_fails_leaves_nothing(store: PreparedStore) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ValueError("no such pictures")

    with pytest.raises(ValueError, match="no such pictures"):
        store.folder("key", fail)
    assert not [path for path in store.root.iterdir() if path.is_dir()]
    calls: list[int] = []
    store.folder("key", writer(calls=calls))
    assert calls == [100]


def _die_while_writing(root: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        os._exit(9)

    PreparedStore(root).folder("key", write)


def test_a_process_that_dies_while_writing_leaves_nothing_that_counts(store: PreparedStore) -> None:
    process = SPAWN.Process(target=_die_while_writing, args=(store.root,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert list(store.root.glob(".partial-*"))
    folder = store.folder("key", writer())
    assert folder is not None
    assert [path.name for path in folder.iterdir()] == ["data"]
    assert not list(store.root.glob(".partial-*"))


def test_a_sweep_removes_what_dead_processes_were_writing(store: PreparedStore) -> None:
    (store.root / ".partial-x").mkdir()
    store.sweep()
    assert not list(store.root.glob(".partial-*"))


def _write_slowly(root: Path, line: Connection) -> None:
    """Says when it is writing, goes on when told, and says whether it wrote."""
    wrote: list[int] = []

    def write(folder: Path) -> None:
        line.send("writing")
        line.recv()
        writer(calls=wrote)(folder)

    PreparedStore(root).folder("key", write)
    line.send(len(wrote))
    line.recv()


def test_two_at_once_write_it_once(store: PreparedStore) -> None:
    first, first_end = SPAWN.Pipe()
    second, second_end = SPAWN.Pipe()
    processes = [
        SPAWN.Process(target=_write_slowly, args=(store.root, end))
        for end in (first_end, second_end)
    ]
    processes[0].start()
    assert first.recv() == "writing"
    # Another who does not wait gets nothing, and writes nothing.
    calls: list[int] = []
    assert store.folder("key", writer(calls=calls), wait=False) is None
    assert not calls
    processes[1].start()
    first.send("go on")
    assert first.recv() == 1
    assert second.recv() == 0
    assert store.folder("key", writer(calls=calls), wait=False) is not None
    assert not calls
    for line, process in zip((first, second), processes, strict=True):
        line.send("end")
        process.join()
        assert process.exitcode == 0


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    for age, key in enumerate(("new", "middle", "old")):
        store = PreparedStore(root, limit_bytes=350)
        folder = store.folder(key, writer(100))
        assert folder is not None
        os.utime(folder, (1e9 - age, 1e9 - age))
        store.close()
    store = PreparedStore(root, limit_bytes=350)
    store.folder("old", writer(100))
    store.close()
    PreparedStore(root, limit_bytes=350).folder("another", writer(100))
    calls: list[int] = []
    PreparedStore(root).folder("old", writer(calls=calls))
    PreparedStore(root).folder("new", writer(calls=calls))
    assert not calls
    PreparedStore(root).folder("middle", writer(calls=calls))
    assert calls == [100]


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    user = PreparedStore(root, limit_bytes=150)
    used = user.folder("used", writer(100))
    assert used is not None
    other = PreparedStore(root, limit_bytes=150)
    other.folder("second", writer(100))
    other.close()
    assert used.is_dir()
    user.close()
    other.folder("third", writer(100))
    assert not used.is_dir()
    other.close()


def test_a_sweep_keeps_to_the_limit(tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    store = PreparedStore(root)
    for key in "abc":
        store.folder(key, writer(100))
    store.close()
    PreparedStore(root, limit_bytes=120).sweep()
    assert len([path for path in root.iterdir() if path.is_dir()]) == 1
    assert len(list(root.glob("*.lock"))) == 1


def test_arrays_are_computed_once_for_a_scope_and_a_key(store: PreparedStore) -> None:
    calls: list[int] = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"features": np.arange(6, dtype=np.float32).reshape(3, 2)}

    def arrays(scope: str) -> StoredArrays:
        return StoredArrays(PreparedFolders(store, "data", memory_limit=2**20), scope)

    first = arrays("split").get_or_compute("resnet", compute)
    again = arrays("split").get_or_compute("resnet", compute)
    assert len(calls) == 1
    assert np.array_equal(first["features"], again["features"])
    again["features"][0, 0] = 7  # Memory of one's own: the file stays as it is.
    assert arrays("split").get_or_compute("resnet", compute)["features"][0, 0] == 0
    arrays("other split").get_or_compute("resnet", compute)
    arrays("split").get_or_compute("vit", compute)
    assert len(calls) == 3


def test_what_cannot_be_computed_is_not_kept(store: PreparedStore) -> None:
    arrays = StoredArrays(PreparedFolders(store, "data", memory_limit=2**20), "split")

    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        arrays.get_or_compute("key", fail)
    kept = arrays.get_or_compute("key", lambda: {"x": np.ones(2)})
    assert kept["x"].sum() == 2
