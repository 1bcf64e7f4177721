"""Local files and folders on their way to a server that cannot read them itself."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from seedbed import converters
from seedbed.connection import Connection
from seedbed.errors import Unavailable, from_rpc_error, invalid
from seedbed.types import Dataset
from seedbed.v1 import datasets_pb2

CHUNK_BYTES = 1024 * 1024
_UPLOAD_SECONDS = 3600.0
_ATTEMPTS = 8
# The server may learn later than the client that a connection broke.
_NOT_YET_ENDED = ("UPLOAD_BUSY", "OFFSET_MISMATCH")
# A fixed time makes the archive of the same files the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_PACKED = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".gz", ".zip", ".parquet"})


def upload(connection: Connection, path: Path, display_name: str = "") -> Dataset:
    """Sends a file, or a folder as a zip, and returns the dataset it became.

    Goes on from where the server is after a broken connection. Raises InvalidArgument for an
    empty file or folder and what the server refuses, Unavailable after several broken attempts.
    """
    with _as_file(path) as file_path:
        if file_path.stat().st_size == 0:
            raise invalid("data", f"{path} is empty")
        with file_path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        header = datasets_pb2.UploadHeader(
            upload_id=str(uuid.uuid4()),
            file_name=path.name + (".zip" if path.is_dir() else ""),
            size_bytes=file_path.stat().st_size,
            sha256=sha256,
            display_name=display_name or path.name,
        )
        return converters.dataset(_send(connection, file_path, header))


def _send(
    connection: Connection, path: Path, header: datasets_pb2.UploadHeader
) -> datasets_pb2.Dataset:
    offset: int | None = 0
    for attempt in range(_ATTEMPTS):
        connection.revive()
        try:
            if offset is None:
                offset = _ask_committed(connection, header)
            header.offset = offset
            answer = connection.stubs.datasets.UploadDataset(
                _messages(path, header), timeout=_UPLOAD_SECONDS
            )
            if answer.HasField("dataset"):
                return answer.dataset
            offset = answer.committed_bytes
        except grpc.RpcError as rpc_error:
            error = from_rpc_error(rpc_error, connection.address)
            broken = isinstance(error, Unavailable) or error.reason in _NOT_YET_ENDED
            if not broken or attempt == _ATTEMPTS - 1:
                raise error from None
            offset = None
            time.sleep(min(0.2 * 2**attempt, 3.0))
    raise Unavailable(f"the server did not take the whole of {path.name}; try again", "UNAVAILABLE")


def _ask_committed(connection: Connection, header: datasets_pb2.UploadHeader) -> int:
    header.offset = 0
    only_header = iter([datasets_pb2.UploadDatasetRequest(header=header)])
    answer = connection.stubs.datasets.UploadDataset(only_header, timeout=connection.timeout)
    return answer.committed_bytes


def _messages(
    path: Path, header: datasets_pb2.UploadHeader
) -> Iterator[datasets_pb2.UploadDatasetRequest]:
    yield datasets_pb2.UploadDatasetRequest(header=header)
    with path.open("rb") as file:
        file.seek(header.offset)
        while chunk := file.read(CHUNK_BYTES):
            yield datasets_pb2.UploadDatasetRequest(chunk=chunk)


@contextmanager
def _as_file(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="seedbed-") as folder:
        archive = Path(folder) / "data.zip"
        zip_folder(path, archive)
        yield archive


def zip_folder(folder: Path, archive: Path) -> None:
    """Packs a folder's files; the same files give the same bytes. Hidden ones are left out.

    Links to files are followed, links to folders are not. InvalidArgument where it has no file.
    """
    files = sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix())
    if not files:
        raise invalid("data", f"the folder {folder} has no files")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in files:
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_TIME)
            info.external_attr = 0o644 << 16
            stored = path.suffix.lower() in _PACKED
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            info.file_size = path.stat().st_size
            with path.open("rb") as source, packed.open(info, "w") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            path
            for name in names
            if not name.startswith(".") and (path := Path(parent) / name).is_file()
        )
