"""Arrays in files: written row by row, mapped rather than read."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.errors import ResourceExhausted

CHUNK_BYTES = 64 * 2**20
SUFFIX = ".npy"

_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class FolderCache(Protocol):
    """Keeps folders of files across jobs. `memory_limit` is how many bytes of arrays a job may hold
    in memory; what is larger is to stay in files."""

    memory_limit: int

    def folder(self, key: str, write: Callable[[Path], None]) -> Path:
        """The folder kept under the key. Where there is none, or another process is just writing
        it, `write` is called with an empty folder to write into, or that process is waited for.

        It must not be written to and stays until the process ends. What `write` raises is raised,
        and nothing is kept then.
        """

    def free_folder(self, key: str, write: Callable[[Path], None]) -> Path | None:
        """As `folder`, but None where another process is just writing it."""


class ArrayWriter:
    """Writes an array whose number of rows is not known yet, as a .npy file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._row: tuple[int, ...] = ()
        self._dtype: np.dtype[np.generic] | None = None
        self.rows = 0

    def append(self, array: Array) -> None:
        """Adds rows. Raises ValueError where their type or shape differs from earlier ones."""
        if self._file is None:
            self._file = self.path.open("wb")
            self._row, self._dtype = array.shape[1:], array.dtype
            self._write_header()
        if (array.shape[1:], array.dtype) != (self._row, self._dtype):
            raise ValueError(
                f"{self.path.stem}: rows of {array.dtype} {array.shape[1:]} after rows of "
                f"{self._dtype} {self._row}; a block has to encode all items alike"
            )
        np.ascontiguousarray(array).tofile(self._file)
        self.rows += len(array)

    def _write_header(self) -> None:
        assert self._file is not None
        assert self._dtype is not None
        # The header leaves room for the largest first axis, so that it can be written once more.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self.rows, *self._row),
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._write_header()
            self._file.close()


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Writes each array to a file of its name."""
    for name, array in arrays.items():
        np.save(_file(folder, name), array, allow_pickle=False)


def write_rows(path: Path, array: Array, rows: Array) -> None:
    """Writes some rows of an array, sorted, with a chunk of it in memory at a time."""
    with ArrayWriter(path) as writer:
        writer.append(array[:0])
        for part in _chunks(array):
            first, last = np.searchsorted(rows, (part.start, part.stop))
            writer.append(array[rows[first:last]])
            release(array)


def open_arrays(folder: Path, memory_limit: int) -> dict[str, Array]:
    """The arrays that were written to a folder, by name. Up to the limit, in bytes for all of them,
    they can be changed in memory, which changes no file; beyond it they are read-only."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    fits = sum(path.stat().st_size for path in paths) <= memory_limit
    return {path.name.removesuffix(SUFFIX): _open(path, fits=fits) for path in paths}


def is_mapped(array: Array) -> bool:
    """Whether the array stays in a file, since it is larger than may be held in memory."""
    return isinstance(array, np.memmap) and array.mode == "r"


def release(array: Array) -> None:
    """Gives back the memory that holds pages of a mapped file; the array stays as it is."""
    if is_mapped(array) and isinstance(array._mmap, mmap.mmap):  # type: ignore[attr-defined]
        with suppress(OSError):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def map_file(path: Path) -> mmap.mmap:
    """A file as memory that is read from it when it is looked at. `release_maps` knows of it."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.add(mapped)
    return mapped


def map_array(path: Path) -> Array:
    """The array of a .npy file, mapped as by `map_file`."""
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(mapped := getattr(array, "_mmap", None), mmap.mmap):
        _maps.add(mapped)
    return array


def release_maps() -> None:
    """Gives back the memory that holds pages of files that `map_file` and `map_array` mapped; what
    is looked at again is read again."""
    for mapped in list(_maps):
        with suppress(OSError, ValueError):
            mapped.madvise(mmap.MADV_DONTNEED)


def size_of(arrays: Mapping[str, Array]) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in arrays.values())


@dataclass(frozen=True)
class StoredArrays:
    """An `ArrayStore` in the folders of a cache. `scope` is part of every key."""

    cache: FolderCache
    scope: str

    def get_or_compute(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays kept under the key. Where another job is just computing them, they are
        computed here too and not kept, since that job may take longer than this one has."""
        computed: dict[str, Array] = {}

        def write(folder: Path) -> None:
            computed.update(computed or compute())
            write_arrays(folder, computed)

        try:
            folder = self.cache.free_folder(f"{self.scope}\0{key}", write)
        except ResourceExhausted:
            if not computed:
                raise
        if computed:
            return computed
        return compute() if folder is None else open_arrays(folder, self.cache.memory_limit)


def _chunks(array: Array) -> Iterator[slice]:
    """Slices of an array's rows, of about CHUNK_BYTES each."""
    size = max(1, CHUNK_BYTES * len(array) // max(array.nbytes, 1))
    for start in range(0, len(array), size):
        yield slice(start, start + size)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def _open(path: Path, *, fits: bool) -> Array:
    if not fits:
        return map_array(path)
    mapped: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return np.asarray(mapped)
