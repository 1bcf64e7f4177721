"""A model's handle: predict with it, download it, delete it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grpc

from seedbed import converters
from seedbed.connection import Connection
from seedbed.errors import SeedbedError, from_rpc_error, invalid
from seedbed.prediction_converters import prediction
from seedbed.types import ModelInfo, Prediction
from seedbed.v1 import models_pb2, predictions_pb2, values_pb2
from seedbed.values import to_example

# The server takes 10,000 examples; pictures fill a message long before that.
_BATCH_EXAMPLES = 5_000
_BATCH_BYTES = 3 * 1024 * 1024
_DOWNLOAD_SECONDS = 3600.0
_ATTEMPTS = 5


class Model:
    """A trained model on the server."""

    def __init__(self, connection: Connection, message: models_pb2.Model) -> None:
        self._connection = connection
        self.info: ModelInfo = converters.model(message)

    def __repr__(self) -> str:
        return f"<seedbed.Model {self.id} {self.info.architecture}>"

    @property
    def name(self) -> str:
        """`projects/{project}/models/{model}`."""
        return self.info.name

    @property
    def id(self) -> str:
        """The short name."""
        return self.info.id

    def predict(
        self, rows: Mapping[str, object] | Iterable[Mapping[str, object]]
    ) -> list[Prediction]:
        """One prediction for each row, in order; one row may be given without its list.

        A row maps each of the model's `inputs` to a raw value: text, numbers, the bytes of a
        picture's file; None is a missing value. Raises InvalidArgument naming the row and column.
        """
        if isinstance(rows, Mapping):
            rows = [rows]
        found: list[Prediction] = []
        for batch in _batches(rows):
            request = predictions_pb2.PredictRequest(model=self.name, examples=batch)
            answer = self._connection.call(lambda s: s.predictions.Predict, request, slow=True)
            found += map(prediction, answer.predictions)
        return found

    def download(self, path: Path | str) -> Path:
        """Writes the bundle, a zip file without anything to unpickle; returns where.

        A folder gets a file named after the model. What was there is replaced only once the whole
        bundle has arrived and its SHA-256 is right.
        """
        target = Path(path).expanduser()
        if target.is_dir():
            target = target / f"{self.id}.zip"
        if not target.parent.is_dir():
            raise invalid("path", f"there is no folder {target.parent}; make it first")
        part = target.with_name(target.name + ".part")
        part.unlink(missing_ok=True)
        try:
            self._fetch(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _fetch(self, part: Path) -> None:
        for attempt in range(_ATTEMPTS):
            done = part.stat().st_size if part.exists() else 0
            request = models_pb2.DownloadModelRequest(name=self.name, offset=done)
            self._connection.revive()
            try:
                stream = self._connection.stubs.models.DownloadModel(
                    request, timeout=_DOWNLOAD_SECONDS
                )
                sha256 = _write(part, stream)
            except grpc.RpcError as error:
                broken = error.code() is grpc.StatusCode.UNAVAILABLE
                if not broken or attempt == _ATTEMPTS - 1:
                    raise from_rpc_error(error, self._connection.address) from None
                time.sleep(0.2 * 3**attempt)
                continue
            with part.open("rb") as file:
                got = hashlib.file_digest(file, "sha256").hexdigest()
            if got != sha256:
                raise SeedbedError(
                    f"the bundle of model {self.id} arrived damaged (SHA-256 {got}, expected "
                    f"{sha256}); download it again",
                    "DATA_LOSS",
                )
            return

    def delete(self) -> None:
        """Deletes the model and its files on the server."""
        request = models_pb2.DeleteModelRequest(name=self.name)
        self._connection.call(lambda s: s.models.DeleteModel, request)


def _write(part: Path, stream: Iterable[models_pb2.DownloadModelResponse]) -> str:
    sha256 = ""
    with part.open("ab") as file:
        for message in stream:
            sha256 = message.sha256 or sha256
            file.write(message.chunk)
        file.flush()
        os.fsync(file.fileno())
    return sha256


def _batches(rows: Iterable[Mapping[str, object]]) -> Iterator[list[values_pb2.Example]]:
    batch: list[values_pb2.Example] = []
    size = 0
    for number, row in enumerate(rows):
        example = to_example(row, f"examples[{number}]")
        added = example.ByteSize()
        if batch and (len(batch) >= _BATCH_EXAMPLES or size + added > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(example)
        size += added
    if batch:
        yield batch
