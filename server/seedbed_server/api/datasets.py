"""DatasetService."""

# The names and the signatures of gRPC's methods are given.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from google.protobuf.empty_pb2 import Empty

from seedbed.v1 import datasets_pb2, datasets_pb2_grpc
from seedbed_sdk.errors import InvalidArgument, NotFound
from seedbed_server.api import convert, names, requests
from seedbed_server.api.predictions_convert import inspection_to_message
from seedbed_server.api.rooms import Rooms
from seedbed_server.api.uploading import receive
from seedbed_server.data import references
from seedbed_server.data.references import DataSource, Fingerprint, ResolvedSource
from seedbed_server.jobs.sources import expand, payload_of, sources_of
from seedbed_server.store import DATASET_SCHEME, Dataset
from seedbed_server.store.values import new_id, now


class DatasetServicer(datasets_pb2_grpc.DatasetServiceServicer):
    """Data: registered, uploaded, inspected, deleted."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._datasets = rooms.store.datasets
        self._uploading: set[tuple[str, str]] = set()

    async def CreateDataset(
        self, request: datasets_pb2.CreateDatasetRequest, context: Any
    ) -> datasets_pb2.Dataset:
        project = names.parse_parent(request.parent)
        key = requests.request_key(request, project, "CreateDataset")
        earlier = await asyncio.to_thread(self._datasets.answered, key)
        if earlier is not None:
            return convert.dataset_to_message(earlier)
        if request.dataset_id:
            names.check_id(request.dataset_id, "dataset_id")
        sources = requests.sources_from_messages(request.dataset.sources, project)
        layout = requests.layout(request.dataset.layout)
        read = await self._read(project, request.dataset_id, request.dataset.display_name, sources)
        dataset = replace(read, layout=layout)
        if not request.validate_only:
            uses = [
                source.uri.removeprefix(DATASET_SCHEME)
                for source in sources
                if source.uri.startswith(DATASET_SCHEME)
            ]
            dataset = await asyncio.to_thread(
                self._datasets.create, dataset, uses=uses, request=key
            )
        return convert.dataset_to_message(dataset)

    async def UploadDataset(
        self, request_iterator: AsyncIterator[datasets_pb2.UploadDatasetRequest], context: Any
    ) -> datasets_pb2.UploadDatasetResponse:
        return await receive(self._rooms, self._uploading, request_iterator)

    async def GetDataset(
        self, request: datasets_pb2.GetDatasetRequest, context: Any
    ) -> datasets_pb2.Dataset:
        return convert.dataset_to_message(await self._get(request.name))

    async def ListDatasets(
        self, request: datasets_pb2.ListDatasetsRequest, context: Any
    ) -> datasets_pb2.ListDatasetsResponse:
        project = names.parse_parent(request.parent)
        page = await asyncio.to_thread(self._datasets.list, project, requests.page_of(request))
        return datasets_pb2.ListDatasetsResponse(
            datasets=[convert.dataset_to_message(dataset) for dataset in page.items],
            next_page_token=page.next_token,
        )

    async def DeleteDataset(
        self, request: datasets_pb2.DeleteDatasetRequest, context: Any
    ) -> Empty:
        dataset = await self._get(request.name)
        await asyncio.to_thread(self._datasets.delete, dataset.id)
        await asyncio.to_thread(self._rooms.files.delete_upload, dataset.id)
        return Empty()

    async def InspectDataset(
        self, request: datasets_pb2.InspectDatasetRequest, context: Any
    ) -> datasets_pb2.InspectDatasetResponse:
        dataset = await self._get(request.name)
        contents = await self._rooms.catalogue.get()
        sources = await asyncio.to_thread(sources_of, dataset, self._rooms.store, self._rooms.files)
        found = await self._rooms.calls.call(
            "inspect",
            {
                **payload_of(sources, dataset.layout),
                "policy": self._rooms.policy.to_dict(),
                "target": request.target,
                "tasks": [dict(task.described) for task in contents.tasks.values()],
            },
            timeout=self._rooms.settings.call_timeout,
        )
        return inspection_to_message(found)

    async def _read(
        self, project: str, dataset_id: str, display_name: str, sources: Sequence[DataSource]
    ) -> Dataset:
        """The dataset with its fingerprint, for which all of it is read."""
        try:
            expanded = await asyncio.to_thread(
                expand, sources, project, self._rooms.store, self._rooms.files
            )
        except NotFound as error:
            raise InvalidArgument("dataset.sources", error.message) from error
        resolved = await asyncio.to_thread(references.resolve, expanded, self._rooms.policy)
        for index, source in enumerate(sources):
            if not source.uri.startswith(DATASET_SCHEME):
                references.refuse_kept_upload(index, source, self._rooms.policy)
        taken = await self._fingerprint(expanded, resolved)
        return Dataset(
            id=dataset_id or new_id(),
            project=project,
            display_name=display_name or _file_name(sources[0].uri),
            sources=tuple(sources),
            fingerprint=taken.sha256,
            signature=taken.signature,
            size_bytes=taken.size_bytes,
            create_time=now(),
        )

    async def _fingerprint(
        self, sources: Sequence[DataSource], resolved: Sequence[ResolvedSource]
    ) -> Fingerprint:
        policy, settings = self._rooms.policy, self._rooms.settings
        if not any(source.is_remote for source in resolved):
            return await asyncio.to_thread(references.fingerprint, resolved)
        taken = await self._rooms.calls.call(
            "fingerprint",
            {**payload_of(sources), "policy": policy.to_dict()},
            timeout=len(resolved) * settings.fetch_timeout + settings.call_timeout,
        )
        return Fingerprint(**taken)

    async def _get(self, name: str) -> Dataset:
        project, dataset_id = names.parse("datasets", name, "name")
        return await asyncio.to_thread(self._datasets.get, dataset_id, project)


def _file_name(uri: str) -> str:
    return PurePosixPath(uri.removeprefix(DATASET_SCHEME)).name or uri
