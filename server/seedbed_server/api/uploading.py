"""UploadDataset: a file in chunks, kept as far as it came, made a dataset once it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from seedbed.v1 import datasets_pb2
from seedbed_sdk.errors import FailedPrecondition, FieldViolation, InvalidArgument
from seedbed_server.api import convert, names
from seedbed_server.api.rooms import Rooms
from seedbed_server.api.threads import in_thread
from seedbed_server.data import references
from seedbed_server.data.references import DataSource
from seedbed_server.store import Dataset, Upload
from seedbed_server.store.files import full_disk_is_an_error, sync
from seedbed_server.store.values import new_id, now

log = structlog.get_logger()

MAX_CHUNK_BYTES = 2**20
MAX_NAME_BYTES = 255

Messages = AsyncIterator[datasets_pb2.UploadDatasetRequest]


async def receive(
    rooms: Rooms, busy: set[tuple[str, str]], messages: Messages
) -> datasets_pb2.UploadDatasetResponse:
    """Takes a stream. `busy` holds the project and id of the uploads that a stream is sending."""
    first = await anext(aiter(messages), None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidArgument("header", "is required in the first message of the stream")
    header = first.header
    wanted = _upload(header, rooms.settings.max_upload_bytes)
    key = (wanted.project, wanted.id)
    if key in busy:
        raise FailedPrecondition(
            f"another stream is sending upload {wanted.id!r}; wait for its end",
            reason="UPLOAD_BUSY",
        )
    busy.add(key)
    try:
        upload = await asyncio.to_thread(_begin, rooms, wanted)
        if upload.dataset:
            dataset = await asyncio.to_thread(rooms.store.datasets.get, upload.dataset)
            return _answer(upload.size_bytes, dataset)
        partial = rooms.files.partial_upload(upload.project, upload.id)
        arriving = _counted(rooms, messages)
        committed = await _append(partial, upload, header.offset, arriving)
        if committed < upload.size_bytes:
            return _answer(committed, None)
        dataset = await in_thread(_finish, rooms, upload, partial)
        rooms.metrics.uploaded()
        return _answer(committed, dataset)
    finally:
        busy.discard(key)


async def _counted(rooms: Rooms, messages: Messages) -> Messages:
    async for message in messages:
        rooms.metrics.received(len(message.chunk))
        yield message


def _upload(header: datasets_pb2.UploadHeader, max_bytes: int) -> Upload:
    violations: list[FieldViolation] = []
    if not 1 <= header.size_bytes <= max_bytes:
        violations.append(
            FieldViolation(
                "header.size_bytes",
                f"must be from 1 to {max_bytes:,}, got {header.size_bytes:,}",
            )
        )
    sha256 = header.sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        violations.append(
            FieldViolation(
                "header.sha256",
                f"must be the file's SHA-256 as 64 hexadecimal digits, got {header.sha256[:80]!r}",
            )
        )
    name_problem = _name_problem(header.file_name)
    if name_problem:
        violations.append(FieldViolation("header.file_name", name_problem))
    if violations:
        raise InvalidArgument.of(violations)
    if header.dataset_id:
        names.check_id(header.dataset_id, "header.dataset_id")
    return Upload(
        id=names.check_upload_id(header.upload_id),
        project=names.parse_parent(header.parent, "header.parent"),
        file_name=header.file_name,
        size_bytes=header.size_bytes,
        sha256=sha256,
        display_name=header.display_name or header.file_name,
        dataset_id=header.dataset_id or new_id(),
        create_time=now(),
    )


def _name_problem(name: str) -> str:
    shown = repr(name[:80])
    if not name or name in (".", ".."):
        return f"must be the file's name, such as 'flowers.csv', got {shown}"
    if re.search(r"[/\\\x00-\x1f\x7f]", name):
        return f"must be a name without folders and control characters, got {shown}"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"may have at most {MAX_NAME_BYTES} bytes, got {len(name.encode())}"
    return ""


def _begin(rooms: Rooms, wanted: Upload) -> Upload:
    upload = rooms.store.uploads.begin(wanted)
    if not upload.dataset:
        rooms.files.partial_upload(upload.project, upload.id).touch()
    return upload


async def _append(partial: Path, upload: Upload, offset: int, messages: Messages) -> int:
    """Writes the chunks after what is there; returns the bytes that are there then."""
    committed = (await asyncio.to_thread(partial.stat)).st_size
    descriptor = os.open(partial, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        first = True
        async for message in messages:
            chunk = message.chunk
            _check_chunk(message, upload, committed, offset if first else committed)
            first = False
            await in_thread(_write, descriptor, chunk, partial)
            committed += len(chunk)
    finally:
        # Also when the caller has gone: what arrived is kept.
        os.close(descriptor)
        await in_thread(sync, partial)
    return committed


def _check_chunk(
    message: datasets_pb2.UploadDatasetRequest, upload: Upload, committed: int, offset: int
) -> None:
    if message.WhichOneof("part") != "chunk":
        raise InvalidArgument("chunk", "is required in every message after the first")
    if offset != committed:
        raise FailedPrecondition(
            f"the chunks begin at byte {offset}, and the server has {committed} bytes; "
            f"go on with offset {committed}",
            reason="OFFSET_MISMATCH",
            metadata={"committed_bytes": str(committed)},
        )
    if len(message.chunk) > MAX_CHUNK_BYTES:
        raise InvalidArgument(
            "chunk", f"may have at most {MAX_CHUNK_BYTES} bytes, got {len(message.chunk)}"
        )
    if committed + len(message.chunk) > upload.size_bytes:
        raise InvalidArgument(
            "chunk", f"the file was to have {upload.size_bytes} bytes, and more than that came"
        )


def _write(descriptor: int, chunk: bytes, partial: Path) -> None:
    with full_disk_is_an_error(partial.parent):
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]


def _finish(rooms: Rooms, upload: Upload, partial: Path) -> Dataset:
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != upload.sha256:
        partial.unlink(missing_ok=True)
        rooms.store.uploads.drop(upload.project, upload.id)
        raise InvalidArgument(
            "header.sha256",
            f"what arrived has the hash {found}, not {upload.sha256}; nothing of it is kept: "
            "send the whole file again",
            reason="HASH_MISMATCH",
        )
    if rooms.store.datasets.exists(upload.dataset_id):
        raise InvalidArgument(
            "header.dataset_id",
            f"there is a dataset {upload.dataset_id!r} already; choose another, or leave it empty",
            reason="DATASET_ID_TAKEN",
        )
    path = rooms.files.keep_upload(partial, upload.dataset_id, upload.file_name)
    taken = references.fingerprint(references.resolve([DataSource(str(path))], rooms.policy))
    dataset = Dataset(
        id=upload.dataset_id,
        project=upload.project,
        display_name=upload.display_name,
        sources=(),
        fingerprint=taken.sha256,
        signature=taken.signature,
        size_bytes=taken.size_bytes,
        create_time=now(),
        upload_file=upload.file_name,
    )
    log.info("dataset_uploaded", dataset=dataset.id, size_bytes=dataset.size_bytes)
    return rooms.store.datasets.create(dataset, upload=upload.id)


def _answer(committed: int, dataset: Dataset | None) -> datasets_pb2.UploadDatasetResponse:
    return datasets_pb2.UploadDatasetResponse(
        committed_bytes=committed,
        dataset=None if dataset is None else convert.dataset_to_message(dataset),
    )
