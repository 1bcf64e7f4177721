"""Datasets and the uploads they come from."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from seedbed_sdk.errors import AlreadyExists, FailedPrecondition, NotFound
from seedbed_server.data.references import DataSource
from seedbed_server.jobs.values import JobState
from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.listing import newest_first
from seedbed_server.store.outages import retried
from seedbed_server.store.pages import Page, PageRequest
from seedbed_server.store.requests import answered, remember
from seedbed_server.store.values import Dataset, RequestKey, Upload

_table = tables.datasets
_uses = tables.dataset_uses
_uploads = tables.uploads


@retried("_database")
class Datasets:
    """The rows of datasets. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        dataset: Dataset,
        *,
        uses: Sequence[str] = (),
        request: RequestKey | None = None,
        upload: str = "",
    ) -> Dataset:
        """Adds a dataset. `uses` are the datasets among its sources; `upload` is the upload that it
        completes.

        Answers the earlier dataset where the request was answered before. Raises AlreadyExists for
        a taken id, or a request id used for something else; NotFound where a used one has gone.
        """
        with self._database.writing() as connection:
            earlier = answered(connection, request)
            if earlier is not None:
                return _get(connection, earlier)
            if connection.execute(sa.select(_table.c.id).where(_table.c.id == dataset.id)).first():
                raise AlreadyExists(
                    f"there is a dataset {dataset.id!r} already; choose another dataset_id"
                )
            connection.execute(sa.insert(_table).values(_to_row(dataset)))
            for used in sorted(set(uses)):
                _get(connection, used)
                connection.execute(sa.insert(_uses).values(dataset=dataset.id, used=used))
            if upload:
                connection.execute(
                    sa.update(_uploads)
                    .where(_uploads.c.project == dataset.project, _uploads.c.id == upload)
                    .values(dataset=dataset.id)
                )
            remember(connection, request, dataset.id)
        return dataset

    def answered(self, request: RequestKey | None) -> Dataset | None:
        """The dataset that an earlier call with this request created. Raises as `create` does."""
        with self._database.reading() as connection:
            earlier = answered(connection, request)
            return None if earlier is None else _get(connection, earlier)

    def get(self, dataset_id: str, project: str | None = None) -> Dataset:
        """Raises NotFound, also for a dataset of another project than is given."""
        with self._database.reading() as connection:
            dataset = _get(connection, dataset_id)
        if project not in (None, dataset.project):
            raise _not_found(dataset_id)
        return dataset

    def exists(self, dataset_id: str) -> bool:
        with self._database.reading() as connection:
            select = sa.select(_table.c.id).where(_table.c.id == dataset_id)
            return connection.execute(select).first() is not None

    def list(self, project: str, page: PageRequest) -> Page[Dataset]:
        """The newest first."""
        conditions = [_table.c.project == project]
        return newest_first(
            self._database, _table, conditions, ("datasets", project), page, _from_row
        )

    def delete(self, dataset_id: str) -> Dataset:
        """Deletes the row and returns what it was. Raises NotFound; FailedPrecondition while an
        unfinished job or another dataset uses it."""
        jobs = tables.jobs
        ended = [s.value for s in JobState if s.ended]
        with self._database.writing() as connection:
            dataset = _get(connection, dataset_id)
            used_by = connection.execute(
                sa.select(_uses.c.dataset).where(_uses.c.used == dataset_id)
            ).scalars()
            _require_unused(dataset_id, "dataset", used_by.all())
            running = connection.execute(
                sa.select(jobs.c.id).where(jobs.c.dataset == dataset_id, jobs.c.state.not_in(ended))
            ).scalars()
            _require_unused(dataset_id, "unfinished job", running.all())
            connection.execute(sa.delete(_table).where(_table.c.id == dataset_id))
            connection.execute(
                sa.delete(_uploads).where(
                    _uploads.c.project == dataset.project, _uploads.c.dataset == dataset_id
                )
            )
        return dataset

    def ids(self) -> set[str]:
        """The ids of all datasets."""
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(_table.c.id)).scalars())


@retried("_database")
class Uploads:
    """The rows of uploads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, upload: Upload) -> Upload:
        """Adds the upload, or answers the unfinished or finished one of that id.

        Raises FailedPrecondition where the id is in use for another file.
        """
        with self._database.writing() as connection:
            select = sa.select(_uploads).where(
                _uploads.c.project == upload.project, _uploads.c.id == upload.id
            )
            row = connection.execute(select).first()
            if row is None:
                values = {field: getattr(upload, field) for field in upload.__dataclass_fields__}
                connection.execute(sa.insert(_uploads).values(values))
                return upload
            found = Upload(**row._mapping)
            if (found.sha256, found.size_bytes, found.file_name) != (
                upload.sha256,
                upload.size_bytes,
                upload.file_name,
            ):
                raise FailedPrecondition(
                    f"upload_id {upload.id!r} is in use for {found.file_name!r} of "
                    f"{found.size_bytes} bytes; choose another upload_id for another file",
                    reason="UPLOAD_ID_REUSED",
                )
            return found

    def drop(self, project: str, upload_id: str) -> None:
        """Forgets an upload."""
        with self._database.writing() as connection:
            connection.execute(
                sa.delete(_uploads).where(_uploads.c.project == project, _uploads.c.id == upload_id)
            )

    def drop_unfinished(self, before: datetime) -> builtins.list[str]:
        """Forgets the uploads begun before a time that never arrived whole; returns their ids."""
        stale = sa.and_(_uploads.c.dataset == "", _uploads.c.create_time < before)
        with self._database.writing() as connection:
            ids = list(connection.execute(sa.select(_uploads.c.id).where(stale)).scalars())
            connection.execute(sa.delete(_uploads).where(stale))
        return ids


def _require_unused(dataset_id: str, noun: str, users: Sequence[str]) -> None:
    if users:
        named = ", ".join(users[:3]) + ("" if len(users) <= 3 else f" and {len(users) - 3} more")
        raise FailedPrecondition(
            f"dataset {dataset_id!r} is used by the {noun} {named}; "
            f"delete or end what uses it first",
            reason="DATASET_IN_USE",
            metadata={"dataset": dataset_id},
        )


def _get(connection: sa.Connection, dataset_id: str) -> Dataset:
    row = connection.execute(sa.select(_table).where(_table.c.id == dataset_id)).first()
    if row is None:
        raise _not_found(dataset_id)
    return _from_row(row)


def _not_found(dataset_id: str) -> NotFound:
    return NotFound(f"there is no dataset {dataset_id!r}", metadata={"dataset": dataset_id})


def _to_row(dataset: Dataset) -> dict[str, Any]:
    return {
        **{field: getattr(dataset, field) for field in dataset.__dataclass_fields__},
        "sources": [asdict(source) for source in dataset.sources],
    }


def _from_row(row: Any) -> Dataset:
    sources = tuple(DataSource(**source) for source in row.sources)
    return Dataset(**{**row._mapping, "sources": sources})
