"""ModelService and PredictionService."""

# The names and the signatures of gRPC's methods are given.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty

from seedbed.v1 import models_pb2, models_pb2_grpc, predictions_pb2, predictions_pb2_grpc
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import convert, names, requests
from seedbed_server.api.predictions_convert import examples_from_messages, prediction_to_message
from seedbed_server.api.rooms import Rooms
from seedbed_server.api.threads import in_thread
from seedbed_server.jobs.values import Model
from seedbed_server.store.bundles import pack

CHUNK_BYTES = 2**20
MAX_EXAMPLES = 10_000


async def find_model(rooms: Rooms, name: str, field: str) -> Model:
    """Raises InvalidArgument for a malformed name, NotFound."""
    project, model_id = names.parse("models", name, field)
    return await asyncio.to_thread(rooms.store.models.get, model_id, project)


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Models: listed, downloaded, deleted."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def GetModel(self, request: models_pb2.GetModelRequest, context: Any) -> models_pb2.Model:
        return convert.model_to_message(await find_model(self._rooms, request.name, "name"))

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Any
    ) -> models_pb2.ListModelsResponse:
        project = names.parse_parent(request.parent)
        page = await asyncio.to_thread(
            self._rooms.store.models.list, project, requests.page_of(request)
        )
        return models_pb2.ListModelsResponse(
            models=[convert.model_to_message(model) for model in page.items],
            next_page_token=page.next_token,
        )

    async def DeleteModel(self, request: models_pb2.DeleteModelRequest, context: Any) -> Empty:
        model = await find_model(self._rooms, request.name, "name")
        await self._rooms.predictions.delete(model)
        return Empty()

    async def DownloadModel(
        self, request: models_pb2.DownloadModelRequest, context: Any
    ) -> AsyncIterator[models_pb2.DownloadModelResponse]:
        model = await find_model(self._rooms, request.name, "name")
        # A copy of its own, so that the model may be deleted while it is sent.
        bundle = await asyncio.to_thread(pack, self._rooms.files, model)
        try:
            if not 0 <= request.offset <= bundle.size_bytes:
                raise InvalidArgument(
                    "offset",
                    f"must be from 0 to {bundle.size_bytes}, the file's size, got {request.offset}",
                )
            position = request.offset
            while True:
                chunk = await in_thread(os.pread, bundle.descriptor, CHUNK_BYTES, position)
                first = position == request.offset
                yield models_pb2.DownloadModelResponse(
                    chunk=chunk,
                    size_bytes=bundle.size_bytes if first else 0,
                    sha256=bundle.sha256 if first else "",
                )
                position += len(chunk)
                if position >= bundle.size_bytes:
                    return
        finally:
            os.close(bundle.descriptor)


class PredictionServicer(predictions_pb2_grpc.PredictionServiceServicer):
    """Answers of models."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def Predict(
        self, request: predictions_pb2.PredictRequest, context: Any
    ) -> predictions_pb2.PredictResponse:
        if not 1 <= len(request.examples) <= MAX_EXAMPLES:
            raise InvalidArgument(
                "examples", f"must be from 1 to {MAX_EXAMPLES:,} items, got {len(request.examples)}"
            )
        model = await find_model(self._rooms, request.model, "model")
        examples = examples_from_messages(request.examples)
        predictions = await self._rooms.predictions.predict(model, examples)
        return predictions_pb2.PredictResponse(
            predictions=[prediction_to_message(p) for p in predictions],
            model=names.model(model.project, model.id),
        )
